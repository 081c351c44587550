import keras
import numpy as np
import pytest

from mrcnn.data.dataset import Dataset
from mrcnn.data.sample import load_sample
from mrcnn.legacy.formulas import parse_image_meta
from mrcnn.legacy.image_gt import load_image_gt


def one_image(array_dataset, image, masks, class_ids, **kwargs):
    dataset = array_dataset([(image, masks, np.asarray(class_ids))], **kwargs)
    dataset.image_reference = lambda image_id: f"photo-{image_id}"
    return dataset


def test_an_image_of_the_right_size_is_not_resized(array_dataset, rectangles, tiny_config, rng):
    _, masks, class_ids = rectangles([(0, 5, 10, 20), (50, 1, 64, 64)], [2, -1])
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    dataset = one_image(array_dataset, image, masks, class_ids)
    out, meta, ids, boxes, mask = load_image_gt(dataset, tiny_config, 0)
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(mask, masks)
    assert (out.dtype, mask.dtype, ids.dtype, boxes.dtype) == (np.uint8, bool, np.int32, np.int32)
    assert ids.tolist() == [2, -1]
    assert boxes.tolist() == [[0, 5, 10, 20], [50, 1, 64, 64]]
    assert meta.dtype == np.float64
    # id, original shape, shape, window, scale, background and three classes
    expected = [0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 1, 1]
    assert meta.tolist() == expected


def test_resized_and_padded(array_dataset, rectangles, tiny_config):
    # 16x32 is doubled to 32x64 and centred: 16 rows of padding above and below.
    image, masks, class_ids = rectangles([(4, 6, 8, 10)], [3], size=32, value=200)
    dataset = one_image(array_dataset, image[:16], masks[:16], class_ids)
    out, meta, _, boxes, mask = load_image_gt(dataset, tiny_config, 0)
    assert out.shape == (64, 64, 3)
    assert not out[:16].any() and not out[48:].any()
    assert (out[20:44, 4:60] == 200).all()
    # Masks are resized as scipy.ndimage.zoom does, which keeps the corners: row r comes from
    # round(r * 15 / 31), column c from round(c * 31 / 63).
    assert boxes.tolist() == [[16 + 8, 12, 16 + 16, 20]]
    assert mask.sum() == 8 * 8 and mask[24:32, 12:20, 0].all()
    parsed = parse_image_meta(meta[np.newaxis])
    assert parsed["original_image_shape"].tolist() == [[16, 32, 3]]
    assert parsed["image_shape"].tolist() == [[64, 64, 3]]
    assert parsed["window"].tolist() == [[16, 0, 48, 64]]
    assert parsed["scale"].tolist() == [2]


def test_augmentation_that_changes_the_size_is_part_of_the_scale(
    array_dataset, rectangles, tiny_config
):
    image, masks, class_ids = rectangles([(12, 12, 20, 20)], [1], size=32, value=200)
    dataset = one_image(array_dataset, image, masks, class_ids)
    middle = keras.layers.CenterCrop(32, 32)
    _, meta, _, boxes, _ = load_image_gt(dataset, tiny_config, 0, augmentation=middle)
    # 32x32 is doubled to 64x64, where the box is 24..40; 32x32 of that, where it is 8..24, is
    # doubled again.
    assert boxes.tolist() == [[16, 16, 48, 48]]
    parsed = parse_image_meta(meta[np.newaxis])
    assert parsed["scale"].tolist() == [4]
    assert parsed["original_image_shape"].tolist() == [[32, 32, 3]]
    assert parsed["window"].tolist() == [[0, 0, 64, 64]]


def test_instances_without_pixels_are_dropped(array_dataset, rectangles, tiny_config):
    image, masks, _ = rectangles([(1, 1, 9, 9), (3, 3, 3, 3), (20, 20, 30, 30)], [1, 1, 1])
    dataset = one_image(array_dataset, image, masks, [1, 2, 3])
    for use_mini_mask in (False, True):
        _, _, ids, boxes, mask = load_image_gt(dataset, tiny_config, 0, use_mini_mask=use_mini_mask)
        assert ids.tolist() == [1, 3]
        assert boxes.tolist() == [[1, 1, 9, 9], [20, 20, 30, 30]]
        assert mask.shape[-1] == 2 and mask.all(axis=(0, 1)).tolist() == [use_mini_mask] * 2


