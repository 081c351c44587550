"""ResNets: what is known of them from elsewhere, and their blocks by hand.

That whole networks compute what the original's do, `tests/test_golden.py` shows.
"""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.backbones.resnet import block_letters, conv_block, identity_block, resnet_graph
from tests.golden_weights import golden_layout

# `keras.applications.ResNet50(include_top=False).count_params()`, and that of ResNet101.
PARAMETERS = {"resnet50": 23_587_712, "resnet101": 42_658_176}


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_weights_are_those_of_the_original(architecture):
    image = keras.Input((None, None, 3))
    stages = resnet_graph(image, architecture, stage5=True, train_bn=False)
    model = keras.Model(image, stages)
    layout = golden_layout(architecture)
    found = {
        layer.name: {weight.name: tuple(weight.shape) for weight in layer.weights}
        for layer in model.layers
        if layer.weights
    }
    assert found == {name: layout[name] for name in found}
    backbone = {name for name in layout if not name.startswith(("mrcnn_", "rpn_", "fpn_"))}
    assert found.keys() == backbone
    assert model.count_params() == PARAMETERS[architecture]


def conv_bn_parameters(kernel_size, inputs, outputs):
    """Kernel and bias; gamma, beta, mean and variance."""
    return kernel_size**2 * inputs * outputs + outputs + 4 * outputs


def test_resnet152_has_the_parameters_of_the_paper():
    # Table 1: 3, 8, 36 and 3 bottlenecks of 64, 128, 256 and 512 channels, four times as wide at
    # their ends; the first of each stage has a convolution in its shortcut.
    expected, inputs = conv_bn_parameters(7, 3, 64), 64
    for blocks, width in ((3, 64), (8, 128), (36, 256), (3, 512)):
        expected += conv_bn_parameters(1, inputs, 4 * width)
        for _ in range(blocks):
            expected += conv_bn_parameters(1, inputs, width) + conv_bn_parameters(3, width, width)
            expected += conv_bn_parameters(1, width, 4 * width)
            inputs = 4 * width
    image = keras.Input((None, None, 3))
    stages = resnet_graph(image, "resnet152", stage5=True, train_bn=False)
    model = keras.Model(image, stages[1:])
    assert model.count_params() == expected == 58_370_944
    other = keras.applications.ResNet152(weights=None, include_top=False)
    assert model.count_params() == other.count_params()
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)
    blocks = [name[4:-4] for name in names if re.fullmatch("res4.*_out", name)]
    assert blocks == [*"abcdefghijklmnopqrstuvwxyz", *"aa ab ac ad ae af ag ah ai aj".split()]


def test_letters_of_blocks():
    assert [block_letters(n) for n in (0, 25, 26, 51, 52)] == ["a", "z", "aa", "az", "ba"]


def test_strides_and_channels():
    # Table 1 of the paper; C1 is what comes out of the pooling.
    image = keras.Input((64, 128, 3))
    stages = resnet_graph(image, "resnet50", stage5=True, train_bn=False)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (16, 32, 64),
        (16, 32, 256),
        (8, 16, 512),
        (4, 8, 1024),
        (2, 4, 2048),
    ]


def test_without_the_last_stage():
    image = keras.Input((64, 64, 3))
    stages = resnet_graph(image, "resnet50")
    assert stages[4] is None
    assert stages[3].shape == (None, 4, 4, 1024)
    assert not any("res5" in layer.name for layer in keras.Model(image, stages[3]).layers)


def conv_bn(x, weights, conv, bn, stride=1):
    x = tf.nn.conv2d(x, weights[f"{conv}/kernel"], stride, "SAME")
    if f"{conv}/bias" in weights:
        x = x + weights[f"{conv}/bias"]
    scale = weights[f"{bn}/gamma"] / np.sqrt(weights[f"{bn}/moving_variance"] + 1e-3)
    return (x - weights[f"{bn}/moving_mean"]) * scale + weights[f"{bn}/beta"]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("project", "stride"), [(False, 1), (True, 1), (True, 2)])
def test_block_equals_plain_convolutions(rng, project, stride, use_bias):
    image = keras.Input((8, 6, 12))
    if project:
        output = conv_block(
            image, 3, [4, 4, 12], 7, "x", (stride, stride), use_bias=use_bias, train_bn=False
        )
    else:
        output = identity_block(image, 3, [4, 4, 12], 7, "x", use_bias=use_bias, train_bn=False)
    model = keras.Model(image, output)
    model.set_weights(
        [
            (rng.uniform(0.2, 1, w.shape) - 0.6 * (w.ndim > 1)).astype(np.float32)
            for w in model.get_weights()
        ]
    )
    weights = {w.path: w.numpy() for w in model.weights}
    x = rng.normal(size=(2, 8, 6, 12)).astype(np.float32)
    # The stride is in the first 1x1 convolution, as in the original; others have it in the 3x3.
    y = tf.nn.relu(conv_bn(x, weights, "res7x_branch2a", "bn7x_branch2a", stride))
    y = tf.nn.relu(conv_bn(y, weights, "res7x_branch2b", "bn7x_branch2b"))
    y = conv_bn(y, weights, "res7x_branch2c", "bn7x_branch2c")
    shortcut = conv_bn(x, weights, "res7x_branch1", "bn7x_branch1", stride) if project else x
    expected = tf.nn.relu(y + shortcut)
    # Frozen statistics are used in training, too.
    result = model(x, training=True)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert model.layers[-1].name == "res7x_out"


@pytest.mark.parametrize("train_bn", [None, True, False])
def test_new_block_is_its_shortcut_where_batch_norm_learns(rng, train_bn):
    # Goyal et al. 2017, section 5.1. With frozen statistics gamma says nothing about the size of
    # the outputs, so there it stays 1.
    image = keras.Input((8, 6, 12))
    model = keras.Model(image, identity_block(image, 3, [4, 4, 12], 7, "x", train_bn=train_bn))
    x = rng.normal(size=(2, 8, 6, 12)).astype(np.float32)
    same = np.allclose(model(x, training=True), np.maximum(x, 0), atol=1e-6)
    assert same == (train_bn is not False)


def test_train_bn_reaches_every_layer():
    image = keras.Input((64, 64, 3))
    for train_bn in (False, None, True):
        stages = resnet_graph(image, "resnet50", stage5=True, train_bn=train_bn)
        layers = keras.Model(image, stages[-1]).layers
        rules = {layer.train_bn for layer in layers if layer.name.startswith("bn")}
        assert rules == {train_bn}
