import copy
import json

import numpy as np
import pytest
import skimage.draw

from mrcnn.readers.label_studio import LabelStudioDataset
from mrcnn.readers.outlines import Polygon
from tests.readers.brush import packed

HEIGHT, WIDTH = 20, 40
POINTS = [[10, 20], [90, 30], [40, 95]]


def region(kind, label="cat", **value):
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "x", "type": kind, "value": value | {kind: [label]}, **size}


POLYGON = region("polygonlabels", points=POINTS, closed=True)


def brush(mask, literal=False):
    return region("brushlabels", format="rle", rle=packed(mask, literal))


@pytest.fixture
def studio_file(tmp_path, write_photo):
    """Function that writes a Label Studio file of one task."""
    write_photo("photo.png", HEIGHT, WIDTH)

    def write(*regions, image="/data/upload/3/0a1b2c3d-photo.png", **more):
        annotations = [{"id": 1, "was_cancelled": False, "result": list(regions)}]
        task = {"id": 7, "data": {"image": image}, "annotations": annotations, **more}
        (tmp_path / "export.json").write_text(json.dumps([task]))
        return tmp_path / "export.json"

    return write


def load(path, **options):
    dataset = LabelStudioDataset()
    dataset.load_label_studio(path, path.parent, **options)
    dataset.prepare()
    return dataset


def test_polygons_and_ellipses_are_per_cent(studio_file):
    ellipse = region("ellipselabels", "dog", x=50, y=50, radiusX=20, radiusY=20, rotation=0)
    dataset = load(studio_file(POLYGON, ellipse))
    assert dataset.class_names == ["BG", "cat", "dog"] and dataset.notes == []
    masks, class_ids = dataset.load_mask(0)
    expected = np.zeros((2, HEIGHT, WIDTH), bool)
    Polygon([4, 6, 19], [4, 36, 16]).draw(expected[0])
    expected[1][skimage.draw.ellipse(10, 20, 4, 8)] = True
    assert class_ids.tolist() == [1, 2] and (masks == expected.transpose(1, 2, 0)).all()


@pytest.mark.parametrize("literal", [True, False])
def test_brushes(studio_file, literal):
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.97, 1.0):
        mask = rng.random((HEIGHT, WIDTH)) < share
        masks, class_ids = load(studio_file(brush(mask, literal))).load_mask(0)
        assert class_ids.tolist() == [1] and (masks[..., 0] == mask).all()


def test_a_brush_by_hand(tmp_path, write_photo, studio_file):
    """One row of two pixels, of which the second one is painted."""
    write_photo("photo.png", 1, 2)
    blocks = [
        # A run (1) of four values (length 0, of 3 bits: 3) of 0, and one of four of 255.
        "1" + "00" + "011" + "00000000",
        "1" + "00" + "011" + "11111111",
    ]
    head = f"{8:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    stream = head + "".join(blocks)
    stream += "0" * (-len(stream) % 8)
    rle = [int(stream[at : at + 8], 2) for at in range(0, len(stream), 8)]
    painted = region("brushlabels", format="rle", rle=rle)
    painted |= {"original_width": 2, "original_height": 1}
    masks, _ = load(studio_file(painted)).load_mask(0)
    assert masks[..., 0].tolist() == [[False, True]]


def test_rectangles_are_objects_on_demand(studio_file):
    straight = region("rectanglelabels", x=25, y=10, width=50, height=20, rotation=0)
    # Turned by 90 degrees around its upper left corner, it reaches to the left and down.
    turned = region("rectanglelabels", x=50, y=10, width=20, height=50, rotation=90)
    path = studio_file(straight, turned, POLYGON)
    with pytest.warns(UserWarning, match="2 x a rectangle, which boxes=True takes as an object"):
        assert load(path).load_mask(0)[1].tolist() == [1]
    masks, class_ids = load(path, boxes=True).load_mask(0)
    assert class_ids.tolist() == [1, 1, 1]
    assert masks[2:6, 10:30, 0].all() and masks[..., 0].sum() == 80
    # 8 wide and 10 high becomes 8 high and 10 wide.
    assert masks[2:10, 10:20, 1].all() and masks[..., 1].sum() == 80
    with pytest.raises(ValueError, match=r"no polygon or brush with a label.*boxes=True"):
        load(studio_file(straight))