def test_instances_lost_in_resizing_are_dropped(array_dataset, rectangles, tiny_config):
    # Of every four rows one is kept, 101 and 105 among them: row 103 is lost.
    image, masks, _ = rectangles([(0, 0, 128, 128), (103, 103, 104, 104)], [1, 1], size=256)
    dataset = one_image(array_dataset, image, masks, [1, 2])
    _, _, ids, boxes, _ = load_image_gt(dataset, tiny_config, 0)
    assert ids.tolist() == [1]
    assert boxes.tolist() == [[0, 0, 32, 32]]


def test_mini_masks_are_the_boxes(array_dataset, tiny_config):
    masks = np.zeros((64, 64, 1), bool)
    # A box of 28x28, the size of mini-masks, whose lower half is object on the left only.
    masks[10:24, 20:48] = True
    masks[24:38, 20:34] = True
    dataset = one_image(array_dataset, np.zeros((64, 64, 3), np.uint8), masks, [1])
    _, _, _, boxes, mini = load_image_gt(dataset, tiny_config, 0, use_mini_mask=True)
    assert boxes.tolist() == [[10, 20, 38, 48]]
    assert mini.shape == (28, 28, 1) and mini.dtype == bool
    np.testing.assert_array_equal(mini, masks[10:38, 20:48])


@pytest.mark.parametrize("masks", [np.empty((0, 0, 0)), np.zeros((64, 64, 0), bool)])
@pytest.mark.parametrize("use_mini_mask", [False, True])
def test_image_without_instances(array_dataset, tiny_config, masks, use_mini_mask):
    image = np.zeros((64, 64, 3), np.uint8)
    dataset = one_image(array_dataset, image, masks, np.empty(0, np.int32))
    sample = load_image_gt(dataset, tiny_config, 0, use_mini_mask=use_mini_mask)
    assert sample[2].shape == (0,) and sample[3].shape == (0, 4)
    assert sample[4].shape == ((28, 28, 0) if use_mini_mask else (64, 64, 0))


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0.0, 1.0)])
def test_masks_of_any_type_become_bool(array_dataset, rectangles, tiny_config, values):
    image, masks, class_ids = rectangles([(2, 3, 20, 30)], [1])
    dataset = one_image(array_dataset, image, np.where(masks, *values[::-1]), class_ids)
    mask = load_image_gt(dataset, tiny_config, 0)[4]
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, masks)


def test_active_classes_are_those_of_the_source(tiny_config, rectangles):
    class Mixed(Dataset):
        def load_image(self, image_id):
            return rectangles([], [])[0]

        def load_mask(self, image_id):
            return rectangles([(2, 3, 20, 30)], [1])[1:]

    dataset = Mixed()
    for source, class_id in (("a", 1), ("b", 1), ("a", 2)):
        dataset.add_class(source, class_id, f"{source}{class_id}")
    for source in ("a", "b", "c"):
        dataset.add_image(source, 0, None)
    dataset.prepare()
    assert load_image_gt(dataset, tiny_config, 0)[1][12:].tolist() == [1, 1, 0, 1]
    assert load_image_gt(dataset, tiny_config, 1)[1][12:].tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match=r"image 2 \(c.0\) is from source 'c', .* 'a', 'b'"):
        load_image_gt(dataset, tiny_config, 2)


IMAGE, MASKS = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 2), bool)


