"""The feature pyramid, with kernels that leave sums to check by hand."""

from functools import partial

import keras
import numpy as np
import pytest

from mrcnn.backbones.fpn import fpn


@pytest.fixture
def pyramid(rng):
    """The pyramid over one-channel stages; laterals add up, output kernels change nothing."""
    sides = {"C2": 16, "C3": 8, "C4": 4, "C5": 2}
    inputs = {name: keras.Input((side, side, 1)) for name, side in sides.items()}
    outputs = fpn(inputs, channels=1)
    model = keras.Model(list(inputs.values()), list(outputs.values()))
    center = np.zeros((3, 3, 1, 1))
    center[1, 1] = 1
    for layer in model.layers:
        kernel = np.ones((1, 1, 1, 1)) if "c" in layer.name else center
        if layer.weights:
            layer.set_weights([kernel, np.zeros(1)])
    stages = {n: rng.normal(size=(1, s, s, 1)).astype(np.float32) for n, s in sides.items()}
    values = model(list(stages.values()))
    return stages, dict(zip(outputs, (v.numpy() for v in values), strict=True)), model


def twice_as_large(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def test_levels_by_hand(pyramid):
    stages, levels, _ = pyramid
    expected = {"P5": stages["C5"]}
    for level in (4, 3, 2):
        above = twice_as_large(expected[f"P{level + 1}"])
        expected[f"P{level}"] = stages[f"C{level}"] + above
    expected["P6"] = stages["C5"][:, ::2, ::2]
    assert list(levels) == ["P2", "P3", "P4", "P5", "P6"]
    for name, values in expected.items():
        np.testing.assert_allclose(levels[name], values, rtol=0, atol=1e-6)


def test_every_level_has_kernels_of_its_own(pyramid):
    _, _, model = pyramid
    weighted = {layer.name for layer in model.layers if layer.weights}
    laterals = {f"fpn_c{level}p{level}" for level in (2, 3, 4, 5)}
    assert weighted == laterals | {f"fpn_p{level}" for level in (2, 3, 4, 5)}


def test_levels_of_a_real_backbone():
    channels = {"C2": 256, "C3": 512, "C4": 1024, "C5": 2048}
    inputs = {
        name: keras.Input((128 // 2**level, 192 // 2**level, channels[name]))
        for level, name in enumerate(channels, start=2)
    }
    outputs = fpn(inputs)
    for level, (name, tensor) in enumerate(outputs.items(), start=2):
        assert (name, tensor.shape) == (f"P{level}", (None, 128 // 2**level, 192 // 2**level, 256))
    # Lateral 1x1 and output 3x3 convolutions with their biases, as published for 256 channels.
    model = keras.Model(list(inputs.values()), list(outputs.values()))
    laterals = sum(256 * n + 256 for n in channels.values())
    assert model.count_params() == laterals + 4 * (9 * 256 * 256 + 256)


def test_extra_level_from_c5_by_hand(rng):
    """P6 is a 3x3 convolution of C5 with stride 2, with one row of zeros on every side."""
    inputs = {f"C{k}": keras.Input((2 ** (7 - k), 2 ** (7 - k), 1)) for k in (2, 3, 4, 5)}
    model = keras.Model(list(inputs.values()), fpn(inputs, 1, extra_level="c5")["P6"])
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    model.get_layer("fpn_p6").set_weights([kernel, np.array([0.5])])
    c5 = rng.normal(size=(1, 4, 4, 1)).astype(np.float32)
    blank = [np.zeros((1, 2 ** (7 - k), 2 ** (7 - k), 1), np.float32) for k in (2, 3, 4)]
    inputs = [*blank, c5][-len(model.inputs) :]
    result = model(inputs).numpy()[0, ..., 0]
    padded = np.pad(c5[0, ..., 0], 1)
    expected = [
        [(padded[2 * y : 2 * y + 3, 2 * x : 2 * x + 3] * kernel[..., 0, 0]).sum() for x in (0, 1)]
        for y in (0, 1)
    ]
    np.testing.assert_allclose(result, np.array(expected) + 0.5, rtol=1e-5)


def test_normalization_after_every_convolution():
    inputs = {f"C{k}": keras.Input((2 ** (7 - k), 2 ** (7 - k), 1)) for k in (2, 3, 4, 5)}
    outputs = fpn(inputs, 2, norm=partial(keras.layers.BatchNormalization, epsilon=0))
    model = keras.Model(list(inputs.values()), list(outputs.values()))
    norms = {layer.name for layer in model.layers if layer.name.endswith("_norm")}
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert norms == {f"{layer.name}_norm" for layer in convs}
    assert len(convs) == 8 and not any(layer.use_bias for layer in convs)
