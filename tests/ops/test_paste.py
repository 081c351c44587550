"""Masks pasted at boxes of fractions of pixels."""

from pathlib import Path

import numpy as np
import pytest

from mrcnn.ops.paste import paste_exact, paste_expanded
from mrcnn.ops.rle import decode_mask, paste_rles

# Made by running the `paste_masks_in_image` of torchvision 0.28 and of Detectron2 on 14 masks:
# inside, across the borders, thinner than a pixel, and the whole image.
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "reference_molding.npz")
MASKS, BOXES, SIZE = GOLDEN["masks"], GOLDEN["boxes"], tuple(GOLDEN["photo_size"].tolist())
WAYS = {"expand": paste_expanded, "exact": paste_exact}


@pytest.mark.parametrize("way", WAYS)
def test_equal_to_the_references(way):
    found = WAYS[way](MASKS, BOXES, SIZE)
    bits = np.unpackbits(GOLDEN[way])[: found.size].astype(bool)
    expected = bits.reshape(len(MASKS), *SIZE)
    assert expected.any(axis=(1, 2)).sum() >= 11
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)
    rles = paste_rles(MASKS, BOXES, SIZE, paste=WAYS[way])
    for rle, mask in zip(rles, expected, strict=True):
        np.testing.assert_array_equal(decode_mask(rle), mask)


def bilinear(mask, y, x):
    """The value between the centres of four samples, those outside 0: one sample at a time."""
    value, low_y, low_x = 0.0, int(np.floor(y)), int(np.floor(x))
    for row in (low_y, low_y + 1):
        for column in (low_x, low_x + 1):
            if 0 <= row < len(mask) and 0 <= column < mask.shape[1]:
                value += mask[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def test_exact_by_hand_for_masks_that_are_not_square():
    masks = np.random.default_rng(0).random((3, 4, 7))
    boxes = np.array([[1.3, 2.8, 9.1, 14.2], [-3.0, 5.5, 6.0, 30.0], [2.0, 2.0, 6.0, 9.0]])
    found = paste_exact(masks, boxes, (12, 20))
    for index, (mask, (y1, x1, y2, x2)) in enumerate(zip(masks, boxes, strict=True)):
        for i in range(12):
            for j in range(20):
                y = (i + 0.5 - y1) / (y2 - y1) * 4 - 0.5
                x = (j + 0.5 - x1) / (x2 - x1) * 7 - 0.5
                assert found[i, j, index] == (bilinear(mask, y, x) >= 0.5)


def test_a_full_mask_fills_its_box():
    """Of "expand", (10, 20, 24, 34) becomes (9.5, 19.5, 24.5, 34.5), and the pixels 9 to 24."""
    mask, box = np.ones((1, 28, 28)), [[10.0, 20.0, 24.0, 34.0]]
    rows, columns = np.nonzero(paste_exact(mask, box, (50, 60))[..., 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 23, 20, 33)
    rows, columns = np.nonzero(paste_expanded(mask, box, (50, 60))[..., 0])
    # 16 pixels take 30 samples: the first one is at 0.44, less than half of the way to the mask.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 23, 20, 33)


@pytest.mark.parametrize("way", WAYS)
def test_boxes_without_area_or_outside(way):
    boxes = [[5, 5, 5, 9], [70, 5, 80, 9], [-20, -20, -10, -10], [5, 9, 8, 6]]
    assert not WAYS[way](np.ones((4, 28, 28)), boxes, (30, 40)).any()
    assert WAYS[way](np.zeros((0, 28, 28)), np.zeros((0, 4)), (30, 40)).shape == (30, 40, 0)
    with pytest.raises(ValueError, match="given: 1 boxes, 2 masks"):
        WAYS[way](np.ones((2, 28, 28)), boxes[:1], (30, 40))
