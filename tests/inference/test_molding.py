"""From photos to the arrays of the graph, and from its outputs to the photo."""

from pathlib import Path

import numpy as np
import pytest

from mrcnn.config import PaperConfig
from mrcnn.inference import molding as mold
from mrcnn.legacy.formulas import generate_pyramid_anchors
from mrcnn.ops.rle import decode_mask
from mrcnn.ops.space import CELL_CENTERS
from tests.mini import MiniConfig, mini_config

PIXELS = np.array([[[0, 10, 255], [1, 2, 3]], [[100, 200, 50], [255, 255, 255]]], np.uint8)
GRAY = PIXELS[..., 0]


def rgb(gray):
    return np.stack([gray] * 3, axis=-1)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS.tolist(), PIXELS),
        (GRAY, rgb(GRAY)),
        (GRAY[..., None], rgb(GRAY)),
        (np.dstack([PIXELS, GRAY]), PIXELS),
        (PIXELS / 255.0, PIXELS),
        ((PIXELS / 255).astype(np.float32), PIXELS),
        (PIXELS.astype(np.float64), PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        # 16 bits: 65535 / 257 is 255; 65535 / 2 is 32767.5, and 32768 / 257 is 127.5.
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        # Some decoders return 16-bit files as int32.
        (PIXELS.astype(np.int32) * 257, PIXELS),
        # Gray with alpha.
        (np.dstack([GRAY, PIXELS[..., 1]]), rgb(GRAY)),
        (np.array([[0, 128, 129, 65535]], np.uint16), rgb(np.array([[0, 0, 1, 255]]))),
        (GRAY > 50, rgb(np.array([[0, 0], [255, 255]]))),
        (np.array([[0.0, 0.5, 1.0]]), rgb(np.array([[0, 128, 255]]))),
        (np.array([[0.4, 1.6, 254.9]]), rgb(np.array([[0, 2, 255]]))),
    ],
)
def test_images_of_many_kinds_become_rgb(image, expected):
    (result,) = mold.as_images([image], 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5)), "Image 5 has 5 channels; this model takes 3"),
        (np.zeros((1, 4, 4, 3)), r"Image 5 has shape \(1, 4, 4, 3\); accepted are \[height, width"),
        (np.zeros(4), r"Image 5 has shape \(4,\)"),
        (np.zeros((0, 4, 3)), r"Image 5 has shape \(0, 4, 3\)"),
        (
            PIXELS / 255 - 0.5,
            "Image 5 is float64 with values from -0.5 to 0.5; accepted",
        ),
        (PIXELS * 2.0, "Image 5 is float64 with values from 0 to 510"),
        (PIXELS.astype(np.int32) * 258, "Image 5 is int32 with values from 0 to 65790"),
        (np.full((4, 4, 3), np.nan), "Image 5 is float64 with values from nan to nan"),
        (np.where(PIXELS > 99, np.inf, 0.0), "Image 5 is float64 with values from 0 to inf"),
    ],
)
def test_what_is_no_image(image, message):
    with pytest.raises(ValueError, match=message):
        mold.as_images([PIXELS] * 5 + [image], 3)


def test_models_with_other_channels_take_theirs_as_they_are():
    image = np.array([[[0.5, 1000.0, -3.0, 7.0]]])
    np.testing.assert_array_equal(mold.as_images([image], 4)[0], image)
    np.testing.assert_array_equal(mold.as_images([GRAY], 1)[0], GRAY[..., None])
    with pytest.raises(ValueError, match="Image 1 has 3 channels; this model takes 4"):
        mold.as_images([image, PIXELS], 4)


@pytest.mark.parametrize("image", [PIXELS, GRAY])
def test_one_image_instead_of_a_list(image):
    with pytest.raises(ValueError, match=r"one array of shape .*; .* a list of images.* \[image\]"):
        mold.as_images(image, 3)


