import json
import re

import numpy as np
import pytest
from PIL import Image

from mrcnn.datasets import open_folder

HEIGHT, WIDTH = 12, 16
# The box of rows 2 to 5 and columns 3 to 8, in each format.
SQUARE = [[3, 2], [9, 2], [9, 6], [3, 6]]
YOLO = " ".join(str(v) for x, y in SQUARE for v in (x / WIDTH, y / HEIGHT))


def coco(names, label="cat", categories=None):
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    categories = categories or [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
    used = next(each["id"] for each in categories if each["name"] == label)
    flat = [value for point in SQUARE for value in point]
    annotations = [
        {"id": n, "image_id": n, "category_id": used, "segmentation": [flat], "iscrowd": 0}
        for n in range(len(names))
    ]
    return {"images": images, "categories": categories, "annotations": annotations}


def via(names, label="cat"):
    shape = {"name": "polygon", "all_points_x": [x for x, _ in SQUARE]}
    shape["all_points_y"] = [y for _, y in SQUARE]
    attributes = {"kind": label, "seen by": "me"}
    region = {"shape_attributes": shape, "region_attributes": attributes}
    return {name: {"filename": name, "regions": [dict(region)]} for name in names}


def labelme(name, label="cat"):
    shape = {"label": label, "points": SQUARE, "shape_type": "polygon", "group_id": None}
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    return {"shapes": [shape], "imagePath": name, **size}


def studio(names, label="cat"):
    points = [[x * 100 / WIDTH, y * 100 / HEIGHT] for x, y in SQUARE]
    region = {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [label]}}
    annotations = [{"result": [region]}]
    return [{"data": {"image": name}, "annotations": annotations} for name in names]


def cvat(names, label="cat"):
    points = ";".join(f"{x},{y}" for x, y in SQUARE)
    shape = f'<polygon label="{label}" points="{points}"/>'
    images = "".join(f'<image name="{name}">{shape}</image>' for name in names)
    return f"<annotations>{images}</annotations>"


