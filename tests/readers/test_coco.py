import contextlib
import io
import json
import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mrcnn import limits
from mrcnn.readers.coco import CocoJsonDataset

HEIGHT, WIDTH = 40, 60
SQUARE = [[10, 5, 20, 5, 20, 15, 10, 15]]


def uncompressed(mask):
    """Lengths of runs down the columns, zeros first."""
    values = mask.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(values)) + 1
    runs = np.diff([0, *ends, len(values)]).tolist()
    return {"size": list(mask.shape), "counts": runs if values[0] == 0 else [0, *runs]}


def compressed(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def annotation(number, segmentation=SQUARE, image=1, category=3, **more):
    record = {"id": number, "image_id": image, "category_id": category, **more}
    return {**record, "iscrowd": 0, "segmentation": segmentation} | more


@pytest.fixture
def blob(rng):
    """A mask of noise, which has runs of all lengths."""
    return rng.random((HEIGHT, WIDTH)) < 0.3


@pytest.fixture
def coco_file(tmp_path, write_photo):
    """Function that writes a COCO file, by default with images 1 and 2."""

    def write(annotations, images=None, categories=None, name="instances.json", **more):
        if images is None:
            images = [
                {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH}
                for number in (1, 2)
            ]
            for image in images:
                write_photo(image["file_name"], HEIGHT, WIDTH)
        if categories is None:
            categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = tmp_path / name
        path.write_text(json.dumps(content | more), encoding="utf-8")
        return path

    return write


def load(path, **options):
    dataset = CocoJsonDataset()
    dataset.load_coco_json(path, path.parent, **options)
    dataset.prepare()
    return dataset


def test_masks_are_those_of_pycocotools(coco_file, blob, rng):
    polygons = [rng.uniform(-3, 62, 2 * corners).round(2).tolist() for corners in (3, 4, 5, 12, 30)]
    shapes = [
        *([polygon] for polygon in polygons),
        polygons[1:4],
        SQUARE,
        uncompressed(blob),
        compressed(blob),
        uncompressed(~blob),
        compressed(np.ones((HEIGHT, WIDTH), bool)),
    ]
    path = coco_file([annotation(n, shape) for n, shape in enumerate(shapes)])
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    expected = [coco.annToMask(coco.anns[n]) for n in range(len(shapes))]
    with pytest.warns(UserWarning, match="cut at the border of the image"):
        dataset = load(path)
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32
    np.testing.assert_array_equal(masks, np.stack(expected, axis=-1))
    assert masks[..., 7].sum() == blob.sum() and (masks[..., 8] == blob).all()


def test_classes_are_in_the_order_of_their_ids(coco_file):
    dataset = load(coco_file([annotation(1), annotation(2, category=7, image=2)]))
    assert dataset.class_names == ["BG", "dog", "cat"]
    assert dataset.map_source_class_id("coco.7") == 2
    assert dataset.load_mask(0)[1].tolist() == [1]
    assert dataset.load_mask(1)[1].tolist() == [2]


def test_image_info(coco_file, tmp_path):
    only = annotation(5, category=7)
    info = load(coco_file([only]), source="farm").image_info
    assert info[0] == {
        "id": 1,
        "source": "farm",
        "path": str(tmp_path / "1.png"),
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": [only],
    }
    assert info[1]["annotations"] == []


def test_crowds_have_negative_ids(coco_file, blob):
    crowd = annotation(1, uncompressed(blob), iscrowd=1)
    dataset = load(coco_file([crowd, annotation(2)]))
    assert dataset.load_mask(0)[1].tolist() == [-1, 1]
    assert dataset.load_mask(1)[0].shape == (HEIGHT, WIDTH, 0)


def test_class_ids_choose_categories_and_images(coco_file):
    path = coco_file([annotation(1), annotation(2, category=7, image=2)])
    dataset = load(path, class_ids=[7])
    assert dataset.class_names == ["BG", "cat"]
    assert [info["id"] for info in dataset.image_info] == [2]
    assert dataset.load_mask(0)[1].tolist() == [1]
    with pytest.raises(ValueError, match=r"has no category 8; it has \[3, 7\]"):
        load(path, class_ids=[8])


def test_two_files_in_one_dataset(coco_file):
    first, second = coco_file([annotation(1)]), coco_file([annotation(2)], name="more.json")
    dataset = load(first)
    dataset.load_coco_json(second, second.parent)
    dataset.prepare()
    assert (dataset.num_images, dataset.num_classes) == (4, 3)
    other = coco_file([], categories=[{"id": 3, "name": "fox"}], name="other.json")
    with pytest.raises(ValueError, match="category 3 is 'fox', but 'coco' has 'dog' under this id"):
        dataset.load_coco_json(other, other.parent)


def test_sizes_that_the_file_lacks_come_from_the_image(coco_file, write_photo):
    write_photo("a.png", 30, 50)
    write_photo("b.png", 12, 14)
    images = [{"id": 1, "file_name": "a.png"}]
    images += [{"id": 2, "file_name": "b.png", "height": None, "width": "14"}]
    dataset = load(coco_file([annotation(1)], images))
    assert dataset.load_mask(0)[0].shape == (30, 50, 1)
    assert dataset.load_mask(1)[0].shape == (12, 14, 0)


def test_a_photo_turned_by_exif(coco_file, write_photo):
    """The annotations have the size as shown, as stored, or another one."""
    from PIL import Image

    block = Image.Exif()
    block[274] = 6
    write_photo("a.png", 20, 34, exif=block)
    sizes = [(34, 20), (20, 34), (20, 30)]
    images = [
        {"id": number, "file_name": "a.png", "height": height, "width": width}
        for number, (height, width) in enumerate(sizes)
    ]
    dataset = load(coco_file([], images))
    assert dataset.load_image(0).shape == (34, 20, 3)
    assert dataset.load_image(1).shape == (20, 34, 3)
    message = r"a\.png\) has 34x20 pixels \(height x width\), but its annotations are for 20x30\."
    with pytest.raises(ValueError, match=message):
        dataset.load_image(2)


RUNS = [0, 10, HEIGHT * WIDTH - 10]


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ({}, "no segmentation"),
        ([[1, 2, 3, 4]], "a polygon with fewer than 3 points"),
        ([[1, 2, 30, 4, 5]], "a polygon with different numbers"),
        ([[1, 2, 30, float("nan"), 5, 6]], "a coordinate that is not a number"),
        ([[61, 2, 70, 2, 70, 9]], "a shape outside the image"),
        # Below the image of 40 rows; with x for y it would be inside.
        ([[5, 45, 9, 45, 9, 55]], "a shape outside the image"),
        ([1, 2, 30, 4, 5, 6], "a segmentation that is not a list of polygons"),
        (5, "a segmentation that is not a list of polygons"),
        ("1 2 3 4", "a segmentation that is not a list of polygons"),
        ({"size": [WIDTH, HEIGHT], "counts": RUNS}, "an RLE of another size than its image"),
        ({"counts": RUNS}, "an RLE without size or counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [0, 10]}, "an RLE whose counts do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, 2405]}, "an RLE whose counts do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "abc"}, "an RLE whose counts do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "an RLE whose counts do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "\x00"}, "an RLE whose counts do not add up"),
    ],
)
def test_a_broken_segmentation_is_left_out(coco_file, segmentation, reason):
    path = coco_file([annotation(93, segmentation), annotation(94)])
    with pytest.warns(UserWarning) as caught:
        dataset = load(path)
    assert str(caught[0].message).startswith(f"{path}: ") and "validate()" in str(caught[0].message)
    assert {note.where for note in dataset.notes} == {"annotation 93 of image 1"}
    assert all(note.reason.startswith(reason) and note.left_out for note in dataset.notes)
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1]
    # pycocotools counts x from 10 up to 20 and y from 5 up to 15.
    assert masks[..., 0].sum() == masks[5:15, 10:20, 0].sum() == 100


