"""Formulas that only old scripts use."""

from pathlib import Path

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.legacy.formulas import compute_iou, non_max_suppression

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")


def test_iou_by_hand():
    # The first box is contained, the second has half of itself in common, the third has no area.
    boxes = np.array([[0, 0, 1, 2], [1, 0, 3, 2], [0, 0, 0, 0]])
    areas = np.array([2, 4, 0])
    np.testing.assert_allclose(compute_iou([0, 0, 2, 2], boxes, 4, areas), [2 / 4, 2 / 6, 0])


def test_suppression_by_hand():
    # The second box covers 2/3 of the first (IoU 2 / 3), the third touches nothing.
    boxes = np.array([[0, 0, 1, 2], [0, 0, 1, 3], [5, 5, 6, 6]])
    scores = np.array([0.5, 0.9, 0.1])
    assert non_max_suppression(boxes, scores, 0.6).tolist() == [1, 2]
    assert non_max_suppression(boxes, scores, 0.7).tolist() == [1, 0, 2]


def test_suppression_keeps_an_overlap_of_the_threshold():
    """A box and its half have an IoU of 0.5 exactly, which no rounding changes."""
    boxes = np.array([[0, 0, 1, 2], [0, 0, 1, 1]])
    assert non_max_suppression(boxes, [0.9, 0.8], 0.5).tolist() == [0, 1]
    assert non_max_suppression(boxes, [0.9, 0.8], 0.4999).tolist() == [0]


def test_suppression_equals_the_original():
    # The scores of this case fall with the index; its threshold is 0.4.
    kept = non_max_suppression(GOLDEN["nms_boxes"], np.linspace(1, 0, 24), 0.4)
    assert kept.dtype == np.int32
    np.testing.assert_array_equal(kept, GOLDEN["nms"])


def test_suppression_needs_a_box():
    with pytest.raises(AssertionError, match="at least one box"):
        non_max_suppression(np.zeros((0, 4)), np.zeros(0), 0.5)


@pytest.mark.parametrize("how", ["keyword", "position"])
def test_resize_image_of_version_2_0_with_padding(how, rng):
    image = rng.integers(0, 256, (30, 50, 3), np.uint8)
    if how == "keyword":
        found = utils.resize_image(image, min_dim=60, max_dim=64, padding=True)
    else:
        found = utils.resize_image(image, 60, 64, True)
    new, window, scale, padding = found
    # 50 pixels become 64, and 30 then 38.4: 38 rows in the middle of 64.
    assert (scale, window, padding) == (1.28, (13, 0, 51, 64), [(13, 13), (0, 0), (0, 0)])
    np.testing.assert_array_equal(new, utils.resize_image(image, 60, 64)[0])
    mask = utils.resize_mask(np.ones((30, 50, 1), np.uint8), scale, padding)
    assert mask.shape == (64, 64, 1)
    np.testing.assert_array_equal(np.flatnonzero(mask[:, 32, 0]), np.arange(13, 51))


def test_resize_image_of_version_2_0_without_padding(rng):
    image = rng.integers(0, 256, (30, 50, 3), np.uint8)
    new, window, scale, padding = utils.resize_image(image, 60, 64, padding=False)
    assert (scale, window, padding) == (1.28, (0, 0, 38, 64), [(0, 0)] * 3)
    np.testing.assert_array_equal(new, utils.resize_image(image, 60, 64)[0][13:51])
    assert utils.resize_mask(np.ones((30, 50, 1)), scale, padding).shape == (38, 64, 1)
    # Without a limit, the shorter side decides.
    new, window, scale, _ = utils.resize_image(image, min_dim=60, padding=False)
    assert (scale, window, new.shape) == (2.0, (0, 0, 60, 100), (60, 100, 3))
    new, window, scale, _ = utils.resize_image(image, padding=False)
    assert (scale, window) == (1, (0, 0, 30, 50))
    np.testing.assert_array_equal(new, image)


def test_five_results_without_the_old_argument(rng):
    image = rng.integers(0, 256, (30, 50, 3), np.uint8)
    assert len(utils.resize_image(image, 60, 64)) == 5
    assert utils.resize_image(image, 60, 64, 2.0)[2] == 1.28
    with pytest.raises(ValueError, match="needs max_dim"):
        utils.resize_image(image, padding=True)