@pytest.mark.parametrize(
    ("image", "masks", "class_ids", "message"),
    [
        (IMAGE, np.ones((32, 64, 2)), [1, 2], "masks have 32x64 pixels .* image has 64x64"),
        (IMAGE, MASKS, [1, 2, 3], "returned 2 masks and 3 class ids"),
        (IMAGE, MASKS, [1, 4], r"class id 4 is not one of 1\.\.3"),
        (IMAGE, MASKS, [0, 1], r"class id 0 is not one of 1\.\.3 \(0 is the background"),
        (IMAGE, MASKS, [1, -4], r"class id -4 is not one of 1\.\.3"),
        (IMAGE, MASKS[..., 0], [1], r"masks of shape \(64, 64\) .* expected are"),
        (IMAGE, MASKS, [[1], [2]], r"class ids of shape \(2, 1\); expected are"),
        (IMAGE[..., 0], MASKS, [1, 2], r"the shape \(64, 64\); expected is \[height, width, 3\]"),
        (IMAGE[..., :2], MASKS, [1, 2], r"the shape \(64, 64, 2\); expected is"),
    ],
)
def test_mistakes_name_the_image(array_dataset, tiny_config, image, masks, class_ids, message):
    dataset = one_image(array_dataset, image, masks, class_ids)
    with pytest.raises(ValueError, match=rf"^image 0 \(photo-0\): .*{message}") as error:
        load_image_gt(dataset, tiny_config, 0)
    assert str(error.value).count(". ") == 0


def test_number_of_classes_must_agree(array_dataset, tiny_config):
    dataset = one_image(array_dataset, IMAGE, MASKS, [1, 2], classes=5)
    message = (
        "NUM_CLASSES is 4, but the dataset has 6 classes, the background included: BG, class 1"
    )
    with pytest.raises(ValueError, match=message):
        load_image_gt(dataset, tiny_config, 0)


def test_prepare_must_be_called(tiny_config):
    class Balloons(Dataset):
        def load_image(self, image_id):
            return IMAGE

        def load_mask(self, image_id):
            return MASKS, np.array([1, 2])

    with pytest.raises(ValueError, match=r"not ready: call its prepare\(\) after adding images"):
        load_image_gt(Balloons(), tiny_config, 0)


def test_deprecated_augment_flips_half_of_the_images(array_dataset, tiny_config, rectangles, rng):
    _, masks, class_ids = rectangles([(0, 0, 10, 20)], [1])
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    dataset = one_image(array_dataset, image, masks, class_ids)
    flips = 0
    for _ in range(40):
        with pytest.warns(FutureWarning, match="use augmentation"):
            out, _, _, boxes, mask = load_image_gt(dataset, tiny_config, 0, augment=True, rng=rng)
        if (out != image).any():
            np.testing.assert_array_equal(out, image[:, ::-1])
            np.testing.assert_array_equal(mask, masks[:, ::-1])
            assert boxes.tolist() == [[0, 44, 10, 64]]
            flips += 1
    # 40 fair coins: outside of these limits once in 10,000 times.
    assert 8 <= flips <= 32


@pytest.mark.parametrize("mode", ["square", "crop", "pad64"])
def test_augmentation_that_changes_the_size(array_dataset, rectangles, tiny_config, mode):
    from mrcnn.data.imgaug_shim import iaa

    tiny_config.IMAGE_RESIZE_MODE = mode
    image, masks, class_ids = rectangles([(16, 16, 48, 48)], [1])
    image[masks[..., 0]] = 255
    dataset = one_image(array_dataset, image, masks, class_ids)
    # Eight pixels off each side: 48x48, which is resized to 64x64 again.
    augmentation = iaa.Crop(px=8, keep_size=False)
    out, meta, _, boxes, mask = load_image_gt(dataset, tiny_config, 0, augmentation=augmentation)
    assert out.shape == (64, 64, 3) and mask.shape == (64, 64, 1)
    assert parse_image_meta(meta[np.newaxis])["scale"][0] == pytest.approx(64 / 48)
    assert parse_image_meta(meta[np.newaxis])["original_image_shape"].tolist() == [[64, 64, 3]]
    bright = out[..., 0] > 127
    assert (bright & mask[..., 0]).sum() / (bright | mask[..., 0]).sum() > 0.9
    # (8, 8, 40, 40) of 48, times 4 / 3
    np.testing.assert_allclose(boxes, [[10.7, 10.7, 53.3, 53.3]], atol=1)


