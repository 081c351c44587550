"""`Result`: still the dict of the original, and an object."""

import copy
import json
import pickle
import sys
import weakref

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mrcnn.data.photos import read_image
from mrcnn.inference.result import Result
from mrcnn.ops.contours import fill_rings
from mrcnn.readers.labelme import LabelMeDataset
from tests.inference.test_detect import assert_equal_results
from tests.test_readme import ROOT, blocks

PAGE = ROOT / "docs" / "results_api.md"
NAMES = ["BG", "cell", "nucleus"]


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


@pytest.fixture(params=["full", "rle"])
def result(request):
    """A square of 10 pixels, a ring, and a rectangle of 4 x 6 that touches the border."""
    masks = np.zeros((40, 60, 3), bool)
    masks[5:15, 8:18, 0] = True
    y, x = np.ogrid[:40, :60]
    distances = (y - 25) ** 2 + (x - 35) ** 2
    masks[..., 1] = (distances <= 100) & (distances > 16)
    masks[:4, 54:, 2] = True
    image = np.random.default_rng(0).integers(256, size=(40, 60, 3)).astype(np.uint8)
    values = {
        "rois": np.array([[5, 8, 15, 18], [15, 25, 36, 46], [0, 54, 4, 60]], np.int32),
        "class_ids": np.array([1, 2, 1], np.int32),
        "scores": np.array([0.9, 0.8, 0.75], np.float32),
        "masks": masks,
    }
    if request.param == "rle":
        values["masks"] = [encode(mask) for mask in np.moveaxis(masks, -1, 0)]
    made = Result(values, image, "photos/a.png", NAMES)
    made.expected = masks
    return made


# The dict


def test_it_is_the_dict_that_it_was(result):
    assert isinstance(result, dict)
    assert list(result) == ["rois", "class_ids", "scores", "masks"]
    assert "rois" in result and "image" not in result
    plain, unpacked = dict(result), {**result}
    assert plain.keys() == unpacked.keys() == result.keys()
    assert all(plain[name] is unpacked[name] is result[name] for name in result)
    assert (lambda rois, class_ids, scores, masks: rois)(**result) is result["rois"]
    assert result | {"more": 1} == plain | {"more": 1}
    assert Result({"a": 1}) == {"a": 1} != Result({"a": 2})


def test_lengths_and_truth(result):
    """`len` counts instances; a result is true where a dict with its keys is."""
    assert len(result) == 3
    empty = Result({"rois": np.zeros((0, 4), np.int32), "scores": []})
    assert len(empty) == 0 and empty
    assert len(Result()) == 0 and not Result()


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_that_of_a_dict(indent):
    """With an indent, the encoder of Python asks whether a dict is true."""
    plain = {"rois": [], "scores": []}
    assert json.dumps(Result(plain), indent=indent) == json.dumps(plain, indent=indent)


def test_copies_and_pickles_keep_everything(result):
    del result.expected
    copies = copy.copy(result), result.copy(), copy.deepcopy(result)
    for other in (*copies, pickle.loads(pickle.dumps(result))):
        assert type(other) is Result and list(other) == list(result)
        assert (other.path, other.class_names) == ("photos/a.png", NAMES)
        np.testing.assert_array_equal(other["rois"], result["rois"])
        np.testing.assert_array_equal(other.image, result.image)


def test_repr_is_short(result):
    assert repr(result) == "<Result: 2 cell, 1 nucleus in a.png>"
    ids = np.array([7, 1, 2, 3, 3, 9, 4])
    many = Result({"rois": np.zeros((7, 4)), "class_ids": ids}, class_names=NAMES)
    assert repr(many) == "<Result: 2 class 3, 1 cell, 1 nucleus, 1 class 4, 2 of 2 other classes>"
    assert repr(Result()) == "<Result: nothing>"


# Pictures, and other formats


def test_pictures_have_the_size_of_the_photo(result, tmp_path):
    picture = result.plot()
    assert picture.shape == (40, 60, 3) and picture.dtype == np.uint8
    # The photo itself is not drawn into, and the masks show.
    inside = result.expected[..., 0]
    assert (picture[inside] != result.image[inside]).any()
    result.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)
    result.save(tmp_path / "B.JPG", color_by="instance")
    assert read_image(tmp_path / "B.JPG").shape == (40, 60, 3)


def test_gray_photos_and_floats_are_drawn(result):
    result.image = result.image[..., 0] / 255.0
    assert result.plot().shape == (40, 60, 3)


