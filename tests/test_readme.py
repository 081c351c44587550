"""The README's programs compile, its commands exist, its links lead somewhere."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted(ROOT.glob("samples/*/README.md")) + [ROOT / "notebooks" / "README.md"]


def blocks(page, language):
    """The code blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_programs_compile(page):
    for source in blocks(page, "python"):
        ast.parse(source)


def test_readme_has_the_three_programs():
    programs = blocks(ROOT / "README.md", "python")
    assert ["detect(" in program for program in programs] == [True, True, False]
    assert [".train(" in program for program in programs] == [False, True, False]
    assert ["compute_coco_metrics(" in program for program in programs] == [False, False, True]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = page.read_text(encoding="utf-8")
    commands = "\n".join(blocks(page, "sh") + re.findall(r"`([^`\n]+)`", text))
    for target in re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE):
        assert target in targets
    for script in re.findall(r"(?:^|python3? )((?:samples|benchmarks|tests)/\S+\.py)", commands):
        assert (ROOT / script).is_file()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists()


@pytest.mark.slow
def test_training_program_runs(tmp_path):
    """On photos of one white rectangle, with settings for a small machine, twice: it resumes."""
    rng = np.random.default_rng(0)
    import skimage.io

    for part, count in (("train", 3), ("val", 2)):
        annotations = {}
        (tmp_path / "data" / part).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(0, 100, (60, 80, 3)).astype(np.uint8)
            image[10:40, 20:60] = 255
            name = f"{number}.png"
            skimage.io.imsave(tmp_path / "data" / part / name, image, check_contrast=False)
            corners = {"all_points_y": [10, 10, 40, 40], "all_points_x": [20, 60, 60, 20]}
            regions = {"0": {"shape_attributes": corners, "region_attributes": {}}}
            annotations[name] = {"filename": name, "regions": regions}
        path = tmp_path / "data" / part / "via_region_data.json"
        path.write_text(json.dumps(annotations))

    program = blocks(ROOT / "README.md", "python")[1]
    small = "BACKBONE = 'resnet50'; STEPS_PER_EPOCH = 1"
    program = program.replace("IMAGE_MAX_DIM = 320", "IMAGE_MAX_DIM = 64")
    program = program.replace("STEPS_PER_EPOCH = 30", small).replace("STEPS = 5", "STEPS = 1")
    program = program.replace("epochs=10", "epochs=2").replace("epochs=5", "epochs=1")
    assert small in program
    (tmp_path / "program.py").write_text(program)
    for _ in range(2):
        subprocess.run(
            [sys.executable, "program.py", "data"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
            check=True,
            capture_output=True,
        )
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["balloon_0.png", "balloon_1.png"]
    weights = sorted(p.name for p in (tmp_path / "logs").rglob("*.h5"))
    assert weights == ["mask_rcnn_balloon_0001.h5", "mask_rcnn_balloon_0002.h5"]
