import json
import math

import numpy as np
import pytest
import skimage.draw
from pycocotools import mask as coco_mask

from mrcnn.readers.via import ViaDataset

HEIGHT, WIDTH = 30, 40
YS, XS = [3, 20, 14], [5, 9, 44]


def region(shape=None, **attributes):
    shape = shape or {"name": "polygon", "all_points_y": YS, "all_points_x": XS}
    return {"shape_attributes": shape, "region_attributes": attributes}


@pytest.fixture
def via_file(tmp_path, write_photo):
    """Function that writes a VIA file of `{filename: regions}`, and the photos."""

    def write(regions, version=2, name="via.json", attributes=None, photos=True):
        entries = {}
        for filename, listed in regions.items():
            if photos:
                write_photo(filename, HEIGHT, WIDTH)
            if version == 1:
                listed = {str(number): each for number, each in enumerate(listed)}
            entries[f"{filename}123"] = {"filename": filename, "size": 123, "regions": listed}
        if attributes is not None:
            entries = {
                "_via_settings": {},
                "_via_img_metadata": entries,
                "_via_attributes": {"region": attributes, "file": {}},
            }
        path = tmp_path / name
        path.write_text(json.dumps(entries), encoding="utf-8")
        return path

    return write


def load(path, **options):
    dataset = ViaDataset()
    dataset.load_via(path, path.parent, **options)
    dataset.prepare()
    return dataset


def polygon_mask(ys=YS, xs=XS):
    flat = np.stack([xs, ys], axis=1).ravel().astype(float).tolist()
    return coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH))[..., 0].astype(bool)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("attributes", [None, {}])
