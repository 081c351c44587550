"""RoI features: published values, NumPy twins, and an exact gradient."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.roi_align import PyramidROIAlign, crop_and_resize, roi_align
from mrcnn.layers.roi_ops import roi_warp
from mrcnn.layers.roi_pool import roi_pool
from mrcnn.ops.space import CELL_CENTERS, BoxSpace
from tests.golden_weights import GOLDEN
from tests.layer_contract import run_layer_test


def bilinear(feature, y, x):
    """Mix the four neighbours of the point (y, x), in cells from the centre of the first one."""
    top, left = int(np.floor(y)), int(np.floor(x))
    bottom, right = min(top + 1, len(feature) - 1), min(left + 1, feature.shape[1] - 1)
    down, across = y - top, x - left
    upper = (1 - across) * feature[top, left] + across * feature[top, right]
    lower = (1 - across) * feature[bottom, left] + across * feature[bottom, right]
    return (1 - down) * upper + down * lower


def numpy_crop(feature, box, crop_size):
    """Take one sample per bin, the outermost ones on the edges of the box; 0 outside."""
    ends = np.array(feature.shape[:2]) - 1
    grid = [np.linspace(box[i], box[i + 2], crop_size[i]) * ends[i] for i in (0, 1)]
    crop = np.zeros((*crop_size, feature.shape[-1]))
    for i, y in enumerate(grid[0]):
        for j, x in enumerate(grid[1]):
            if 0 <= y <= ends[0] and 0 <= x <= ends[1]:
                crop[i, j] = bilinear(feature, y, x)
    return crop


def numpy_align(feature, box, crop_size):
    """Compute RoIAlign as Detectron2: points up to a cell outside get the value of the border."""
    size = np.array(feature.shape[:2])
    bins = (box[2:] - box[:2]) / crop_size
    crop = np.zeros((*crop_size, feature.shape[-1]))
    for i, j in np.ndindex(*crop_size):
        for quarter in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
            point = box[:2] + (np.array([i, j]) + quarter) * bins - 0.5
            if (point >= -1).all() and (point <= size).all():
                crop[i, j] += bilinear(feature, *np.clip(point, 0, size - 1)) / 4
    return crop


# The table that Detectron2 and tensorpack test theirs with. The values of the map grow by 5 per row
# and 1 per column, so a sample at (y, x), whose distances count from the corner, is
# 5 * (y - 0.5) + (x - 0.5). The first of the 4x4 bins of (1, 1, 3, 3) has its centre at
# (1.25, 1.25): 5 * 0.75 + 0.75 = 4.5. Bins are half a cell apart: 0.5 more per column, 2.5 per row.
# The mean of four samples around the centre of a bin is its value, because the map is linear.
RAMP = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
RAMP_ALIGNED = 4.5 + 2.5 * np.arange(4)[:, None] + 0.5 * np.arange(4)


def test_align_gives_the_published_table():
    crops = roi_align(RAMP, np.array([[1, 1, 3, 3]], np.float32), [0], (4, 4))
    assert RAMP_ALIGNED[0].tolist() == [4.5, 5.0, 5.5, 6.0]
    assert RAMP_ALIGNED[-1].tolist() == [12.0, 12.5, 13.0, 13.5]
    np.testing.assert_allclose(crops[0, ..., 0], RAMP_ALIGNED, rtol=1e-6)


def test_crop_has_samples_on_the_edges_of_the_box():
    # The box (0.25, 0.25, 0.75, 0.75) of five cells goes from the centre of cell 1 to that of 3:
    # three samples fall on the cells themselves.
    crops = crop_and_resize(RAMP, np.array([[0.25, 0.25, 0.75, 0.75]], np.float32), [0], (3, 3))
    np.testing.assert_array_equal(crops[0, ..., 0], RAMP[0, 1:4, 1:4, 0])


def canvas(height, width, batch=1):
    """Return an image of a size; the layer uses nothing else of it."""
    return np.zeros((batch, height, width, 1), np.float32)


def random_boxes(rng, *shape, low=-0.1, high=1.1):
    corners = np.sort(rng.uniform(low, high, (*shape, 2, 2)), axis=-2)
    return corners.reshape(*shape, 4).astype(np.float32)


def test_crop_equals_numpy(rng):
    features = rng.normal(size=(2, 9, 13, 3)).astype(np.float32)
    boxes, images = random_boxes(rng, 30), rng.integers(0, 2, 30)
    crops = crop_and_resize(features, boxes, images, (5, 4)).numpy()
    for crop, box, image in zip(crops, boxes, images, strict=True):
        np.testing.assert_allclose(crop, numpy_crop(features[image], box, (5, 4)), atol=1e-5)


def test_align_equals_numpy(rng):
    features = rng.normal(size=(2, 9, 13, 3)).astype(np.float32)
    # Some reach beyond the border by more than a cell.
    boxes = random_boxes(rng, 30, low=-0.3, high=1.3) * [9, 13, 9, 13]
    boxes, images = boxes.astype(np.float32), rng.integers(0, 2, 30)
    crops = roi_align(features, boxes, images, (5, 4)).numpy()
    for crop, box, image in zip(crops, boxes, images, strict=True):
        np.testing.assert_allclose(crop, numpy_align(features[image], box, (5, 4)), atol=1e-5)


def crop_gradient(features, boxes, images, dy):
    with tf.GradientTape() as tape:
        tape.watch(features)
        crops = crop_and_resize(features, boxes, images, dy.shape[1:3])
    return tape.gradient(crops, features, output_gradients=dy)


@pytest.fixture
def overlapping(rng):
    """Return features, and 400 overlapping RoIs with a gradient each."""
    features = tf.constant(rng.normal(size=(2, 16, 20, 8)), tf.float32)
    boxes = tf.constant(random_boxes(rng, 400))
    images = tf.constant(rng.integers(0, 2, 400), tf.int32)
    return features, boxes, images, tf.constant(rng.normal(size=(400, 7, 7, 8)), tf.float32)


def test_gradient_of_crops_is_exact(overlapping):
    features, boxes, images, dy = (x.numpy() for x in overlapping)
    expected = np.zeros(features.shape)
    ends = np.array(features.shape[1:3]) - 1
    for box, image, rows in zip(boxes.astype(float), images, dy, strict=True):
        y, x = (np.linspace(box[i], box[i + 2], 7) * ends[i] for i in (0, 1))
        y_in, x_in = (y >= 0) & (y <= ends[0]), (x >= 0) & (x <= ends[1])
        for i, j in np.argwhere(y_in[:, None] & x_in):
            top, left = int(y[i]), int(x[j])
            for row, row_weight in ((top, 1 - y[i] + top), (top + 1, y[i] - top)):
                for column, column_weight in ((left, 1 - x[j] + left), (left + 1, x[j] - left)):
                    if row <= ends[0] and column <= ends[1]:
                        expected[image, row, column] += row_weight * column_weight * rows[i, j]
    gradient = crop_gradient(*overlapping).numpy()
    assert np.abs(gradient - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="GPUs add atomically")
def test_gradient_of_crops_is_the_same_in_every_run(overlapping):
    compiled = tf.function(crop_gradient)
    first = compiled(*overlapping).numpy()
    assert np.abs(first).max() > 1
    for _ in range(20):
        np.testing.assert_array_equal(compiled(*overlapping).numpy(), first)


def test_gradient_and_crops_agree_on_what_is_inside(rng):
    # Boxes that end on the border exactly: rounding must not put a sample inside for one of the two
    # and outside for the other. Crops of ones count the samples inside, and so does the sum of the
    # gradient of ones.
    boxes = random_boxes(rng, 100, low=0, high=1)
    boxes[:60, 2:] = 1
    boxes[40:80, :2] = 0
    for height, width, side in ((64, 48, 7), (25, 32, 14)):
        ones, dy = tf.ones([1, height, width, 1]), tf.ones([1, side, side, 1])
        for box in tf.constant(boxes)[:, None]:
            inside = tf.reduce_sum(crop_and_resize(ones, box, [0], (side, side)))
            gradient = tf.reduce_sum(crop_gradient(ones, box, [0], dy))
            np.testing.assert_allclose(gradient, inside, rtol=1e-5)


@pytest.mark.parametrize("method", PyramidROIAlign.METHODS)
def test_gradient_reaches_features_and_not_boxes(rng, method):
    layer = PyramidROIAlign((3, 3), method)
    boxes = tf.constant([[[0.1, 0.2, 0.6, 0.9]]])
    feature = tf.constant(rng.normal(size=(1, 8, 8, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([boxes, feature])
        total = tf.reduce_sum(layer([boxes, canvas(32, 32), feature]))
    to_boxes, to_feature = tape.gradient(total, [boxes, feature])
    assert to_boxes is None
    # All bins lie inside, and the weights of each sum up to 1: 3 * 3 bins, 2 channels.
    np.testing.assert_allclose(tf.reduce_sum(to_feature), 18, rtol=1e-5)


def levels_of(boxes, size=(1024, 1024), **arguments):
    """Return the level that each box is cropped from: features of level l are l everywhere."""
    features = [
        np.full((1, size[0] // 2**level, size[1] // 2**level, 1), level, np.float32)
        for level in (2, 3, 4, 5)
    ]
    layer = PyramidROIAlign((1, 1), **arguments)
    pixels = np.asarray(boxes, np.float32)[None]
    scale = np.array([*size, *size]) - 1
    return layer([(pixels / scale).astype(np.float32), canvas(*size), *features]).numpy().ravel()


@pytest.mark.parametrize("method", PyramidROIAlign.METHODS)
def test_level_of_a_box(method):
    # 4 + log2(side / 224), rounded: 224 -> 4, half of it 3, a quarter 2, the double 5. The borders
    # are at 224 / sqrt(2) = 158.4 and 224 * sqrt(2) = 316.8; beyond, 2 and 5 are the last.
    sides = [224, 112, 56, 448, 157, 160, 315, 318, 10, 1000]
    boxes = [[0, 0, side, side] for side in sides]
    assert levels_of(boxes, method=method).tolist() == [4, 3, 2, 5, 3, 4, 4, 5, 2, 5]


def test_level_depends_on_the_area():
    # 56 x 224 and 448 x 112 have the areas of squares with sides 112 and 224.
    assert levels_of([[0, 0, 56, 224], [0, 0, 448, 112]], (512, 1024)).tolist() == [3, 4]


@pytest.mark.parametrize("method", PyramidROIAlign.METHODS)
def test_order_of_boxes_and_images_is_kept(rng, method):
    features = [
        rng.normal(size=(2, 128 // s, 192 // s, 3)).astype(np.float32) for s in (1, 2, 4, 8)
    ]
    boxes = random_boxes(rng, 2, 25, low=0, high=1)
    layer = PyramidROIAlign((2, 3), method)
    together = layer([boxes, canvas(512, 768, batch=2), *features]).numpy()
    for image, row in np.ndindex(2, 25):
        one = [boxes[image : image + 1, row : row + 1], canvas(512, 768)]
        alone = layer([*one, *(feature[image : image + 1] for feature in features)])
        np.testing.assert_allclose(together[image, row], alone[0, 0], atol=1e-6)
    # All levels take part, so the crops have to be sorted.
    sides = np.sqrt((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]) * 512 * 768)
    assert set(np.clip(np.round(4 + np.log2(sides / 224)), 2, 5).ravel()) == {2, 3, 4, 5}


@pytest.mark.parametrize("method", PyramidROIAlign.METHODS)
def test_levels_without_a_box_do_no_harm(method):
    assert levels_of([[0, 0, 10, 10]] * 3, method=method).tolist() == [2, 2, 2]
    assert levels_of(np.zeros((0, 4)), method=method).shape == (0,)


@pytest.mark.parametrize("method", ["crop", "align", "align_max", "pool"])
def test_zero_boxes_sample_the_first_cell(rng, method):
    features = [rng.normal(size=(1, 64 // s, 64 // s, 3)).astype(np.float32) for s in (1, 2, 4, 8)]
    layer = PyramidROIAlign((2, 2), method)
    crops = layer([np.zeros((1, 1, 4), np.float32), canvas(256, 256), *features])
    np.testing.assert_allclose(crops[0, 0], np.tile(features[0][0, 0, 0], (2, 2, 1)), rtol=1e-6)


def test_rounding_of_levels_is_a_choice():
    # 4 + log2(side / 224): a box of 223 pixels is just below level 4, one of 112 on level 3.
    boxes = [[0, 0, 223, 223], [0, 0, 112, 112], [0, 0, 111, 111]]
    assert levels_of(boxes, level_rounding="floor").tolist() == [3, 3, 2]
    assert levels_of(boxes).tolist() == [4, 3, 3]


@pytest.mark.parametrize("method", PyramidROIAlign.METHODS)
def test_boxes_between_borders_sample_the_same_points(rng, method):
    # The same box in pixels, in both spaces.
    features = rng.normal(size=(1, 8, 8, 2)).astype(np.float32)
    pixels, size = np.float32([[[4, 6, 20, 27]]]), (32, 32)
    crops = [
        PyramidROIAlign((3, 3), method, box_shift=shift)(
            [BoxSpace(shift).normalize(pixels, size), canvas(*size), features]
        )
        for shift in (1.0, 0.0)
    ]
    np.testing.assert_allclose(*crops, atol=1e-5)


@pytest.mark.parametrize("samples", [2, 0])
def test_pyramid_equals_torchvision(samples):
    with np.load(GOLDEN / "torchvision_roi.npz") as file:
        golden = {name: file[f"pyramid_{name}"] for name in ("boxes", *"2345", f"align_{samples}")}
    size = (256, 384)
    boxes = BoxSpace(0).normalize(golden["boxes"], size)
    layer = PyramidROIAlign((3, 3), "align", "floor", 0.0, samples=samples, half_pixel=False)
    crops = layer([boxes, canvas(*size, 2), *(golden[level] for level in "2345")]).numpy()
    expected = golden[f"align_{samples}"]
    np.testing.assert_allclose(crops.reshape(expected.shape), expected, atol=2e-4)


def test_floored_levels_equal_torchvision():
    with np.load(GOLDEN / "torchvision_roi.npz") as file:
        sides, levels = file["pyramid_sides"], file["pyramid_levels"]
    features = [np.full((1, 1, 1, 1), level, np.float32) for level in (2, 3, 4, 5)]
    # 1024 is a power of 2: no side changes when it is normalized.
    boxes = sides[None, :, None] * np.float32([0, 0, 1, 1]) / np.float32(1024)
    layer = PyramidROIAlign((1, 1), "pool", "floor", 0.0)
    assert layer([boxes, canvas(1024, 1024), *features]).numpy().ravel().tolist() == levels.tolist()


@pytest.mark.parametrize("method", PyramidROIAlign.METHODS)
def test_a_single_map_gets_all_boxes(rng, method):
    # With pixels of stride 16, boxes of any size; the result is that of the operator.
    feature = rng.normal(size=(1, 20, 20, 2)).astype(np.float32)
    boxes = np.float32([[0, 0, 320, 320], [8, 24, 40, 56], [100, 30, 320, 319]])
    layer = PyramidROIAlign((2, 3), method, "floor", 0.0, strides=[16])
    crops = layer([BoxSpace(0).normalize(boxes, (320, 320))[None], canvas(320, 320), feature])
    cells = boxes / 16, [0, 0, 0], (2, 3)
    expected = {
        "crop": lambda: crop_and_resize(
            feature, CELL_CENTERS.normalize(boxes, (320, 320)), *cells[1:]
        ),
        "align": lambda: roi_align(feature, *cells),
        "align_max": lambda: roi_align(feature, *cells, reduce="max"),
        "pool": lambda: roi_pool(feature, *cells),
        "warp": lambda: roi_warp(feature, *cells),
    }
    np.testing.assert_allclose(crops[0], expected[method](), atol=1e-5)


def test_strides_place_boxes_in_maps_that_reach_beyond_the_image():
    # An image of 20 pixels has two cells of 16; of the ramp 2 y + x, the box of the first cell has
    # 0. Without strides, two cells would share the 20 pixels, and it would end at 1.6 cells.
    feature = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    inputs = [np.float32([[[0, 0, 0.8, 0.8]]]), canvas(20, 20), feature]
    settings = {"method": "align", "level_rounding": "floor", "box_shift": 0.0, "samples": 1}
    assert PyramidROIAlign((1, 1), strides=[16], **settings)(inputs).numpy().item() == 0
    crop = PyramidROIAlign((1, 1), **settings)(inputs).numpy().item()
    assert crop == pytest.approx(3 * (0.8 - 0.5), rel=1e-5)
    with pytest.raises(ValueError, match="1 feature map.* 2 strides"):
        PyramidROIAlign((1, 1), strides=[8, 16], **settings)(inputs)


def test_strides_name_the_lowest_level():
    # Of levels 3 and 4, 56 pixels belong to 3, 224 to 4.
    boxes = np.float32([[[0, 0, 56, 56], [0, 0, 224, 224]]]) / 512
    features = [np.full((1, 512 // s, 512 // s, 1), s, np.float32) for s in (8, 16)]
    layer = PyramidROIAlign((1, 1), "pool", "floor", 0.0, strides=(8, 16))
    assert layer([boxes, canvas(512, 512), *features]).numpy().ravel().tolist() == [8, 16]


@pytest.mark.parametrize(
    "settings",
    [{"method": method, "half_pixel": half} for method in ("align", "warp") for half in (0, 1)],
)
def test_padding_and_broken_boxes_give_numbers(rng, settings):
    feature = rng.normal(size=(1, 8, 8, 2)).astype(np.float32)
    boxes = np.float32([[[0, 0, 0, 0], [-1e9, -1e9, 1e9, 1e9], [0.5, 0.5, 0.2, 0.1]]])
    layer = PyramidROIAlign((2, 2), box_shift=0.0, samples=0, **settings)
    crops = layer([boxes, canvas(32, 32), feature]).numpy()
    assert np.isfinite(crops).all()
    assert np.abs(crops[0, 0]).max() <= np.abs(feature[0, :2, :2]).max()


def test_unknown_method():
    accepted = '"mean"; accepted are "crop", "align", "align_max", "pool", "warp"'
    with pytest.raises(ValueError, match=accepted):
        PyramidROIAlign((7, 7), "mean")
    with pytest.raises(ValueError, match="at least 1 sample per bin"):
        PyramidROIAlign((7, 7), "align_max", samples=0)


def test_config_keeps_all_settings():
    settings = {
        "pool_shape": (7, 5),
        "method": "align",
        "level_rounding": "floor",
        "box_shift": 0.0,
        "samples": 0,
        "half_pixel": False,
        "strides": (8, 16),
    }
    config = PyramidROIAlign(**settings).get_config()
    assert {name: config[name] for name in settings} == settings
    assert PyramidROIAlign.from_config(config).get_config() == config


def test_keras_contract(tmp_path):
    # An image of 20x20 pixels with cells of 4: the box (4, 4, 12, 12) is (1, 1, 3, 3) in cells.
    box = (np.array([[[4, 4, 12, 12]]]) - [0, 0, 1, 1]) / 19
    inputs = [box.astype(np.float32), canvas(20, 20), RAMP]
    run_layer_test(
        lambda: PyramidROIAlign((4, 4), "align"),
        (inputs,),
        RAMP_ALIGNED.reshape(1, 1, 4, 4, 1),
        tmp_path,
        tolerance=1e-5,
    )
