"""RoI operators: torchvision's values, hand values, gradients, and what a moved box does."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.roi_crop import crop_and_resize
from mrcnn.layers.roi_ops import roi_align, roi_warp, round_to_cells
from mrcnn.layers.roi_pool import roi_pool
from tests.golden_weights import GOLDEN
from tests.layers.test_roi_align import RAMP, RAMP_ALIGNED


def crop(features, boxes, box_indices, crop_size):
    """Take one sample per bin, the outermost ones on the edges of a box in cells."""
    ends = tf.cast(tf.tile(tf.shape(features)[1:3], [2]) - 1, tf.float32)
    return crop_and_resize(features, boxes / ends, box_indices, crop_size)


OPERATORS = {
    "crop": crop,
    "align 2": lambda *args: roi_align(*args, samples=2),
    "align 2 whole": lambda *args: roi_align(*args, samples=2, half_pixel=False),
    "align adaptive": lambda *args: roi_align(*args, samples=0),
    "align adaptive whole": lambda *args: roi_align(*args, samples=0, half_pixel=False),
    "align_max": lambda *args: roi_align(*args, reduce="max"),
    "pool": roi_pool,
    "warp": roi_warp,
    "warp adaptive": lambda *args: roi_warp(*args, samples=0),
}
# Those that round a box to whole cells.
ROUNDING = ("pool", "warp", "warp adaptive")
ALL = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def on_ramp(operator, box, crop_size=(1, 1)):
    """Return the crop of one box of the map that grows by 5 per row and by 1 per column."""
    return operator(RAMP, np.array([box], np.float32), [0], crop_size)[0, ..., 0].numpy()


@pytest.fixture(scope="module")
def golden():
    """Return what `golden/torchvision_roi.py` wrote."""
    with np.load(GOLDEN / "torchvision_roi.npz") as file:
        return dict(file)


def with_gradient(operator, features, boxes, images, dy):
    """Return the crops, and the gradient of the features given that of the crops."""
    with tf.GradientTape() as tape:
        tape.watch(features)
        crops = operator(features, boxes, images, dy.shape[1:3])
    return crops, tape.gradient(crops, features, output_gradients=dy)


@pytest.mark.parametrize("half_pixel", [True, False], ids=["half", "whole"])
@pytest.mark.parametrize("samples", [1, 2, 3, 0])
def test_align_and_its_gradient_equal_torchvision(golden, samples, half_pixel):
    features, dy = (tf.constant(golden[name], tf.float32) for name in ("feature", "dy"))
    crops, gradient = with_gradient(
        lambda *args: roi_align(*args, samples=samples, half_pixel=half_pixel),
        features,
        golden["boxes"],
        golden["images"],
        dy,
    )
    name = f"align_{samples}_{'half' if half_pixel else 'whole'}"
    np.testing.assert_allclose(crops, golden[name], atol=3e-5)
    np.testing.assert_allclose(gradient, golden[f"{name}_gradient"], atol=3e-5)


def test_pool_and_its_gradient_equal_torchvision(golden):
    features, dy = (tf.constant(golden[name], tf.float32) for name in ("feature", "dy"))
    args = features, golden["boxes"], golden["images"], dy
    crops, gradient = with_gradient(roi_pool, *args)
    np.testing.assert_array_equal(crops, golden["pool"])
    np.testing.assert_allclose(gradient, golden["pool_gradient"], atol=1e-6)


def test_whole_pixels_shift_samples_by_half_a_cell():
    # Of 5 per row and 1 per column, half a cell is 3: Detectron2's table for "aligned" off.
    crop = on_ramp(OPERATORS["align 2 whole"], (1, 1, 3, 3), (4, 4))
    assert crop[0].tolist() == [7.5, 8.0, 8.5, 9.0]
    np.testing.assert_allclose(crop, RAMP_ALIGNED + 3, rtol=1e-6)


def test_smallest_box():
    # With whole pixels the point (2, 2) becomes the cell from (2, 2) to (3, 3): its centre has
    # 5 * 2.5 + 2.5. With half pixels all samples are at the point, 5 * 1.5 + 1.5.
    for samples in ("2", "adaptive"):
        point = (2, 2, 2, 2)
        assert on_ramp(OPERATORS[f"align {samples} whole"], point).item() == pytest.approx(15)
        assert on_ramp(OPERATORS[f"align {samples}"], point).item() == pytest.approx(9)


def test_maximum_of_samples():
    # Samples are an eighth of a cell from the centre of a bin: 5 / 8 + 1 / 8 more than the mean.
    crop = on_ramp(OPERATORS["align_max"], (1, 1, 3, 3), (4, 4))
    np.testing.assert_allclose(crop, RAMP_ALIGNED + 0.75, rtol=1e-6)


def test_adaptive_samples_see_every_cell(rng):
    # One bin of six cells: six samples per axis hit all centres, two those of cells 1 and 4.
    features = rng.normal(size=(1, 6, 6, 1)).astype(np.float32)
    box = np.array([[0, 0, 6, 6]], np.float32)
    crop = roi_align(features, box, [0], (1, 1), samples=0)
    np.testing.assert_allclose(crop.numpy().item(), features.mean(), atol=1e-6)
    crop = roi_align(features, box, [0], (1, 1), samples=2)
    np.testing.assert_allclose(crop.numpy().item(), features[0, 1::3, 1::3].mean(), atol=1e-6)


def test_adaptive_samples_of_a_huge_box_are_limited():
    # It ends in time, and nearly all samples lie outside.
    crop = on_ramp(OPERATORS["align adaptive"], (-1e9, -1e9, 1e9, 1e9), (2, 2))
    np.testing.assert_array_equal(crop, np.zeros((2, 2)))


def test_whole_cells_of_a_box():
    # Halves go away from 0; the cell of the second corner belongs to the box.
    boxes = tf.constant([[0.5, 1.5, 2.5, 3.49], [-0.5, -0.49, 0.2, 0.49999997], [3, 3, 1, 1]])
    expected = [[1, 2, 4, 4], [-1, 0, 1, 1], [3, 3, 4, 4]]
    assert round_to_cells(boxes).numpy().tolist() == expected


def test_pool_takes_the_largest_cell_of_overlapping_bins():
    # Cells 0 to 4 in two bins: 0 to 2 and 2 to 4.
    crop = on_ramp(roi_pool, (0, 0, 4, 4), (2, 2))
    assert crop.tolist() == [[12, 14], [22, 24]]
    # Rounded to the cells 1 to 3; the last bin of a box that leaves the map is empty.
    assert on_ramp(roi_pool, (0.6, 0.6, 3.4, 3.4)).item() == RAMP[0, 3, 3, 0]
    assert on_ramp(roi_pool, (3, 0, 6, 0), (2, 1)).tolist() == [[20], [0]]


def test_pool_gives_the_gradient_to_one_of_equal_cells():
    dy = tf.constant([[[[1.0], [2.0]]]])
    args = tf.zeros([1, 4, 4, 1]), np.array([[1, 0, 2, 3]], np.float32), [0], dy
    _, gradient = with_gradient(roi_pool, *args)
    expected = np.zeros((4, 4))
    expected[1, [0, 2]] = 1, 2
    np.testing.assert_array_equal(gradient[0, ..., 0], expected)


def test_warp_samples_the_rounded_box():
    # The box becomes the cells 1 to 3, with one bin each.
    crop = on_ramp(roi_warp, (0.6, 0.6, 3.4, 3.4), (3, 3))
    np.testing.assert_allclose(crop, RAMP[0, 1:4, 1:4, 0], rtol=1e-6)


@ALL
def test_gradient_equals_finite_differences(rng, operator):
    height, width = 5, 6
    # All cells differ by more than the steps, so no maximum changes.
    feature = rng.permutation(height * width).astype(np.float32).reshape(1, height, width, 1)
    boxes = np.float32([[0.3, 0.6, 4.2, 4.9], [1.2, -0.8, 3.1, 7.4], [2.2, 2.7, 2.4, 2.8]])
    dy = rng.normal(size=(3, 2, 3, 1)).astype(np.float32)
    _, gradient = with_gradient(operator, tf.constant(feature), boxes, [0, 0, 0], tf.constant(dy))
    # One image of the batch for every cell and direction.
    steps = 0.25 * np.eye(height * width, dtype=np.float32).reshape(-1, height, width, 1)
    moved = np.concatenate([feature + steps, feature - steps])
    count = len(moved)
    crops = operator(
        moved, np.tile(boxes, (count, 1)), np.repeat(np.arange(count, dtype=np.int32), 3), (2, 3)
    )
    totals = (crops.numpy().reshape(count, -1) @ dy.ravel()).reshape(2, height, width)
    np.testing.assert_allclose(gradient[0, ..., 0], (totals[0] - totals[1]) / 0.5, atol=3e-5)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="GPUs add atomically")
@ALL
def test_gradient_is_the_same_in_every_run(rng, operator):
    features = tf.constant(rng.normal(size=(2, 16, 20, 8)), tf.float32)
    corners = np.sort(rng.uniform(-1, 20, (300, 2, 2)), axis=1)
    boxes, images = tf.constant(corners.reshape(-1, 4), tf.float32), np.arange(300) % 2
    dy = tf.constant(rng.normal(size=(300, 3, 3, 8)), tf.float32)
    run = tf.function(lambda: with_gradient(operator, features, boxes, images, dy)[1])
    first = run().numpy()
    assert np.abs(first).max() > 1
    for _ in range(10):
        np.testing.assert_array_equal(run().numpy(), first)


@ALL
def test_sizes_may_change_from_call_to_call(rng, operator):
    signature = [
        tf.TensorSpec(shape, dtype)
        for shape, dtype in (([None] * 3 + [2], tf.float32), ([None, 4], tf.float32))
    ]
    compiled = tf.function(
        lambda x, boxes: operator(x, boxes, tf.zeros_like(boxes[:, 0], tf.int32), (2, 3)),
        input_signature=signature,
    )
    for count, size in ((4, (8, 9)), (0, (5, 5)), (7, (12, 4))):
        x = rng.normal(size=(1, *size, 2)).astype(np.float32)
        boxes = rng.uniform(0, 4, (count, 4)).astype(np.float32) + [0, 0, 4, 4]
        boxes = boxes.astype(np.float32)
        crops = compiled(x, boxes)
        assert crops.shape == (count, 2, 3, 2)
        for i in range(count):
            alone = operator(x, boxes[i : i + 1], [0], (2, 3))[0]
            np.testing.assert_allclose(crops[i], alone, atol=1e-5)


@ALL
def test_a_shift_by_whole_cells_changes_nothing(rng, operator):
    small = rng.normal(size=(1, 8, 8, 2)).astype(np.float32)
    # The box and its samples stay away from the borders.
    box = np.array([[1.3, 2.6, 5.1, 5.8]], np.float32)
    moved = np.pad(small, ((0, 0), (3, 1), (5, 2), (0, 0)))
    crops = operator(small, box, [0], (3, 3))
    shifted = operator(moved, box + np.float32([3, 5, 3, 5]), [0], (3, 3))
    np.testing.assert_allclose(shifted, crops, atol=1e-5)


def plane(height, width, scale=1.0, centre=0.5):
    """Return a map of 5 y + x, where cells `[i, j]` lie at `(i + centre, j + centre) / scale`."""
    y, x = ((np.arange(n) + centre) / scale for n in (height, width))
    return (5 * y[:, None] + x).astype(np.float32)[None, ..., None]


# Rounding loses where in a cell a box begins (Mask R-CNN, section 3): RoIAlign tells boxes apart
# that RoIPool and RoIWarp do not, as long as they round to the same cells.
@pytest.mark.parametrize("name", OPERATORS)
def test_a_shift_by_a_part_of_a_cell_is_lost_by_rounding(name):
    box, shift = np.float32([2.1, 3.1, 6.2, 7.3]), np.float32([0.25, 0.125, 0.25, 0.125])
    features = plane(12, 12)
    crops = OPERATORS[name](features, np.stack([box, box + shift]), [0, 0], (2, 2)).numpy()
    expected = 0 if name in ROUNDING else 5 * 0.25 + 0.125
    np.testing.assert_allclose(crops[1] - crops[0], expected, atol=1e-5)


# The same plane with cells half as large, and the box twice as large in cells. Rounding, and the
# additional cell at the end of a box, change the part of the plane that RoIPool and RoIWarp see.
@pytest.mark.parametrize("name", OPERATORS)
def test_a_map_twice_as_fine_gives_the_same_without_rounding(name):
    box = np.array([[2.1, 3.3, 6.2, 7.4]], np.float32)
    centre = 0.0 if name == "crop" or "whole" in name else 0.5
    coarse = OPERATORS[name](plane(12, 12, 1, centre), box, [0], (2, 2)).numpy()
    fine = OPERATORS[name](plane(24, 24, 2, centre), 2 * box, [0], (2, 2)).numpy()
    if name in ROUNDING:
        assert np.abs(fine - coarse).max() > 0.5
    else:
        np.testing.assert_allclose(fine, coarse, atol=1e-4)


def test_unknown_reduction():
    with pytest.raises(ValueError, match='"sum"; accepted are "mean" and "max"'):
        roi_align(RAMP, np.zeros((1, 4), np.float32), [0], (1, 1), reduce="sum")
    with pytest.raises(ValueError, match="a fixed number of samples"):
        roi_align(RAMP, np.zeros((1, 4), np.float32), [0], (1, 1), samples=0, reduce="max")
