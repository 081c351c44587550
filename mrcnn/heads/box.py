"""Box head: class and box of a RoI, and their two losses.

B images, R RoIs per image, K classes with the background.
"""

import keras
import tensorflow as tf
from keras import layers

from mrcnn.layers.conv import RoIConv2D
from mrcnn.layers.losses import (
    LossLayer,
    count_positive_rois,
    count_true,
    masked_mean,
    smooth_l1_loss,
)
from mrcnn.layers.norm import conv_norm


class FullyConnected:
    """Fully connected layers on RoI features, after 3x3 convolutions if there are any.

    From `[B, R, pool, pool, channels]` to `[B, R, fc_size]`. Two of them are the head of the FPN
    paper (section 4.2), four convolutions and one layer that of Wu and He 2018 (section 5.2).

    Args:
        pool_size: side of the RoI features, in cells.
        fc_size: units of each layer.
        norm: function from the keyword `name` to a normalization layer after each of them; None for
            none.
        count: of fully connected layers.
        convs: list of the channels of the convolutions.
        conv_norm: as `norm`, after the convolutions.
    """

    def __init__(self, pool_size, fc_size=1024, norm=None, count=2, convs=(), conv_norm=None):
        def steps(layer_list, norm, norm_name):
            return [
                (
                    layer,
                    norm(name=f"{norm_name}{number}") if norm else None,
                    layers.Activation("relu", name=layer.name.replace("conv", "relu")),
                )
                for number, layer in enumerate(layer_list, start=1)
            ]

        options = {"padding": "same", "use_bias": conv_norm is None}
        convolutions = [
            RoIConv2D(channels, 3, name=f"mrcnn_bbox_conv{number}", **options)
            for number, channels in enumerate(convs, start=1)
        ]
        # The first fully connected layer is a convolution as large as the crop, because the
        # original's checkpoints have its weights in this shape.
        fully_connected = [
            RoIConv2D(fc_size, pool_size if number == 1 else 1, name=f"mrcnn_class_conv{number}")
            for number in range(1, count + 1)
        ]
        self.steps = steps(convolutions, conv_norm, "mrcnn_bbox_norm")
        self.steps += steps(fully_connected, norm, "mrcnn_class_bn")
        self.squeeze = layers.Reshape((-1, fc_size), name="pool_squeeze")

    def __call__(self, x):
        # With frozen statistics, normalization happens inside the convolution: see `BatchNorm`.
        for conv, norm, relu in self.steps:
            x = relu(conv_norm(x, conv, norm))
        return self.squeeze(x)


class BoxHead:
    """Class logits, and one set of deltas per class.

    Applied to RoI features `[B, R, pool, pool, channels]`, it returns logits `[B, R, K]`,
    probabilities `[B, R, K]` and deltas `[B, R, K, (dy, dx, log dh, log dw)]`, float32.

    Args:
        num_classes: K.
        pool_size, fc_size, norm: of the default trunk, two `FullyConnected` layers.
        loss_weights: factors of the losses in the total by name; 1 by default.
        trunk: another function from RoI features to `[B, R, units]`.

    Attributes:
        loss_functions: names and options of the registered losses of classes and deltas.
    """

    loss_functions = (("mrcnn_class_loss_graph", {}), ("mrcnn_bbox_loss_graph", {}))

    def __init__(
        self, num_classes, pool_size=7, fc_size=1024, norm=None, loss_weights=None, trunk=None
    ):
        self.trunk = trunk or FullyConnected(pool_size, fc_size, norm)

        # Small random weights, as in Detectron: at first all classes are equally likely, and every
        # box stays in place.
        def output(units, stddev, name):
            init = keras.initializers.RandomNormal(stddev=stddev)
            return layers.Dense(units, kernel_initializer=init, name=name, dtype="float32")

        self.logits = output(num_classes, 0.01, "mrcnn_class_logits")
        self.probs = layers.Activation("softmax", name="mrcnn_class", dtype="float32")
        self.flat_deltas = output(4 * num_classes, 0.001, "mrcnn_bbox_fc")
        self.deltas = layers.Reshape((-1, num_classes, 4), name="mrcnn_bbox", dtype="float32")
        self.loss_weights = loss_weights or {}

    def __call__(self, x):
        x = self.trunk(x)
        logits = self.logits(x)
        return logits, self.probs(logits), self.deltas(self.flat_deltas(x))

    def losses(self, target_class_ids, target_deltas, active_class_ids, logits, deltas):
        """Return the dict of "mrcnn_class_loss" and "mrcnn_bbox_loss", nodes of the graph, `[1]`.

        Args:
            target_class_ids: int `[B, R]`, padded as the losses expect.
            target_deltas: `[B, R, 4]`, zero padded.
            active_class_ids: `[B, K]`, 1 for the classes of the image's data set.
            logits, deltas: outputs of the head.
        """
        names = ("mrcnn_class_loss", "mrcnn_bbox_loss")
        class_loss, bbox_loss = (
            LossLayer(function, self.loss_weights.get(name, 1.0), options, name=name)
            for name, (function, options) in zip(names, self.loss_functions, strict=True)
        )
        return {
            class_loss.name: class_loss(target_class_ids, logits, active_class_ids),
            bbox_loss.name: bbox_loss(target_deltas, target_class_ids, deltas),
        }