def test_absent_segmentation_is_left_out(coco_file):
    with pytest.warns(UserWarning, match="1 entry is left out: 1 x no segmentation"):
        dataset = load(coco_file([{"id": 1, "image_id": 1, "category_id": 3}]))
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 0)


def test_the_sound_parts_of_an_annotation_stay(coco_file):
    path = coco_file([annotation(1, [*SQUARE, [1, 2, 3, 4]])])
    with pytest.warns(UserWarning, match="fewer than 3 points"):
        dataset = load(path)
    assert dataset.load_mask(0)[0].sum() == 100


def test_one_warning_counts_all_problems(coco_file):
    records = [annotation(n, [[1, 2]]) for n in range(5)]
    records += [annotation(10, image=8), annotation(11, category=9), 3, annotation(12)]
    with pytest.warns(UserWarning) as caught:
        dataset = load(coco_file(records))
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "8 entries are left out: 5 x a polygon with fewer than 3 points (annotation 0 of" in (
        message
    )
    assert "annotation 2 of image 1, and 2 more)" in message
    assert "1 x an image_id that is not among the images (annotation 10 of image 8)" in message
    assert "1 x a category_id that is not among the categories (annotation 11 of image 1 (9))" in (
        message
    )
    assert "1 x an annotation that is not a dict (entry 7 of 'annotations')" in message
    assert len(dataset.notes) == 8
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_annotations_with_one_id_are_kept(coco_file):
    path = coco_file([annotation(4), annotation(4, image=2), annotation(5)])
    with pytest.warns(UserWarning, match=r"1 entry is odd, but kept: 1 x an id of several") as all_:
        dataset = load(path)
    assert "(annotation 4, 2 times)" in str(all_[0].message)
    assert [len(dataset.load_mask(i)[1]) for i in dataset.image_ids] == [2, 1]