def test_per_cent_beyond_the_border_is_cut(studio_file):
    square = [[50, 50], [120, 50], [120, 130], [50, 130]]
    with pytest.warns(UserWarning, match="1 entry is odd, but kept: 1 x cut at the border"):
        masks, _ = load(studio_file(region("polygonlabels", points=square))).load_mask(0)
    assert masks.sum() == 200 and masks[10:, 20:].all()


def changed(path, value):
    """The polygon with another value in one place."""
    tree = copy.deepcopy(POLYGON)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (changed(["value", "points"], [[10, 20], [900, 30], [4, 5]]), "coordinates far outside of"),
        (changed(["value", "points", 0], [-101, 20]), "coordinates far outside of 0 to 100"),
        (changed(["value", "points"], [[10, 20], [90, 30]]), "a polygon with fewer than 3 points"),
        (changed(["value", "points"], 3), "points that are not pairs of numbers"),
        (changed(["value", "points", 1], ["3", 4]), "a coordinate that is not a number"),
        (changed(["value", "points", 1], [float("nan"), 4]), "a coordinate that is not a number"),
        (changed(["value", "polygonlabels"], []), "a region without exactly one label"),
        (changed(["value", "polygonlabels"], ["a", "b"]), "a region without exactly one label"),
        (changed(["value"], None), "a region without exactly one label"),
        (changed(["value", "polygonlabels"], ["cow"]), "a class that is not among class_names"),
        (changed(["original_width"], 41), "a region for an image of another size"),
        (changed(["image_rotation"], 90), "a region of an image that was turned in the tool"),
        (changed(["type"], "keypointlabels"), "a region of the type 'keypointlabels', which has"),
        (region("brushlabels", rle="abc"), "a brush of another size|a brush whose RLE"),
        (region("brushlabels", rle=[1, 300]), "a brush whose RLE is no list of bytes"),
        (region("brushlabels", rle=[0, 0, 12, 128]), "a brush whose RLE ends early"),
        (region("brushlabels", rle=[0, 0, 12, 129] + [0] * 99), "a brush of another size than"),
        (region("brushlabels", rle=[0, 0, 12, 128] + [0] * 99), "a brush whose RLE ends early"),
        (region("brushlabels", rle=2**40), "a brush whose RLE"),
        (brush(np.zeros((HEIGHT, WIDTH), bool)), "a shape without area"),
    ],
)
def test_broken_regions_are_left_out(studio_file, broken, reason):
    path = studio_file(POLYGON, broken)
    with pytest.warns(UserWarning, match=f"1 entry is left out: 1 x ({reason})"):
        dataset = load(path, class_names=["cat"])
    assert dataset.notes[0].where.startswith("region 1 of task 0")
    assert dataset.load_mask(0)[1].tolist() == [1]


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/3/0a1b2c3d-photo.png",
        "/data/local-files/?d=disk/photos/photo.png",
        "s3://bucket/folder/photo.png",
        "http://localhost:8080/data/upload/photo.png?x=1",
        "C:\\photos\\photo.png",
        "photo.png",
        "../../photo.png",
    ],
)
def test_names_of_images(studio_file, image):
    assert load(studio_file(POLYGON, image=image)).num_images == 1


def test_the_first_annotation_counts(studio_file):
    annotations = [
        {"result": [POLYGON], "was_cancelled": True},
        {"result": [changed(["value", "polygonlabels"], ["dog"])]},
        {"result": [POLYGON]},
    ]
    with pytest.warns(UserWarning, match="a second annotation of one task"):
        dataset = load(studio_file(annotations=annotations))
    assert dataset.class_names == ["BG", "dog"]
    # A task without an annotation is a photo without objects.
    dataset = load(studio_file(annotations=[]), class_names=["cat"])
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 0)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ([], ValueError, "holds JSON of an unknown layout"),
        ({"images": []}, ValueError, r"holds COCO JSON.*load_coco_json\(\) reads it"),
        ([{"data": {}, "annotations": []}], ValueError, "no polygon or brush with a label"),
    ],
)
def test_unusable_files(tmp_path, content, error, message):
    (tmp_path / "export.json").write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        load(tmp_path / "export.json")


def test_broken_tasks_are_left_out(studio_file):
    path = studio_file(POLYGON)
    tasks = json.loads(path.read_text())
    odd = [3, {"data": 3, "annotations": []}, {"data": {"image": ""}, "annotations": []}]
    path.write_text(json.dumps(tasks + odd))
    with pytest.warns(UserWarning, match="3 entries are left out"):
        assert load(path).num_images == 1