def test_regions_without_attributes_are_one_class(via_file, version, attributes):
    regions = {"a.png": [region(), region({"all_points_y": [1, 1, 9], "all_points_x": [1, 9, 1]})]}
    path = via_file({**regions, "b.png": []}, version, attributes=attributes)
    with pytest.warns(UserWarning, match=r"1 x cut at the border of the image \(region 0 of a"):
        dataset = load(path)
    assert dataset.class_names == ["BG", "object"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.tolist() == [1, 1]
    assert class_ids.dtype == np.int32
    assert (masks[..., 0] == polygon_mask()).all()
    assert (masks[..., 1] == polygon_mask([1, 1, 9], [1, 9, 1])).all()
    assert dataset.load_mask(1)[0].shape == (HEIGHT, WIDTH, 0)
    assert dataset.image_info[1]["id"] == "b.png"


def test_shapes(via_file):
    shapes = [
        {"name": "rect", "x": 2, "y": 3, "width": 5, "height": 4},
        {"name": "circle", "cx": 20, "cy": 15, "r": 6.5},
        {"name": "ellipse", "cx": 20, "cy": 15, "rx": 9, "ry": 4},
        {"name": "ellipse", "cx": 20, "cy": 15, "rx": 9, "ry": 4, "theta": math.pi / 2},
        {"name": "polyline", "all_points_y": [2, 2, 9, 2], "all_points_x": [2, 9, 2, 2]},
    ]
    masks = load(via_file({"a.png": [region(shape) for shape in shapes]})).load_mask(0)[0]
    assert masks[..., 0].sum() == masks[3:7, 2:7, 0].sum() == 20
    expected = np.zeros((HEIGHT, WIDTH, 3), bool)
    expected[(*skimage.draw.disk((15, 20), 6.5), 0)] = True
    expected[(*skimage.draw.ellipse(15, 20, 4, 9), 1)] = True
    expected[(*skimage.draw.ellipse(15, 20, 9, 4), 2)] = True
    assert (masks[..., 1:4] == expected).all()
    assert (masks[..., 4] == polygon_mask([2, 2, 9], [2, 9, 2])).all()


BOX = {"name": "rect", "x": 2, "y": 3, "width": 5, "height": 4}


@pytest.mark.parametrize("version", [1, 2])
def test_classes_from_texts_choices_and_checkboxes(via_file, version):
    """Texts, dropdowns and radio buttons give a name, checkboxes a dict of names."""
    values = ["dog", " cat ", {"dog": True}, {"cat": True, "dog": False}]
    path = via_file({"a.png": [region(BOX, type=value) for value in values]}, version)
    dataset = load(path, class_attribute="type")
    assert dataset.class_names == ["BG", "cat", "dog"]
    assert dataset.load_mask(0)[1].tolist() == [2, 1, 2, 1]
    dataset = load(path, class_attribute="type", class_names=["dog", "cat", "fox"])
    assert dataset.load_mask(0)[1].tolist() == [1, 2, 1, 2]
    assert dataset.num_classes == 4


def test_options_of_a_project_are_classes_though_unused(via_file):
    attributes = {"type": {"type": "dropdown", "options": {"fox": "", "ant": "", "dog": ""}}}
    path = via_file({"a.png": [region(BOX, type="dog")]}, attributes=attributes)
    dataset = load(path, class_attribute="type")
    assert dataset.class_names == ["BG", "ant", "dog", "fox"]
    assert dataset.load_mask(0)[1].tolist() == [2]


def test_regions_without_one_class_are_left_out(via_file):
    values = ["dog", "", {"cat": True, "dog": True}, {"cat": False}, "fox"]
    regions = [region(BOX, type=value) for value in values] + [region(BOX)]
    with pytest.warns(UserWarning) as caught:
        dataset = load(
            via_file({"a.png": regions}), class_attribute="type", class_names=["cat", "dog"]
        )
    message = str(caught[0].message)
    assert "5 entries are left out: 3 x no value of 'type' (region 1 of a.png, region 3" in message
    assert "1 x several values of 'type' (region 2 of a.png)" in message
    assert "1 x a class that is not among class_names (region 4 of a.png (fox))" in message
    assert dataset.load_mask(0)[1].tolist() == [2]


def test_possible_class_attributes_are_noted(via_file):
    regions = [region(BOX, type="dog", name="x"), region(BOX, type="cat", name="x")]
    with pytest.warns(UserWarning, match=r"could be the class_attribute \(type: cat, dog\)"):
        dataset = load(via_file({"a.png": regions}))
    assert dataset.load_mask(0)[1].tolist() == [1, 1]
    # Given class names need no such note.
    assert load(via_file({"a.png": regions}), class_names=["pet"]).class_names == ["BG", "pet"]


def test_classes_of_two_files_keep_their_ids(via_file):
    first = via_file({"a.png": [region(BOX, type="dog")]}, name="1.json")
    second = via_file({"b.png": [region(BOX, type="cat"), region(BOX, type="dog")]}, name="2.json")
    dataset = load(first, class_attribute="type")
    dataset.load_via(second, second.parent, class_attribute="type")
    dataset.prepare()
    assert dataset.class_names == ["BG", "dog", "cat"]
    assert [dataset.load_mask(n)[1].tolist() for n in (0, 1)] == [[1], [2, 1]]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"name": "polygon"}, "a polygon with fewer than 3 points"),
        ({"name": "polygon", "all_points_y": [1, 2], "all_points_x": [1, 2]}, "a polygon with few"),
        (
            {"name": "polygon", "all_points_y": [1, None, 3], "all_points_x": [1, 2, 9]},
            "a coordinate that is not a number",
        ),
        (
            {"name": "polygon", "all_points_y": [1, 5, 3], "all_points_x": [41, 50, 60]},
            "a shape outside the image",
        ),
        ({"name": "polyline", "all_points_y": YS, "all_points_x": XS}, "a shape 'polyline', which"),
        ({"name": "point", "cx": 1, "cy": 2}, "a shape 'point', which has no area"),
        ({"name": "rect", "x": 2, "y": 3}, "a coordinate that is not a number"),
        ({"name": "rect", "x": 2, "y": 3, "width": 0, "height": 4}, "a shape without area"),
        ({"name": "circle", "cx": 2, "cy": 3, "r": 0}, "a shape without area"),
        ({"name": "circle", "cx": 2, "cy": 3}, "a coordinate that is not a number"),
    ],
)
def test_a_broken_region_is_left_out(via_file, shape, reason):
    path = via_file({"a.png": [region(BOX), region(shape), region(BOX)]})
    with pytest.warns(UserWarning, match="1 entry is left out: "):
        dataset = load(path)
    (note,) = dataset.notes
    assert note.reason.startswith(reason)
    assert note.where == "region 1 of a.png"
    assert dataset.load_mask(0)[1].tolist() == [1, 1]


