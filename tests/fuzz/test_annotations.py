"""Damaged annotation files: everything that JSON can hold, in every place."""

import base64
import contextlib
import copy
import io
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from mrcnn.datasets import CocoJsonDataset, LabelMeDataset, LabelStudioDataset, ViaDataset
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes, mutate_tree
from tests.readers.brush import packed

HEIGHT, WIDTH = 24, 32
SQUARE = [10, 5, 20, 5, 20, 15, 10, 15]
TRIANGLE = [3.5, 2.25, 30.75, 8.5, 12.0, 23.5]


def annotation(number, image, category, segmentation, **more):
    box = {"bbox": [3, 2, 20, 20], "area": 100, "iscrowd": 0}
    ids = {"id": number, "image_id": image, "category_id": category}
    return {**ids, **box, "segmentation": segmentation, **more}


COCO = {
    "info": {"year": 2017},
    "images": [
        {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
        {"id": 2, "file_name": "sub/b.png", "height": HEIGHT, "width": WIDTH},
        {"id": 3, "file_name": "c.png"},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", "supercategory": "pet"}],
    "annotations": [
        annotation(1, 1, 1, [SQUARE, TRIANGLE]),
        annotation(2, 1, 2, {"size": [HEIGHT, WIDTH], "counts": [100, 60, 608]}, iscrowd=1),
        annotation(3, 2, 2, {"size": [HEIGHT, WIDTH], "counts": "b3[1e1Mc0"}),
        annotation(4, 3, 1, [TRIANGLE], keypoints=[1, 2, 2], num_keypoints=1),
    ],
}


def region(name, **more):
    kind = {"type": more.pop("type", "cat")}
    return {"shape_attributes": {"name": name, **more}, "region_attributes": kind}


REGIONS = [
    region("polygon", all_points_y=[2, 8, 23], all_points_x=[3, 30, 12]),
    region("polyline", all_points_y=[2, 8, 23, 2], all_points_x=[3, 30, 12, 3], type={"dog": True}),
    region("rect", y=3, x=2, height=5, width=9),
    region("circle", cy=12, cx=20, r=6.5, type="dog"),
    region("ellipse", cy=12, cx=20, rx=9, ry=4, theta=0.5),
    region("point", cy=1, cx=2),
]
VIA_1 = {
    "a.png9": {
        "filename": "a.png", "size": 9, "file_attributes": {},
        "regions": {str(number): each for number, each in enumerate(REGIONS)},
    },
    "sub/b.png9": {"filename": "sub/b.png", "size": 9, "regions": {"0": REGIONS[0]}},
}  # fmt: skip
VIA_2 = {
    "_via_settings": {"ui": {}},
    "_via_img_metadata": {
        "a.png9": {"filename": "a.png", "size": 9, "regions": REGIONS},
        "c.png9": {"filename": "c.png", "size": 9, "regions": []},
    },
    "_via_attributes": {"region": {"type": {"type": "dropdown", "options": {"fox": ""}}}},
}


def shape(kind, points, label="cat", group=None):
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}}


MASK = io.BytesIO()
Image.fromarray(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 0]], bool)).save(MASK, "PNG")
MASK = base64.b64encode(MASK.getvalue()).decode()
LABELME = {
    "version": "5.4.1",
    "flags": {},
    "shapes": [
        shape("polygon", [[3, 2], [30, 8], [12, 23]], group=1),
        shape("polygon", [[1, 1], [5, 1], [5, 5]], group=1),
        shape("rectangle", [[12, 9], [4, 5]], "dog"),
        shape("circle", [[20, 15], [23, 11]]),
        shape("point", [[20, 15]], "spot"),
        shape("mask", [[4, 5], [6, 8]], "dog") | {"mask": MASK},
    ],
    "imagePath": "a.png",
    "imageData": base64.b64encode(b"picture").decode(),
    "imageHeight": HEIGHT,
    "imageWidth": WIDTH,
}


def studio_region(kind, label="cat", **value):
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "a", "type": kind, "value": value | {kind: [label]}, **size}


PAINTED = np.zeros((HEIGHT, WIDTH), bool)
PAINTED[3:9, 4:20] = True
STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    studio_region("polygonlabels", points=[[10, 20], [90, 30], [40, 95]]),
                    studio_region("brushlabels", "dog", format="rle", rle=packed(PAINTED, False)),
                    studio_region("ellipselabels", x=50, y=50, radiusX=20, radiusY=9, rotation=5),
                    studio_region("rectanglelabels", x=5, y=9, width=30, height=9, rotation=30),
                ],
            }
        ],
    },
    {"id": 2, "data": {"image": "sub/b.png"}, "annotations": [{"result": []}]},
]


