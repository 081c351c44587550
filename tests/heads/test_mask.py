"""The mask head: its loss by hand, its outputs against plain layers of Keras."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.heads.mask import MaskHead, MaskOutput, mrcnn_mask_loss_graph
from mrcnn.layers.norm import BatchNorm
from mrcnn.legacy.graph_names import build_fpn_mask_graph
from tests.layer_contract import run_layer_test
from tests.loss_gradient import gradient

FROZEN = partial(BatchNorm, train_bn=False)

# Two RoIs of 2x1 pixels, three classes.
TARGET = np.float32([[[[1], [0]], [[1], [1]]]])


def test_loss_by_hand():
    # The first RoI has class 2 and predicts 1/4 for a 1 and 1/2 for a 0; the second is background.
    masks = np.full((1, 2, 2, 1, 3), 0.9, np.float32)
    masks[0, 0, :, 0, 2] = 1 / 4, 1 / 2
    loss = mrcnn_mask_loss_graph(TARGET, np.array([[2, 0]]), masks)
    np.testing.assert_allclose(loss, -(np.log(1 / 4) + np.log(1 / 2)) / 2, rtol=1e-6)


def test_loss_is_a_mean_over_the_batch():
    # Two images, three positives, each with a class of its own.
    masks = np.full((2, 2, 2, 1, 3), 0.9, np.float32)
    target = np.concatenate([TARGET, TARGET])
    masks[0, 0, :, 0, 1], masks[1, 0, :, 0, 2], masks[1, 1, :, 0, 1] = 0.5, 0.25, 0.125
    loss = mrcnn_mask_loss_graph(target, np.array([[1, 0], [2, 1]]), masks)
    costs = [2 * np.log(0.5), np.log(0.25) + np.log(0.75), 2 * np.log(0.125)]
    np.testing.assert_allclose(loss, -np.sum(costs) / 6, rtol=1e-6)


def test_loss_touches_the_true_class_of_positives_only():
    _, to_masks = gradient(
        lambda x: mrcnn_mask_loss_graph(TARGET, np.array([[2, 0]]), x),
        np.full((1, 2, 2, 1, 3), 0.5),
    )
    expected = np.zeros((1, 2, 2, 1, 3))
    # d -log(p) / dp = -2 and d -log(1 - p) / dp = 2 at 1/2, half of it for a mean of two.
    expected[0, 0, :, 0, 2] = -1, 1
    np.testing.assert_allclose(to_masks, expected, atol=1e-6)


def test_loss_without_positives():
    value, to_masks = gradient(
        lambda x: mrcnn_mask_loss_graph(TARGET, np.array([[0, 0]]), x),
        np.full((1, 2, 2, 1, 3), 0.5),
    )
    assert value == 0
    assert not to_masks.any()


def test_loss_of_confident_mistakes_is_finite():
    # As in Keras, probabilities are kept 1e-7 away from 0 and 1: ln 1e-7 = -16.1.
    masks = np.zeros((1, 2, 2, 1, 3), np.float32)
    masks[0, 0, 1] = 1
    value, to_masks = gradient(
        lambda x: mrcnn_mask_loss_graph(TARGET, np.array([[2, 0]]), x), masks
    )
    np.testing.assert_allclose(value, -np.log(1e-7), rtol=0.01)
    assert np.isfinite(to_masks).all()


CHANNELS, CLASSES = 6, 3


def random_weights(model, rng):
    # Statistics of batch normalization have to be positive; kernels should not be.
    model.set_weights(
        [
            (rng.uniform(0.1, 0.5, w.shape) - 0.3 * (w.ndim > 1)).astype(np.float32)
            for w in model.get_weights()
        ]
    )


def plain_masks(model, x):
    """Return the layers of figure 4 of the paper, made of Keras's, for `[n, h, w, channels]`."""
    weights = {w.path: w.numpy() for w in model.weights}
    for number in (1, 2, 3, 4):
        conv, bn = f"mrcnn_mask_conv{number}", f"mrcnn_mask_bn{number}"
        x = tf.nn.conv2d(x, weights[f"{conv}/kernel"], 1, "SAME") + weights[f"{conv}/bias"]
        scale = weights[f"{bn}/gamma"] / np.sqrt(weights[f"{bn}/moving_variance"] + 1e-3)
        x = tf.nn.relu((x - weights[f"{bn}/moving_mean"]) * scale + weights[f"{bn}/beta"])
    shape = [len(x), 2 * x.shape[1], 2 * x.shape[2], CHANNELS]
    kernel = weights["mrcnn_mask_deconv/kernel"]
    x = tf.nn.conv2d_transpose(x, kernel, shape, 2) + weights["mrcnn_mask_deconv/bias"]
    x = tf.nn.conv2d(tf.nn.relu(x), weights["mrcnn_mask/kernel"], 1, "SAME")
    return tf.sigmoid(x + weights["mrcnn_mask/bias"]).numpy()