def test_regions_without_a_shape_are_left_out(via_file):
    with pytest.warns(UserWarning, match=r"2 x a region without shape \(region 0 of a"):
        dataset = load(via_file({"a.png": [{}, 5, region(BOX)]}))
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_missing_and_duplicate_images(via_file, tmp_path):
    path = via_file({"a.png": [region(BOX)], "b.png": []})
    data = json.loads(path.read_text())
    data["again"] = data["a.png123"]
    data["gone"] = {"filename": "gone.png", "regions": []}
    data["none"] = {"regions": []}
    path.write_text(json.dumps(data))
    (tmp_path / "b.png").write_text("no picture")
    with pytest.warns(UserWarning) as caught:
        dataset = load(path)
    message = str(caught[0].message)
    assert "1 x an image that cannot be read (b.png)" in message
    assert "1 x a second entry for one image (a.png)" in message
    assert f"1 x an image that is not in {tmp_path} (gone.png)" in message
    assert "1 x an entry without filename" in message
    assert [info["id"] for info in dataset.image_info] == ["a.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["a", "b"]}, r"several classes need a class_attribute.* \['type'\]"),
        ({"class_attribute": "type", "class_names": ["a", "b", "a"]}, "class_names has 'a' twice"),
        ({"class_attribute": "kind"}, r"no region of .* attribute 'kind'; .* \['type'\]"),
    ],
)
def test_inconsistent_class_arguments_are_refused(via_file, options, message):
    path = via_file({"a.png": [region(BOX, type="a")]})
    with pytest.raises(ValueError, match=message):
        load(path, **options)


def test_no_photo_at_all_is_an_error(via_file):
    path = via_file({"a.png": [region(BOX)]}, photos=False)
    with pytest.raises(FileNotFoundError, match=r"no usable image: 1 x .* not in .* \(a\.png\)"):
        load(path)


def test_outlines_follow_a_photo_that_exif_turns(via_file, write_photo):
    from PIL import Image

    path = via_file({"a.png": [region({**BOX, "height": 30})]})
    block = Image.Exif()
    block[274] = 8
    write_photo("a.png", HEIGHT, WIDTH, exif=block)
    dataset = load(path)
    masks, _ = dataset.load_mask(0)
    assert dataset.load_image(0).shape[:2] == masks.shape[:2] == (WIDTH, HEIGHT)
    assert masks.sum() == 150


def test_parts_of_a_split_keep_their_photos_and_masks(via_file):
    xs = [5, 9, 30]
    polygons = {f"{n}.png": [1 + n, 1 + n, 20] for n in range(5)}
    regions = {
        name: [region({"all_points_y": ys, "all_points_x": xs})] for name, ys in polygons.items()
    }
    parts = load(via_file(regions)).split(0.4)
    assert [part.num_images for part in parts] == [3, 2]
    for part in parts:
        for image_id in part.image_ids:
            name = part.image_info[image_id]["id"]
            masks, _ = part.load_mask(image_id)
            np.testing.assert_array_equal(masks[..., 0], polygon_mask(polygons[name], xs))


def test_odd_entries_are_left_out(via_file):
    odd = [
        ({"shape_attributes": BOX, "region_attributes": ["dog"]}, "no value of 'type'"),
        (region(BOX, type=["dog"]), "no value of 'type'"),
        (region(BOX, type=True), "no value of 'type'"),
        (region({**BOX, "height": "3"}, type="dog"), "a coordinate that is not a number"),
        (region({**BOX, "x": 10**400}, type="dog"), "a coordinate that is not a number"),
        (region({"name": {}}, type="dog"), "a shape '{}', which has no area"),
        (
            region({"all_points_x": {"0": 1}, "all_points_y": 5}, type="dog"),
            "points that are not lists of coordinates",
        ),
        (region({"name": "circle", "cx": [1], "cy": 2, "r": 3}, type="dog"), "a coordinate that"),
    ]
    path = via_file({"a.png": [region(BOX, type="dog"), *(entry for entry, _ in odd)], "b.png": []})
    data = json.loads(path.read_text())
    data["b.png123"]["regions"] = "none"
    data["list"] = {"filename": ["a.png"], "regions": []}
    path.write_text(json.dumps(data))
    with pytest.warns(UserWarning, match="10 entries are left out: "):
        dataset = load(path, class_attribute="type")
    for note, (_, reason) in zip(dataset.notes, odd, strict=False):
        assert note.reason.startswith(reason)
    assert dataset.notes[8] == ("regions that are neither a list nor a dict", "b.png", True)
    assert dataset.notes[9] == ("an entry without filename", "entry 2", True)
    assert dataset.load_mask(0)[1].tolist() == [1]
