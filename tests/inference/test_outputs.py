"""Files made of detections, read back by other libraries."""

import csv
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.inference.outputs import Outputs, free_folder
from mrcnn.inference.result import Result
from mrcnn.inference.sources import Photo
from mrcnn.inference.video import Video
from mrcnn.ops.rle import encode_mask

NAMES = ["BG", "cat", "sea lion"]


def rectangle(y1, x1, y2, x2):
    """A mask of 40x60 pixels."""
    mask = np.zeros((40, 60), bool)
    mask[y1:y2, x1:x2] = True
    return mask


# The second and the third overlap.
MASKS = [rectangle(2, 3, 6, 9), rectangle(10, 20, 20, 30), rectangle(15, 25, 30, 50)]
BOXES = [[2, 3, 6, 9], [10, 20, 20, 30], [15, 25, 30, 50]]
CLASS_IDS, SCORES = [2, 1, 2], [0.9, 0.75, 0.5]


def result_of(count=3, as_rle=True):
    masks = np.stack(MASKS, axis=-1)[..., :count]
    values = {
        "rois": np.array(BOXES[:count], np.int32).reshape(-1, 4),
        "class_ids": np.array(CLASS_IDS[:count], np.int32),
        "scores": np.array(SCORES[:count], np.float32),
        "masks": [encode_mask(mask) for mask in MASKS[:count]] if as_rle else masks,
    }
    photo = np.full((40, 60, 3), 90, np.uint8)
    return Result(values, photo, None, NAMES)


def photo_of(name, video=None, path=None):
    return Photo(name, name.rpartition(".")[0], None, path, video)


def write(folder, results, **options):
    """Write results by the names of their photos; return the folder."""
    with Outputs(folder, NAMES, **options) as outputs:
        for name, result in results.items():
            outputs.write(photo_of(name), result)
        for name in results:
            outputs.collect(photo_of(name))
    return folder


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("as_rle", [True, False])
def test_coco_json_is_a_data_set_and_its_annotations_are_results(tmp_path, capsys, as_rle):
    results = {"b.jpg": result_of(2, as_rle), "none.jpg": result_of(0), "a.jpg": result_of(3)}
    path = write(tmp_path, results, formats=("coco",)) / "detections.json"
    data = COCO(str(path))
    images = [(each["file_name"], each["height"], each["width"]) for each in data.imgs.values()]
    assert images == [(name, 40, 60) for name in ("b.jpg", "none.jpg", "a.jpg")]
    assert {each["id"]: each["name"] for each in data.cats.values()} == {1: "cat", 2: "sea lion"}
    found = data.loadAnns(data.getAnnIds(imgIds=[3]))
    assert [each["category_id"] for each in found] == CLASS_IDS
    np.testing.assert_allclose([each["score"] for each in found], SCORES)
    for each, mask, (y1, x1, y2, x2) in zip(found, MASKS, BOXES, strict=True):
        np.testing.assert_array_equal(data.annToMask(each).astype(bool), mask)
        assert each["area"] == mask.sum()
        assert each["bbox"] == [x1, y1, x2 - x1, y2 - y1]
    assert len(data.getAnnIds(imgIds=[1])) == 2 and data.getAnnIds(imgIds=[2]) == []
    document = json.loads(path.read_text())
    again = data.loadRes(document["annotations"])
    assert [each["area"] for each in again.anns.values()] == [24, 100, 24, 100, 375]


def test_tables_by_hand(tmp_path):
    results = {"a.jpg": result_of(1), "none.jpg": result_of(0), "b.jpg": result_of(3)}
    write(tmp_path, results, formats=("csv",), scale=0.5, unit="mm")
    rows = read_csv(tmp_path / "instances.csv")
    assert [(row["photo"], row["instance"], row["class"]) for row in rows] == [
        *(("a.jpg", "1", "sea lion"), ("b.jpg", "1", "sea lion"), ("b.jpg", "2", "cat")),
        ("b.jpg", "3", "sea lion"),
    ]
    first = rows[0]
    assert [first[name] for name in ("score", "y1", "x1", "y2", "x2", "unit")] == [
        *("0.9", "2", "3", "6", "9", "mm")
    ]
    # 4x6 pixels of 0.5 mm; their border runs through the centres of 3x5 pixels.
    measures = {"area": 24 / 4, "perimeter": 16 / 2, "centroid_y": 3.5 / 2, "centroid_x": 5.5 / 2}
    measures["equivalent_diameter"] = np.sqrt(4 * 6 / np.pi)
    for name, value in measures.items():
        assert float(first[name]) == pytest.approx(value, rel=1e-5)
    counts = [tuple(row.values()) for row in read_csv(tmp_path / "counts.csv")]
    assert list(read_csv(tmp_path / "counts.csv")[0]) == ["photo", "instances", "cat", "sea lion"]
    assert counts == [
        *(("a.jpg", "1", "0", "1"), ("none.jpg", "0", "0", "0"), ("b.jpg", "3", "1", "2"))
    ]


