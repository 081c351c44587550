"""The pages' programs compile, their commands, files and links exist, their tables are right."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrcnn import limits
from mrcnn.config import PaperConfig
from mrcnn.ops.meta import parse_meta
from tests.test_layering import RANKS

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for places in ("*", "docs/*", "*/README", "samples/*/*")
    for path in ROOT.glob(f"{places}.md")
]


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
    assert [".save(" in program for program in programs] == [True, False, False]
    assert [".export(" in program for program in programs] == [False, True, False]
    assert ["coco_metrics(" in program for program in programs] == [False, False, True]


def test_settings_for_random_weights_are_legal():
    """The program of docs/from_scratch.md."""
    names = {}
    exec(blocks(ROOT / "docs" / "from_scratch.md", "python")[0], names)
    config = names["CellConfig"]()
    config.validate()
    assert (config.BACKBONE, config.IMAGE_SHAPE.tolist()) == ("small", [512, 512, 3])


def configs(page):
    """The Config classes of a page, and one for each row of its tables that has settings."""
    classes = {}
    for source in blocks(page, "python"):
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                exec(ast.unparse(node), {"PaperConfig": PaperConfig, **classes}, classes)
    rows = {}
    for row in re.findall(r"^\|.*", page.read_text(encoding="utf-8"), re.MULTILINE):
        settings = re.findall(r"`([A-Z_]+) = ([^`]+)`", row)
        named_class = re.search(r"`(\w+Config)`", row)
        base = classes.get(named_class and named_class[1], PaperConfig)
        values = {name: ast.literal_eval(value) for name, value in settings}
        if settings:
            rows[row] = type("Row", (base,), {"NAME": "row", "NUM_CLASSES": 81, **values})
    return classes | rows


@pytest.mark.parametrize("page", ["paper.md", "weights.md"])
def test_settings_of_the_paper_are_legal(page):
    found = configs(ROOT / "docs" / page)
    assert len(found) > 15
    for config in found.values():
        config().validate()


def test_batches_of_other_sizes_have_the_learning_rate_of_the_paper():
    """As docs/paper.md says for ResNeXt and Cityscapes."""
    config = configs(ROOT / "docs" / "paper.md")["CityscapesConfig"]()
    assert (config.LEARNING_RATE, config.STEPS_PER_EPOCH) == (0.01, 2000)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = page.read_text(encoding="utf-8")
    commands = "\n".join(blocks(page, "sh") + re.findall(r"`([^`\n]+)`", text))
    for target in re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE):
        assert target in targets
    for script in re.findall(r"(?:^|python3? )((?:samples|benchmarks|tests)/\S+\.py)", commands):
        assert (ROOT / script).is_file()


def anchors(page):
    """The names by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def broken_links(page):
    """Links of a page to a file or heading that does not exist, or named after another file."""
    text = page.read_text(encoding="utf-8")
    for label, link in re.findall(r"\[([^]]*)\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        name = label.strip("`")
        if link.startswith("https://"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link
        elif name.endswith(".py") and not target.as_posix().endswith(f"/{name}"):
            yield f"{link} is called {name}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings(page):
    assert list(broken_links(page)) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "a.py").touch()
    page.write_text("# One: two\n[`a.py`](a.py) [x](#one-two) [`b.py`](a.py) [c](c.md) [d](#three)")
    assert list(broken_links(page)) == ["a.py is called b.py", "c.md", "#three"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:mrcnn|tests|samples|docs)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=named)
def test_named_settings_exist(page):
    """All names like `THIS_ONE`: settings, limits, environment variables, others."""
    others = {"WEIGHT_SETTINGS", "IMAGE_PER_GPU", "INFERENCE_PRECISION_HINT"}
    for code in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")):
        for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", code):
            environment = name.startswith(("MRCNN_", "TF_", "CUDA_"))
            known = hasattr(PaperConfig, name) or hasattr(limits, name)
            assert environment or name in others or known, name


def table(page, heading):
    """The cells of the rows of the first table after a text on a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(heading)[2]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_columns_of_the_meta_are_as_documented():
    names = ["image_id", "original_image_shape", "image_shape", "window", "scale"]
    rows = table("conventions.md", "`image_meta` is one row")
    # 1 background and 2 classes: 15 columns, which hold their own numbers.
    entries = parse_meta(np.arange(15)[None])
    for name, (columns, *_) in zip([*names, "active_class_ids"], rows, strict=True):
        first, _, last = columns.partition(" .. ")
        last = first if ".." not in columns else last or 14
        expected = list(range(int(first.rstrip(" .")), int(last) + 1))
        assert np.ravel(entries[name]).tolist() == expected


def test_rooms_are_in_the_order_of_imports():
    rooms = [
        {name.removesuffix(".py").strip("/") for name in re.findall(r"`([^`]+)`", cells[0])}
        for cells in table("tour.md", "## The rooms")
    ]
    assert rooms == RANKS[::-1]


def test_glossary_is_in_order():
    words = [row[0].lower() for row in table("conventions.md", "## Glossary")]
    assert len(words) > 40 and words == sorted(set(words))


@pytest.mark.slow
def test_training_program_runs(tmp_path):
    """The last of docs/your_data.md, on photos of one white rectangle, twice: it resumes."""
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

    program = blocks(ROOT / "docs" / "your_data.md", "python")[-1]
    program = program.replace("IMAGE_MAX_DIM = 320", "IMAGE_MAX_DIM = 64")
    program = program.replace("PER_EPOCH = 100", "PER_EPOCH = 1").replace("STEPS = 2", "STEPS = 1")
    program = program.replace("rate, 9)", "rate, 1)").replace("rate / 10, 12)", "rate / 10, 2)")
    assert program.count("= 1\n") == 2 and 'rate, 1), ("all", rate / 10, 2)' in program
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    # As on a machine where nobody has set it.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "program.py", "data"],
            cwd=tmp_path,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = done.stdout.splitlines()
        # Two stages.
        assert len(lines) < 2 * 60
        assert not [line for line in lines if re.match("[EWF]0000 |.*(Error|Traceback)", line)]
    assert sorted(p.name for p in tmp_path.glob("*.jpg")) == ["balloon_0.jpg", "balloon_1.jpg"]
    weights = sorted(p.name for p in (tmp_path / "logs").rglob("*.h5"))
    assert weights == ["mask_rcnn_balloon_0001.h5", "mask_rcnn_balloon_0002.h5"]
