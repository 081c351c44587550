import json
import unicodedata

import pytest

from mrcnn.data.checks import Note, shorten
from mrcnn.datasets import CocoJsonDataset, LabelMeDataset, ViaDataset
from mrcnn.readers.annotated import summarize
from mrcnn.readers.find import find_image
from mrcnn.readers.json_values import read_json

COCO = {"images": [], "annotations": [], "categories": []}
VIA1 = {"a.jpg1": {"filename": "a.jpg", "regions": {}}}
VIA2 = {"_via_settings": {}, "_via_img_metadata": {}, "_via_attributes": {}}
VIA3 = {"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}}
LABELME = {"shapes": [], "imagePath": "a.jpg"}


@pytest.fixture
def write_json(tmp_path):
    def write(content, name="data.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def load(layout, path):
    if layout == "COCO JSON":
        CocoJsonDataset().load_coco_json(path, path.parent)
    elif layout == "VIA JSON":
        ViaDataset().load_via(path, path.parent)
    else:
        LabelMeDataset().load_labelme(path.parent)


@pytest.mark.parametrize("layout", ["COCO JSON", "VIA JSON", "LabelMe JSON"])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (COCO, "COCO JSON"),
        (VIA1, "VIA JSON"),
        (VIA2, "VIA JSON"),
        (LABELME, "LabelMe JSON"),
        (VIA3, "a VIA 3 project"),
        ({}, "JSON of an unknown layout"),
        ([{"image_id": 1, "score": 0.5}], "JSON of an unknown layout"),
        ({"type": "FeatureCollection", "features": []}, "JSON of an unknown layout"),
    ],
)
def test_files_of_another_layout_are_named(write_json, layout, content, found):
    path = write_json(content)
    if found == layout:
        assert read_json(path, layout) == content
        return
    with pytest.raises(ValueError) as caught:
        load(layout, path)
    message = str(caught.value)
    assert message.startswith(f"{path} holds {found}, not {layout}, which ")
    reader = {
        "COCO JSON": "CocoJsonDataset.load_coco_json() reads it.",
        "VIA JSON": "ViaDataset.load_via() reads it.",
        "LabelMe JSON": "LabelMeDataset.load_labelme() reads it.",
    }
    assert message.endswith(reader.get(found, "takes."))


@pytest.mark.parametrize("layout", ["COCO JSON", "VIA JSON", "LabelMe JSON"])
def test_files_that_are_not_json_are_named(tmp_path, layout):
    path = tmp_path / "data.json"
    path.write_text("filename,region_count\na.jpg,1")
    with pytest.raises(ValueError, match=r"data\.json is not JSON: Expecting value: line 1"):
        load(layout, path)
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match=r"data\.json is not JSON: .*utf-8"):
        load(layout, path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no (annotation|\.json) file"):
        load(layout, path)


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(COCO), encoding="utf-8-sig")
    assert read_json(path, "COCO JSON") == COCO


def test_images_are_found_by_the_names_of_other_systems(write_photo, tmp_path):
    plain = write_photo("photos/a.png", 4, 4)
    assert find_image(tmp_path, "photos/a.png") == plain
    assert find_image(tmp_path, "photos\\a.png") == plain
    assert find_image(tmp_path / "photos", "..\\elsewhere\\a.png") == plain
    assert find_image("/nowhere", str(plain), outside=True) == plain
    assert find_image(tmp_path, "a.png") is None
    assert find_image(tmp_path, "photos") is None
    composed = unicodedata.normalize("NFC", "Köln.png")
    taken_apart = unicodedata.normalize("NFD", composed)
    assert composed != taken_apart
    stored = write_photo(taken_apart, 4, 4)
    assert find_image(tmp_path, composed).samefile(stored)


def test_summaries():
    notes = [Note("a hole", f"image {n}") for n in range(4)] + [Note("a crack", "image 9")]
    assert summarize(notes) == (
        "4 x a hole (image 0, image 1, image 2, and 1 more); 1 x a crack (image 9)"
    )
    assert shorten(["a", "b"], 2) == "a, b"
    assert shorten(["a", "b", "c"], 1, " | ") == "a | and 2 more"
