"""The box head: its losses by hand, its outputs against plain NumPy."""

from functools import partial

import keras
import numpy as np
import pytest

from mrcnn.heads.box import (
    BoxHead,
    FullyConnected,
    bbox_loss_per_roi,
    class_loss_per_roi,
    mrcnn_bbox_loss_graph,
    mrcnn_class_loss_graph,
)
from mrcnn.layers.norm import BatchNorm
from mrcnn.legacy.graph_names import fpn_classifier_graph
from tests.loss_gradient import gradient

ACTIVE = np.ones((1, 3), np.float32)


def test_class_loss_by_hand():
    # Softmax of (0, ln 2, 0) is (1/4, 1/2, 1/4).
    logits = np.tile(np.float32([0, np.log(2), 0]), (1, 3, 1))
    loss = mrcnn_class_loss_graph(np.array([[1, 2, 0]]), logits, ACTIVE)
    np.testing.assert_allclose(loss, -(np.log(1 / 2) + 2 * np.log(1 / 4)) / 3, rtol=1e-6)


def test_class_loss_uses_the_data_set_of_each_image():
    # The first RoI predicts class 1, the second class 2. The first image comes from a data set
    # without class 2, the second from one without class 1: one RoI of each counts.
    logits = np.zeros((2, 2, 3), np.float32)
    logits[:, 0, 1] = logits[:, 1, 2] = np.log(2)
    active = np.array([[1, 1, 0], [1, 0, 1]], np.float32)
    target = np.array([[1, 0], [1, 0]])
    loss = mrcnn_class_loss_graph(target, logits, active)
    np.testing.assert_allclose(loss, -(np.log(1 / 2) + np.log(1 / 4)) / 2, rtol=1e-6)


def test_class_loss_without_active_classes():
    value, to_logits = gradient(
        lambda x: mrcnn_class_loss_graph(np.array([[1, 2]]), x, np.zeros((1, 3), np.float32)),
        np.ones((1, 2, 3)),
    )
    assert value == 0
    assert not to_logits.any()


def test_class_loss_of_extreme_logits_is_finite():
    logits = np.float32([[[500, -500, 0], [-500, 500, 0]]])
    value, to_logits = gradient(
        lambda x: mrcnn_class_loss_graph(np.array([[1, 1]]), x, ACTIVE), logits
    )
    assert value == 500
    np.testing.assert_allclose(to_logits[0], [[0.5, -0.5, 0], [0, 0, 0]], atol=1e-6)


def test_bbox_loss_by_hand():
    # The true class's row of each positive RoI counts; differences are 1 and 3, that is, 0.5 and
    # 2.5 among eight coordinates.
    target = np.float32([[[1, 0, 0, 0], [0, 0, 0, 3], [7, 7, 7, 7]]])
    predicted = np.full((1, 3, 3, 4), 9, np.float32)
    predicted[0, 0, 2] = predicted[0, 1, 1] = 0
    loss = mrcnn_bbox_loss_graph(target, np.array([[2, 1, 0]]), predicted)
    np.testing.assert_allclose(loss, (0.5 + 2.5) / 8, rtol=1e-6)


def test_bbox_loss_touches_the_true_class_only():
    target = np.float32([[[1, 0, 0, 0], [2, 2, 2, 2]]])
    _, to_deltas = gradient(
        lambda x: mrcnn_bbox_loss_graph(target, np.array([[2, 0]]), x), np.zeros((1, 2, 3, 4))
    )
    expected = np.zeros((1, 2, 3, 4))
    expected[0, 0, 2, 0] = -1 / 4
    np.testing.assert_allclose(to_deltas, expected, atol=1e-7)


def test_bbox_loss_without_positives():
    value, to_deltas = gradient(
        lambda x: mrcnn_bbox_loss_graph(np.ones((1, 2, 4), np.float32), np.array([[0, 0]]), x),
        np.ones((1, 2, 3, 4)),
    )
    assert value == 0
    assert not to_deltas.any()


def frozen_head():
    return BoxHead(3, 7, 8, partial(BatchNorm, train_bn=False))


@pytest.fixture
def head(rng):
    """Return a model of the head with random weights, and its weights by name."""
    rois = keras.Input((None, 7, 7, 6))
    model = keras.Model(rois, frozen_head()(rois))
    for layer in model.layers:
        # Variances have to be positive.
        layer.set_weights(
            [
                rng.uniform(0.1, 1, w.shape).astype(np.float32) - 0.5 * (w.ndim > 1)
                for w in layer.get_weights()
            ]
        )
    return model, {w.path: w.numpy() for w in model.weights}