@pytest.fixture
def features(rng):
    return rng.normal(size=(2, 3, 4, 5, CHANNELS)).astype(np.float32)


def head_model(restore, with_keep=True):
    x, keep = keras.Input((3, 4, 5, CHANNELS)), keras.Input((3,), dtype="bool")
    head = MaskHead(CLASSES, CHANNELS, FROZEN)
    masks = head(x, keep if with_keep else None, restore=restore)
    return keras.Model([x, keep] if with_keep else x, masks)


KEEP = np.array([[True, False, True], [False, True, False]])


@pytest.mark.parametrize("keep", [KEEP, KEEP | True, KEEP & False])
def test_masks_of_kept_rois(features, rng, keep):
    model = head_model(restore=True)
    random_weights(model, rng)
    expected = plain_masks(model, features.reshape(6, 4, 5, CHANNELS)).reshape(2, 3, 8, 10, CLASSES)
    assert expected.std() > 0.01
    masks = model([features, keep], training=True)
    assert masks.shape == expected.shape
    np.testing.assert_allclose(
        masks, np.where(keep[..., None, None, None], expected, 0), rtol=1e-4, atol=1e-5
    )


def test_masks_without_restoring(features, rng):
    model = head_model(restore=False)
    random_weights(model, rng)
    masks = model([features, KEEP])
    np.testing.assert_allclose(
        masks, plain_masks(model, features[KEEP])[None], rtol=1e-4, atol=1e-5
    )


def test_masks_of_all_rois(features, rng):
    model = head_model(restore=False, with_keep=False)
    random_weights(model, rng)
    expected = plain_masks(model, features.reshape(6, 4, 5, CHANNELS))
    np.testing.assert_allclose(
        model(features), expected.reshape(2, 3, 8, 10, CLASSES), rtol=1e-4, atol=1e-5
    )


def test_training_without_a_positive_roi(features, rng):
    """Training continues: the loss is 0, and so are its gradients."""
    head = MaskHead(CLASSES, CHANNELS, FROZEN)
    x, keep = keras.Input((3, 4, 5, CHANNELS)), keras.Input((3,), dtype="bool")
    masks = head(x, keep, restore=False)
    target, class_ids = keras.Input((3, 8, 10)), keras.Input((3,), dtype="int32")
    losses = head.losses(target, class_ids, masks, keep)
    model = keras.Model([x, keep, target, class_ids], losses["mrcnn_mask_loss"])
    random_weights(model, rng)
    inputs = [
        features,
        KEEP & False,
        np.ones((2, 3, 8, 10), np.float32),
        np.zeros((2, 3), np.int32),
    ]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = model(inputs, training=True)
        variables = [v.value for v in model.trainable_variables]
        return loss, tape.gradient(loss, variables)

    loss, gradients = step()
    assert loss.numpy().tolist() == [0]
    assert len(gradients) == 20
    assert not any(np.any(tf.convert_to_tensor(gradient)) for gradient in gradients)


