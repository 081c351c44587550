import base64
import io
import json
import os

import numpy as np
import pytest
import skimage.draw
from PIL import Image
from pycocotools import mask as coco_mask

from mrcnn.readers.labelme import LabelMeDataset

HEIGHT, WIDTH = 30, 40
TRIANGLE = [[2, 3], [20, 4], [9, 25]]


def shape(label="cat", points=TRIANGLE, kind="polygon", group=None):
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}}


@pytest.fixture
def labelme_file(tmp_path, write_photo):
    """Function that writes a LabelMe file and its photo."""

    def write(name, shapes, image=None, **more):
        image = image or f"{name}.png"
        content = {
            "version": "5.4.1",
            "shapes": shapes,
            "imagePath": image,
            "imageData": "iVBORw0KGgo",
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        write_photo(image, HEIGHT, WIDTH)
        text = json.dumps(content | more, ensure_ascii=False)
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def load(folder, **options):
    dataset = LabelMeDataset()
    dataset.load_labelme(folder, **options)
    dataset.prepare()
    return dataset


def test_shapes(labelme_file):
    shapes = [
        shape(),
        shape("dog", [[12, 9], [4, 5]], "rectangle"),
        # Some tools write the four corners.
        shape("dog", [[4, 5], [12, 5], [12, 9], [4, 9]], "rectangle"),
        # Centre (20, 15); (23, 11) is 5 away.
        shape("cat", [[20, 15], [23, 11]], "circle"),
    ]
    dataset = load(labelme_file("a", shapes))
    assert dataset.class_names == ["BG", "cat", "dog"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.tolist() == [1, 2, 2, 1]
    expected = np.zeros((HEIGHT, WIDTH, 4), bool)
    flat = [[2, 3, 20, 4, 9, 25]]
    expected[..., :1] = coco_mask.decode(coco_mask.frPyObjects(flat, HEIGHT, WIDTH))
    expected[5:9, 4:12, 1:3] = True
    expected[(*skimage.draw.disk((15, 20), 5), 3)] = True
    np.testing.assert_array_equal(masks, expected)
    assert dataset.image_info[0]["id"] == "a"
    assert "imageData" not in dataset.image_info[0]


def test_parts_of_a_group_are_one_instance(labelme_file):
    def box(label, left, group):
        return shape(label, [[left, 0], [left + 2, 5]], "rectangle", group)

    shapes = [box("cat", 0, 1), box("dog", 4, 1), box("cat", 8, 1), box("cat", 12, 0)]
    shapes += [box("cat", 16, None), box("cat", 20, None)]
    masks, class_ids = load(labelme_file("a", shapes)).load_mask(0)
    assert class_ids.tolist() == [1, 2, 1, 1, 1]
    columns = [np.flatnonzero(masks[0, :, n]).tolist() for n in range(5)]
    assert columns == [[0, 1, 8, 9], [4, 5], [12, 13], [16, 17], [20, 21]]


def test_labels_are_the_same_classes_in_train_and_val(labelme_file):
    labelme_file("a", [shape("dog")])
    folder = labelme_file("b", [shape("ant"), shape("dog")])
    assert load(folder).class_names == ["BG", "ant", "dog"]
    with pytest.warns(UserWarning, match=r"not among class_names \(shape 0 of b\.json \(ant\)\)"):
        dataset = load(folder, class_names=["fox", "dog"])
    assert dataset.class_names == ["BG", "fox", "dog"]
    assert [dataset.load_mask(n)[1].tolist() for n in (0, 1)] == [[2], [2]]
    with pytest.raises(ValueError, match="class_names has 'dog' twice"):
        load(folder, class_names=["dog", "dog"])


def test_names_beyond_ascii_and_from_windows(labelme_file):
    folder = labelme_file("größe", [shape("Äpfel")], image="bilder/größe.png")
    path = folder / "größe.json"
    path.write_text(path.read_text("utf-8").replace("bilder/", "bilder\\\\"), "utf-8")
    dataset = load(folder)
    assert dataset.class_names == ["BG", "Äpfel"]
    assert dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)


def test_a_missing_size_comes_from_the_photo(labelme_file):
    dataset = load(labelme_file("a", [shape()], imageHeight=None, imageWidth=None))
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 1)


