"""The mask head and its loss.

B images, R RoIs an image, N RoIs of the batch that have a mask, K classes with the background.
"""

import keras
import tensorflow as tf
from keras import layers

from mrcnn.layers.conv import RoIConv2D, RoIConv2DTranspose
from mrcnn.layers.losses import LossLayer, count_positive_rois, masked_mean
from mrcnn.layers.norm import BatchNorm, conv_bn
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.select import SelectRoIs, restore_rois


@keras.saving.register_keras_serializable(package="mrcnn")
class MaskOutput(RoIConv2D):
    """A 1x1 convolution to one sigmoid mask a class.

    Inputs:
        features: `[1, N, h, w, channels]` of the selected RoIs, or `[B, R, h, w, channels]`.
        keep: bool `[B, R]` that selected them; then the result has all RoIs again, the others
            with a mask of zeros.

    Returns:
        `[B, R, h, w, K]` with `keep`, else with the leading axes of `features`; float32, 0 to 1.
    """

    def call(self, features, keep=None):
        masks = tf.sigmoid(tf.cast(super().call(features), tf.float32))
        return masks if keep is None else restore_rois(masks, keep)

    def build(self, features_shape, keep_shape=None):
        super().build(features_shape)

    def compute_output_spec(self, features, keep=None):
        leading = features.shape[:2] if keep is None else keep.shape
        return keras.KerasTensor((*leading, *features.shape[2:4], self.filters), "float32")


class MaskHead:
    """Four 3x3 convolutions, one transposed convolution, one mask a class.

    (Mask R-CNN, figure 4, right; batch normalization as the original.) Called with RoI features
    `[B, R, pool, pool, channels]` and `keep` bool `[B, R]`, it looks at the RoIs to keep only.

    Returns:
        Masks, float32, 0 to 1: `[B, R, 2 * pool, 2 * pool, K]` with zeros for the other RoIs, or,
        with `restore=False`, those of the kept ones alone, `[1, N, 2 * pool, 2 * pool, K]`.
    """

    def __init__(self, num_classes, train_bn, loss_weights, channels=256):
        self.num_classes, self.train_bn = num_classes, train_bn
        self.loss_weights, self.channels = loss_weights, channels

    def __call__(self, x, keep=None, restore=True):
        if keep is not None:
            x = SelectRoIs(name="mrcnn_mask_select")(x, keep)
        for number in (1, 2, 3, 4):
            conv = RoIConv2D(self.channels, 3, padding="same", name=f"mrcnn_mask_conv{number}")
            bn = BatchNorm(train_bn=self.train_bn, name=f"mrcnn_mask_bn{number}")
            x = layers.Activation("relu", name=f"mrcnn_mask_relu{number}")(conv_bn(x, conv, bn))
        x = RoIConv2DTranspose(
            self.channels, 2, strides=2, activation="relu", name="mrcnn_mask_deconv"
        )(x)
        return MaskOutput(self.num_classes, 1, name="mrcnn_mask")(x, keep if restore else None)

    def loss(self, target_masks, target_class_ids, masks, keep):
        """The loss as a node of the graph: "mrcnn_mask_loss".

        `target_masks` `[B, R, h, w]` and `target_class_ids` `[B, R]` are those of all RoIs, `masks`
        those of the RoIs to keep alone.
        """
        target_masks = SelectRoIs(name="target_mask_select")(target_masks, keep)
        target_class_ids = SelectRoIs(name="target_class_select")(target_class_ids, keep)
        layer = LossLayer(
            "mrcnn_mask_loss_graph",
            self.loss_weights.get("mrcnn_mask_loss", 1.0),
            name="mrcnn_mask_loss",
        )
        return layer(target_masks, target_class_ids, masks)


def build_fpn_mask_graph(rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True):
    """RoI features and `MaskHead` in one call, under the historical name.

    Arguments: `rois` `[B, R, (y1, x1, y2, x2)]`, normalized; `feature_maps` `[P2, P3, P4, P5]`.
    Returns masks `[B, R, 2 * pool_size, 2 * pool_size, K]`.
    """
    align = PyramidROIAlign([pool_size, pool_size], name="roi_align_mask")
    return MaskHead(num_classes, train_bn, {})(align([rois, image_meta, *feature_maps]))


@LossLayer.register(count_positive_rois)
def mrcnn_mask_loss_graph(target_masks, target_class_ids, pred_masks):
    """Binary cross-entropy of the positive RoIs, on the mask of their true class.

    (Mask R-CNN, section 3: the masks of the other classes do not compete.)

    Arguments:
        target_masks: `[B, R, h, w]`, 0 or 1.
        target_class_ids: int `[B, R]`; positive RoIs have a class above 0.
        pred_masks: `[B, R, h, w, K]`, 0 to 1.

    Returns:
        The mean over RoIs and pixels as a scalar, 0 without a positive RoI.
    """
    class_ids = tf.cast(target_class_ids, tf.int32)
    # The channel of the true class at each pixel, by its place in memory: a gather along the last
    # axis would transpose all masks first.
    pixels = tf.reshape(tf.range(tf.size(target_masks)), tf.shape(target_masks))
    channels = tf.maximum(class_ids, 0)[..., None, None]
    predicted = tf.gather(tf.reshape(pred_masks, [-1]), pixels * pred_masks.shape[-1] + channels)
    losses = tf.reduce_mean(_cross_entropy(target_masks, predicted), axis=[2, 3])
    return masked_mean(losses, class_ids > 0)


def _cross_entropy(targets, probs):
    # The limits keep the logarithm finite; they are those of Keras.
    probs = tf.clip_by_value(probs, 1e-7, 1.0 - 1e-7)
    return -(targets * tf.math.log(probs) + (1.0 - targets) * tf.math.log(1.0 - probs))
