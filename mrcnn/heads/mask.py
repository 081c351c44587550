"""Mask head and its loss.

B images, R RoIs per image, N RoIs of the batch that have a mask, K classes with the background.
"""

import keras
import tensorflow as tf
from keras import layers

from mrcnn.layers.conv import RoIConv2D, RoIConv2DTranspose
from mrcnn.layers.losses import LossLayer, count_positive_rois, masked_mean
from mrcnn.layers.norm import conv_norm
from mrcnn.layers.select import SelectRoIs, restore_rois


@keras.saving.register_keras_serializable(package="mrcnn")
class MaskOutput(RoIConv2D):
    """A 1x1 convolution to one sigmoid mask per class.

    Inputs:
        features: `[1, N, h, w, channels]` of the selected RoIs, or `[B, R, h, w, channels]`.
        keep: bool `[B, R]` that selected them. The result then has all RoIs, and unselected ones
            have an all-zero mask.

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
    """Four 3x3 convolutions, one transposed convolution, one mask per class.

    (Mask R-CNN, figure 4, right; batch normalization as the original.) Applied to RoI features
    `[B, R, pool, pool, channels]`, it returns masks, float32, 0 to 1:

    * `[B, R, 2 * pool, 2 * pool, K]`;
    * with `keep`, bool `[B, R]`, the same, with an all-zero mask for unselected RoIs;
    * with `keep` and `restore=False`, the masks of the selected RoIs alone,
      `[1, N, 2 * pool, 2 * pool, K]`.

    Args:
        num_classes: K.
        channels: of the convolutions.
        norm: function from the keyword `name` to a normalization layer; None for none.
        loss_weights: factors of the losses in the total by name; 1 by default.
        convs: number of 3x3 convolutions.
        norm_name: start of the names of the normalization layers.
        use_bias: whether the convolutions have a bias.
        trunk: function applied to the RoI features first; None for none.
    """

    def __init__(
        self,
        num_classes,
        channels=256,
        norm=None,
        loss_weights=None,
        convs=4,
        norm_name="mrcnn_mask_bn",
        use_bias=True,
        trunk=None,
    ):
        self.select, self.trunk = SelectRoIs(name="mrcnn_mask_select"), trunk
        options = {"padding": "same", "use_bias": use_bias}
        self.convs = [
            (
                RoIConv2D(channels, 3, name=f"mrcnn_mask_conv{number}", **options),
                norm(name=f"{norm_name}{number}") if norm else None,
                layers.Activation("relu", name=f"mrcnn_mask_relu{number}"),
            )
            for number in range(1, convs + 1)
        ]
        self.upsample = RoIConv2DTranspose(
            channels, 2, strides=2, activation="relu", name="mrcnn_mask_deconv"
        )
        self.masks = MaskOutput(num_classes, 1, name="mrcnn_mask")
        self.loss_weights = loss_weights or {}

    def __call__(self, x, keep=None, restore=True):
        # This is the most expensive head, so it runs on the RoIs that have a mask: positives in
        # training, detections in inference.
        if keep is not None:
            x = self.select(x, keep)
        x = self.trunk(x) if self.trunk else x
        # With frozen statistics, normalization happens inside the convolution: see `BatchNorm`.
        for conv, norm, relu in self.convs:
            x = relu(conv_norm(x, conv, norm))
        return self.masks(self.upsample(x), keep if restore else None)

    def losses(self, target_masks, target_class_ids, masks, keep):
        """Return the dict of "mrcnn_mask_loss", a node of the graph, `[1]`.

        Args:
            target_masks: `[B, R, h, w]`, of all RoIs.
            target_class_ids: `[B, R]`, of all RoIs.
            masks: `[1, N, h, w, K]`, of the selected RoIs alone.
            keep: bool `[B, R]` that selected them.
        """
        name = "mrcnn_mask_loss"
        layer = LossLayer(f"{name}_graph", self.loss_weights.get(name, 1.0), name=name)
        target_masks = SelectRoIs(name="target_mask_select")(target_masks, keep)
        target_class_ids = SelectRoIs(name="target_class_select")(target_class_ids, keep)
        return {name: layer(target_masks, target_class_ids, masks)}


@LossLayer.register(count_positive_rois)
def mrcnn_mask_loss_graph(target_masks, target_class_ids, pred_masks):
    """Return the mean binary cross-entropy of the positive RoIs, on the mask of their true class.

    (Mask R-CNN, section 3: masks of different classes do not compete.)

    Args:
        target_masks: `[B, R, h, w]`, 0 or 1.
        target_class_ids: int `[B, R]`; positive RoIs have a class above 0.
        pred_masks: `[B, R, h, w, K]`, 0 to 1.

    Returns:
        A scalar, the mean over RoIs and pixels; 0 without a positive RoI.
    """
    class_ids = tf.cast(target_class_ids, tf.int32)
    # Gather the channel of the true class at each pixel by its place in memory. `tf.gather` along
    # the last axis would transpose all masks first.
    pixels = tf.reshape(tf.range(tf.size(target_masks)), tf.shape(target_masks))
    channels = tf.maximum(class_ids, 0)[..., None, None]
    predicted = tf.gather(tf.reshape(pred_masks, [-1]), pixels * pred_masks.shape[-1] + channels)
    losses = tf.reduce_mean(_cross_entropy(target_masks, predicted), axis=[2, 3])
    return masked_mean(losses, class_ids > 0)


def _cross_entropy(targets, probs):
    # Limits, those of Keras, keep the logarithm finite.
    probs = tf.clip_by_value(probs, 1e-7, 1.0 - 1e-7)
    return -(targets * tf.math.log(probs) + (1.0 - targets) * tf.math.log(1.0 - probs))