def read_studio(folder):
    dataset = LabelStudioDataset()
    dataset.load_label_studio(folder / "data.json", folder, boxes=True)
    return dataset


def read_coco(folder):
    dataset = CocoJsonDataset()
    dataset.load_coco_json(folder / "data.json", folder)
    return dataset


def read_via(folder, attribute="type"):
    dataset = ViaDataset()
    dataset.load_via(folder / "data.json", folder, class_attribute=attribute)
    return dataset


def read_via_of_one_class(folder):
    return read_via(folder, None)


def read_labelme(folder):
    dataset = LabelMeDataset()
    dataset.load_labelme(folder)
    return dataset


FORMATS = {
    "coco": (COCO, read_coco),
    "via 1": (VIA_1, read_via),
    "via 2": (VIA_2, read_via),
    "via, one class": (VIA_2, read_via_of_one_class),
    "labelme": (LABELME, read_labelme),
    "label studio": (STUDIO, read_studio),
}


@pytest.fixture
def folder(tmp_path):
    """A folder of three photos."""
    (tmp_path / "sub").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "sub/b.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def use(folder, read):
    """Read the annotations in a folder and use all that they have, as training and people do."""
    with guarded(folder) as errors, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dataset = read(folder)
        dataset.prepare()
        for image_id in dataset.image_ids:
            # Sound entries stay, so the errors of images are those of other sizes.
            with guarded(folder, (ValueError,)) as refused:
                image = dataset.load_image(image_id)
            assert all(" annotations are for " in str(error) for error in refused)
            with guarded(folder, ()):
                masks, class_ids = dataset.load_mask(image_id)
            info = dataset.image_info[image_id]
            assert masks.shape == (info["height"], info["width"], len(class_ids))
            assert masks.dtype == bool and masks.any(axis=(0, 1)).all()
            assert class_ids.dtype == np.int32 and (class_ids != 0).all()
            assert (np.abs(class_ids) < dataset.num_classes).all()
            assert refused or image.shape == (HEIGHT, WIDTH, 3)
            assert info["path"].startswith(str(folder)) and ".." not in info["path"]
            assert dataset.load_boxes(image_id) is None
            assert dataset.load_keypoints(image_id) is None
        with contextlib.redirect_stdout(io.StringIO()):
            report = dataset.validate()
        assert len(report.image_sizes) + len(report.unreadable) == dataset.num_images
        for note in dataset.notes:
            assert note.where.isprintable() and len(note.where) < 500, note
    assert all(str(folder) in str(error) for error in errors), errors
    return not errors


@pytest.mark.parametrize("name", FORMATS)
def test_sound_files_are_read_in_full(folder, name):
    tree, read = FORMATS[name]
    (folder / "data.json").write_text(json.dumps(tree))
    assert use(folder, read)


@pytest.mark.parametrize("name", FORMATS)
def test_odd_content(folder, name):
    tree, read = FORMATS[name]
    rng = np.random.default_rng([SEED, *name.encode()])
    read_files = 0
    for _ in range(CASES):
        (folder / "data.json").write_text(json.dumps(mutate_tree(tree, rng)), "utf-8")
        read_files += use(folder, read)
    # One odd value seldom spoils a file.
    assert read_files > 0.6 * CASES


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes(folder, name):
    tree, read = FORMATS[name]
    rng = np.random.default_rng([SEED + 1, *name.encode()])
    text = json.dumps(tree).encode()
    for _ in range(CASES // 5):
        (folder / "data.json").write_bytes(mutate_bytes(text, rng))
        use(folder, read)


def in_each_place(tree):
    """Yield copies of a tree with "@" in the place of one value."""
    waiting = [[]]
    while waiting:
        path = waiting.pop()
        changed = copy.deepcopy(tree)
        node, parent = changed, None
        for key in path:
            parent, node = node, node[key]
        if parent is not None:
            parent[path[-1]] = "@"
            yield changed
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            waiting += [[*path, key] for key in keys]


@pytest.mark.parametrize("value", ["[" * 900 + "]" * 900, "1" + "0" * 4000, r'"\ud800"', "-1e999"])
@pytest.mark.parametrize("name", FORMATS)
def test_values_that_python_cannot_write(folder, name, value):
    """Deep lists, long numbers, halves of characters, and infinity, in every place."""
    tree, read = FORMATS[name]
    for changed in in_each_place(tree):
        (folder / "data.json").write_text(json.dumps(changed).replace('"@"', value))
        use(folder, read)
