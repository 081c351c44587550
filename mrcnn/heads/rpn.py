"""The region proposal network and its two losses.

B images, A anchors, S anchors an image that train the network.
"""

import keras
import tensorflow as tf
from keras import layers

from mrcnn.constants import NEUTRAL, POSITIVE
from mrcnn.layers.conv import Conv2D, SparseGradConv2D
from mrcnn.layers.losses import LossLayer, count_true, masked_mean, smooth_l1_loss


def rpn_graph(feature_map, anchors_per_location, anchor_stride):
    """Score and refine the anchors of one feature map (Faster R-CNN, section 3.1).

    Arguments:
        feature_map: `[B, h, w, channels]`.
        anchors_per_location: shapes of anchors at each position.
        anchor_stride: 1 for anchors at every cell, 2 at every second.

    Returns:
        `[logits [B, a, (background, foreground)], probabilities of the same shape,
        deltas [B, a, (dy, dx, log dh, log dw)]]`, float32, anchors in row order.
    """
    # With a stride the convolution skips cells; that is for small anchors of own models.
    conv = SparseGradConv2D if anchor_stride == 1 else Conv2D
    shared = conv(
        512,
        3,
        padding="same",
        activation="relu",
        strides=anchor_stride,
        name="rpn_conv_shared",
    )(feature_map)

    # Small first outputs (as Detectron's): anchors begin as proposals, and without weights to start
    # from the losses are not swamped by random boxes.
    def output(filters, stddev, name):
        init = keras.initializers.RandomNormal(stddev=stddev)
        return Conv2D(filters, 1, kernel_initializer=init, name=name)(shared)

    x = output(2 * anchors_per_location, 0.01, "rpn_class_raw")
    # Scores order the anchors and deltas place boxes, so both leave in float32.
    logits = layers.Reshape((-1, 2), dtype="float32", name="rpn_class_rows")(x)
    probs = layers.Activation("softmax", dtype="float32", name="rpn_class_probs")(logits)
    x = output(4 * anchors_per_location, 0.001, "rpn_bbox_pred")
    deltas = layers.Reshape((-1, 4), dtype="float32", name="rpn_bbox_rows")(x)
    return [logits, probs, deltas]


def build_rpn_model(anchor_stride, anchors_per_location, depth):
    """`rpn_graph` as a model of its own, "rpn_model", so that all levels share its weights.

    Arguments: `depth` is the number of channels of the feature maps; the rest as in `rpn_graph`.
    """
    # A nested model casts what it gets to the type of its input: there is nothing to cast then.
    dtype = keras.config.dtype_policy().compute_dtype
    feature_map = keras.Input((None, None, depth), dtype=dtype, name="input_rpn_feature_map")
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride)
    return keras.Model(feature_map, outputs, name="rpn_model")


class RPN:
    """The region proposal network over all levels of a pyramid.

    Called with `{"P2": ..., "P6": ...}`, it returns logits `[B, A, 2]`, probabilities `[B, A, 2]`
    and deltas `[B, A, 4]`, finest level first: the order of the anchors.
    """

    def __init__(self, anchors_per_location, anchor_stride, channels, loss_weights):
        self.model = build_rpn_model(anchor_stride, anchors_per_location, channels)
        self.loss_weights = loss_weights

    def __call__(self, pyramid):
        levels = [self.model(features) for features in pyramid.values()]
        names = ("rpn_class_logits", "rpn_class", "rpn_bbox")
        return [
            layers.Concatenate(axis=1, dtype="float32", name=name)(list(outputs))
            for name, outputs in zip(names, zip(*levels, strict=True), strict=True)
        ]

    def losses(self, rpn_match, rpn_bbox, logits, deltas):
        """The two losses as nodes of the graph: "rpn_class_loss" and "rpn_bbox_loss"."""
        weights = self.loss_weights
        class_loss = LossLayer(
            "rpn_class_loss_graph", weights.get("rpn_class_loss", 1.0), name="rpn_class_loss"
        )
        bbox_loss = LossLayer(
            "rpn_bbox_loss", weights.get("rpn_bbox_loss", 1.0), name="rpn_bbox_loss"
        )
        return [class_loss(rpn_match, logits), bbox_loss(rpn_bbox, rpn_match, deltas)]


def _chosen_anchors(rpn_match, *_):
    return count_true(tf.not_equal(rpn_match, NEUTRAL))


def _positive_anchors(target_bbox, rpn_match, *_):
    return count_true(tf.equal(rpn_match, POSITIVE))


@LossLayer.register(_chosen_anchors)
def rpn_class_loss_graph(rpn_match, rpn_class_logits):
    """Cross-entropy over the anchors that are positive or negative.

    Arguments:
        rpn_match: int `[B, A, 1]`, POSITIVE, NEGATIVE or NEUTRAL.
        rpn_class_logits: `[B, A, (background, foreground)]`.

    Returns:
        The mean as a scalar, 0 where all anchors are neutral.
    """
    match = tf.squeeze(tf.cast(rpn_match, tf.int32), axis=-1)
    foreground = tf.cast(tf.equal(match, POSITIVE), tf.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(foreground, rpn_class_logits)
    return masked_mean(losses, tf.not_equal(match, NEUTRAL))


@LossLayer.register(_positive_anchors)
def rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox):
    """Smooth L1 over the positive anchors.

    Arguments:
        target_bbox: `[B, S, (dy, dx, log dh, log dw)]`: the targets of an image's positive anchors,
            in the order of the anchors, zero padded.
        rpn_match: int `[B, A, 1]`.
        rpn_bbox: `[B, A, 4]`.

    Returns:
        The mean over anchors and coordinates as a scalar, 0 without a positive anchor.
    """
    positive = tf.equal(tf.squeeze(tf.cast(rpn_match, tf.int32), axis=-1), POSITIVE)
    counts = tf.reduce_sum(tf.cast(positive, tf.int32), axis=1)
    targets = tf.boolean_mask(target_bbox, tf.sequence_mask(counts, tf.shape(target_bbox)[1]))
    losses = smooth_l1_loss(targets, tf.boolean_mask(rpn_bbox, positive))
    return masked_mean(losses, tf.ones_like(losses))


def rpn_bbox_loss_graph(config, target_bbox, rpn_match, rpn_bbox):
    """`rpn_bbox_loss` under its historical name; `config` is not used."""
    return rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox)