@pytest.mark.parametrize("flip_half", [True, False])
def test_augmentation_leaves_the_padding_below_and_at_the_right(
    array_dataset, rectangles, tiny_config, rng, flip_half
):
    tiny_config.IMAGE_RESIZE_MODE = "pad32"
    tiny_config.IMAGE_MIN_DIM, tiny_config.IMAGE_MAX_DIM = 40, 100
    _, masks, class_ids = rectangles([(4, 0, 20, 7)], [1])
    image = rng.integers(1, 256, (40, 50, 3), np.uint8)
    dataset = one_image(array_dataset, image, masks[:40, :50], class_ids)
    flip = keras.layers.RandomFlip("horizontal")
    how = {"flip_half": True} if flip_half else {"augmentation": flip}
    flips = 0
    for seed in range(12):
        sample = load_sample(dataset, tiny_config, 0, rng=np.random.default_rng(seed), **how)
        assert sample.meta[7:11].tolist() == [0, 0, 40, 50]
        padded = np.pad(image, [(0, 24), (0, 14), (0, 0)])
        flipped = np.pad(image[:, ::-1], [(0, 24), (0, 14), (0, 0)])
        is_flipped = np.array_equal(sample.image, flipped)
        assert is_flipped or np.array_equal(sample.image, padded)
        assert sample.boxes.tolist() == [[4, 43, 20, 50] if is_flipped else [4, 0, 20, 7]]
        assert sample.masks.shape == (64, 64, 1) and sample.masks.sum() == 16 * 7
        flips += is_flipped
    assert 0 < flips < 12


def test_crops_follow_the_generator(array_dataset, rectangles, tiny_config, rng):
    tiny_config.IMAGE_RESIZE_MODE = "crop"
    _, masks, class_ids = rectangles([(30, 30, 100, 100)], [1], size=128)
    image = rng.integers(0, 256, (128, 128, 3), np.uint8)
    dataset = one_image(array_dataset, image, masks, class_ids)
    crops = [
        load_image_gt(dataset, tiny_config, 0, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2, 3)
    ]
    np.testing.assert_array_equal(crops[0][0], crops[1][0])
    np.testing.assert_array_equal(crops[0][4], crops[1][4])
    assert len({crop[0].tobytes() for crop in crops}) > 1
    for out, _, _, boxes, mask in crops:
        # The place of the crop, from the corner of its pixels in the image.
        places = np.argwhere((image == out[0, 0]).all(axis=-1))
        y, x = next(p for p in places if (image[p[0] :, p[1] :][:64, :64] == out).all())
        np.testing.assert_array_equal(mask, masks[y : y + 64, x : x + 64])
        assert boxes[0].tolist() == [
            max(30 - y, 0),
            max(30 - x, 0),
            min(100 - y, 64),
            min(100 - x, 64),
        ]


class Annotated(Dataset):
    """One image with boxes and keypoints of its annotation."""

    def __init__(self, image, masks, class_ids, boxes=None, keypoints=None):
        super().__init__()
        self.content = image, masks, np.array(class_ids), boxes, keypoints
        for class_id in (1, 2, 3):
            self.add_class("made", class_id, str(class_id))
        self.add_image("made", 0, "a.png")
        self.prepare()

    def load_image(self, image_id):
        return self.content[0]

    def load_mask(self, image_id):
        return self.content[1:3]

    def load_boxes(self, image_id):
        return self.content[3]

    def load_keypoints(self, image_id):
        return self.content[4]


def test_boxes_and_keypoints_follow_resizing_and_padding(rectangles, tiny_config):
    # 16x32 is doubled to 32x64 and centred: 16 rows of padding above and below.
    image, masks, class_ids = rectangles([(4, 6, 8, 10), (0, 0, 9, 9)], [3, 1], size=32)
    boxes = [[3.5, 5, 8.25, 10], [-2, -1, 9, 33]]
    # Hidden, visible, and not labelled, which has no place.
    keypoints = [[[4, 6, 1], [7.5, 9, 2], [0, 0, 0]], [[0, 0, 2], [16, 32, 2], [-1, 5, 2]]]
    dataset = Annotated(image[:16], masks[:16], class_ids, boxes, keypoints)
    sample = load_sample(dataset, tiny_config, 0)
    assert sample.boxes.dtype == sample.keypoints.dtype == np.float32
    # The second is cut at the border of the photo, not at that of the padded image.
    assert sample.boxes.tolist() == [[23, 10, 32.5, 20], [16, 0, 34, 64]]
    assert sample.keypoints[0].tolist() == [[24, 12, 1], [31, 18, 2], [0, 0, 0]]
    # The corners of the photo are in it; a point above it is not.
    assert sample.keypoints[1].tolist() == [[16, 0, 2], [48, 64, 2], [0, 0, 0]]
    # The masks and all else are those of a dataset without boxes.
    plain = load_sample(Annotated(image[:16], masks[:16], class_ids), tiny_config, 0)
    assert plain.keypoints is None and plain.boxes.dtype == np.int32
    for name in ("image", "meta", "class_ids", "masks"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(plain, name))


