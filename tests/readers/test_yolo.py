import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.readers.yolo import YoloDataset

HEIGHT, WIDTH = 20, 40
# The box of rows 5 to 9 and columns 10 to 19, as shares.
SQUARE = "0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5"
TRIANGLE = "0.1 0.2 0.9 0.3 0.4 0.95"
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def folder(tmp_path, write_photo):
    """A folder of two training photos, one of them without objects, and one of validation."""
    (tmp_path / "data.yaml").write_text(YAML)
    for name in ("train/a", "train/b", "val/c"):
        for kind in ("images", "labels"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        write_photo(f"images/{name}.png", HEIGHT, WIDTH)
        (tmp_path / "labels" / f"{name}.txt").write_text("")
    label(tmp_path, f"0 {SQUARE}\n1 {TRIANGLE}")
    return tmp_path


def label(folder, text, name="train/a"):
    (folder / "labels" / f"{name}.txt").write_text(text)


def load(data, subset="train", **options):
    dataset = YoloDataset()
    dataset.load_yolo(data, subset, **options)
    dataset.prepare()
    return dataset


def reasons(dataset):
    return [note.reason for note in dataset.notes]


def test_polygons_are_filled_by_the_rule_of_pycocotools(folder):
    dataset = load(folder)
    assert dataset.class_names == ["BG", "cat", "dog"]
    assert [info["id"] for info in dataset.image_info] == ["a", "b"]
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 2]
    ys, xs = np.nonzero(masks[..., 0])
    assert (ys.min(), ys.max(), xs.min(), xs.max(), len(ys)) == (5, 9, 10, 19, 50)
    corners = [4.0, 4.0, 36.0, 6.0, 16.0, 19.0]
    expected = coco_mask.decode(coco_mask.frPyObjects([corners], HEIGHT, WIDTH))[..., 0]
    assert (masks[..., 1] == expected).all()
    # An empty file is a photo without objects.
    assert dataset.load_mask(1)[0].shape == (HEIGHT, WIDTH, 0)
    assert dataset.notes == []


def test_names_may_be_a_dict(folder):
    (folder / "data.yaml").write_text("train: images/train\nnames: {1: dog, 0: 5}\n")
    assert load(folder / "data.yaml").class_names == ["BG", "5", "dog"]


@pytest.mark.parametrize(
    "entry",
    [
        "images/train",
        "./images/train",
        # As Roboflow writes it.
        "../images/train",
        "[images/train]",
        "list.txt",
    ],
)
def test_photos_are_a_folder_a_list_or_several(folder, entry):
    (folder / "list.txt").write_text("./images/train/a.png\nimages/train/b.png\n\n")
    (folder / "data.yaml").write_text(f"train: {entry}\nnames: [cat, dog]\n")
    assert [info["id"] for info in load(folder).image_info] == ["a", "b"]


@pytest.mark.parametrize("path", [".", "inner", "/home/someone/data", "../datasets/mine"])
def test_path_is_the_root_if_it_is_there(folder, path):
    (folder / "inner").mkdir()
    entry = "../images/train" if path == "inner" else "images/train"
    (folder / "data.yaml").write_text(f"path: {path}\ntrain: {entry}\nnames: [cat, dog]\n")
    if path == "inner":
        with pytest.raises(FileNotFoundError, match=r"not in .*; outside=True looks beyond it"):
            load(folder)
        assert load(folder, outside=True).num_images == 2
    else:
        assert load(folder).num_images == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 " + SQUARE, "a class that is not among the names"),
        ("-1 " + SQUARE, "a class that is not among the names"),
        ("0.5 " + SQUARE, "a class that is not among the names"),
        ("0", "a polygon with fewer than 3 points"),
        ("0 0.1 0.2", "a polygon with fewer than 3 points"),
        ("0 0.1 0.2 0.3", "an odd number of coordinates"),
        ("0 0.1 0.2 0.3 0.4", "a line of 5 numbers, a box without outline"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "an odd number of coordinates"),
        ("cat " + SQUARE, "a word that is not a number"),
        ("0 0.1,0.2 0.3,0.4 0.5,0.6", "a word that is not a number"),
        ("0 nan 0.2 0.3 0.4 0.5 0.6", "a coordinate that is not a number"),
        ("0 1e999 0.2 0.3 0.4 0.5 0.6", "a coordinate that is not a number"),
        ("0 100 100 200 100 200 150", "coordinates far outside of 0 to 1"),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", "a shape without area"),
        ("\x00\ufffd", "a word that is not a number"),
    ],
)
def test_broken_lines_are_left_out(folder, line, reason):
    label(folder, f"{line}\n0 {SQUARE}\n")
    with pytest.warns(UserWarning, match=f"1 entry is left out: 1 x {reason}"):
        dataset = load(folder)
    assert [note.where for note in dataset.notes] == ["a.txt, line 1"]
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_a_polygon_beyond_the_border_is_cut(folder):
    label(folder, "0 0.5 0.5 1.2 0.5 1.2 1.2 0.5 1.2")
    with pytest.warns(UserWarning, match="cut at the border"):
        masks, _ = load(folder).load_mask(0)
    assert masks.sum() == 10 * 20 and masks[10:, 20:].all()


