"""Damaged annotation files that are no JSON: XML, YAML, and lists of numbers."""

import numpy as np
import pytest
from PIL import Image

from mrcnn.datasets import CvatDataset, VocDataset, YoloDataset
from tests.fuzz.guard import CASES, SEED
from tests.fuzz.mutate import ODD, mutate_bytes
from tests.fuzz.test_annotations import HEIGHT, WIDTH, use

CVAT = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>cat</name></label><label><name>dog</name></label></labels></task></meta>
<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">
<polygon label="cat" points="3.5,2.25;30.75,8.5;12.0,23.5" group_id="1"/>
<box label="dog" xtl="3" ytl="2" xbr="9.5" ybr="6" rotation="30"/>
<ellipse label="dog" cx="15" cy="10" rx="8" ry="4"/>
<mask label="cat" rle="2, 5, 2, 1, 1, 1" left="5" top="3" width="4" height="3"/>
</image><image id="1" name="sub/b.png" width="{WIDTH}" height="{HEIGHT}"/></annotations>
"""
VOC = """<annotation><filename>a.png</filename>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>20</xmax><ymax>15</ymax></bndbox></object>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>
</object></annotation>
"""
YAML = "path: .\ntrain: images\nval: [images]\nnames:\n  0: cat\n  1: dog\nnc: 2\n"
LINES = "0 0.1 0.2 0.9 0.3 0.4 0.95\n1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n"


def read_cvat(folder):
    dataset = CvatDataset()
    dataset.load_cvat(folder / "data.xml", folder / "images")
    return dataset


def read_voc(folder):
    dataset = VocDataset()
    dataset.load_voc(folder, boxes=True)
    return dataset


def read_yolo(folder):
    dataset = YoloDataset()
    dataset.load_yolo(folder / "data.yaml")
    return dataset


FORMATS = {
    "cvat": (CVAT, "data.xml", read_cvat),
    "voc": (VOC, "Annotations/a.xml", read_voc),
    "yaml": (YAML, "data.yaml", read_yolo),
    "yolo": (LINES, "labels/a.txt", read_yolo),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with two photos, and the sound files of all formats."""
    rng = np.random.default_rng(0)
    for name in ("images/a.png", "images/sub/b.png", "JPEGImages/a.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    for text, name, _ in FORMATS.values():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "labels" / "sub").mkdir()
    (tmp_path / "labels" / "sub" / "b.txt").write_text(LINES)
    return tmp_path


@pytest.mark.parametrize("name", FORMATS)
def test_sound_files_are_read_in_full(folder, name):
    assert use(folder, FORMATS[name][2])


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes(folder, name):
    text, file, read = FORMATS[name]
    rng = np.random.default_rng([SEED + 1, *name.encode()])
    for _ in range(CASES // 10):
        (folder / file).write_bytes(mutate_bytes(text.encode(), rng))
        use(folder, read)


@pytest.mark.parametrize("name", FORMATS)
def test_odd_words(folder, name):
    """Odd values in the place of each word or number."""
    text, file, read = FORMATS[name]
    rng = np.random.default_rng([SEED + 2, *name.encode()])
    marks = '"<>;,\n ='
    ends = [0, *(at for at, letter in enumerate(text) if letter in marks), len(text)]
    for _ in range(CASES // 10):
        at = int(rng.integers(len(ends) - 1))
        value = str(ODD[rng.integers(len(ODD))]).encode("utf-8", "replace").decode()
        (folder / file).write_text(text[: ends[at] + 1] + value + text[ends[at + 1] :])
        use(folder, read)