def _are_active(logits, active_class_ids):
    """Return `[B, R]`: 1 for RoIs whose predicted class exists in the data set of the image."""
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.gather(active_class_ids, predicted, batch_dims=1)


def _active_rois(target_class_ids, logits, active_class_ids):
    return count_true(_are_active(logits, active_class_ids))


@LossLayer.register(_active_rois)
def mrcnn_class_loss_graph(target_class_ids, pred_class_logits, active_class_ids):
    """Return the mean cross-entropy of the RoIs' classes.

    RoIs count only if their predicted class exists in the data set of their image. (The original
    uses the classes of the first image's data set for the whole batch.)

    Args:
        target_class_ids: int `[B, R]`, zero padded; padding counts as background.
        pred_class_logits: `[B, R, K]`.
        active_class_ids: `[B, K]`, 1 for the classes of the image's data set.

    Returns:
        A scalar, 0 if no RoI counts.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.cast(target_class_ids, tf.int32), pred_class_logits
    )
    return masked_mean(losses, _are_active(pred_class_logits, active_class_ids))


@LossLayer.register(count_positive_rois)
def mrcnn_bbox_loss_graph(target_bbox, target_class_ids, pred_bbox):
    """Return the mean smooth L1 of the positive RoIs, on the deltas of their true class.

    Args:
        target_bbox: `[B, R, (dy, dx, log dh, log dw)]`.
        target_class_ids: int `[B, R]`; positive RoIs have a class above 0.
        pred_bbox: `[B, R, K, 4]`.

    Returns:
        A scalar, the mean over RoIs and coordinates; 0 without a positive RoI.
    """
    class_ids = tf.cast(target_class_ids, tf.int32)
    losses = smooth_l1_loss(target_bbox, _of_true_class(pred_bbox, class_ids))
    return masked_mean(tf.reduce_mean(losses, axis=-1), class_ids > 0)


def _of_true_class(pred_bbox, class_ids):
    """Return the deltas `[B, R, 4]` of each RoI's class."""
    return tf.gather(pred_bbox, tf.maximum(class_ids, 0), batch_dims=2)


def losses_per_roi(beta):
    """Return `BoxHead.loss_functions` of the paper's code, for a `beta` of `smooth_l1_loss`."""
    return (("class_loss_per_roi", {}), ("bbox_loss_per_roi", {"beta": float(beta)}))


@LossLayer.register(lambda target_class_ids, *_: count_true(target_class_ids >= 0))
def class_loss_per_roi(target_class_ids, pred_class_logits, active_class_ids):
    """Return the mean cross-entropy of the RoIs' classes (Fast R-CNN, section 2.3).

    Args:
        target_class_ids: int `[B, R]`, padded with -1.
        pred_class_logits: `[B, R, K]`.
        active_class_ids: not used: every RoI counts.

    Returns:
        A scalar, 0 without a RoI.
    """
    class_ids = tf.cast(target_class_ids, tf.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.maximum(class_ids, 0), pred_class_logits
    )
    return masked_mean(losses, class_ids >= 0)


@LossLayer.register(lambda targets, target_class_ids, *_: count_true(target_class_ids >= 0))
def bbox_loss_per_roi(target_bbox, target_class_ids, pred_bbox, beta=1 / 9):
    """Return the smooth L1 of the positive RoIs, summed, per RoI (Fast R-CNN, equation 1).

    Args:
        target_bbox: `[B, R, (dy, dx, log dh, log dw)]`.
        target_class_ids: int `[B, R]`, 0 for negatives, padded with -1.
        pred_bbox: `[B, R, K, 4]`.
        beta: see `smooth_l1_loss`.

    Returns:
        A scalar, 0 without a RoI.
    """
    class_ids = tf.cast(target_class_ids, tf.int32)
    losses = smooth_l1_loss(target_bbox, _of_true_class(pred_bbox, class_ids), beta)
    total = tf.reduce_sum(tf.where((class_ids > 0)[..., None], losses, 0.0))
    return tf.math.divide_no_nan(total, count_true(class_ids >= 0))