def test_boxes_are_objects_on_demand(folder):
    # Around (0.5, 0.5), a quarter of the width and half the height.
    label(folder, "1 0.5 0.5 0.25 0.5")
    masks, class_ids = load(folder, boxes=True).load_mask(0)
    assert class_ids.tolist() == [2] and masks.sum() == 100 and masks[5:15, 15:25].all()
    with pytest.raises(ValueError, match=r"all objects of 'train' are boxes.*boxes=True"):
        load(folder)


def test_missing_files_are_noted(folder):
    (folder / "labels" / "train" / "b.txt").unlink()
    (folder / "labels" / "train" / "lost.txt").write_text("")
    (folder / "images" / "train" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.warns(UserWarning):
        dataset = load(folder)
    assert sorted(reasons(dataset)) == [
        "a label file without a photo",
        "an image that cannot be read",
        "no label file, so no objects",
    ]
    (folder / "labels" / "train" / "a.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no photo of 'train' has a label file, such as"):
        load(folder)


def test_missing_images_of_a_list_are_noted(folder):
    (folder / "list.txt").write_text("images/train/a.png\nimages/train/z.png\n/etc/passwd\n")
    (folder / "data.yaml").write_text("train: list.txt\nnames: [cat, dog]\n")
    with pytest.warns(UserWarning, match="2 x an image that is not there, listed in list.txt"):
        assert load(folder).num_images == 1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("train: images/train\n", ValueError, "has no names of classes"),
        ("train: images/train\nnames: []\n", ValueError, "has no names of classes"),
        ("train: images/train\nnames: cat\n", ValueError, "has no names of classes"),
        ("train: images/train\nnames: {a: cat}\n", ValueError, "a number or a name that is none"),
        ("train: images/train\nnames: [[cat]]\n", ValueError, "a number or a name that is none"),
        ("train: images/train\nnames: [a, a]\n", ValueError, "has the class 'a' twice"),
        ("names: [cat]\n", ValueError, "no folder or file for 'train'; it has no subset"),
        ("val: images/val\nnames: [cat]\n", ValueError, "for 'train'; it has val"),
        ("train: [3]\nnames: [cat]\n", ValueError, "no folder or file for 'train'"),
        (
            "train: images/no\nnames: [cat]\n",
            FileNotFoundError,
            "names 'images/no', which is not in",
        ),
        ("train: /etc\nnames: [cat]\n", ValueError, "'?/etc'? leads out of its folder"),
        ("train: images\nnames: [c\n", ValueError, "is not YAML"),
        ("- 3\n", ValueError, "holds no names with values"),
        ("a: &a [x]\nnames: [*a, *a]\n", ValueError, "has references"),
        ("names: !!python/object/apply:os.system [ls]\n", ValueError, "is not YAML"),
        ("names: " + "[" * 5000, ValueError, "is not usable: its YAML is nested too deeply"),
        ("names: [" + "x, " * 100_000 + "x]\n", ValueError, "has at most 262144"),
    ],
)
def test_unusable_yaml(folder, text, error, message):
    (folder / "data.yaml").write_text(text)
    with pytest.raises(error, match=message) as caught:
        load(folder / "data.yaml")
    assert str(folder) in str(caught.value)


def test_the_yaml_file_of_a_folder(folder):
    (folder / "other.yaml").write_text("a: 3")
    assert load(folder).num_images == 2
    (folder / "data.yaml").rename(folder / "third.yml")
    with pytest.raises(FileNotFoundError, match=re.escape(f"{folder} has 2 YAML files")):
        load(folder)
