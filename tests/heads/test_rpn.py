"""The region proposal network: its losses by hand, its outputs against plain convolutions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import NEGATIVE, NEUTRAL, POSITIVE
from mrcnn.heads.rpn import (
    RPN,
    rpn_bbox_loss,
    rpn_bbox_loss_per_anchor,
    rpn_class_loss_graph,
)
from mrcnn.legacy.graph_names import build_rpn_model, rpn_bbox_loss_graph, rpn_graph
from tests.loss_gradient import gradient


def match(*rows):
    return np.array(rows, np.int32)[..., None]


def test_class_loss_by_hand():
    # Softmax of (0, ln 3) is (1/4, 3/4). The positive anchor costs -ln 3/4, the negative one
    # -ln 1/4, the neutral one nothing, whatever its logits.
    logits = np.tile(np.float32([0, np.log(3)]), (1, 4, 1))
    logits[0, 2] = 50, -50
    loss = rpn_class_loss_graph(match([POSITIVE, NEGATIVE, NEUTRAL, POSITIVE]), logits)
    expected = -(2 * np.log(3 / 4) + np.log(1 / 4)) / 3
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_class_loss_is_one_mean_over_the_batch():
    # One anchor of the first image, three of the second: each counts a quarter.
    logits = np.zeros((2, 3, 2), np.float32)
    logits[0, 0] = 0, np.log(3)
    loss = rpn_class_loss_graph(
        match([POSITIVE, NEUTRAL, NEUTRAL], [NEGATIVE, NEGATIVE, POSITIVE]), logits
    )
    np.testing.assert_allclose(loss, -(np.log(3 / 4) + 3 * np.log(1 / 2)) / 4, rtol=1e-6)


def test_class_loss_of_one_logit_by_hand():
    # Sigmoid of ln 3 is 3/4.
    logits = np.full((1, 4, 1), np.log(3), np.float32)
    logits[0, 2] = -50
    loss = rpn_class_loss_graph(match([POSITIVE, NEGATIVE, NEUTRAL, POSITIVE]), logits)
    expected = -(2 * np.log(3 / 4) + np.log(1 / 4)) / 3
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_one_logit_and_fewer_channels(rng):
    # The paper's RPN: 256 channels, and a sigmoid.
    rpn = RPN(3, 8, hidden=256, logits=1)
    assert rpn.model.count_params() == (9 * 8 + 1) * 256 + (256 + 1) * 3 * (1 + 4)
    x = rng.normal(size=(1, 4, 4, 8)).astype(np.float32)
    logits, probs, deltas = rpn.model(x)
    assert (logits.shape, deltas.shape) == ((1, 48, 1), (1, 48, 4))
    np.testing.assert_allclose(probs, 1 / (1 + np.exp(-logits.numpy())), rtol=1e-5)


def test_class_loss_without_anchors():
    value, to_logits = gradient(
        lambda logits: rpn_class_loss_graph(match([NEUTRAL, NEUTRAL]), logits), np.ones((1, 2, 2))
    )
    assert value == 0
    assert not to_logits.any()


# Targets are in the order of the positive anchors; other anchors may lie between them.
TARGETS = np.zeros((2, 3, 4), np.float32)
TARGETS[0, :2] = [[1, 0, 0, 0], [0, 0, 3, 0]]
TARGETS[1, 0] = [0, 0, 0, -0.5]
MATCH = match([NEGATIVE, POSITIVE, NEUTRAL, POSITIVE], [POSITIVE, NEGATIVE, NEGATIVE, NEUTRAL])


def test_bbox_loss_by_hand():
    # Three positive anchors predict zeros. Differences 1, 3 and 0.5 cost 0.5, 2.5 and 0.125; nine
    # other coordinates cost nothing.
    deltas = np.full((2, 4, 4), 9, np.float32)
    deltas[MATCH[..., 0] == POSITIVE] = 0
    loss = rpn_bbox_loss(TARGETS, MATCH, deltas)
    np.testing.assert_allclose(loss, (0.5 + 2.5 + 0.125) / 12, rtol=1e-6)
    np.testing.assert_allclose(rpn_bbox_loss_graph(None, TARGETS, MATCH, deltas), loss)


def test_bbox_loss_touches_positive_anchors_only():
    _, to_deltas = gradient(lambda d: rpn_bbox_loss(TARGETS, MATCH, d), np.zeros((2, 4, 4)))
    expected = np.zeros((2, 4, 4))
    expected[0, 1, 0], expected[0, 3, 2], expected[1, 0, 3] = -1, -1, 0.5
    np.testing.assert_allclose(to_deltas, expected / 12, atol=1e-7)


def test_bbox_loss_without_positives():
    rows = match([NEGATIVE, NEUTRAL])
    value, to_deltas = gradient(
        lambda d: rpn_bbox_loss(np.ones((1, 3, 4), np.float32), rows, d), np.ones((1, 2, 4))
    )
    assert value == 0
    assert not to_deltas.any()


def set_random(model, rng):
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) * 0.1 for w in model.weights])


@pytest.mark.parametrize("anchor_stride", [1, 2])
def test_outputs_are_those_of_plain_convolutions(rng, anchor_stride):
    model = build_rpn_model(anchor_stride, anchors_per_location=3, depth=8)
    set_random(model, rng)
    weights = {w.path: w.numpy() for w in model.weights}
    x = rng.normal(size=(2, 6, 4, 8)).astype(np.float32)

    def conv(x, name, stride=1):
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        return tf.nn.conv2d(x, kernel, stride, "SAME") + bias

    shared = tf.nn.relu(conv(x, "rpn_conv_shared", anchor_stride))
    # At each position, row by row, the two or four numbers of an anchor stand together.
    expected = {
        "logits": conv(shared, "rpn_class_raw").numpy().reshape(2, -1, 2),
        "deltas": conv(shared, "rpn_bbox_pred").numpy().reshape(2, -1, 4),
    }
    logits, probs, deltas = model(x)
    assert logits.shape[1] == 6 * 4 * 3 // anchor_stride**2
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-4)
    np.testing.assert_allclose(deltas, expected["deltas"], atol=1e-4)
    exponents = np.exp(expected["logits"])
    np.testing.assert_allclose(probs, exponents / exponents.sum(axis=-1, keepdims=True), atol=1e-5)


def test_first_outputs_are_small():
    # As Detectron's: standard deviations of 0.01 for scores and 0.001 for deltas. There are 512 * 6
    # and 512 * 12 numbers, so that 5 % are four standard errors and more.
    keras.utils.set_random_seed(0)
    model = build_rpn_model(1, 3, 8)
    spreads = {w.path.split("/")[0]: w.numpy().std() for w in model.weights if w.name == "kernel"}
    np.testing.assert_allclose(spreads["rpn_class_raw"], 0.01, rtol=0.05)
    np.testing.assert_allclose(spreads["rpn_bbox_pred"], 0.001, rtol=0.05)


def test_levels_share_weights_and_are_ordered_finest_first(rng):
    rpn = RPN(3, 8)
    set_random(rpn.model, rng)
    inputs = {"P2": keras.Input((8, 8, 8)), "P3": keras.Input((4, 4, 8))}
    outputs = rpn(inputs)
    assert list(outputs.levels) == ["P2", "P3"]
    model = keras.Model(list(inputs.values()), list(outputs[1:]))
    levels = [rng.normal(size=(1, side, side, 8)).astype(np.float32) for side in (8, 4)]
    assert model.count_params() == rpn.model.count_params()
    for together, fine, coarse in zip(
        model(levels), rpn.model(levels[0]), rpn.model(levels[1]), strict=True
    ):
        np.testing.assert_allclose(together, np.concatenate([fine, coarse], axis=1), atol=1e-6)
    assert [layer.name for layer in model.layers[-3:]] == [
        "rpn_class_logits",
        "rpn_class",
        "rpn_bbox",
    ]


def test_historical_function_makes_the_same_layers(rng):
    feature_map = keras.Input((None, None, 8))
    outputs = rpn_graph(feature_map, anchors_per_location=3, anchor_stride=1)
    own, shared = keras.Model(feature_map, outputs), build_rpn_model(1, 3, 8)
    set_random(shared, rng)
    own.set_weights(shared.get_weights())
    x = rng.normal(size=(1, 3, 5, 8)).astype(np.float32)
    for a, b in zip(own(x), shared(x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert shared.name == "rpn_model"


def test_bbox_loss_per_anchor_by_hand():
    # One positive of three anchors in the sample; 0.05 is below beta 0.1, 2 above it.
    target = np.zeros((1, 2, 4), np.float32)
    target[0, 0] = [0.05, 2, 0, 0]
    labels = match([NEUTRAL, NEGATIVE, POSITIVE, NEGATIVE])
    loss = rpn_bbox_loss_per_anchor(target, labels, np.zeros((1, 4, 4), np.float32), beta=0.1)
    np.testing.assert_allclose(loss, (0.05**2 / 0.2 + 2 - 0.05) / 3, rtol=1e-6)


def test_two_convolutions(rng):
    """Two 3x3 convolutions as wide as the input, against plain NumPy at the middle cell."""
    rpn = RPN(2, hidden=None, logits=1, convs=2)
    x = rng.normal(size=(1, 5, 5, 4)).astype(np.float32)
    logits = rpn({"P2": keras.ops.convert_to_tensor(x)}).logits.numpy().reshape(5, 5, 2)
    value = x[0]
    for name in ("rpn_conv_shared", "rpn_conv_shared2"):
        kernel, bias = rpn.model.get_layer(name).get_weights()
        assert kernel.shape == (3, 3, 4, 4)
        side = value.shape[0] - 2
        total = sum(
            value[row : row + side, column : column + side] @ kernel[row, column]
            for row in range(3)
            for column in range(3)
        )
        value = np.maximum(total + bias, 0)
    kernel, bias = rpn.model.get_layer("rpn_class_raw").get_weights()
    np.testing.assert_allclose(logits[2, 2], (value @ kernel[0, 0] + bias)[0, 0], atol=1e-6)