def test_pictures_keep_names_and_sizes(tmp_path):
    names = ("deep/a.jpg", "a.PNG", "b.tiff", "labels/c.png")
    write(tmp_path, {name: result_of() for name in names}, formats=("pictures",))
    assert files(tmp_path) == ["a.PNG", "b.png", "deep/a.jpg", "pictures/labels/c.png"]
    for name in files(tmp_path):
        with Image.open(tmp_path / name) as picture:
            assert (picture.size, picture.mode) == ((60, 40), "RGB")
    with Image.open(tmp_path / "a.PNG") as picture:
        drawn = np.asarray(picture)
    # The ground is as it was, an instance is not.
    assert drawn[35, 5].tolist() == [90, 90, 90] and drawn[27, 45].tolist() != [90, 90, 90]


@pytest.mark.parametrize("as_rle", [True, False])
def test_masks_and_label_images(tmp_path, as_rle):
    write(tmp_path, {"deep/a.jpg": result_of(3, as_rle)}, formats=("masks", "labels"))
    names = ["001_sea_lion.png", "002_cat.png", "003_sea_lion.png"]
    masks = [f"masks/deep/a/{name}" for name in names]
    assert files(tmp_path) == ["labels/deep/a.png", *masks]
    for name, mask in zip(masks, MASKS, strict=True):
        with Image.open(tmp_path / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), mask * 255)
    labels = cv2.imread(str(tmp_path / "labels/deep/a.png"), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16
    # Instance 2 covers 25 pixels of instance 3, which has a lower score.
    assert np.bincount(labels.ravel()).tolist() == [2400 - 24 - 100 - 350, 24, 100, 350]
    np.testing.assert_array_equal(labels == 2, MASKS[1])


def test_by_default_photos_become_pictures_and_videos_videos(tmp_path):
    video = Video(0, "street")
    video.rate = 10.0
    frames = [photo_of(f"street_frames/{number}.jpg", video) for number in range(12)]
    with Outputs(tmp_path, NAMES) as outputs:
        for photo in (*frames, photo_of("a.jpg")):
            outputs.write(photo, result_of())
            outputs.collect(photo)
    assert files(tmp_path) == ["a.jpg", "detections.json", "street.mp4"]
    capture = cv2.VideoCapture(str(tmp_path / "street.mp4"))
    found = [capture.get(cv2.CAP_PROP_FPS)]
    count = 0
    while True:
        is_read, frame = capture.read()
        if not is_read:
            break
        count += 1
        assert frame.shape == (40, 60, 3)
        # Drawn: the fill of the largest instance.
        assert abs(frame[27, 45].astype(int) - 90).max() > 10
    assert (count, found) == (12, [10.0])
    assert len(COCO(str(tmp_path / "detections.json")).imgs) == 13


def test_after_ctrl_c_files_hold_what_was_collected(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with Outputs(tmp_path, NAMES) as outputs:
            for name in ("a.jpg", "b.jpg"):
                outputs.write(photo_of(name), result_of())
            outputs.collect(photo_of("a.jpg"))
            raise KeyboardInterrupt
    document = json.loads((tmp_path / "detections.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.jpg"]
    assert len(document["annotations"]) == 3


def test_after_an_error_there_is_no_half_of_a_file(tmp_path):
    video = Video(0, "street")
    photo = photo_of("street_frames/0.jpg", video)
    with pytest.raises(OSError, match="full"):
        with Outputs(tmp_path, NAMES) as outputs:
            outputs.write(photo, result_of())
            outputs.collect(photo)
            raise OSError("The disk is full.")
    assert files(tmp_path) == []


def test_a_photo_is_never_replaced_by_its_drawn_picture(tmp_path):
    original = tmp_path / "a.jpg"
    Image.new("RGB", (60, 40)).save(original)
    before = original.read_bytes()
    outputs = Outputs(tmp_path, NAMES)
    with pytest.raises(ValueError, match=r"a\.jpg.* is a photo that was given"):
        outputs.write(photo_of("a.jpg", path=str(original)), result_of())
    assert original.read_bytes() == before


def test_unknown_format():
    with pytest.raises(ValueError, match='"pdf" cannot be saved; accepted are pictures, video'):
        Outputs("out", NAMES, ("coco", "pdf"))


def test_free_folder(tmp_path):
    assert free_folder(tmp_path / "out") == tmp_path / "out"
    (tmp_path / "out").mkdir()
    assert free_folder(tmp_path / "out") == tmp_path / "out"
    for name in ("out", "out_2"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "a.txt").touch()
    (tmp_path / "out_3").touch()
    assert free_folder(tmp_path / "out") == tmp_path / "out_4"