def test_an_object_too_small_for_a_pixel_is_left_out(coco_file):
    tiny = [[10.1, 5.1, 10.2, 5.1, 10.2, 5.2]]
    dataset = load(coco_file([annotation(1), annotation(2, tiny, category=7)]))
    assert dataset.notes == []
    for _ in range(2):
        masks, class_ids = dataset.load_mask(0)
        assert masks.shape == (HEIGHT, WIDTH, 1) and class_ids.tolist() == [1]
    assert dataset.notes == [("no pixel is covered", "annotation 2 of image 1", True)]


def test_images_that_are_not_there_are_left_out(coco_file, write_photo, tmp_path):
    write_photo("a.png", HEIGHT, WIDTH)
    (tmp_path / "b.png").write_text("no picture")
    images = [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate("abc")]
    path = coco_file([annotation(1, image=0), annotation(2, image=2)], [*images, {"id": 9}])
    with pytest.warns(UserWarning) as caught:
        dataset = load(path)
    message = str(caught[0].message)
    assert f"1 x an image that is not in {tmp_path} (c.png)" in message
    assert "1 x an image that cannot be read (b.png)" in message
    assert "1 x an image without id or file_name (entry 3 of 'images')" in message
    assert [info["id"] for info in dataset.image_info] == [0]


def test_no_image_at_all_is_an_error(coco_file):
    path = coco_file([], [{"id": 1, "file_name": "x.png"}, {"id": 2, "file_name": "y.png"}])
    with pytest.raises(FileNotFoundError, match=r"no usable image: 2 x .* \(x\.png, y\.png\)"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": {}}, "no list 'annotations'"),
        ({"categories": None}, "no list 'categories'"),
        ({"categories": [{"id": 1}]}, r"a category has no id or no name: \{'id': 1\}"),
        (
            {"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "cat"}]},
            "categories 0 and 1 are both named 'cat'; rename one, or choose by class_ids",
        ),
        (
            {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
            "two categories have the id 1",
        ),
        (
            {"images": [{"id": 1, "file_name": "1.png"}, {"id": 1, "file_name": "2.png"}]},
            r"two images have the id 1, 1\.png and 2\.png",
        ),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_an_error(coco_file, changes, message):
    path = coco_file([])
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=rf"instances\.json.*{message}"):
        load(path)


def test_of_two_categories_with_one_name_one_can_be_chosen(coco_file):
    categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "cat"}]
    dataset = load(coco_file([annotation(1, category=1)], categories=categories), class_ids=[1])
    assert dataset.class_names == ["BG", "cat"]
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_subclasses_mix_sources(coco_file):
    class Mixed(CocoJsonDataset):
        def load_mask(self, image_id):
            if self.image_info[image_id]["source"] != "coco":
                return np.ones((4, 4, 1), bool), np.array([3], np.int32)
            return super().load_mask(image_id)

    path = coco_file([annotation(1)])
    dataset = Mixed()
    dataset.load_coco_json(path, path.parent)
    dataset.add_class("own", 1, "thing")
    dataset.add_image("own", 1, None)
    dataset.prepare()
    assert dataset.load_mask(0)[1].tolist() == [1]
    assert dataset.load_mask(2)[1].tolist() == [3]
    with pytest.warns(UserWarning, match=r"Mixed does not override load_mask"):
        CocoJsonDataset.load_mask(dataset, 2)