@pytest.fixture
def tree(tmp_path, write_photo):
    """Function that writes files by name: photos for a None, masks, texts, and JSON."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                write_photo(name, HEIGHT, WIDTH)
            elif isinstance(content, np.ndarray):
                Image.fromarray(content.astype(np.uint8)).save(path)
            elif isinstance(content, str):
                path.write_text(content)
            else:
                path.write_text(json.dumps(content))
        return tmp_path

    return write


MASK = np.zeros((HEIGHT, WIDTH))
MASK[2:6, 3:9] = 1
PHOTOS = {f"images/{n}.png": None for n in range(5)}
NAMES = [f"{n}.png" for n in range(5)]
HERE = {name: None for name in NAMES}
PARTED = {f"{part}/{n}.png": None for part in ("train", "val") for n in range(2)}
NESTED = {f"{part}/images/{n}.png": None for part in ("train", "valid") for n in range(2)}
TWO = ["0.png", "1.png"]

UNDIVIDED = {
    "coco beside": ("COCO JSON", {**HERE, "a.json": coco(NAMES)}),
    "coco above": ("COCO JSON", {**PHOTOS, "annotations.json": coco(NAMES)}),
    "via": ("VIA JSON", {**HERE, "via_region_data.json": via(NAMES)}),
    "labelme": ("LabelMe JSON", HERE | {f"{n}.json": labelme(f"{n}.png") for n in range(5)}),
    "studio": ("Label Studio JSON", {**PHOTOS, "export.json": studio(NAMES)}),
    "cvat": ("CVAT XML", {**PHOTOS, "annotations.xml": cvat(NAMES)}),
    "yolo": (
        "YOLO",
        {**PHOTOS, "data.yaml": "train: images\nval: images\nnames: [cat]"}
        | {f"labels/{n}.txt": f"0 {YOLO}" for n in range(5)},
    ),
    "label images": ("label images", PHOTOS | {f"masks/{n}.png": MASK * 7 for n in range(5)}),
    "mask folders": (
        "mask folders",
        {f"{n}/images/{n}.png": None for n in range(5)}
        | {f"{n}/masks/a.png": MASK * 255 for n in range(5)},
    ),
    "voc": (
        "Pascal VOC",
        {f"JPEGImages/{n}.png": None for n in range(5)}
        | {f"SegmentationObject/{n}.png": MASK for n in range(5)}
        | {f"SegmentationClass/{n}.png": MASK * 8 for n in range(5)},
    ),
    "unpacked": (
        "VIA JSON",
        {f"inner/{k}": v for k, v in {**HERE, "via.json": via(NAMES)}.items()},
    ),
}


@pytest.mark.parametrize("name", UNDIVIDED)
def test_one_set_is_divided(tree, name):
    kind, files = UNDIVIDED[name]
    found = open_folder(tree(**files))
    assert found.format == kind
    assert (found.train.num_images, found.val.num_images) == (4, 1)
    assert {*found.train.image_ids, *found.val.image_ids} == set(range(5))
    assert "; 1 of its 5 images, chosen at random (seed 0), are set aside" in found.notes[-1]
    for part in (found.train, found.val):
        masks, class_ids = part.load_mask(part.image_ids[0])
        assert (masks[..., 0] == MASK).all() and len(class_ids) == 1
        single = "object" if kind in ("label images", "mask folders") else "cat"
        assert part.class_names[class_ids[0]] == single


DIVIDED = {
    "coco": {
        **PARTED,
        "annotations/instances_train.json": coco(TWO),
        "annotations/instances_val.json": coco(TWO, "dog"),
        "annotations/person_keypoints_val.json": coco(TWO),
    },
    "coco of years": {f"images/{k.replace('/', '2017/')}": None for k in PARTED}
    | {
        "annotations/instances_train2017.json": coco(TWO),
        "annotations/instances_val2017.json": coco(TWO, "dog"),
    },
    "roboflow": {
        **{k.replace("val/", "valid/"): None for k in PARTED},
        "train/_annotations.coco.json": coco(TWO),
        "valid/_annotations.coco.json": coco(TWO, "dog"),
        "README.roboflow.txt": "no",
    },
    "via": {**PARTED, "train/via.json": via(TWO), "val/via.json": via(TWO, "dog")},
    "labelme": PARTED
    | {f"train/{n}.json": labelme(f"{n}.png") for n in range(2)}
    | {f"val/{n}.json": labelme(f"{n}.png", "dog") for n in range(2)},
    "cvat": {**PARTED, "train/a.xml": cvat(TWO), "val/a.xml": cvat(TWO, "dog")},
    "studio": {**PARTED, "train/a.json": studio(TWO), "val/a.json": studio(TWO, "dog")},
    "yolo": {
        **{f"images/{k}": None for k in PARTED},
        **{f"labels/train/{n}.txt": f"0 {YOLO}" for n in range(2)},
        **{f"labels/val/{n}.txt": f"1 {YOLO}" for n in range(2)},
        "data.yaml": "train: images/train\nval: images/val\nnames: [cat, dog]",
    },
    "yolo of roboflow": {
        **NESTED,
        **{f"train/labels/{n}.txt": f"0 {YOLO}" for n in range(2)},
        **{f"valid/labels/{n}.txt": f"1 {YOLO}" for n in range(2)},
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cat, dog]",
    },
}


@pytest.mark.parametrize("name", DIVIDED)
def test_parts_have_one_numbering_of_classes(tree, name):
    """The training photos have cats only, those for validation dogs only."""
    folder = tree(**DIVIDED[name])
    found = open_folder(folder)
    assert found.train.class_names == found.val.class_names == ["BG", "cat", "dog"]
    assert (found.train.num_images, found.val.num_images) == (2, 2)
    for part, class_id in ((found.train, 1), (found.val, 2)):
        masks, class_ids = part.load_mask(1)
        assert class_ids.tolist() == [class_id] and (masks[..., 0] == MASK).all()
    only = open_folder(folder, "val")
    assert only.train.load_mask(0)[1].tolist() == [2] and only.val is None
    assert open_folder(folder, "train").train.class_names == found.train.class_names
    with pytest.raises(ValueError, match="has no test part"):
        open_folder(folder, "test")


def test_label_images_and_voc_in_parts(tree):
    files = {f"images/{k}": None for k in PARTED} | {f"masks/{k}": MASK for k in PARTED}
    found = open_folder(tree(**files))
    assert (found.format, found.train.num_images, found.val.num_images) == ("label images", 2, 2)


def test_voc_lists(tree):
    lists = {"train": "0\n1\n2\n", "val": "3\n4\n"}
    names = {f"ImageSets/Segmentation/{part}.txt": text for part, text in lists.items()}
    found = open_folder(tree(**UNDIVIDED["voc"][1] | names))
    assert (found.train.num_images, found.val.num_images) == (3, 2)
    assert found.notes == ["There is no labelmap.txt, so the classes are Pascal VOC's twenty."]


def test_a_test_part_is_for_validation_without_another_one(tree):
    files = {k.replace("val/", "test/"): None for k in PARTED}
    files |= {"train/a.json": via(TWO), "test/a.json": via(TWO)}
    folder = tree(**files)
    found = open_folder(folder)
    assert found.val.image_info[0]["path"].startswith(str(folder / "test"))
    assert found.notes[-1] == f"Validation uses the test part of {folder}."
    tree(**{"valid/0.png": None, "valid/a.json": via(["0.png"])})
    found = open_folder(folder)
    assert found.val.num_images == 1
    assert found.notes[0] == f"The test part of {folder} is not used."
    assert open_folder(folder, "test").train.num_images == 2


def test_a_test_part_that_is_missing_does_not_matter(tree):
    """As in exports of Roboflow whose data.yaml names a folder that is not there."""
    files = dict(DIVIDED["yolo of roboflow"])
    files["data.yaml"] = "test: ../test/images\n" + files["data.yaml"]
    folder = tree(**files)
    assert open_folder(folder).val.num_images == 2
    with pytest.raises(FileNotFoundError, match="names '../test/images', which is not in"):
        open_folder(folder, "test")


def test_a_part_without_annotations_is_named(tree):
    folder = tree(**{**PARTED, "train/a.json": via(TWO)})
    found = open_folder(folder)
    assert (found.train.num_images, found.val.num_images) == (1, 1)
    assert found.notes[0] == (
        f"{folder / 'val'} has no annotations in a known layout, and is not used."
    )


def test_the_class_attribute_of_via_is_found(tree):
    found = open_folder(tree(**UNDIVIDED["via"][1]))
    assert found.notes[0] == "The class of a region is its attribute 'kind'."
    bare = via(NAMES)
    for number, entry in enumerate(bare.values()):
        entry["regions"][0]["region_attributes"] = {"surface": str(number % 2), "seen by": "me"}
    folder = tree(**{"via_region_data.json": bare})
    assert open_folder(folder).train.class_names == ["BG", "0", "1"]
    for entry in bare.values():
        entry["regions"][0]["region_attributes"] = {}
    found = open_folder(tree(**{"via_region_data.json": bare}))
    assert found.train.class_names == ["BG", "object"]
    assert "all regions are of the class 'object'" in found.notes[0]


def test_the_group_of_roboflow_is_no_class(tree):
    group = {"id": 0, "name": "pets", "supercategory": "none"}
    others = [
        {"id": n, "name": name, "supercategory": "pets"} for n, name in ((1, "cat"), (2, "dog"))
    ]
    folder = tree(**HERE, **{"_annotations.coco.json": coco(NAMES, categories=[group, *others])})
    assert open_folder(folder).train.class_names == ["BG", "cat", "dog"]
    # A category that is in use stays.
    used = coco(NAMES, "pets", [group, *others])
    folder = tree(**{"_annotations.coco.json": used})
    assert open_folder(folder).train.class_names == ["BG", "pets", "cat", "dog"]


def test_a_single_image_has_no_validation(tree):
    found = open_folder(tree(**{"0.png": None, "a.json": via(["0.png"])}))
    assert (found.train.num_images, found.val) == (1, None)
    assert found.notes[-1].endswith("has a single image, so nothing is set aside for validation.")
    with pytest.raises(ValueError, match="has no validation part, and a single image"):
        open_folder(tree(), "val")


def test_the_seed_chooses_the_images(tree):
    names = [f"{n}.png" for n in range(30)]
    folder = tree(**dict.fromkeys(names), **{"a.json": via(names)})
    first, again, other = (open_folder(folder, seed=s).val.image_ids.tolist() for s in (0, 0, 1))
    assert first == again != other and len(first) == 6
    assert open_folder(folder, "val").train.image_ids.tolist() == first


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"notes.txt": "x"}, FileNotFoundError, r"The data set .* has no images\."),
        ({"data.tar.xz": "x"}, FileNotFoundError, "has no images; unpack data.tar.xz first"),
        (HERE, ValueError, r"no annotations in a known layout; looked for data.yaml \(YOLO\)"),
        ({**HERE, "a.json": {"x": 3}}, ValueError, "no annotations in a known layout"),
        ({**HERE, "a.json": "broken"}, ValueError, "no annotations in a known layout"),
        (
            {**HERE, "a.json": via(NAMES), "b.json": coco(NAMES)},
            ValueError,
            r"several annotation files, b.json \(COCO JSON\), a.json \(VIA JSON\)|several .*a.json",
        ),
        (
            {**HERE, "a.json": coco(NAMES), "b.json": coco(NAMES)},
            ValueError,
            r"several annotation files, a.json \(COCO JSON\), b.json \(COCO JSON\); keep one",
        ),
        (
            {**HERE, "a.json": coco(NAMES), "annotations.xml": cvat(NAMES)},
            ValueError,
            "in several formats, COCO JSON and CVAT XML; keep one",
        ),
        (
            {**PARTED, "train/a.json": coco(TWO), "val/a.json": via(TWO)},
            ValueError,
            "The parts of .* differ in format: COCO JSON, VIA JSON",
        ),
        (
            {
                **PARTED,
                "annotations/instances_train.json": coco(TWO),
                "annotations/instances_val.json": coco(
                    TWO, "dog", [{"id": 1, "name": "dog"}, {"id": 5, "name": "cat"}]
                ),
            },
            ValueError,
            "names class 1 'dog', another part of the data set names it 'cat'",
        ),
        (
            {**PHOTOS, **{f"labels/{n}.txt": "" for n in range(5)}},
            ValueError,
            "has labels/, but no data.yaml",
        ),
        (
            {"JPEGImages/a.png": None, "Annotations/a.xml": "<annotation/>"},
            ValueError,
            r"has Pascal VOC's boxes.*load_voc\(boxes=True\)",
        ),
        ({**HERE, "annotations.xml": "<!DOCTYPE a [<!ENTITY e 'x'>]><a/>"}, ValueError, "entities"),
        (
            {
                **PARTED,
                "training/0.png": None,
                "train/a.json": via(TWO),
                "training/a.json": via(TWO),
            },
            ValueError,
            "has two folders for 'train'",
        ),
    ],
)
def test_unknown_and_ambiguous_folders(tree, files, error, message):
    folder = tree(**files)
    with pytest.raises(error, match=message) as caught:
        open_folder(folder)
    assert str(folder) in str(caught.value)


def test_wrong_arguments(tree):
    folder = tree(**UNDIVIDED["via"][1])
    with pytest.raises(ValueError, match="subset is 'valid'; choose 'train', 'val' or 'test'"):
        open_folder(folder, "valid")
    missing = re.escape(f"The data set {folder / 'none'} does not exist.")
    with pytest.raises(FileNotFoundError, match=missing):
        open_folder(folder / "none")
    with pytest.raises(FileNotFoundError, match=r"0\.png is a file; give the folder that holds it"):
        open_folder(folder / "0.png")