def test_outputs_equal_numpy(head, rng):
    model, weights = head
    x = rng.normal(size=(2, 4, 7, 7, 6)).astype(np.float32)
    shared = x.reshape(8, -1)
    for number in (1, 2):
        conv, bn = f"mrcnn_class_conv{number}", f"mrcnn_class_bn{number}"
        shared = shared @ weights[f"{conv}/kernel"].reshape(-1, 8) + weights[f"{conv}/bias"]
        scale = weights[f"{bn}/gamma"] / np.sqrt(weights[f"{bn}/moving_variance"] + 1e-3)
        shared = (shared - weights[f"{bn}/moving_mean"]) * scale + weights[f"{bn}/beta"]
        shared = np.maximum(shared, 0)
    names = ("mrcnn_class_logits", "mrcnn_bbox_fc")
    logits, deltas = (shared @ weights[f"{n}/kernel"] + weights[f"{n}/bias"] for n in names)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = [
        logits.reshape(2, 4, 3),
        (exponents / exponents.sum(axis=1, keepdims=True)).reshape(2, 4, 3),
        deltas.reshape(2, 4, 3, 4),
    ]
    # Some values pass both activations.
    assert (shared > 0).mean() > 0.2
    # The rule holds in training too, because the statistics are stored ones.
    for a, b in zip(model(x, training=True), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_first_outputs_are_small():
    # As Detectron's; 256 * 21 numbers and four times as many: 5 % are five standard errors.
    keras.utils.set_random_seed(0)
    rois = keras.Input((None, 1, 1, 4))
    model = keras.Model(rois, BoxHead(21, 1, 256)(rois))
    spreads = [
        model.get_layer(name).kernel.numpy().std()
        for name in ("mrcnn_class_logits", "mrcnn_bbox_fc")
    ]
    np.testing.assert_allclose(spreads, [0.01, 0.001], rtol=0.05)


def test_weights_of_the_losses(rng):
    box_head = BoxHead(3, 7, 8, None, {"mrcnn_class_loss": 0.5, "mrcnn_bbox_loss": 3})
    inputs = [
        keras.Input((2,), dtype="int32"),
        keras.Input((2, 4)),
        keras.Input((3,)),
        keras.Input((2, 3)),
        keras.Input((2, 3, 4)),
    ]
    model = keras.Model(inputs, list(box_head.losses(*inputs).values()))
    class_ids = np.array([[2, 0]], np.int32)
    values = [rng.normal(size=(1, *x.shape[1:])).astype(np.float32) for x in inputs[1:]]
    values[1][:] = 1
    target, _, logits, deltas = values
    expected = [
        mrcnn_class_loss_graph(class_ids, logits, ACTIVE),
        mrcnn_bbox_loss_graph(target, class_ids, deltas),
    ]
    results = model([class_ids, *values])
    np.testing.assert_allclose(np.concatenate(results), expected, rtol=1e-6)
    np.testing.assert_allclose(model.losses, np.array(expected) * [0.5, 3], rtol=1e-6)
    assert model.output_names == ["mrcnn_class_loss", "mrcnn_bbox_loss"]


def test_historical_function(rng):
    sizes = (32, 16, 8, 4)
    rois, meta = keras.Input((5, 4)), keras.Input((15,))
    maps = [keras.Input((side, side, 6)) for side in sizes]
    outputs = fpn_classifier_graph(rois, maps, meta, 7, 3, train_bn=False, fc_layers_size=8)
    model = keras.Model([rois, meta, *maps], outputs)
    metas = np.zeros((1, 15), np.float32)
    metas[0, 4:7] = 128, 128, 3
    boxes = np.sort(rng.uniform(size=(1, 5, 2, 2)), axis=2).reshape(1, 5, 4).astype(np.float32)
    features = [rng.normal(size=(1, side, side, 6)).astype(np.float32) for side in sizes]
    crops = model.get_layer("roi_align_classifier")([boxes, metas, *features])
    rows = keras.Input((None, 7, 7, 6))
    head = keras.Model(rows, frozen_head()(rows))
    head.set_weights(model.get_weights())
    for a, b in zip(model([boxes, metas, *features]), head(crops), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_class_loss_per_roi_by_hand():
    # Softmax of (0, ln 2, 0) is (1/4, 1/2, 1/4); the last RoI is padding.
    logits = np.tile(np.float32([0, np.log(2), 0]), (1, 4, 1))
    inactive = np.zeros((1, 3), np.float32)
    loss = class_loss_per_roi(np.array([[1, 2, 0, -1]]), logits, inactive)
    np.testing.assert_allclose(loss, -(np.log(1 / 2) + 2 * np.log(1 / 4)) / 3, rtol=1e-6)


def test_bbox_loss_per_roi_by_hand():
    # One positive of three RoIs. With beta 0.5: 0.2 ** 2 / (2 * 0.5), and 3 - 0.25; with 0: |x|.
    target = np.zeros((1, 4, 4), np.float32)
    target[0, 0] = [0.2, 3, 0, 0]
    class_ids, predicted = np.array([[2, 0, 0, -1]]), np.zeros((1, 4, 3, 4), np.float32)
    predicted[0, 0, 1], predicted[0, 1:] = 9, 9
    loss = bbox_loss_per_roi(target, class_ids, predicted, beta=0.5)
    np.testing.assert_allclose(loss, (0.04 + 2.75) / 3, rtol=1e-6)
    loss = bbox_loss_per_roi(target, class_ids, predicted, beta=0)
    np.testing.assert_allclose(loss, 3.2 / 3, rtol=1e-6)


def test_losses_per_roi_without_rois():
    class_ids, deltas = np.full((1, 2), -1), np.zeros((1, 2, 3, 4), np.float32)
    assert class_loss_per_roi(class_ids, deltas[..., 0], ACTIVE).numpy() == 0
    assert bbox_loss_per_roi(deltas[:, :, 0], class_ids, deltas).numpy() == 0


def test_convolutions_before_one_fully_connected_layer(rng):
    """Two 3x3 convolutions and one layer on a RoI of 2x2 cells, against plain NumPy."""
    trunk = FullyConnected(2, 5, count=1, convs=[3, 4])
    rois = rng.normal(size=(1, 2, 2, 2, 3)).astype(np.float32)
    result = trunk(rois).numpy()
    x = rois[0]
    for conv, _, _ in trunk.steps[:2]:
        kernel, bias = conv.get_weights()
        padded, y = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), 0
        for row in range(3):
            for column in range(3):
                y = y + padded[:, row : row + 2, column : column + 2] @ kernel[row, column]
        x = np.maximum(y + bias, 0)
    kernel, bias = trunk.steps[2][0].get_weights()
    expected = np.maximum(x.reshape(2, -1) @ kernel.reshape(-1, 5) + bias, 0)
    np.testing.assert_allclose(result[0], expected, rtol=1e-5, atol=1e-6)
