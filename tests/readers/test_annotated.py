import json
import os
import unicodedata

import pytest

from mrcnn import limits
from mrcnn.data.checks import Note, shorten, shown
from mrcnn.datasets import CocoJsonDataset, LabelMeDataset, ViaDataset
from mrcnn.readers.annotated import AnnotatedDataset, summarize
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


def test_names_of_images_stay_in_their_folder(write_photo, tmp_path):
    folder = tmp_path / "photos"
    inside, beside = write_photo("photos/sub/a.png", 4, 4), write_photo("other/b.png", 4, 4)
    assert find_image(folder, str(inside)) == inside
    assert find_image(folder, "sub/../sub/a.png") == inside
    for name in ("../other/b.png", "sub/../../other/b.png", "..\\other\\b.png", str(beside)):
        assert find_image(folder, name) is None
        assert find_image(folder, name, outside=True).samefile(beside)
    # The owner of the folder has set a link.
    (folder / "link.png").symlink_to(beside)
    assert find_image(folder, "link.png") == folder / "link.png"
    # "photos2" begins with "photos".
    assert find_image(folder, str(write_photo("photos2/c.png", 4, 4))) is None


def test_pipes_devices_and_impossible_names_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "/dev/zero", "a\x00b", "a" * 5000, "\ud800", ".", "..", ""):
        assert find_image(tmp_path, name) is None
        assert find_image(tmp_path, name, outside=True) is None


def test_a_name_that_leads_out_is_noted(write_json, write_photo, tmp_path):
    write_photo("photos/a.png", 4, 4)
    write_photo("b.png", 4, 4)
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "../b.png"}]
    path = write_json({**COCO, "images": images})
    dataset = CocoJsonDataset()
    with pytest.warns(UserWarning, match="leads out of it, which outside=True allows"):
        dataset.load_coco_json(path, tmp_path / "photos")
    assert [info["id"] for info in dataset.image_info] == [1]
    dataset.load_coco_json(path, tmp_path / "photos", outside=True)
    assert [info["id"] for info in dataset.image_info] == [1, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"[" * 100000, "nested too deeply"),
        (b'{"images": [' + b"1" * 5000 + b"]}", "is not JSON: Exceeds the limit"),
        (b'{"images": "\xff"}', "is not JSON: 'utf-8' codec"),
        (b"\xff\xfe{\x00\x00", "is not JSON: 'utf-16-le' codec"),
    ],
)
def test_texts_that_python_cannot_read(tmp_path, content, message):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(path, "COCO JSON")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_unicode(tmp_path, encoding):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(COCO), encoding=encoding)
    assert read_json(path, "COCO JSON") == COCO


def test_files_that_would_never_end_or_fill_the_memory(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "data.json")
    with pytest.raises(ValueError, match=r"data\.json is not a regular file"):
        read_json(tmp_path / "data.json", "COCO JSON")
    with pytest.raises(OSError, match="cannot be read: |is not a regular file"):
        read_json(tmp_path / "data.json" / "x", "COCO JSON")
    path = tmp_path / "large.json"
    path.write_text(json.dumps(COCO))
    monkeypatch.setattr(limits, "MAX_JSON_BYTES", 10)
    with pytest.raises(
        ValueError, match=r"large\.json has \d+ bytes, more than mrcnn\.limits\.MAX"
    ):
        read_json(path, "COCO JSON")


def test_many_names_take_linear_time():
    """Each name is looked at a few times, not once for each other name."""

    class Name(str):
        looks = 0

        def __eq__(self, other):
            Name.looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    dataset = AnnotatedDataset()
    for part in range(2):
        ids = dataset._add_named_classes("s", [Name(f"{n}") for n in range(part, 2000 + part)])
        assert list(ids.values()) == list(range(1 + part, 2001 + part))
    dataset.prepare()
    assert dataset.num_classes == 2002 and Name.looks < 20 * 4000


def test_values_in_messages_are_short_and_printable():
    assert shown("Köln, 3") == "Köln, 3" and shown(7) == "7"
    assert shown("a\nb\x00\ud800é\x1b[2J") == "a\\nb\\x00\\ud800é\\x1b[2J"
    assert len(shown("x" * 5000)) < 300 and len(shown([["x" * 5000]] * 50)) < 300
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert shown(deep) == "[[[...]]]" or len(shown(deep)) < 300
    assert len(shown(10**400)) < 100
    many = [Note(f"reason {n}", "here") for n in range(10000)]
    assert summarize(many).endswith("reason 19 (here); and 9980 more")