def test_odd_entries_are_left_out(coco_file, write_photo):
    write_photo("1.png", HEIGHT, WIDTH)
    images = [{"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}]
    images += [{"id": [1], "file_name": "1.png"}, {"id": 10**400, "file_name": "1.png"}]
    images += [{"id": 4, "file_name": 5}]
    records = [annotation(1), annotation([2]), annotation(3, image=[1]), annotation(4, image=1.0)]
    records += [annotation(5, category={}), annotation(6, category=3.0), annotation(7, iscrowd="0")]
    records += [annotation(8, category="1"), annotation(9, image=True)]
    categories = [{"id": 3, "name": "dog"}, {"id": "1", "name": "cat"}, {"id": "b", "name": 5}]
    with pytest.warns(UserWarning, match="7 entries are left out: "):
        dataset = load(coco_file(records, images, categories))
    assert dataset.class_names == ["BG", "dog", "cat", "5"]
    assert [note[:2] for note in dataset.notes] == [
        ("an image whose id is neither a whole number nor a text", "entry 1 of 'images'"),
        ("an image whose id is neither a whole number nor a text", "entry 2 of 'images'"),
        ("an image whose file_name is not a text", "entry 3 of 'images'"),
        ("an image_id that is not among the images", "annotation 3 of image None"),
        ("a category_id that is not among the categories", "annotation 5 of image 1 ({})"),
        ("an iscrowd that is neither 0 nor 1", "annotation 7 of image 1"),
        ("an image_id that is not among the images", "annotation 9 of image None"),
    ]
    assert dataset.load_mask(0)[1].tolist() == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    "category", [{"id": 3.5, "name": "cat"}, {"id": 3, "name": ["cat"]}, {"id": True, "name": "c"}]
)
def test_odd_categories_are_an_error(coco_file, category):
    with pytest.raises(ValueError, match=r"instances\.json: a category has no id or no name"):
        load(coco_file([], categories=[{"id": 1, "name": "dog"}, category]))


def test_one_id_as_number_and_as_text_is_an_error(coco_file):
    categories = [{"id": 1, "name": "dog"}, {"id": "1", "name": "cat"}]
    with pytest.raises(ValueError, match=r"instances\.json: two categories have the id 1\."):
        load(coco_file([], categories=categories))


def test_a_declared_size_above_the_limit_is_left_out(coco_file, write_photo):
    write_photo("1.png", HEIGHT, WIDTH)
    images = [
        {"id": 1, "file_name": "1.png", "height": 10**6, "width": 10**6},
        {"id": 2, "file_name": "1.png"},
    ]
    path = coco_file([annotation(1), annotation(2, image=2)], images)
    with pytest.warns(UserWarning, match=r"an image of more pixels than mrcnn\.limits\.MAX_IMAGE"):
        dataset = load(path)
    assert [info["id"] for info in dataset.image_info] == [2]
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_a_declared_size_is_compared_before_memory_is_taken(coco_file, write_photo, monkeypatch):
    write_photo("1.png", HEIGHT, WIDTH)
    images = [{"id": 1, "file_name": "1.png", "height": 8000, "width": 8000}]
    dataset = load(coco_file([annotation(n) for n in range(3)], images))
    monkeypatch.setattr(coco_mask, "decode", None)
    message = r"1\.png\) has 40x60 pixels .*, but its annotations are for 8000x8000\."
    with pytest.raises(ValueError, match=message):
        dataset.load_mask(0)


def test_masks_above_the_limit_are_not_loaded(coco_file, monkeypatch):
    dataset = load(coco_file([annotation(n) for n in range(3)]))
    monkeypatch.setattr(limits, "MAX_MASK_BYTES", 3 * HEIGHT * WIDTH - 1)
    with pytest.raises(ValueError, match=r"1\.png\): its 3 masks of 40x60 .* take 7200 bytes"):
        dataset.load_mask(0)
    monkeypatch.setattr(limits, "MAX_MASK_BYTES", 3 * HEIGHT * WIDTH)
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 3)


def test_large_stacks_are_decoded_one_by_one(coco_file, monkeypatch, blob):
    """With more than 255 masks, for which `coco_mask.area` fails."""
    shapes = [uncompressed(blob), SQUARE, [[1.5, 2, 50, 8.25, 30, 39]], [[1, 1, 1.1, 1, 1, 1.1]]]
    records = [annotation(n, shapes[n % 4]) for n in range(300)]
    dataset = load(coco_file(records))
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (HEIGHT, WIDTH, 225) and (masks[..., ::3] == blob[..., np.newaxis]).all()
    monkeypatch.setattr("mrcnn.readers.coco._MANY_BYTES", 0)
    again, again_ids = dataset.load_mask(0)
    np.testing.assert_array_equal(again, masks)
    assert again.strides == masks.strides and (again_ids == class_ids).all()


def test_outlines_that_would_take_forever_are_left_out(coco_file, rng):
    noise = [rng.uniform(0, HEIGHT, 2 * 160000).round(2).tolist() for _ in range(2)]
    path = coco_file([annotation(1, [noise[0], *SQUARE]), annotation(2, [noise[1]])])
    with pytest.warns(UserWarning, match="crosses the image too often"):
        dataset = load(path)
    # Together they are too much: each has 160,000 edges, across 13 of 60 columns on average.
    assert dataset.notes == [
        ("an outline that crosses the image too often", "annotation 2 of image 1", True)
    ]
    assert len(dataset.image_info[0]["annotations"][0]["segmentation"]) == 2


def test_many_categories_take_linear_time(coco_file):
    """With a look at all others for each one, four times as many would take sixteen times."""
    seconds = []
    for count in (2500, 10000):
        path = coco_file([], categories=[{"id": n, "name": f"class {n}"} for n in range(count)])
        start = time.process_time()
        assert load(path).num_classes == count + 1
        seconds.append(time.process_time() - start)
    assert seconds[1] < 10 * seconds[0]