def test_all_follow_the_sides_of_the_paper(rectangles, tiny_config, rng):
    """60x40 pixels become 91 x 60.67, cut to 91x60, so that the factors differ."""
    image = rng.integers(0, 256, (60, 40, 3), np.uint8)
    _, masks, class_ids = rectangles([(4, 6, 8, 10), (58, 0, 60, 40)], [3, 1])
    boxes = [[3.5, 5, 8.25, 10], [57, -1, 61, 40]]
    keypoints = [[[4, 6, 1], [60, 40, 2]], [[0, 0, 2], [61, 5, 2]]]
    dataset = Annotated(image, masks[:60, :40], class_ids, boxes, keypoints)
    tiny_config.IMAGE_RESIZE_MODE = "pad32"
    tiny_config.IMAGE_MIN_DIM, tiny_config.IMAGE_MAX_DIM = 70, 91
    sample = load_sample(dataset, tiny_config, 0)
    assert sample.image.shape == (96, 64, 3) and sample.masks.shape == (96, 64, 2)
    meta = parse_image_meta(sample.meta[np.newaxis])
    height, width = 91, 60
    assert meta["window"].tolist() == [[0, 0, height, width]]
    fy, fx = height / 60, width / 40
    np.testing.assert_allclose(
        sample.boxes, [[3.5 * fy, 5 * fx, 8.25 * fy, 10 * fx], [57 * fy, 0, height, width]], 1e-6
    )
    np.testing.assert_allclose(sample.keypoints[0], [[4 * fy, 6 * fx, 1], [height, width, 2]], 1e-6)
    assert sample.keypoints[1].tolist() == [[0, 0, 2], [0, 0, 0]]
    # A pixel of the first mask has its centre in 4 to 8 and 6 to 10 of the photo.
    rows, columns = (np.arange(96) + 0.5) / fy, (np.arange(64) + 0.5) / fx
    expected = ((rows >= 4) & (rows < 8))[:, None] & ((columns >= 6) & (columns < 10))
    np.testing.assert_array_equal(sample.masks[..., 0], expected)
    assert not sample.image[height:].any() and not sample.image[:, width:].any()
    assert sample.image[:height, :width].mean() > 100


def test_boxes_and_keypoints_follow_a_crop(rectangles, tiny_config, rng):
    tiny_config.IMAGE_RESIZE_MODE = "crop"
    _, masks, class_ids = rectangles([(30, 30, 100, 100), (0, 0, 128, 128)], [1, 2], size=128)
    image = rng.integers(0, 256, (128, 128, 3), np.uint8)
    boxes, points = [[30, 30, 100, 100], [0, 0, 128, 128]], [[[64, 64, 2], [3, 3, 2]]] * 2
    dataset = Annotated(image, masks, class_ids, boxes, points)
    for seed in range(4):
        sample = load_sample(dataset, tiny_config, 0, rng=np.random.default_rng(seed))
        places = np.argwhere((image == sample.image[0, 0]).all(axis=-1))
        y, x = next(p for p in places if (image[p[0] :, p[1] :][:64, :64] == sample.image).all())
        cut = [max(30 - y, 0), max(30 - x, 0), min(100 - y, 64), min(100 - x, 64)]
        assert sample.boxes.tolist() == [cut, [0, 0, 64, 64]]
        # The middle of the photo is in every crop.
        assert sample.keypoints[0, 0].tolist() == [64 - y, 64 - x, 2]
        corner = [3 - y, 3 - x, 2] if max(x, y) <= 3 else [0, 0, 0]
        assert sample.keypoints[0, 1].tolist() == corner


