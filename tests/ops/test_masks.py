"""Masks: the original's values, scikit-image and SciPy as second implementations."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage import transform

from mrcnn.ops import masks as mask_ops

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")


def slow_resize(mask, shape):
    return transform.resize(
        mask.astype(np.float64), shape, order=1, mode="constant", anti_aliasing=False
    )


def blob(rng, height, width):
    """Return a smooth random mask without empty margins, so that its box is the whole array."""
    mask = ndimage.gaussian_filter(rng.normal(size=(height, width)), 3) > 0
    mask[[0, -1], width // 2] = True
    mask[height // 2, [0, -1]] = True
    return mask


def test_bboxes_by_hand():
    mask = np.zeros((6, 7, 3), np.uint8)
    mask[2:4, 1:6, 0] = 255
    mask[5, 6, 2] = 1
    boxes = mask_ops.extract_bboxes(mask)
    assert boxes.dtype == np.int32
    assert boxes.tolist() == [[2, 1, 4, 6], [0, 0, 0, 0], [5, 6, 6, 7]]


@pytest.mark.parametrize("width", range(1, 10))
def test_bboxes_of_any_width(width):
    for column in range(width):
        mask = np.zeros((3, width, 2), bool)
        mask[1, column, 0] = mask[2, column:, 1] = True
        expected = [[1, column, 2, column + 1], [2, column, 3, width]]
        assert mask_ops.extract_bboxes(mask).tolist() == expected


def test_bboxes_of_the_original():
    masks = np.unpackbits(GOLDEN["gt_masks"]).reshape(200, 200, 6)
    np.testing.assert_array_equal(mask_ops.extract_bboxes(masks), GOLDEN["gt_boxes"])


def test_bboxes_of_no_masks():
    assert mask_ops.extract_bboxes(np.zeros((5, 5, 0), bool)).shape == (0, 4)


def test_mask_overlaps_by_hand():
    masks = np.zeros((1, 4, 3))
    masks[0, :2, 0] = masks[0, 1:, 1] = 0.9
    # One of four pixels in common; the third mask is empty, and 0.4 is not object.
    masks[0, 0, 2] = 0.4
    overlaps = mask_ops.compute_overlaps_masks(masks, masks)
    assert overlaps.dtype == np.float32
    np.testing.assert_allclose(overlaps, [[1, 0.25, 0], [0.25, 1, 0], [0, 0, 0]])


def test_mask_overlaps_equal_the_original():
    predicted = np.unpackbits(GOLDEN["pred_masks"]).reshape(200, 200, 8)
    masks = np.unpackbits(GOLDEN["gt_masks"]).reshape(200, 200, 6)
    by_score = predicted[..., np.argsort(-GOLDEN["pred_scores"])]
    overlaps = mask_ops.compute_overlaps_masks(by_score, masks)
    np.testing.assert_array_equal(overlaps, GOLDEN["mask_overlaps"])


def test_mask_overlaps_with_nothing():
    overlaps = mask_ops.compute_overlaps_masks(np.zeros((4, 4, 0)), np.zeros((4, 4, 3)))
    assert (overlaps.shape, overlaps.dtype) == ((0, 3), np.float64)


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"given: \(8, 8\) and \(56, 56\)"):
        mask_ops.compute_overlaps_masks(np.ones((8, 8, 1)), np.ones((56, 56, 1)))


@pytest.mark.parametrize("scale", [0.31, 0.5, 0.8533333333333334, 1.7066666666666668, 2, 1])
@pytest.mark.parametrize("shape", [(61, 47), (2, 9), (400, 600)])
def test_resize_mask_equals_scipy(scale, shape):
    mask = np.random.default_rng(0).random((*shape, 3)) < 0.5
    mask[-1] = mask[:, -1] = True
    resized = mask_ops.resize_mask(mask, scale, [(3, 1), (0, 2), (0, 0)])
    expected = ndimage.zoom(mask, [scale, scale, 1], order=0)
    assert resized.dtype == bool
    np.testing.assert_array_equal(resized, np.pad(expected, [(3, 1), (0, 2), (0, 0)]))


def test_a_thin_mask_keeps_one_row():
    resized = mask_ops.resize_mask(np.ones((1, 500, 1), bool), 0.2, [(0, 0)] * 3)
    assert resized.shape == (1, 100, 1)
    assert resized.all()


def test_resize_mask_crops_instead_of_padding():
    mask = np.arange(36).reshape(6, 6, 1)
    cropped = mask_ops.resize_mask(mask, 1, [(9, 9), (9, 9), (0, 0)], crop=(1, 2, 3, 2))
    np.testing.assert_array_equal(cropped[..., 0], [[8, 9], [14, 15], [20, 21]])


def test_mini_masks_equal_the_original():
    # Of the original's three masks, two are known from their box and number of pixels alone: a
    # rectangle that fills its box and a disc of radius 30.
    y, x = np.mgrid[:256, :256]
    disc = (y - 199.5) ** 2 + (x - 199.5) ** 2 < 30**2
    rectangle = (y >= 121) & (y < 180) & (x >= 51) & (x < 100)
    masks, boxes = np.stack([rectangle, disc], axis=-1), GOLDEN["bbox"][1:]
    np.testing.assert_array_equal(masks.sum(axis=(0, 1)), GOLDEN["full_masks_sum"][1:])
    np.testing.assert_array_equal(mask_ops.extract_bboxes(masks), boxes)
    mini_masks = mask_ops.minimize_mask(boxes, masks, (56, 56))
    assert mini_masks.dtype == bool
    np.testing.assert_array_equal(mini_masks, GOLDEN["mini_masks"][..., 1:])


def test_expanded_masks_equal_the_original():
    masks = mask_ops.expand_mask(GOLDEN["bbox"], GOLDEN["mini_masks"], (256, 256, 3))
    assert (masks.shape, masks.dtype) == ((256, 256, 3), bool)
    np.testing.assert_array_equal(masks.sum(axis=(0, 1)), GOLDEN["expanded_sum"])
    np.testing.assert_array_equal(mask_ops.extract_bboxes(masks), GOLDEN["bbox"])


@pytest.mark.parametrize("size", [(3, 5), (13, 200), (56, 56), (89, 69), (112, 84), (301, 170)])
def test_mini_masks_equal_scikit_image(size):
    mask = blob(np.random.default_rng(0), *size)
    boxes, stack = np.array([[0, 0, *size]]), mask[..., np.newaxis]
    mini = mask_ops.minimize_mask(boxes, stack, (56, 40))[..., 0]
    expected = slow_resize(mask, (56, 40))
    # An exact half falls to either side with scikit-image's rounding errors, and to 0 here.
    np.testing.assert_array_equal(mini, (expected > 0.5) & ~np.isclose(expected, 0.5))
    expanded = mask_ops.expand_mask(boxes, mini[..., np.newaxis], size)[..., 0]
    expected = slow_resize(mini, size)
    np.testing.assert_array_equal(expanded, (expected > 0.5) & ~np.isclose(expected, 0.5))


def test_mini_mask_of_a_small_full_box_is_full():
    # Enlarging mixes zeros into the border, but a mask without zeros gets none.
    mini_mask = mask_ops.minimize_mask(np.array([[1, 1, 6, 8]]), np.ones((9, 9, 1)), (56, 56))
    assert mini_mask.all()


def test_expansion_reverses_minimization():
    y, x = np.mgrid[:150, :120]
    mask = (((y - 74.5) / 75) ** 2 + ((x - 59.5) / 60) ** 2 < 1)[..., np.newaxis]
    boxes = mask_ops.extract_bboxes(mask)
    mini_mask = mask_ops.minimize_mask(boxes, mask, (56, 56))
    expanded = mask_ops.expand_mask(boxes, mini_mask, mask.shape)
    assert mask_ops.compute_overlaps_masks(mask, expanded)[0, 0] > 0.94


def test_mini_masks_of_nothing():
    nothing = np.zeros((0, 4), np.int32)
    mini_masks = mask_ops.minimize_mask(nothing, np.zeros((9, 9, 0), bool), (5, 6))
    assert mini_masks.shape == (5, 6, 0)
    assert mask_ops.expand_mask(nothing, mini_masks, (9, 8)).shape == (9, 8, 0)


def test_mini_mask_of_a_box_without_area_is_refused():
    masks, boxes = np.ones((9, 9, 2), bool), np.array([[0, 0, 9, 9], [4, 4, 4, 7]])
    with pytest.raises(ValueError, match=r"area of zero: box 1 is \[4, 4, 4, 7\]"):
        mask_ops.minimize_mask(boxes, masks, (5, 5))


def test_one_box_per_mask():
    with pytest.raises(ValueError, match="1 boxes, 2 masks"):
        mask_ops.minimize_mask(np.array([[0, 0, 9, 9]]), np.ones((9, 9, 2), bool), (5, 5))


def test_unmolded_mask_equals_the_original():
    mask = mask_ops.unmold_mask(GOLDEN["unmold_in"], GOLDEN["unmold_box"], (160, 200, 3))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, np.unpackbits(GOLDEN["unmold"]).reshape(160, 200))


@pytest.mark.parametrize("size", [(1, 1), (5, 90), (28, 28), (77, 111), (300, 20)])
def test_pasted_mask_equals_scikit_image(size):
    rng = np.random.default_rng(0)
    # The second mask is object up to its border, where the original's lower limit shows.
    for mask in (rng.random((28, 28)), rng.uniform(0.55, 1, (28, 28))):
        pasted = mask_ops.unmold_mask(mask, (2, 3, 2 + size[0], 3 + size[1]), (310, 120))
        expected = np.zeros((310, 120), bool)
        expected[2 : 2 + size[0], 3 : 3 + size[1]] = slow_resize(mask, size) >= 0.5
        np.testing.assert_array_equal(pasted, expected)


def test_pasting_many_equals_pasting_one_by_one():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 60, (20, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 40, (20, 2))], axis=1)
    masks = rng.random((20, 28, 28), np.float32)
    pasted = mask_ops.paste_masks(masks, boxes, (100, 100))
    for index in range(20):
        alone = mask_ops.unmold_mask(masks[index], boxes[index], (100, 100))
        np.testing.assert_array_equal(pasted[..., index], alone)


def test_box_partly_outside_is_cut():
    mask = np.random.default_rng(0).random((28, 28))
    box = np.array([-7, 30, 25, 60])
    whole = mask_ops.unmold_mask(mask, box + 10, (70, 80))
    cut = mask_ops.unmold_mask(mask, box, (40, 50))
    np.testing.assert_array_equal(cut, whole[10:50, 10:60])
    assert cut.any()


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [8, 2, 4, 9], [50, 0, 60, 9], [-9, 0, 0, 9]])
def test_box_without_area_in_the_image_is_empty(box):
    assert not mask_ops.unmold_mask(np.ones((28, 28)), box, (40, 40)).any()


def test_pasting_nothing():
    pasted = mask_ops.paste_masks(np.zeros((0, 28, 28)), np.zeros((0, 4), int), (4, 5, 3))
    assert (pasted.shape, pasted.dtype) == ((4, 5, 0), bool)