def test_loss_of_kept_rois_is_that_of_all(features, rng):
    head = MaskHead(CLASSES, CHANNELS, FROZEN, {"mrcnn_mask_loss": 2.0})
    x, keep = keras.Input((3, 4, 5, CHANNELS)), keras.Input((3,), dtype="bool")
    masks = head(x, keep, restore=False)
    target, class_ids = keras.Input((3, 8, 10)), keras.Input((3,), dtype="int32")
    losses = head.losses(target, class_ids, masks, keep)
    model = keras.Model([x, keep, target, class_ids], losses["mrcnn_mask_loss"])
    random_weights(model, rng)
    targets = (rng.uniform(size=(2, 3, 8, 10)) > 0.5).astype(np.float32)
    ids = np.where(KEEP, rng.integers(1, 3, (2, 3)), 0)
    loss = model([features, KEEP, targets, ids])
    every = plain_masks(model, features.reshape(6, 4, 5, CHANNELS)).reshape(2, 3, 8, 10, CLASSES)
    np.testing.assert_allclose(loss, [mrcnn_mask_loss_graph(targets, ids, every)], rtol=1e-4)
    np.testing.assert_allclose(model.losses, 2 * loss, rtol=1e-6)


def test_historical_function(rng):
    sizes = (32, 16, 8, 4)
    rois, meta = keras.Input((5, 4)), keras.Input((15,))
    maps = [keras.Input((side, side, 256)) for side in sizes]
    model = keras.Model(
        [rois, meta, *maps], build_fpn_mask_graph(rois, maps, meta, 4, CLASSES, train_bn=False)
    )
    metas = np.zeros((1, 15), np.float32)
    metas[0, 4:7] = 128, 128, 3
    boxes = np.sort(rng.uniform(size=(1, 5, 2, 2)), axis=2).reshape(1, 5, 4).astype(np.float32)
    features = [rng.normal(size=(1, side, side, 256)).astype(np.float32) for side in sizes]
    masks = model([boxes, metas, *features])
    assert masks.shape == (1, 5, 8, 8, CLASSES)
    crops = keras.Input((None, 4, 4, 256))
    head = keras.Model(crops, MaskHead(CLASSES, norm=FROZEN)(crops))
    head.set_weights(model.get_weights())
    expected = head(model.get_layer("roi_align_mask")([boxes, metas, *features]))
    np.testing.assert_allclose(masks, expected, atol=1e-5)


def test_a_head_is_applied_twice_in_one_graph(features, rng):
    # Cascades and test-time augmentation apply the same weights to other RoIs.
    head = MaskHead(CLASSES, CHANNELS, FROZEN)
    first, second = keras.Input((3, 4, 5, CHANNELS)), keras.Input((3, 4, 5, CHANNELS))
    model = keras.Model([first, second], [head(first), head(second)])
    random_weights(model, rng)
    flat = (-1, 4, 5, CHANNELS)
    for masks, x in zip(model([features, 2 * features]), (features, 2 * features), strict=True):
        expected = plain_masks(model, x.reshape(flat)).reshape(2, 3, 8, 10, CLASSES)
        np.testing.assert_allclose(masks, expected, rtol=1e-4, atol=1e-5)
    assert len(model.weights) == 4 * 6 + 2 + 2


def test_keras_contract(tmp_path):
    # Two of three RoIs are kept. The only weight and the bias are 1: sigmoid(x + 1).
    selected = np.float32([-1, 1]).reshape(1, 2, 1, 1, 1)
    keep = np.array([[True, False, True]])
    expected = np.float32([0.5, 0, 1 / (1 + np.exp(-2))]).reshape(1, 3, 1, 1, 1)
    run_layer_test(
        lambda: MaskOutput(1, 1, name="mrcnn_mask"),
        (selected, keep),
        expected,
        tmp_path,
        weights=[np.ones((1, 1, 1, 1)), np.ones(1)],
    )