def test_unknown_suffixes_and_folders(result, tmp_path):
    for name in ("a.txt", "a"):
        with pytest.raises(ValueError, match=r"accepted are \.jpg, .* and \.json for LabelMe"):
            result.save(tmp_path / name)
    with pytest.raises(OSError, match="cannot be written"):
        result.save(tmp_path / "missing" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_coco_results(result):
    found = json.loads(json.dumps(result.to_coco(image_id=7)))
    assert [entry["bbox"] for entry in found] == [[8, 5, 10, 10], [25, 15, 21, 21], [54, 0, 6, 4]]
    assert [entry["category_id"] for entry in found] == [1, 2, 1]
    assert [entry["score"] for entry in found] == pytest.approx([0.9, 0.8, 0.75])
    assert {entry["image_id"] for entry in found} == {7}
    for index, entry in enumerate(found):
        mask = coco_mask.decode(entry["segmentation"])
        np.testing.assert_array_equal(mask, result.expected[..., index])


def test_labelme_reads_the_same_masks(result, tmp_path):
    """A file beside the photos, which the reader of the package opens."""
    photos = tmp_path / "photos"
    photos.mkdir()
    result.path = str(photos / "a.png")
    Image.fromarray(result.image).save(result.path)
    result.save(tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["imagePath"] == "photos/a.png"
    dataset = LabelMeDataset()
    dataset.load_labelme(str(tmp_path))
    dataset.prepare()
    masks, class_ids = dataset.load_mask(0)
    assert [dataset.class_names[i] for i in class_ids] == ["cell", "nucleus", "cell"]
    np.testing.assert_array_equal(masks, result.expected)


def test_supervision(result):
    supervision = pytest.importorskip("supervision")
    found = result.to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == 3
    assert found.xyxy.tolist() == [[8, 5, 18, 15], [25, 15, 46, 36], [54, 0, 60, 4]]
    np.testing.assert_array_equal(np.moveaxis(found.mask, 0, -1), result.expected)
    assert found.class_id.tolist() == [1, 2, 1]
    assert found.data["class_name"].tolist() == ["cell", "nucleus", "cell"]
    assert found.confidence == pytest.approx([0.9, 0.8, 0.75])
    assert found.area.tolist() == result.expected.sum((0, 1)).tolist()
    none = Result({"rois": np.zeros((0, 4)), "class_ids": [], "scores": [], "masks": []})
    assert len(none.to_supervision()) == 0


def test_supervision_that_is_missing(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        result.to_supervision()


def test_supervision_from_the_plain_dict(result):
    """As docs/results_api.md has it, for full masks."""
    supervision = pytest.importorskip("supervision")
    if isinstance(result["masks"], list):
        result["masks"] = coco_mask.decode(result["masks"]).astype(bool)
    source = [block for block in blocks(PAGE, "python") if "sv.Detections(" in block]
    names = {"r": dict(result)}
    exec(source[0], names)
    result.class_names = None
    assert names["detections"] == result.to_supervision()
    assert isinstance(names["detections"], supervision.Detections)


# Instances


def test_polygons_fill_to_the_masks(result):
    outlines = result.polygons()
    assert [len(rings) for rings in outlines] == [1, 2, 1]
    assert sorted(map(tuple, outlines[0][0].tolist())) == [(5, 8), (5, 18), (15, 8), (15, 18)]
    for index, rings in enumerate(outlines):
        filled = fill_rings(rings, 40, 60)
        np.testing.assert_array_equal(filled, result.expected[..., index])


def test_crops(result):
    square, ring, corner = result.crops()
    np.testing.assert_array_equal(square, result.image[5:15, 8:18])
    assert (ring.shape, corner.shape) == ((21, 21, 3), (4, 6, 3))
    # A margin ends at the border of the photo.
    assert [crop.shape[:2] for crop in result.crops(margin=2)] == [(14, 14), (25, 25), (6, 8)]
    square[:] = 0
    assert result.image[5:15, 8:18].any()


def test_crops_with_a_background(result):
    for index, crop in enumerate(result.crops(margin=1, background=(1, 2, 3))):
        y1, x1, y2, x2 = result["rois"][index] + (-1, -1, 1, 1)
        window = slice(max(y1, 0), y2), slice(x1, min(x2, 60))
        inside = result.expected[(*window, index)]
        np.testing.assert_array_equal(crop[inside], result.image[window][inside])
        assert (crop[~inside] == (1, 2, 3)).all() and not inside.all()
    with pytest.raises(ValueError, match="margin is -1"):
        result.crops(margin=-1)


def test_table(result):
    square, ring, corner = result.table()
    assert square == {
        "class_id": 1,
        "class": "cell",
        "score": pytest.approx(0.9),
        "y1": 5,
        "x1": 8,
        "y2": 15,
        "x2": 18,
        "area": 100,
        "perimeter": 36,
        "centroid_y": 9.5,
        "centroid_x": 12.5,
        "equivalent_diameter": pytest.approx(np.sqrt(400 / np.pi)),
    }
    assert ring["area"] == result.expected[..., 1].sum()
    # Through the centres of the border pixels: 2 x (3 + 5).
    assert (corner["area"], corner["perimeter"]) == (24, 16)
    scaled = result.table(scale=0.5)[0]
    assert (scaled["area"], scaled["perimeter"], scaled["centroid_x"]) == (25, 18, 6.25)
    assert scaled["x2"] == 18
    for scale in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="length of a pixel, above 0"):
            result.table(scale=scale)


# What is missing


def test_without_image_names_and_path(result):
    result.image = result.class_names = result.path = None
    assert repr(result) == "<Result: 2 class 1, 1 class 2>"
    assert result.table()[1]["class"] == "class 2"
    assert len(result.to_coco()) == len(result.polygons()) == len(result.to_supervision()) == 3
    for method in (result.plot, result.crops):
        with pytest.raises(ValueError, match="needs the photo, but this result has no image"):
            method()
    with pytest.raises(ValueError, match="needs the photo's file; this result has no path"):
        result.to_labelme("a.json")


def test_without_masks(result):
    del result["masks"]
    assert result.plot().shape == (40, 60, 3) and len(result.crops()) == 3
    assert "segmentation" not in result.to_coco()[0]
    assert result.to_supervision().mask is None
    for method in (result.polygons, result.table):
        with pytest.raises(ValueError, match="This result has no masks"):
            method()


# What `detect` returns


def test_detect_gives_the_photo_and_its_file(model, photo, tmp_path):
    image = photo(40, 70)
    Image.fromarray(image).save(tmp_path / "a.png")
    model.class_names = ["BG", "square", "disc"]
    try:
        one, other = model.detect([image, tmp_path / "a.png"])
        (molded,) = model.detect_molded(*model.mold_inputs([image])[:2])
    finally:
        model.class_names = None
    assert type(one) is Result and one.image is image and one.path is None
    assert other.path == str(tmp_path / "a.png")
    np.testing.assert_array_equal(other.image, image)
    assert one.class_names == molded.class_names == ["BG", "square", "disc"]
    assert molded.image is None
    assert_equal_results(other, one)


def test_results_do_not_hold_molded_images(model, photo, monkeypatch):
    import mrcnn.inference.detect as detection

    alive, mold_one = [], detection.mold_one

    def watched(*args):
        molded, meta, window = mold_one(*args)
        alive.append(weakref.ref(molded))
        return molded, meta, window

    monkeypatch.setattr(detection, "mold_one", watched)
    results = model.detect([photo(64, 64), photo(40, 50)])
    assert len(results) == len(alive) == 2 and [ref() for ref in alive] == [None, None]
    # Their arrays are no views of something as large.
    bases = [value.base for result in results for value in result.values()]
    assert all(base is None or base.nbytes <= 10 * 64 * 64 for base in bases)


def test_overridden_methods_give_results(model, photo, monkeypatch):
    image = photo(64, 64)
    monkeypatch.setattr(
        model, "unmold_detections", lambda *a: type(model).unmold_detections(model, *a)
    )
    (result,) = model.detect([image])
    assert type(result) is Result and result.image is image and len(result) > 0


def test_programs_of_the_page_run(model, photo, tmp_path, monkeypatch, capsys):
    pytest.importorskip("supervision")
    Image.fromarray(photo(150, 200)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names = {"model": model}
    for source in blocks(PAGE, "python"):
        exec(source.replace("tile=1024", "tile=64"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drawn.jpg",
        "photo.jpg",
        "photo.json",
    ]
    assert capsys.readouterr().out.endswith("in photo.jpg> 10\n")
    assert len(names["areas"]) == 10 and len(names["r"]) > 10
