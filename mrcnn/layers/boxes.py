"""Normalization of boxes that enter the graph in pixels."""

import keras
import tensorflow as tf

from mrcnn.ops.space import BoxSpace


@keras.saving.register_keras_serializable(package="mrcnn")
class NormalizeBoxes(keras.layers.Layer):
    """Convert boxes in pixels of an image to normalized coordinates; padding stays zero.

    Args:
        box_shift: see `BoxSpace`.

    Inputs:
        boxes: `[batch, n, (y1, x1, y2, x2)]` in pixels, zero padded.
        image: `[batch, height, width, channels]`, for its size.

    Returns:
        `[batch, n, 4]` float32, normalized, zero padded.
    """

    def __init__(self, box_shift=1.0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.box_shift = float(box_shift)

    def call(self, boxes, image):
        boxes = tf.cast(boxes, tf.float32)
        space = BoxSpace(self.box_shift)
        normalized = space.normalize(boxes, tf.shape(image)[1:3], xp=keras.ops)
        return tf.where(tf.reduce_any(boxes != 0, axis=-1, keepdims=True), normalized, 0.0)

    def compute_output_shape(self, boxes_shape, image_shape):
        return boxes_shape

    def get_config(self):
        return {**super().get_config(), "box_shift": self.box_shift}
