"""The box head: class and box of a RoI, and their two losses.

B images, R RoIs an image, K classes with the background.
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
from mrcnn.layers.norm import BatchNorm, conv_bn
from mrcnn.layers.roi_align import PyramidROIAlign


class BoxHead:
    """Two fully connected layers, then class logits and one set of deltas a class.

    (FPN paper, section 4.2; batch normalization as the original.) Called with RoI features
    `[B, R, pool, pool, channels]`, it returns logits `[B, R, K]`, probabilities `[B, R, K]` and
    deltas `[B, R, K, (dy, dx, log dh, log dw)]`, float32.
    """

    def __init__(self, num_classes, fc_size, train_bn, loss_weights):
        self.num_classes, self.fc_size = num_classes, fc_size
        self.train_bn, self.loss_weights = train_bn, loss_weights

    def __call__(self, x):
        # The first fully connected layer is a convolution as large as the crop, as in checkpoints.
        for number, kernel_size in enumerate((x.shape[2:4], 1), start=1):
            conv = RoIConv2D(self.fc_size, kernel_size, name=f"mrcnn_class_conv{number}")
            bn = BatchNorm(train_bn=self.train_bn, name=f"mrcnn_class_bn{number}")
            x = layers.Activation("relu", name=f"mrcnn_class_relu{number}")(conv_bn(x, conv, bn))
        shared = layers.Reshape((-1, self.fc_size), name="pool_squeeze")(x)
        exact = {"dtype": "float32"}

        # Small first outputs, as Detectron's: every class is as likely, every box stays in place.
        def output(units, stddev, name):
            init = keras.initializers.RandomNormal(stddev=stddev)
            return layers.Dense(units, kernel_initializer=init, name=name, **exact)(shared)

        logits = output(self.num_classes, 0.01, "mrcnn_class_logits")
        probs = layers.Activation("softmax", name="mrcnn_class", **exact)(logits)
        x = output(4 * self.num_classes, 0.001, "mrcnn_bbox_fc")
        deltas = layers.Reshape((-1, self.num_classes, 4), name="mrcnn_bbox", **exact)(x)
        return logits, probs, deltas

    def losses(self, target_class_ids, target_bbox, image_meta, logits, deltas):
        """The two losses as nodes of the graph: "mrcnn_class_loss" and "mrcnn_bbox_loss"."""
        weights = self.loss_weights
        class_loss = LossLayer(
            "mrcnn_class_loss_of_meta",
            weights.get("mrcnn_class_loss", 1.0),
            name="mrcnn_class_loss",
        )
        bbox_loss = LossLayer(
            "mrcnn_bbox_loss_graph", weights.get("mrcnn_bbox_loss", 1.0), name="mrcnn_bbox_loss"
        )
        return [
            class_loss(target_class_ids, logits, image_meta),
            bbox_loss(target_bbox, target_class_ids, deltas),
        ]


def fpn_classifier_graph(
    rois,
    feature_maps,
    image_meta,
    pool_size,
    num_classes,
    train_bn=True,
    fc_layers_size=1024,
):
    """RoI features and `BoxHead` in one call, under the historical name.

    Arguments: `rois` `[B, R, (y1, x1, y2, x2)]`, normalized; `feature_maps` `[P2, P3, P4, P5]`.
    """
    align = PyramidROIAlign([pool_size, pool_size], name="roi_align_classifier")
    head = BoxHead(num_classes, fc_layers_size, train_bn, {})
    return head(align([rois, image_meta, *feature_maps]))


def _are_active(logits, active_class_ids):
    """`[B, R]`, 1 for RoIs whose predicted class exists in the data set of their image."""
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.gather(active_class_ids, predicted, batch_dims=1)


def _active_rois(target_class_ids, logits, active_class_ids):
    return count_true(_are_active(logits, active_class_ids))


def _active_rois_of_meta(target_class_ids, logits, image_meta):
    return count_true(_are_active(logits, image_meta[:, 12:]))


@LossLayer.register(_active_rois)
def mrcnn_class_loss_graph(target_class_ids, pred_class_logits, active_class_ids):
    """Cross-entropy of the class of each RoI.

    RoIs whose predicted class does not exist in the data set that the image comes from do not
    count. (The original looks at the classes of the first image's data set for the whole batch.)

    Arguments:
        target_class_ids: int `[B, R]`, zero padded; padding counts as background.
        pred_class_logits: `[B, R, K]`.
        active_class_ids: `[B, K]`, 1 for the classes of the image's data set.

    Returns:
        The mean as a scalar, 0 where no RoI counts.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.cast(target_class_ids, tf.int32), pred_class_logits
    )
    return masked_mean(losses, _are_active(pred_class_logits, active_class_ids))


@LossLayer.register(_active_rois_of_meta)
def mrcnn_class_loss_of_meta(target_class_ids, pred_class_logits, image_meta):
    """`mrcnn_class_loss_graph` with the active classes from `image_meta` `[B, 12 + K]`."""
    return mrcnn_class_loss_graph(target_class_ids, pred_class_logits, image_meta[:, 12:])


@LossLayer.register(count_positive_rois)
def mrcnn_bbox_loss_graph(target_bbox, target_class_ids, pred_bbox):
    """Smooth L1 of the positive RoIs, on the deltas of their true class.

    Arguments:
        target_bbox: `[B, R, (dy, dx, log dh, log dw)]`.
        target_class_ids: int `[B, R]`; positive RoIs have a class above 0.
        pred_bbox: `[B, R, K, 4]`.

    Returns:
        The mean over RoIs and coordinates as a scalar, 0 without a positive RoI.
    """
    class_ids = tf.cast(target_class_ids, tf.int32)
    predicted = tf.gather(pred_bbox, tf.maximum(class_ids, 0), batch_dims=2)
    losses = tf.reduce_mean(smooth_l1_loss(target_bbox, predicted), axis=-1)
    return masked_mean(losses, class_ids > 0)
