import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.gather_crop import gather_crop
from mrcnn.layers.roi_align import PyramidROIAlign


def random_maps(rng, shapes, batch=2, channels=3):
    return [rng.normal(size=(batch, *shape, channels)).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("crop_size", [(7, 7), (1, 1), (2, 5)])
def test_crops_are_those_of_tensorflow_at_every_level(crop_size):
    """Boxes inside, outside and across borders, upside down, without area, of two images."""
    rng = np.random.default_rng(0)
    maps = random_maps(rng, [(9, 13), (5, 4), (1, 1)])
    boxes = rng.uniform(-0.3, 1.3, (60, 4)).astype(np.float32)
    boxes[:4] = [[0, 0, 1, 1], [0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0]]
    levels, images = rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    crops = gather_crop(
        maps, tf.constant(boxes), tf.constant(levels, tf.int32), images, crop_size
    ).numpy()
    for level, feature in enumerate(maps):
        chosen = levels == level
        expected = tf.image.crop_and_resize(feature, boxes[chosen], images[chosen], crop_size)
        np.testing.assert_allclose(crops[chosen], expected, atol=2e-6)


def test_rounding_at_the_border_is_that_of_tensorflow_in_a_graph():
    """The last row of a crop is 0 or not by the last bit of its position, as in TensorFlow."""
    rng = np.random.default_rng(0)
    feature = tf.constant(random_maps(rng, [(9, 13)], batch=1)[0] + 3)
    boxes = np.concatenate([rng.uniform(0, 0.9, (400, 2)), np.ones((400, 2))], axis=1)
    boxes, zeros = tf.constant(boxes, tf.float32), tf.zeros([400], tf.int32)
    expected = tf.image.crop_and_resize(feature, boxes, zeros, (7, 7)).numpy()
    assert 0 < (expected[:, -1] == 0).all((1, 2)).sum() < 40
    crop = tf.function(lambda levels: gather_crop([feature, feature], boxes, levels, zeros, (7, 7)))
    np.testing.assert_allclose(crop(zeros), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("crop", {"box_shift": 1.0}),
        ("align", {"level_rounding": "floor"}),
        ("align", {"samples": 1, "half_pixel": False}),
        ("align_max", {"strides": (16, 32)}),
        ("warp", {"half_pixel": False}),
    ],
)
def test_roi_features_of_fixed_shapes_are_those_of_the_layer(method, options):
    rng = np.random.default_rng(1)
    maps = random_maps(rng, [(32, 48), (16, 24)])
    corners = rng.uniform(-0.1, 0.9, (2, 30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 1, (2, 30, 2)) ** 2], axis=2)
    boxes = boxes.astype(np.float32)
    boxes[:, -1] = 0
    image = np.zeros((2, 512, 768, 1), np.float32)
    for levels in (maps, maps[:1]):
        if "strides" in options:
            options = {**options, "strides": options["strides"][: len(levels)]}
        usual, fixed = (
            PyramidROIAlign([3, 4], method, fixed_shapes=fixed, **options)
            for fixed in (False, True)
        )
        if len(levels) > 1:
            assert len(np.unique(usual._levels(boxes, [512.0, 768.0], 2))) == 2
        expected = usual([boxes, image, *levels])
        np.testing.assert_allclose(fixed([boxes, image, *levels]), expected, atol=3e-6)


def test_all_shapes_are_known():
    fixed = PyramidROIAlign([7, 7], fixed_shapes=True)
    specs = [(1, 20, 4), (1, 64, 64, 3), (1, 16, 16, 8), (1, 8, 8, 8)]
    graph = tf.function(lambda *inputs: fixed(list(inputs))).get_concrete_function(
        *[tf.TensorSpec(shape) for shape in specs]
    )
    assert graph.outputs[0].shape == (1, 20, 7, 7, 8)
    assert "CropAndResize" not in {op.type for op in graph.graph.get_operations()}


@pytest.mark.parametrize(("method", "samples"), [("pool", 2), ("align", 0), ("warp", 0)])
def test_methods_without_fixed_shapes_are_refused(method, samples):
    with pytest.raises(ValueError, match=f'"{method}" with {samples} samples'):
        PyramidROIAlign([7, 7], method, samples=samples, fixed_shapes=True)
