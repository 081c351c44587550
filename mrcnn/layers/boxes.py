"""The door through which boxes in pixels enter the graph."""

import keras
import tensorflow as tf

from mrcnn.ops import boxes as box_ops


@keras.saving.register_keras_serializable(package="mrcnn")
class NormalizeBoxes(keras.layers.Layer):
    """Boxes in pixels of an image to normalized coordinates; padding stays zero.

    Inputs:
        boxes: `[batch, n, (y1, x1, y2, x2)]` in pixels, zero padded.
        image: `[batch, height, width, channels]`, for its size.

    Returns:
        `[batch, n, 4]` float32, normalized, zero padded.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, boxes, image):
        boxes = tf.cast(boxes, tf.float32)
        normalized = box_ops.norm_boxes(boxes, tf.shape(image)[1:3], xp=keras.ops)
        return tf.where(tf.reduce_any(boxes != 0, axis=-1, keepdims=True), normalized, 0.0)

    def compute_output_shape(self, boxes_shape, image_shape):
        return boxes_shape