def test_array_of_images_is_a_list():
    images = mold.as_images(np.stack([PIXELS, PIXELS // 2]), 3)
    np.testing.assert_array_equal(images[0], PIXELS)
    np.testing.assert_array_equal(images[1], PIXELS // 2)


def test_molded_image_by_hand():
    """A 16x32 image is doubled and centred: rows 16 to 47 of 64; the rest is black."""
    config = mini_config(MEAN_PIXEL=np.array([1.0, 2.0, 3.0]))
    image = np.full((16, 32, 3), [50, 60, 70], np.uint8)
    molded, meta, window = mold.mold_one(image, config)
    assert (molded.shape, molded.dtype) == ((64, 64, 3), np.float32)
    # The outermost half pixel is mixed with the black around; see the tests of resize_image.
    assert (molded[17:47, 1:-1] == [49, 58, 67]).all()
    assert (molded[:16] == [-1, -2, -3]).all() and (molded[48:] == [-1, -2, -3]).all()
    assert window == (16, 0, 48, 64)
    assert meta.tolist() == [0, 16, 32, 3, 64, 64, 3, 16, 0, 48, 64, 2, 0, 0, 0]


def test_resize_modes_by_hand():
    image = np.full((64, 100, 3), 9, np.uint8)
    config = mini_config(IMAGE_RESIZE_MODE="pad64", MEAN_PIXEL=np.zeros(3))
    molded, meta, window = mold.mold_one(image, config)
    # 100 columns are padded to 128: 14 on each side.
    assert (molded[:, 14:114] == 9).all()
    assert not molded[:, :14].any() and not molded[:, 114:].any()
    assert (window, meta[4:12].tolist()) == ((0, 14, 64, 114), [64, 128, 3, 0, 14, 64, 114, 1])
    config = mini_config(IMAGE_RESIZE_MODE="none", MEAN_PIXEL=np.zeros(3))
    molded, meta, window = mold.mold_one(image[:, :64], config)
    assert (molded == 9).all() and molded.shape == (64, 64, 3)
    assert (window, meta[4:12].tolist()) == ((0, 0, 64, 64), [64, 64, 3, 0, 0, 64, 64, 1])


def test_resize_modes_that_cannot_be_used():
    image = np.zeros((64, 100, 3), np.uint8)
    with pytest.raises(ValueError, match=r"Image 2 has 64x100 pixels .* multiples of 64"):
        mold.mold_one(image, mini_config(IMAGE_RESIZE_MODE="none"), 2)
    with pytest.raises(ValueError, match='IMAGE_RESIZE_MODE is "crop", .* is for training'):
        mold.mold_one(image, mini_config(IMAGE_RESIZE_MODE="crop"), 2)


def test_anchors():
    config = MiniConfig()
    pixels, normalized = mold.normalized_anchors(config, (64, 128, 3))
    cells = [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    expected = generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, cells, (4, 8, 16, 32, 64), 1
    )
    np.testing.assert_array_equal(pixels, expected)
    # The square one around the first cell of P2: (-4, -4, 4, 4), of 8 pixels.
    assert pixels[1].tolist() == [-4, -4, 4, 4]
    np.testing.assert_allclose(normalized[1], [-4 / 63, -4 / 127, 3 / 63, 3 / 127], rtol=1e-6)
    assert (pixels.dtype, normalized.dtype) == (np.float64, np.float32)
    with pytest.raises(ValueError, match="The molded image has 64x96 pixels"):
        mold.normalized_anchors(config, (64, 96, 3))


# Back to the photo


def unmold_by_numpy(detections, original_shape, molded_shape, window):
    """Boxes in pixels of the photo: out of the window, and scaled; both by hand."""
    rows = detections[detections[:, 4] > 0]
    to_pixels = np.array([molded_shape[0] - 1, molded_shape[1] - 1] * 2, np.float64)
    boxes = rows[:, :4] * to_pixels + [0, 0, 1, 1]
    # Where a border of the window is 0, that of the photo is; the last row of pixels is the last.
    y1, x1, y2, x2 = window
    shifted = boxes - [y1, x1, y1 + 1, x1 + 1]
    scale = np.array([original_shape[0] - 1, original_shape[1] - 1] * 2)
    scale = scale / np.array([y2 - 1 - y1, x2 - 1 - x1] * 2)
    return np.round(shifted * scale + [0, 0, 1, 1]), rows[:, 4], rows[:, 5]


@pytest.fixture
def found():
    """Five detections in a 64x64 image with the window (16, 0, 48, 64), then padding."""
    boxes = np.array([[16, 0, 48, 64], [20, 10, 30, 40], [16, 62, 24, 64], [40, 1, 48, 9]])
    normalized = (boxes - [0, 0, 1, 1]) / 63
    detections = np.zeros((7, 6), np.float32)
    detections[:4, :4] = normalized
    detections[:4, 4], detections[:4, 5] = [1, 2, 1, 2], [0.9, 0.8, 0.7, 0.6]
    return detections


def test_unmold_against_numpy(found):
    shapes = (160, 320, 3), (64, 64, 3), (16, 0, 48, 64)
    masks = np.ones((7, 14, 14), np.float32)
    boxes, class_ids, scores, full = mold.unmold(found, masks, *shapes, CELL_CENTERS)
    expected = unmold_by_numpy(found, *shapes)
    np.testing.assert_array_equal(boxes, expected[0])
    np.testing.assert_array_equal(class_ids, expected[1])
    np.testing.assert_array_equal(scores, expected[2])
    assert boxes[0].tolist() == [0, 0, 160, 320]
    types = [array.dtype for array in (boxes, class_ids, scores, full)]
    assert types == [np.int32, np.int32, np.float32, bool]
    for index, (y1, x1, y2, x2) in enumerate(boxes):
        mask = np.zeros((160, 320), bool)
        mask[y1:y2, x1:x2] = True
        np.testing.assert_array_equal(full[..., index], mask)


def test_boxes_without_area_are_left_out(found):
    # Pixels 40 to 40 of 64.
    found[2, [1, 3]] = 40 / 63, 39 / 63
    masks = np.ones((7, 14, 14), np.float32)
    shapes = (160, 320, 3), (64, 64, 3), (16, 0, 48, 64)
    boxes, class_ids, scores, full = mold.unmold(found, masks, *shapes, CELL_CENTERS)
    assert class_ids.tolist() == [1, 2, 2]
    np.testing.assert_allclose(scores, [0.9, 0.8, 0.6])
    assert full.shape == (160, 320, 3)
    np.testing.assert_array_equal(boxes, unmold_by_numpy(found, *shapes)[0][[0, 1, 3]])


def test_masks_go_to_their_places(found):
    """The first is object in its upper half, the second in its left."""
    masks = np.zeros((7, 14, 14), np.float32)
    masks[0, :7] = masks[1, :, :7] = 1
    shapes = (160, 320, 3), (64, 64, 3), (16, 0, 48, 64)
    boxes, *_, full = mold.unmold(found, masks, *shapes, CELL_CENTERS)
    # Corners are rounded by half a cell, of 12 x 23 pixels, for beyond the borders all is 0.
    assert full[6:74, 12:-12, 0].all() and not full[82:, :, 0].any()
    y1, x1, y2, x2 = boxes[1]
    middle = (x1 + x2) // 2
    assert full[y1 + 2 : y2 - 2, x1 + 6 : middle - 6, 1].all()
    assert not full[:, middle + 6 :, 1].any() and not full[:y1, :, 1].any()
    assert not full[..., 2:].any()


def test_nothing_found():
    shapes = (30, 50, 3), (64, 64, 3), (16, 0, 48, 64)
    found, masks = np.zeros((10, 6), np.float32), np.zeros((10, 14, 14), np.float32)
    boxes, class_ids, scores, masks = mold.unmold(found, masks, *shapes, CELL_CENTERS)
    assert (boxes.shape, class_ids.shape, scores.shape) == ((0, 4), (0,), (0,))
    assert masks.shape == (30, 50, 0)
    types = [array.dtype for array in (boxes, class_ids, scores, masks)]
    assert types == [np.int32, np.int32, np.float32, bool]


# The paper's recipe

REFERENCE = np.load(Path(__file__).parents[1] / "golden" / "reference_molding.npz")


def paper_config(**settings):
    config = PaperConfig()
    for name, value in settings.items():
        setattr(config, name, value)
    return config


def normalized(boxes, shape):
    """Detections in a molded image, from boxes in its pixels; classes and scores by their place."""
    boxes = np.asarray(boxes, np.float64) / np.tile(shape[:2], 2)
    ranks = np.arange(len(boxes))
    return np.column_stack([boxes, ranks % 3 + 1, 0.9 - ranks / 50]).astype(np.float32)


def test_boxes_of_the_paper_are_those_of_torchvision():
    """A photo of 400x600 pixels was resized to 200x290, and padded to 224x320."""
    found = normalized(REFERENCE["resized_boxes"], (224, 320))
    ordered = REFERENCE["photo_boxes"]
    keep = (ordered[:, 2:] > ordered[:, :2]).all(axis=1)
    assert 0 < keep.sum() < len(keep)
    unmold = mold.unmolder(paper_config())
    shapes = (400, 600, 3), (224, 320, 3), (0, 0, 200, 290)
    boxes, class_ids, scores, masks = unmold(found, np.ones((len(found), 28, 28)), *shapes)
    np.testing.assert_allclose(boxes, ordered[keep], atol=1e-3)
    np.testing.assert_array_equal(class_ids, found[keep, 4])
    np.testing.assert_array_equal(scores, found[keep, 5])
    assert boxes.dtype == np.float32 and masks.shape == (400, 600, keep.sum())


def test_boxes_of_the_paper_are_cut_at_the_photo():
    found = normalized([[-5, 10, 210, 300]], (224, 320))
    shapes = (400, 600, 3), (224, 320, 3), (0, 0, 200, 290)
    boxes, *_ = mold.unmolder(paper_config())(found, np.ones((1, 28, 28)), *shapes)
    np.testing.assert_allclose(boxes, [[0, 10 * 600 / 290, 400, 600]], rtol=1e-6)
    assert (boxes[0, 2:] == [400, 600]).all()


@pytest.mark.parametrize("way", ["expand", "exact"])
def test_masks_of_the_paper_are_those_of_the_references(way):
    """The photo has the size of its place in the molded image, so that boxes stay as they are."""
    size, config = tuple(REFERENCE["photo_size"].tolist()), paper_config(MASK_PASTE=way)
    masks = REFERENCE["masks"][:13]
    expected = np.unpackbits(REFERENCE[way])[: 14 * size[0] * size[1]].reshape(14, *size)[:13]
    found = normalized(REFERENCE["boxes"][:13], (64, 96))
    shapes = (*size, 3), (64, 96, 3), (0, 0, *size)
    *_, full = mold.unmolder(config)(found, masks, *shapes)
    # Boxes went through float32, so that a pixel in the middle of a border may differ.
    assert (np.moveaxis(full, -1, 0) != expected).sum() <= 2
    *_, rles = mold.unmolder(config, "rle")(found, masks, *shapes)
    for index, rle in enumerate(rles):
        np.testing.assert_array_equal(decode_mask(rle), full[..., index])


def test_anchors_of_sides_that_are_multiples_of_32():
    """96 pixels are 24, 12, 6, 3 and, for P6, 2 cells of the levels."""
    config = paper_config()
    pixels, between_0_and_1 = mold.normalized_anchors(config, (96, 64, 3))
    assert len(pixels) == 3 * (24 * 16 + 12 * 8 + 6 * 4 + 3 * 2 + 2 * 1)
    np.testing.assert_allclose(between_0_and_1 * [96, 64, 96, 64], pixels, atol=1e-4)
    with pytest.raises(ValueError, match=r"has 96x80 pixels .* multiples of 32\.$"):
        mold.normalized_anchors(config, (96, 80, 3))
