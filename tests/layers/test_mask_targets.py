"""Mask targets of RoIAlign: against torchvision, and by hand for mini-masks.

`golden/torchvision_mask_targets.npz` holds two masks of 96x128 pixels, seven boxes in pixels
(y1, x1, y2, x2), the mask of each, and `torchvision.ops.roi_align` of them in 28x28 bins: "legacy"
as torchvision's losses use it, "aligned" as Detectron2's `BitMasks.crop_and_resize`.
"""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.mask_targets import aligned_masks
from mrcnn.layers.targets import DetectionTargetLayer
from tests.golden_weights import GOLDEN


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "torchvision_mask_targets.npz")


def whole_masks(golden, half_pixel, threshold=None, keep=True):
    boxes = golden["boxes"][None] / np.float32([96, 128, 96, 128])
    masks = np.moveaxis(golden["masks"], 0, -1)[None]
    index = golden["idx"].astype(np.int32)[None]
    keep = np.broadcast_to(keep, index.shape)
    result = aligned_masks(
        boxes, boxes, index, keep, masks, (28, 28), False, 0.0, half_pixel, threshold
    )
    return result.numpy()[0]


@pytest.mark.parametrize(("half_pixel", "name"), [(False, "legacy"), (True, "aligned")])
def test_whole_masks_are_those_of_torchvision(golden, half_pixel, name):
    np.testing.assert_allclose(whole_masks(golden, half_pixel), golden[name], atol=2e-5)


def test_threshold(golden):
    clear = abs(golden["aligned"] - 0.5) > 1e-4
    targets = whole_masks(golden, True, threshold=0.5)
    np.testing.assert_array_equal(targets[clear], golden["aligned"][clear] >= 0.5)


def test_only_kept_rois_have_a_mask(golden):
    keep = np.array([False, True] * 3 + [False])
    targets = whole_masks(golden, False, keep=keep)
    np.testing.assert_allclose(targets[keep], golden["legacy"][keep], atol=2e-5)
    assert not targets[~keep].any()
    assert not whole_masks(golden, False, keep=False).any()


def mini_masks(box, roi, mask, mask_shape, half_pixel=True):
    """Return the target of one RoI and one instance with a mini-mask."""
    box, roi = (np.float32(x)[None, None] for x in (box, roi))
    first, keep = np.zeros((1, 1), np.int32), np.ones((1, 1), bool)
    mask = np.asarray(mask)[None, ..., None]
    return aligned_masks(roi, box, first, keep, mask, mask_shape, True, 0.0, half_pixel, None)[0, 0]


def test_mini_masks_by_hand():
    box = [0.25, 0.5, 0.5, 1.0]
    mask = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]], bool)
    # Bins of 2x2 pixels: the mean of the four.
    whole = mini_masks(box, box, mask, (2, 2))
    np.testing.assert_allclose(whole, [[0.75, 0], [0.5, 0.75]], atol=1e-6)
    # From two pixels above the box to its middle: the upper bins are outside.
    upper = mini_masks(box, [0.125, 0.5, 0.375, 1.0], mask, (2, 2))
    np.testing.assert_allclose(upper, [[0, 0], [0.75, 0]], atol=1e-6)
    # Half a pixel down: a sample between two rows is their mean, and the last is half outside.
    lower = mini_masks(box, np.float32(box) + [1 / 32, 0, 1 / 32, 0], mask, (2, 2))
    np.testing.assert_allclose(lower, [[0.875, 0.25], [0.25, 0.5]], atol=1e-6)


def test_mini_masks_have_no_half_pixel():
    mask = np.eye(4, dtype=bool)
    box, roi = [0.0, 0.0, 0.5, 0.5], [0.1, 0.0, 0.6, 0.4]
    one, other = (mini_masks(box, roi, mask, (3, 3), half) for half in (True, False))
    np.testing.assert_array_equal(one, other)


def test_mini_masks_of_all_pixels_are_the_whole_masks(golden):
    """Mini-masks as fine as the image give the targets of the whole masks, away from the border."""
    box, mask = np.float32([15, 12, 65, 88]), golden["masks"][0, 15:65, 12:88]
    roi = np.float32([20, 30, 60, 80])
    mini = mini_masks(box / 200, roi / 200, mask, (28, 28))
    whole = aligned_masks(
        roi[None, None] / np.float32([96, 128, 96, 128]),
        roi[None, None],
        np.zeros((1, 1), np.int32),
        np.ones((1, 1), bool),
        golden["masks"][:1].transpose(1, 2, 0)[None],
        (28, 28),
        False,
        0.0,
        True,
        None,
    )
    np.testing.assert_allclose(mini, whole[0, 0], atol=1e-4)


def test_layer_aligns_positives(golden):
    """The layer's positives have torchvision's targets, and all other places zeros."""
    scale = np.float32([96, 128, 96, 128])
    proposals = np.concatenate([golden["boxes"][[1, 5]], [[0, 0, 9, 9]]])[None] / scale
    inputs = [
        np.float32(proposals),
        np.array([[2, 7]], np.int32),
        golden["boxes"][None, [1, 5]] / scale,
        np.moveaxis(golden["masks"], 0, -1)[None],
    ]
    layer = DetectionTargetLayer(
        8, 0.5, mini_masks=False, box_shift=0, mask_targets="align", half_pixel=False
    )
    rois, class_ids, _, masks = tf.function(layer)(inputs)
    for roi, class_id, mask in zip(rois[0], class_ids[0].numpy(), masks[0], strict=True):
        if class_id:
            place = {2: 1, 7: 5}[class_id]
            np.testing.assert_allclose(roi * scale, golden["boxes"][place], atol=1e-4)
            np.testing.assert_allclose(mask, golden["legacy"][place], atol=1e-4)
        else:
            assert not np.any(mask)
    assert sorted(class_ids[0].numpy()) == [0] * 6 + [2, 7]
