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


class BoxHead:
    """Two fully connected layers, then class logits and one set of deltas per class.

    (FPN paper, section 4.2; batch normalization as the original.) Applied to RoI features
    `[B, R, pool, pool, channels]`, it returns logits `[B, R, K]`, probabilities `[B, R, K]` and
    deltas `[B, R, K, (dy, dx, log dh, log dw)]`, float32.

    Args:
        num_classes: K.
        pool_size: side of the RoI features, in cells.
        fc_size: units of the fully connected layers.
        norm: function from the keyword `name` to a normalization layer; None for none.
        loss_weights: factors of the losses in the total by name; 1 by default.
    """

    def __init__(self, num_classes, pool_size, fc_size=1024, norm=None, loss_weights=None):
        # The first fully connected layer is a convolution as large as the crop, because the
        # original's checkpoints have its weights in this shape.
        self.fully_connected = [
            (
                RoIConv2D(fc_size, kernel_size, name=f"mrcnn_class_conv{number}"),
                norm(name=f"mrcnn_class_bn{number}") if norm else None,
                layers.Activation("relu", name=f"mrcnn_class_relu{number}"),
            )
            for number, kernel_size in ((1, pool_size), (2, 1))
        ]
        self.squeeze = layers.Reshape((-1, fc_size), name="pool_squeeze")

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
        # With frozen statistics, normalization happens inside the convolution: see `BatchNorm`.
        for conv, norm, relu in self.fully_connected:
            x = relu(conv_norm(x, conv, norm))
        x = self.squeeze(x)
        logits = self.logits(x)
        return logits, self.probs(logits), self.deltas(self.flat_deltas(x))

    def losses(self, target_class_ids, target_deltas, active_class_ids, logits, deltas):
        """Return the dict of "mrcnn_class_loss" and "mrcnn_bbox_loss", nodes of the graph, `[1]`.

        Args:
            target_class_ids: int `[B, R]`, zero padded.
            target_deltas: `[B, R, 4]`, zero padded.
            active_class_ids: `[B, K]`, 1 for the classes of the image's data set.
            logits, deltas: outputs of the head.
        """
        class_loss, bbox_loss = (
            LossLayer(f"{name}_graph", self.loss_weights.get(name, 1.0), name=name)
            for name in ("mrcnn_class_loss", "mrcnn_bbox_loss")
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
    predicted = tf.gather(pred_bbox, tf.maximum(class_ids, 0), batch_dims=2)
    losses = tf.reduce_mean(smooth_l1_loss(target_bbox, predicted), axis=-1)
    return masked_mean(losses, class_ids > 0)