def test_instances_are_dropped_with_their_boxes_and_keypoints(rectangles, tiny_config):
    # No mask, no box, both.
    image, masks, _ = rectangles([(3, 3, 3, 3), (1, 1, 9, 9), (20, 20, 30, 30)], [1, 1, 1])
    boxes = [[3, 3, 9, 9], [70, 1, 80, 9], [20, 20, 31, 31]]
    keypoints = [[[n, n, 2]] for n in (5, 6, 25)]
    dataset = Annotated(image, masks, [1, 2, 3], boxes, keypoints)
    sample = load_sample(dataset, tiny_config, 0)
    assert sample.class_ids.tolist() == [3]
    assert sample.boxes.tolist() == [[20, 20, 31, 31]]
    assert sample.keypoints.tolist() == [[[25, 25, 2]]]
    assert sample.masks.shape == (64, 64, 1) and sample.masks.sum() == 100
    assert len(load_image_gt(dataset, tiny_config, 0)) == 5


def test_mini_masks_are_cut_to_rounded_boxes(tiny_config):
    masks = np.zeros((64, 64, 1), bool)
    masks[10:24, 20:48] = True
    dataset = Annotated(np.zeros((64, 64, 3), np.uint8), masks, [1], [[9.6, 20.4, 38.4, 48.3]])
    sample = load_sample(dataset, tiny_config, 0, use_mini_mask=True)
    assert sample.boxes.dtype == np.int32 and sample.boxes.tolist() == [[10, 20, 38, 48]]
    # 28x28 pixels, the size of mini-masks; the upper half is object.
    np.testing.assert_array_equal(sample.masks, masks[10:38, 20:48])


def test_augmented_boxes_are_those_of_the_masks(rectangles, tiny_config):
    from mrcnn.data.imgaug_shim import iaa

    image, masks, class_ids = rectangles([(4, 6, 8, 10)], [3])
    dataset = Annotated(image, masks, class_ids, [[3.5, 5, 8.25, 10]])
    sample = load_sample(dataset, tiny_config, 0, augmentation=iaa.Fliplr(1.0))
    assert sample.boxes.tolist() == [[4, 54, 8, 58]] and sample.boxes.dtype == np.int32


@pytest.mark.parametrize("how", ["augmentation", "flip_half"])
def test_keypoints_are_not_augmented(rectangles, tiny_config, how):
    from mrcnn.data.imgaug_shim import iaa

    dataset = Annotated(*rectangles([(4, 6, 8, 10)], [3]), keypoints=[[[5, 7, 2]]])
    with pytest.raises(
        ValueError, match=r"^image 0 \(a\.png\): load_keypoints\(\) returned keypoints"
    ):
        load_sample(dataset, tiny_config, 0, **{how: iaa.Fliplr(1.0)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"boxes": [[1, 2, 3, 4]]},
            r"load_boxes\(\) returned an array of shape \(1, 4\); .* for 2",
        ),
        ({"boxes": [[1, 2, 3]] * 2}, r"of shape \(2, 3\); expected .* \(y1, x1, y2, x2\)"),
        ({"boxes": [[1, 2, np.nan, 4]] * 2}, r"expected are finite numbers"),
        ({"keypoints": [[1, 2, 2]] * 2}, r"load_keypoints\(\) .* \(2, 3\); .* keypoints, \(y, x,"),
        ({"keypoints": np.zeros((3, 5, 3))}, r"of shape \(3, 5, 3\); .* for 2 instances"),
    ],
)
def test_boxes_and_keypoints_that_do_not_fit(tiny_config, content, message):
    dataset = Annotated(IMAGE, MASKS, [1, 2], **content)
    with pytest.raises(ValueError, match=rf"^image 0 \(a\.png\): .*{message}"):
        load_sample(dataset, tiny_config, 0)


def test_no_instances_with_boxes_and_keypoints(tiny_config):
    dataset = Annotated(IMAGE, np.empty((0, 0, 0)), [], [], [])
    sample = load_sample(dataset, tiny_config, 0, use_mini_mask=True)
    assert sample.boxes.shape == (0, 4) and sample.keypoints.shape == (0, 0, 3)


def test_by_default_masks_are_all(array_dataset):
    dataset = array_dataset([(IMAGE, MASKS, np.array([1, 2]))])
    assert dataset.load_boxes(0) is None and dataset.load_keypoints(0) is None