def test_a_photo_of_another_size_than_its_outlines(labelme_file):
    dataset = load(labelme_file("a", [shape()], imageHeight=99))
    with pytest.raises(ValueError, match=r"30x40 pixels .* annotations are for 99x40"):
        dataset.load_image(0)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (shape(points=TRIANGLE[:2]), "a polygon with fewer than 3 points"),
        (shape(points=[[1, 2], [3, None], [5, 6]]), "points that are not pairs of numbers"),
        (shape(points=[[1, 2, 3]]), "points that are not pairs of numbers"),
        (shape(points=None), "a polygon with fewer than 3 points"),
        (shape(points=[[1, 2], [float("nan"), 4], [5, 6]]), "a coordinate that is not a number"),
        (shape(points=[[50, 2], [60, 4], [55, 6]]), "a shape outside the image"),
        (shape(points=[[5, 5], [5, 9]], kind="rectangle"), "a shape without area"),
        (shape(points=[], kind="rectangle"), "points that are not pairs of numbers"),
        (shape(points=[[5, 5]], kind="circle"), "points that are not pairs of numbers"),
        (shape(points=[[5, 5], [5, 5]], kind="circle"), "a shape without area"),
        (shape(kind="line"), "a shape_type 'line', which has no area"),
        (shape(label=""), "a shape without label"),
    ],
)
def test_a_broken_shape_is_left_out(labelme_file, broken, reason):
    folder = labelme_file("a", [shape(), broken])
    with pytest.warns(UserWarning, match="1 entry is left out: "):
        dataset = load(folder)
    assert dataset.notes == [(reason, "shape 1 of a.json", True)]
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_a_group_keeps_its_sound_parts(labelme_file):
    shapes = [shape(group=3), shape(group=3, points=TRIANGLE[:1])]
    with pytest.warns(UserWarning, match="fewer than 3 points"):
        dataset = load(labelme_file("a", shapes))
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 1)


def test_files_and_photos_that_are_unusable(labelme_file):
    folder = labelme_file("a", [shape()])
    labelme_file("b", [shape()], image="b.png")
    (folder / "b.png").unlink()
    (folder / "coco.json").write_text('{"images": []}')
    with pytest.warns(UserWarning) as caught:
        dataset = load(folder)
    message = str(caught[0].message)
    assert "1 x a file that is not LabelMe JSON (coco.json)" in message
    assert f"1 x an image that is not in {folder} (b.png of b.json)" in message
    assert [info["id"] for info in dataset.image_info] == ["a"]
    (folder / "a.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no usable image: .* \(a\.png of a\.json, b\.png of"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ([], "a shape that is not a dict"),
        (shape(label=["cat"]), "a shape without label"),
        (shape(group=[1]), "a group_id that is neither a number nor a text"),
        (shape(group=10**400), "a group_id that is neither a number nor a text"),
        (shape(points=[["1", "2"], ["3", "4"], ["5", "9"]]), "points that are not pairs"),
        (shape(points=["12", "34", "59"]), "points that are not pairs of numbers"),
        (shape(points={"12": 3}), "points that are not pairs of numbers"),
        (shape(points=[[10**400, 1], [2, 3], [5, 9]]), "a coordinate that is not a number"),
        (shape(points=[[10**400, 1], [2, 3]], kind="circle"), "a coordinate that is not a number"),
        (shape(kind={}), "a shape_type '{}', which has no area"),
    ],
)
def test_an_odd_shape_is_left_out(labelme_file, broken, reason):
    folder = labelme_file("a", [shape(), broken])
    with pytest.warns(UserWarning, match="1 entry is left out: "):
        dataset = load(folder)
    assert dataset.notes[0].reason.startswith(reason)
    assert dataset.notes[0].where == "shape 1 of a.json"
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_labels_of_points_are_no_classes(labelme_file):
    folder = labelme_file("a", [shape(), shape("spot", [[3, 4]], "point")])
    with pytest.warns(UserWarning, match="a shape_type 'point', which has no area"):
        assert load(folder).class_names == ["BG", "cat"]
    folder = labelme_file("a", [shape("spot", [[3, 4]], "point")])
    with pytest.raises(ValueError, match="no polygon, rectangle, circle or mask in .* has a label"):
        load(folder)


def test_files_that_cannot_be_read_are_left_out(labelme_file):
    folder = labelme_file("a", [shape()])
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "deep.json").write_text("[" * 100000)
    with pytest.warns(UserWarning, match="3 entries are left out: "):
        dataset = load(folder)
    assert [note.where for note in dataset.notes] == ["deep.json", "folder.json", "pipe.json"]
    labelme_file("b", [shape()], imagePath=["b.png"])
    with pytest.warns(UserWarning, match=r"an imagePath that is not a text \(b\.json\)"):
        assert load(folder).image_info[0]["id"] == "a"


