"""Anchors as part of the training graph."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mrcnn")
class AnchorLayer(keras.layers.Layer):
    """Anchors of a batch of images, from the shapes of their feature maps.

    The same boxes as `ops.anchors.generate_pyramid_anchors`, for any image shape, and never a
    weight: checkpoints do not depend on the image size.

    Arguments: `scales`, `strides` (one a level, pixels), `ratios`, `anchor_stride` (cells).

    Inputs:
        image: `[batch, height, width, channels]`.
        features: list of `[batch, rows, columns, channels]`, finest first.

    Returns:
        `[batch, num_anchors, (y1, x1, y2, x2)]` float32, normalized.
    """

    def __init__(self, scales, ratios, strides, anchor_stride, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.scales, self.strides = list(map(float, scales)), list(map(int, strides))
        self.ratios, self.anchor_stride = list(map(float, ratios)), int(anchor_stride)

    def _level(self, scale, stride, rows, columns):
        centers = [
            tf.cast(tf.range(0, cells, self.anchor_stride) * stride, tf.float32)
            for cells in (rows, columns)
        ]
        y, x = tf.meshgrid(*centers, indexing="ij")
        centers = tf.reshape(tf.stack([y, x, y, x], axis=-1), [-1, 1, 4])
        half = [[0.5 * scale / r**0.5, 0.5 * scale * r**0.5] for r in self.ratios]
        offsets = tf.constant([[-h, -w, h, w] for h, w in half], tf.float32)
        return tf.reshape(centers + offsets, [-1, 4])

    def call(self, image, features):
        levels = [
            self._level(scale, stride, tf.shape(level)[1], tf.shape(level)[2])
            for scale, stride, level in zip(self.scales, self.strides, features, strict=True)
        ]
        shape = tf.cast(tf.shape(image)[1:3], tf.float32)
        anchors = tf.concat(levels, axis=0) - [0.0, 0.0, 1.0, 1.0]
        anchors = anchors / (tf.tile(shape, [2]) - 1.0)
        return tf.tile(anchors[None], [tf.shape(image)[0], 1, 1])

    def compute_output_shape(self, image_shape, features_shape):
        return (image_shape[0], None, 4)

    def get_config(self):
        names = ("scales", "ratios", "strides", "anchor_stride")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
