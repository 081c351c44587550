"""The programs of docs/your_data.md run, on drawn photos."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn import datasets

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your_data.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
CORNERS = {"x": [20, 60, 60, 20], "y": [10, 10, 40, 40]}


def draw_photo(path, rng):
    image = rng.integers(0, 100, (60, 80, 3)).astype(np.uint8)
    image[10:40, 20:60] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_coco(folder, part, count, rng):
    """Photos with a white rectangle each, of two classes in turn."""
    polygon = np.stack([CORNERS["x"], CORNERS["y"]], axis=1).ravel().tolist()
    content = {"categories": [{"id": 5, "name": "apple"}, {"id": 9, "name": "pear"}]}
    content["images"] = [
        {"id": n, "file_name": f"{n}.png", "height": 60, "width": 80} for n in range(count)
    ]
    content["annotations"] = [
        {"id": n, "image_id": n, "category_id": (5, 9)[n % 2], "segmentation": [polygon]}
        | {"iscrowd": 0, "area": 1200, "bbox": [20, 10, 40, 30]}
        for n in range(count)
    ]
    for n in range(count):
        draw_photo(folder / part / f"{n}.png", rng)
    (folder / f"{part}.json").write_text(json.dumps(content))


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_readers_of_the_table_work(tmp_path, rng, monkeypatch):
    """Run each call as the page has it, on files as the tools write them."""
    monkeypatch.chdir(tmp_path)
    draw_photo(tmp_path / "photos" / "a.png", rng)
    draw_photo(tmp_path / "folder" / "a" / "images" / "a.png", rng)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:60] = 1
    for path in (tmp_path / "labels" / "a.png", tmp_path / "folder" / "a" / "masks" / "1.png"):
        path.parent.mkdir(parents=True)
        Image.fromarray(mask).save(path)
    rect = {"name": "rect", "x": 20, "y": 10, "width": 40, "height": 30}
    region = {"shape_attributes": rect, "region_attributes": {"type": "apple"}}
    Path("via.json").write_text(json.dumps({"a1": {"filename": "a.png", "regions": [region]}}))
    shape = {"label": "apple", "points": [[20, 10], [60, 40]], "shape_type": "rectangle"}
    labelme = {"shapes": [shape], "imagePath": "a.png", "imageHeight": 60, "imageWidth": 80}
    Path("photos", "a.json").write_text(json.dumps(labelme))
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1}],
        "categories": [{"id": 1, "name": "apple"}],
    }
    coco["annotations"][0]["segmentation"] = [[20, 10, 60, 10, 60, 40, 20, 40]]
    Path("instances.json").write_text(json.dumps(coco))

    corners = [(20, 10), (60, 10), (60, 40), (20, 40)]
    shares = " ".join(f"{x / 80} {y / 60}" for x, y in corners)
    draw_photo(tmp_path / "yolo" / "images" / "a.png", rng)
    Path("yolo", "labels").mkdir()
    Path("yolo", "labels", "a.txt").write_text(f"0 {shares}")
    Path("yolo", "data.yaml").write_text("train: images\nval: images\nnames: [apple]\n")
    points = ";".join(f"{x},{y}" for x, y in corners)
    polygon = f'<polygon label="apple" points="{points}"/>'
    image = f'<image id="0" name="a.png" width="80" height="60">{polygon}</image>'
    Path("annotations.xml").write_text(f"<annotations>{image}</annotations>")
    percent = [[x / 0.8, y / 0.6] for x, y in corners]
    value = {"points": percent, "polygonlabels": ["apple"]}
    result = [{"type": "polygonlabels", "original_width": 80, "original_height": 60}]
    result[0]["value"] = value
    task = {"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": result}]}
    Path("export.json").write_text(json.dumps([task]))
    draw_photo(tmp_path / "voc" / "JPEGImages" / "a.png", rng)
    for kind in ("Object", "Class"):
        Path("voc", f"Segmentation{kind}").mkdir()
        Image.fromarray(mask).save(Path("voc", f"Segmentation{kind}", "a.png"))
    Path("voc", "labelmap.txt").write_text("background:0,0,0::\napple:128,0,0::\n")

    calls = re.findall(r"`((\w+)\(\)\.(load_\w+)\((.*)\))` \|$", PAGE, re.MULTILINE)
    assert {name for _, name, _, _ in calls} == {
        name for name in vars(datasets) if name.endswith("Dataset")
    } - {"Dataset"}
    assert len(calls) == 9
    for _, name, method, arguments in calls:
        dataset = getattr(datasets, name)()
        call = ast.parse(f"f({arguments})", mode="eval").body
        given = [ast.literal_eval(argument) for argument in call.args]
        options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        getattr(dataset, method)(*given, **options)
        dataset.prepare()
        assert dataset.num_classes == 2
        np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], mask.astype(bool))
        assert (dataset.load_image(0)[mask == 1] == 255).all()


def test_the_split_by_scene(tmp_path):
    names = {}
    exec(PROGRAMS[1], names)
    dataset = datasets.CocoJsonDataset()
    for number in range(10):
        dataset.add_image("coco", number, f"photos/street{number // 2}_{number}.jpg")
    dataset.prepare()
    train, val = names["load_parts"](dataset)
    assert (train.num_images, val.num_images) == (8, 2)
    assert len({val.image_info[i]["path"].split("_")[0] for i in val.image_ids}) == 1


def test_the_program_that_inspects_data(tmp_path, rng):
    write_coco(tmp_path / "data", "train", 3, rng)
    write_coco(tmp_path / "data", "val", 2, rng)
    (tmp_path / "look.py").write_text(PROGRAMS[0])
    printed = run(tmp_path, "look.py")
    assert [line for line in printed.splitlines() if "instances," in line] == [
        "3 images, 3 instances, 2 classes",
        "2 images, 2 instances, 2 classes",
    ]
    counts = re.findall(r"^ +\d  (apple|pear) +(\d) +(\d) +(\d)$", printed, re.MULTILINE)
    assert counts == [
        ("apple", "2", "2", "0"),
        ("pear", "1", "1", "0"),
        ("apple", "1", "1", "0"),
        ("pear", "1", "1", "0"),
    ]


def test_the_programs_that_correct_select_and_join(tmp_path, rng, capsys):
    names = {}
    exec(PROGRAMS[4], names)
    write_coco(tmp_path / "data" / "annotations", "train", 3, rng)
    write_coco(tmp_path / "data" / "annotations", "val", 2, rng)
    for part in ("train", "val"):
        os.rename(tmp_path / "data" / "annotations" / part, tmp_path / "data" / part)
    found = names["correct"](tmp_path / "data", tmp_path / "new")
    assert capsys.readouterr().out.startswith("COCO JSON\n")
    assert found.format == "LabelMe JSON"
    assert (found.train.num_images, found.val.num_images) == (3, 2)
    mask = np.zeros((60, 80), bool)
    mask[10:40, 20:60] = True
    np.testing.assert_array_equal(found.val.load_mask(1)[0][..., 0], mask)
    pears = names["only"](found.train, "pear")
    assert pears.class_names == ["BG", "pear"] and pears.image_ids.tolist() == [1]
    joined = names["join"](tmp_path / "data", tmp_path / "new")
    assert joined.num_images == 6 and joined.class_names == ["BG", "apple", "pear"]


@pytest.mark.slow
def test_the_program_that_trains(tmp_path, rng):
    """With settings for a small machine."""
    write_coco(tmp_path / "data", "train", 3, rng)
    write_coco(tmp_path / "data", "val", 2, rng)
    program = PROGRAMS[3].replace("MAX_DIM = 512", "MAX_DIM = 64\n    BACKBONE = 'small'")
    program = program.replace("PER_EPOCH = 100", "PER_EPOCH = 1").replace("STEPS = 10", "STEPS = 1")
    program = program.replace("epochs=5", "epochs=1").replace("epochs=20", "epochs=2")
    assert "small" in program and "epochs=2" in program
    (tmp_path / "look.py").write_text(PROGRAMS[0])
    (tmp_path / "train.py").write_text(program)
    printed = run(tmp_path, "train.py")
    assert "Boxes" in printed and "Masks" in printed
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["fruit_0.png", "fruit_1.png"]
    weights = sorted(p.name for p in (tmp_path / "logs").rglob("*.h5"))
    assert weights == ["mask_rcnn_fruit_0001.h5", "mask_rcnn_fruit_0002.h5"]