def test_images_beside_the_folder_must_be_allowed(labelme_file, write_photo):
    folder = labelme_file("a", [shape()], image="images/a.png", imagePath="../images/a.png")
    (folder / "labels").mkdir()
    (folder / "a.json").rename(folder / "labels/a.json")
    with pytest.raises(FileNotFoundError, match="outside=True"):
        load(folder / "labels")
    assert load(folder / "labels", outside=True).load_mask(0)[1].tolist() == [1]


def test_many_parts_of_one_object_are_decoded_once(labelme_file, rng, monkeypatch):
    corners = rng.uniform(0, 25, (200, 2)).round(1)
    shapes = [shape(points=[[x, y], [x + 3, y], [x, y + 3]], group=1) for x, y in corners.tolist()]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for part in shapes:
        flat = [float(value) for point in part["points"] for value in point]
        expected |= coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH))[..., 0] > 0
    dataset = load(labelme_file("a", shapes))
    decode, calls = coco_mask.decode, []
    monkeypatch.setattr(coco_mask, "decode", lambda rle: calls.append(1) or decode(rle))
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], expected)
    assert len(calls) == 1


def mask_shape(pixels, points, label="cat", **more):
    """A shape of the type "mask", as LabelMe's own AI tools write it."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, bool)).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    return shape(label, points, "mask") | {"mask": text} | more


RING = [[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 0]]


def test_masks_begin_at_their_first_point(labelme_file):
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:9, 10:13] = np.array(RING, bool)
    # The points are the first and the last pixel; some tools write the one after it.
    for last in ([12, 8], [13, 9], [12.0, 8.0]):
        masks, class_ids = load(labelme_file("a", [mask_shape(RING, [[10, 5], last])])).load_mask(0)
        assert class_ids.tolist() == [1] and (masks[..., 0] == expected).all()


def test_a_mask_and_a_polygon_of_a_group_are_one_object(labelme_file):
    painted = mask_shape(RING, [[30, 20], [32, 23]], group_id=4)
    dataset = load(labelme_file("a", [painted, shape(group=4)]))
    masks, class_ids = dataset.load_mask(0)
    alone = load(labelme_file("a", [shape()])).load_mask(0)[0][..., 0]
    assert class_ids.tolist() == [1] and masks.sum() == alone.sum() + np.sum(RING)
    assert masks[20, 30:33, 0].all() and not masks[21, 31, 0]


def test_turned_boxes_are_polygons(labelme_file):
    corners = [[10, 5], [15, 10], [10, 15], [5, 10]]
    kinds = [shape("cat", corners, kind) for kind in ("oriented_rectangle", "rotation", "polygon")]
    masks, class_ids = load(labelme_file("a", kinds)).load_mask(0)
    assert len(class_ids) == 3 and (masks == masks[..., :1]).all() and masks[..., 0].sum() == 50


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (mask_shape(RING, [[10, 5], [20, 8]]), "a mask of another size than its points"),
        (mask_shape(RING, [[10, 5]]), "points that are not pairs of numbers"),
        (mask_shape(RING, [[10, 5], [12, 1e300]]), "a coordinate beyond a million pixels"),
        (mask_shape(RING, [[99, 5], [101, 8]]), "a shape outside the image"),
        (mask_shape(np.zeros((4, 3)), [[10, 5], [12, 8]]), "a shape without area"),
        (mask_shape(RING, [[10, 5], [12, 8]], mask="%%"), "a mask whose pixels cannot be read"),
        (mask_shape(RING, [[10, 5], [12, 8]], mask="aGFsbG8="), "a mask whose pixels cannot"),
        (mask_shape(RING, [[10, 5], [12, 8]], mask=None), "a mask without its pixels"),
        (mask_shape(RING, [[10, 5], [12, 8]], mask=[3]), "a mask without its pixels"),
    ],
)
def test_broken_masks_are_left_out(labelme_file, broken, reason):
    folder = labelme_file("a", [shape(), broken])
    with pytest.warns(UserWarning, match=f"1 entry is left out: 1 x {reason}"):
        assert load(folder).load_mask(0)[1].tolist() == [1]


def test_a_mask_beyond_the_border_is_cut(labelme_file):
    folder = labelme_file("a", [mask_shape(np.ones((6, 5)), [[-3, -3], [1, 2]])])
    with pytest.warns(UserWarning, match="cut at the border"):
        masks, _ = load(folder).load_mask(0)
    assert masks.sum() == 6 and masks[:3, :2].all()
