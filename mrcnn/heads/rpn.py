"""Region proposal network and its two losses.

B images, A anchors, S anchors per image that train the network.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import layers

from mrcnn.constants import NEUTRAL, POSITIVE
from mrcnn.layers.conv import Conv2D, SparseGradConv2D
from mrcnn.layers.losses import LossLayer, count_true, masked_mean, smooth_l1_loss


class RPNOutputs(NamedTuple):
    """Outputs of the RPN, float32, in the order of the anchors.

    Attributes:
        levels: `{"P2": (logits, probs, deltas), ...}`, finest level first.
        logits, probs: of all levels, `[B, A, (background, foreground)]`, or `[B, A, 1]` with one
            logit.
        deltas: of all levels, `[B, A, (dy, dx, log dh, log dw)]`.
    """

    levels: dict
    logits: Any
    probs: Any
    deltas: Any


class RPN:
    """Score and refine the anchors of all levels of a pyramid (Faster R-CNN, section 3.1).

    Applied to `{"P2": ..., "P6": ...}`, `[B, h, w, channels]` each, it returns `RPNOutputs`. All
    levels share the weights of one nested model, "rpn_model".

    Args:
        anchors_per_cell: number of anchors at each position.
        channels: of the pyramid; None to find out at the first call.
        hidden: channels of the shared convolution: 512 as the original; None for as many as the
            pyramid has, as the paper's code.
        logits: 2 for a softmax of background and foreground, 1 for a sigmoid of the foreground.
        anchor_stride: cells between neighbouring anchors.
        loss_weights: factors of the losses in the total by name; 1 by default.
        convs: number of shared convolutions.
        bbox_loss: name and options of the registered loss of the deltas.
    """

    def __init__(
        self,
        anchors_per_cell,
        channels=None,
        hidden=512,
        logits=2,
        anchor_stride=1,
        loss_weights=None,
        convs=1,
        bbox_loss=("rpn_bbox_loss", {}),
    ):
        self.options = (anchors_per_cell, anchor_stride, hidden, logits, convs)
        self.model = self._level_model(channels) if channels else None
        self.joins = [
            layers.Concatenate(axis=1, dtype="float32", name=name)
            for name in ("rpn_class_logits", "rpn_class", "rpn_bbox")
        ]
        self.loss_weights, self.bbox_loss = loss_weights or {}, bbox_loss

    def _level_model(self, channels):
        # A nested model casts its inputs to the type of its Input; here it has nothing to cast.
        dtype = keras.config.dtype_policy().compute_dtype
        feature_map = keras.Input((None, None, channels), dtype=dtype, name="input_rpn_feature_map")
        return keras.Model(feature_map, rpn_level(feature_map, *self.options), name="rpn_model")

    def __call__(self, pyramid):
        if self.model is None:
            self.model = self._level_model(next(iter(pyramid.values())).shape[-1])
        levels = {name: self.model(features) for name, features in pyramid.items()}
        columns = zip(*levels.values(), strict=True)
        joined = [join(list(column)) for join, column in zip(self.joins, columns, strict=True)]
        return RPNOutputs(levels, *joined)

    def losses(self, rpn_match, rpn_bbox, outputs):
        """Return the dict of "rpn_class_loss" and "rpn_bbox_loss", nodes of the graph, `[1]` each.

        Args:
            rpn_match: see `rpn_class_loss_graph`.
            rpn_bbox: `target_bbox` of `rpn_bbox_loss`.
            outputs: `RPNOutputs`.
        """
        class_loss, bbox_loss = (
            LossLayer(function, self.loss_weights.get(name, 1.0), options, name=name)
            for name, (function, options) in (
                ("rpn_class_loss", ("rpn_class_loss_graph", {})),
                ("rpn_bbox_loss", self.bbox_loss),
            )
        )
        return {
            class_loss.name: class_loss(rpn_match, outputs.logits),
            bbox_loss.name: bbox_loss(rpn_bbox, rpn_match, outputs.deltas),
        }


def rpn_level(feature_map, anchors_per_cell, anchor_stride=1, hidden=512, logits=2, convs=1):
    """Apply new layers of an RPN to one feature map `[B, h, w, channels]`.

    Args: see `RPN`.

    Returns:
        `[logits, probabilities, deltas]` of the level, as in `RPNOutputs`.
    """
    # The losses use 256 anchors per image, so nearly every position has a zero gradient, which
    # SparseGradConv2D skips. It works with stride 1 only.
    shared, stride, hidden = feature_map, anchor_stride, hidden or feature_map.shape[-1]
    for number in range(1, convs + 1):
        conv = SparseGradConv2D if stride == 1 else Conv2D
        name = f"rpn_conv_shared{number if number > 1 else ''}"
        options = {"padding": "same", "activation": "relu", "strides": stride, "name": name}
        shared, stride = conv(hidden, 3, **options)(shared), 1

    # Small random weights, as in Detectron: at first proposals are the anchors, and random boxes do
    # not dominate the losses of a model that trains from scratch.
    def output(values, stddev, name, rows_name):
        init = keras.initializers.RandomNormal(stddev=stddev)
        x = Conv2D(values * anchors_per_cell, 1, kernel_initializer=init, name=name)(shared)
        # Float32 in mixed precision too: scores rank the anchors, and deltas place boxes.
        return layers.Reshape((-1, values), dtype="float32", name=rows_name)(x)

    scores = output(logits, 0.01, "rpn_class_raw", "rpn_class_rows")
    function = "softmax" if logits == 2 else "sigmoid"
    probs = layers.Activation(function, dtype="float32", name="rpn_class_probs")(scores)
    return [scores, probs, output(4, 0.001, "rpn_bbox_pred", "rpn_bbox_rows")]


# Anchors per loss: replicas and accumulated batches weight their means by these counts.
def _chosen_anchors(rpn_match, *_):
    return count_true(tf.not_equal(rpn_match, NEUTRAL))


def _positive_anchors(target_bbox, rpn_match, *_):
    return count_true(tf.equal(rpn_match, POSITIVE))


@LossLayer.register(_chosen_anchors)
def rpn_class_loss_graph(rpn_match, rpn_class_logits):
    """Return the mean cross-entropy of the positive and negative anchors.

    Args:
        rpn_match: int `[B, A, 1]`, POSITIVE, NEGATIVE or NEUTRAL.
        rpn_class_logits: `[B, A, (background, foreground)]`, or `[B, A, 1]` of the foreground.

    Returns:
        A scalar, 0 if all anchors are neutral.
    """
    match = tf.squeeze(tf.cast(rpn_match, tf.int32), axis=-1)
    foreground = tf.cast(tf.equal(match, POSITIVE), tf.int32)
    if rpn_class_logits.shape[-1] == 1:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(foreground, tf.float32), rpn_class_logits[..., 0]
        )
    else:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(foreground, rpn_class_logits)
    return masked_mean(losses, tf.not_equal(match, NEUTRAL))


@LossLayer.register(_positive_anchors)
def rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox):
    """Return the mean smooth L1 of the positive anchors.

    Args:
        target_bbox: `[B, S, (dy, dx, log dh, log dw)]`, of the positive anchors of each image in
            the order of the anchors, zero padded.
        rpn_match: int `[B, A, 1]`.
        rpn_bbox: `[B, A, 4]`.

    Returns:
        A scalar, the mean over anchors and coordinates; 0 without a positive anchor.
    """
    losses = smooth_l1_loss(*_positive_deltas(target_bbox, rpn_match, rpn_bbox))
    return masked_mean(losses, tf.ones_like(losses))


@LossLayer.register(lambda target_bbox, rpn_match, *_: _chosen_anchors(rpn_match))
def rpn_bbox_loss_per_anchor(target_bbox, rpn_match, rpn_bbox, beta=1 / 9):
    """Return the smooth L1 of the positive anchors, summed, per anchor in the sample.

    So it has the scale of the class loss whatever the number of positives (Faster R-CNN, equation
    1, as Detectron and torchvision normalize it). Arguments are as in `rpn_bbox_loss`.

    Args:
        beta: see `smooth_l1_loss`.
    """
    targets, predicted = _positive_deltas(target_bbox, rpn_match, rpn_bbox)
    total = tf.reduce_sum(smooth_l1_loss(targets, predicted, beta))
    return tf.math.divide_no_nan(total, _chosen_anchors(rpn_match))


def _positive_deltas(target_bbox, rpn_match, rpn_bbox):
    """Return target and predicted deltas of the positive anchors, `[positives, 4]` each."""
    positive = tf.equal(tf.squeeze(tf.cast(rpn_match, tf.int32), axis=-1), POSITIVE)
    counts = tf.reduce_sum(tf.cast(positive, tf.int32), axis=1)
    targets = tf.boolean_mask(target_bbox, tf.sequence_mask(counts, tf.shape(target_bbox)[1]))
    return targets, tf.boolean_mask(rpn_bbox, positive)
