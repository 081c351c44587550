"""Networks of keras.applications: what they compute as backbones, beside Keras's own graph."""

import keras
import numpy as np
import pytest

from mrcnn.backbones import build_backbone
from mrcnn.backbones.applications import build
from mrcnn.registry import BACKBONES

MEAN_PIXEL = np.float32([123.7, 116.8, 103.9])
MODULES = {
    "MobileNetV2": keras.applications.mobilenet_v2,
    "EfficientNetV2B0": keras.applications.efficientnet_v2,
    "ResNet50V2": keras.applications.resnet_v2,
}
APPLICATIONS = [name for name, row in BACKBONES.items() if row.taps]


def draw_weights(model, rng):
    """Statistics that a trained network could have."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            draws = [rng.uniform(*limits, shape) for limits in ((0.7, 1.3), (-0.2, 0.2))]
            layer.set_weights([*draws, rng.uniform(-0.2, 0.2, shape), rng.uniform(1, 2, shape)])


@pytest.mark.parametrize("name", APPLICATIONS)
def test_stages_are_those_of_keras(rng, name):
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)(weights=None, include_top=False)
    draw_weights(network, rng)
    taps = [network.get_layer(tap).output for tap in BACKBONES[name].taps]
    network = keras.Model(network.input, taps)

    image = keras.Input((None, None, 3))
    stages = build_backbone(name, image, train_bn=False, mean_pixel=MEAN_PIXEL)
    model = keras.Model(image, list(stages.values()))
    assert [w.name for w in model.weights] == [w.name for w in network.weights]
    model.set_weights(network.get_weights())

    rgb = rng.uniform(0, 255, (1, 64, 128, 3)).astype(np.float32)
    expected = network(MODULES[name].preprocess_input(rgb.copy()))
    maps = model(rgb - MEAN_PIXEL)
    for result, map_, stride in zip(maps, expected, (4, 8, 16, 32), strict=True):
        assert result.shape[1:3] == (64 // stride, 128 // stride)
        assert np.std(map_) > 0.01
        np.testing.assert_allclose(result, map_, rtol=1e-3, atol=1e-4 * np.abs(map_).max())
    # Gamma and beta learn, whatever the rule of the statistics.
    assert len(model.trainable_weights) == len(network.trainable_weights)


@pytest.mark.parametrize(("train_bn", "changes"), [(False, False), (None, True), (True, True)])
def test_train_bn_rules_over_the_statistics(rng, train_bn, changes):
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, build(image, "MobileNetV2", ("Conv1_relu",) * 4, train_bn)[1])
    x = rng.normal(2, 1, (2, 32, 32, 3)).astype(np.float32)
    statistics = model.get_layer("bn_Conv1").moving_mean
    frozen, trained = model(x), model(x, training=True)
    assert bool(np.any(statistics)) == changes
    assert np.allclose(frozen, trained) == (train_bn is not None)


@pytest.mark.parametrize("channels", [1, 4])
def test_image_of_other_channels(channels):
    image = keras.Input((None, None, channels))
    stages = build_backbone("MobileNetV2", image, False, mean_pixel=np.zeros(channels))
    model = keras.Model(image, list(stages.values()))
    assert model.get_layer("Conv1").kernel.shape == (3, 3, channels, 32)


def test_rows_that_cannot_be_built():
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match='"MobileNetV9"'):
        build(image, "MobileNetV9", (), False)
    with pytest.raises(ValueError, match='taps of MobileNetV2 has "block_99_add", which is not a'):
        build(image, "MobileNetV2", ("block_2_add", "block_99_add"), False)
