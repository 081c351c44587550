"""Box formulas: hand calculations, the original's values, NumPy against keras.ops."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from mrcnn.legacy import formulas
from mrcnn.ops import boxes as box_ops

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")


def random_boxes(rng, *shape):
    corners = rng.uniform(0, 200, (*shape, 2))
    return np.concatenate([corners, corners + rng.uniform(1, 50, (*shape, 2))], axis=-1)


def test_area_is_height_times_width():
    assert box_ops.box_area([[0, 0, 2, 3], [1, 1, 1, 9]]).tolist() == [6, 0]


def test_overlaps_by_hand():
    # 4 of the 10 + 10 - 4 pixels are common; the second pair touches; the third is the same box.
    boxes1 = np.array([[0, 0, 2, 5], [0, 0, 2, 2], [3, 3, 5, 5]])
    boxes2 = np.array([[0, 3, 2, 8], [0, 2, 2, 4], [3, 3, 5, 5]])
    overlaps = box_ops.compute_overlaps(boxes1, boxes2)
    assert overlaps.dtype == np.float64
    np.testing.assert_allclose(np.diag(overlaps), [4 / 16, 0, 1])


def test_overlaps_of_boxes_without_area_are_zero():
    empty = np.array([[2, 2, 2, 2], [0, 0, 0, 0]])
    boxes = np.concatenate([empty, [[0, 0, 4, 4]]])
    assert not box_ops.compute_overlaps(boxes, empty).any()
    assert not np.asarray(box_ops.compute_overlaps(boxes, empty, xp=ops)).any()
    assert not formulas.compute_iou(empty[0], boxes, 0, box_ops.box_area(boxes)).any()


@pytest.mark.parametrize("xp", [np, ops])
def test_overlaps_of_two_pixels_in_normalized_coordinates(xp):
    # Boxes of two by two of a thousand pixels: 4e-6 of the image. Half of each is common to both,
    # a third of their union.
    box, beside = [[0, 0, 0.002, 0.002]], [[0, 0.001, 0.002, 0.003]]
    overlaps = box_ops.compute_overlaps(np.array(box + beside), np.array(box), xp)
    np.testing.assert_allclose(overlaps, [[1], [1 / 3]], rtol=1e-4)


def test_overlaps_with_nothing():
    nothing = np.zeros((0, 4))
    assert box_ops.compute_overlaps(nothing, np.ones((3, 4))).shape == (0, 3)
    assert box_ops.compute_overlaps(np.ones((3, 4)), nothing).shape == (3, 0)


def test_overlaps_equal_the_original():
    overlaps = box_ops.compute_overlaps(GOLDEN["b1"], GOLDEN["b2"])
    np.testing.assert_array_equal(overlaps, GOLDEN["overlaps"])


def test_overlaps_of_more_boxes_than_one_block():
    rng = np.random.default_rng(0)
    boxes1, boxes2 = random_boxes(rng, 20_000), random_boxes(rng, 3)
    areas1, areas2 = box_ops.box_area(boxes1), box_ops.box_area(boxes2)
    one_by_one = [
        formulas.compute_iou(box, boxes1, area, areas1)
        for box, area in zip(boxes2, areas2, strict=True)
    ]
    np.testing.assert_array_equal(
        box_ops.compute_overlaps(boxes1, boxes2), np.stack(one_by_one, axis=1)
    )


def test_encode_by_hand():
    # The centre moves from (5, 10) to (6, 14) in a box of 10 x 20; the height doubles, the width
    # halves.
    deltas = box_ops.encode_boxes([[0, 0, 10, 20]], [[-4, 9, 16, 19]])
    np.testing.assert_allclose(deltas, [[0.1, 0.2, np.log(2), -np.log(2)]], rtol=1e-6)


def test_refinement_equals_the_original():
    deltas = formulas.box_refinement(GOLDEN["b1"], GOLDEN["b2"])
    golden = GOLDEN["refinement"]
    assert deltas.dtype == np.float32
    np.testing.assert_array_equal(deltas[:, :2], golden[:, :2])
    # NumPy's float32 logarithm has changed its last bit since.
    np.testing.assert_array_max_ulp(deltas[:, 2:], golden[:, 2:], 1)


def test_deltas_applied_equal_the_original():
    boxes = formulas.apply_box_deltas(GOLDEN["b1"], GOLDEN["refinement"])
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(boxes, GOLDEN["applied"])


@pytest.mark.parametrize("xp", [np, ops])
def test_decode_reverses_encode(xp):
    rng = np.random.default_rng(1)
    boxes, gt_boxes = random_boxes(rng, 2, 50), random_boxes(rng, 2, 50)
    deltas = box_ops.encode_boxes(boxes, gt_boxes, xp)
    np.testing.assert_allclose(box_ops.decode_boxes(boxes, deltas, xp), gt_boxes, atol=1e-3)


@pytest.mark.parametrize("xp", [np, ops])
def test_padding_rows_and_wild_deltas_stay_finite(xp):
    boxes = np.array([[0, 0, 0, 0], [0, 0, 1, 1]], np.float32)
    assert np.isfinite(box_ops.encode_boxes(boxes, boxes[::-1], xp)).all()
    assert np.isfinite(box_ops.decode_boxes(boxes, np.full((2, 4), 1e3), xp)).all()


def test_largest_log_size_limits_the_growth():
    boxes = box_ops.decode_boxes([[0, 0, 1, 1]], [[0, 0, 5, 0.5]], max_log_size=np.log(4))
    # A factor of 4 instead of exp(5) in height, exp(0.5) in width, around (0.5, 0.5).
    half = np.exp(0.5) / 2
    np.testing.assert_allclose(boxes, [[-1.5, 0.5 - half, 2.5, 0.5 + half]], rtol=1e-6)


@pytest.mark.parametrize("xp", [np, ops])
def test_clip_by_hand(xp):
    boxes = [[-5, 2, 4, 30], [12, 12, 20, 20]]
    clipped = box_ops.clip_boxes(boxes, (0, 0, 10, 20), xp)
    assert np.asarray(clipped).tolist() == [[0, 2, 4, 20], [10, 12, 10, 20]]


def test_clip_takes_one_window_per_image():
    windows = np.array([[[0, 0, 1, 1]], [[2, 2, 3, 3]]])
    clipped = box_ops.clip_boxes(np.tile([0, 0, 9, 9], (2, 5, 1)), windows)
    assert clipped[0].tolist() == [[0, 0, 1, 1]] * 5
    assert clipped[1].tolist() == [[2, 2, 3, 3]] * 5


def test_trim_zeros_drops_padding_only():
    rows = np.array([[0, 1], [0, 0], [2, 0], [0, 0]])
    assert box_ops.trim_zeros(rows).tolist() == [[0, 1], [2, 0]]


def square(side):
    return [0, 0, side, side]


@pytest.mark.parametrize("xp", [np, ops])
def test_pyramid_level_by_hand(xp):
    # Boxes of these sides in pixels, in an image of 1024 x 1024. Half an octave (a factor of 1.41)
    # below 224 pixels the original still rounds up to level 4.
    sides = np.array([0, 20, 111, 112, 158, 159, 223, 224, 316, 318, 1024])
    boxes = np.array([square(side / 1024) for side in sides])
    rounded = box_ops.pyramid_level(boxes, 1024 * 1024, xp)
    floored = box_ops.pyramid_level(boxes, 1024 * 1024, xp, rounding="floor")
    assert np.asarray(rounded).tolist() == [2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5]
    assert np.asarray(floored).tolist() == [2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5]


@pytest.mark.parametrize("xp", [np, ops])
def test_floor_of_the_canonical_size_does_not_depend_on_rounding(xp):
    # 224 pixels at (17, 23) in this image come out as level 3.9999998 in float32.
    height, width = 1368, 521
    box = [[17 / height, 23 / width, (17 + 224) / height, (23 + 224) / width]]
    level = box_ops.pyramid_level(box, float(height * width), xp, rounding="floor")
    assert np.asarray(level).tolist() == [4]


def test_pyramid_level_limits_are_arguments():
    levels = box_ops.pyramid_level(
        [square(0.001), square(1)], 64.0**2, min_level=1, max_level=3, canonical_size=64
    )
    assert levels.tolist() == [1, 3]


def test_pyramid_level_names_the_accepted_roundings():
    with pytest.raises(ValueError, match='"ceil"; accepted are "round" and "floor"'):
        box_ops.pyramid_level([square(1)], 1.0, rounding="ceil")


BOXES = random_boxes(np.random.default_rng(2), 2, 30)
OTHERS = random_boxes(np.random.default_rng(3), 2, 30)
DELTAS = np.random.default_rng(4).normal(0, 0.3, BOXES.shape)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (box_ops.box_area, (BOXES,)),
        (box_ops.compute_overlaps, (BOXES[0], OTHERS[0, :7])),
        (box_ops.encode_boxes, (BOXES, OTHERS)),
        (box_ops.decode_boxes, (BOXES, DELTAS)),
        (box_ops.clip_boxes, (BOXES, np.array([20, 30, 120, 140]))),
        (box_ops.pyramid_level, (BOXES / 250, 1024.0 * 800)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_keras_ops_give_what_numpy_gives(function, arguments):
    expected = function(*arguments)
    result = ops.convert_to_numpy(function(*arguments, xp=ops))
    assert result.dtype == (np.int32 if expected.dtype.kind == "i" else np.float32)
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=1e-5)


def test_overlaps_of_a_batch_of_tensors():
    overlaps = np.asarray(box_ops.compute_overlaps(BOXES, OTHERS[:, :7], xp=ops))
    for image in range(2):
        expected = box_ops.compute_overlaps(BOXES[image], OTHERS[image, :7])
        np.testing.assert_allclose(overlaps[image], expected, atol=1e-6)


def test_tensors_of_low_precision_are_computed_in_float32():
    boxes = ops.cast(np.array([[0, 0, 1000, 1000]]), "bfloat16")
    # In bfloat16, 1000 + 3 is 1004: the box must not snap to that grid.
    deltas = np.array([[0.003, 0, 0, 0]], np.float32)
    moved = ops.convert_to_numpy(box_ops.decode_boxes(boxes, deltas, xp=ops))
    np.testing.assert_allclose(moved, [[3, 0, 1003, 1000]], atol=1e-3)
