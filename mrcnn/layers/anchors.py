"""Anchors as a part of the training graph."""

import keras
import tensorflow as tf

from mrcnn.ops.anchors import AnchorGenerator
from mrcnn.ops.space import BoxSpace


@keras.saving.register_keras_serializable(package="mrcnn")
class AnchorLayer(keras.layers.Layer):
    """Make the anchors of a batch of images, for any image shape.

    Anchors are computed, not stored as a weight, so checkpoints do not depend on the image size.

    Args:
        sizes, ratios, strides, spacing, offset, rounded, fitted_strides: see `AnchorGenerator`.
        box_shift: see `BoxSpace`.

    Inputs:
        image: `[batch, height, width, channels]`.
        features: list of `[batch, rows, columns, channels]`, finest first.

    Returns:
        `[batch, num_anchors, (y1, x1, y2, x2)]` float32, normalized.
    """

    def __init__(
        self,
        sizes,
        ratios,
        strides,
        spacing=1,
        offset=0.0,
        rounded=False,
        fitted_strides=False,
        box_shift=1.0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.sizes, self.ratios = [list(map(list, levels)) for levels in (sizes, ratios)]
        self.strides, self.spacing, self.offset = list(strides), int(spacing), float(offset)
        self.rounded, self.fitted_strides = bool(rounded), bool(fitted_strides)
        self.box_shift = float(box_shift)

    def call(self, image, features):
        generator = AnchorGenerator(
            self.sizes,
            self.ratios,
            self.strides,
            self.spacing,
            self.offset,
            self.rounded,
            self.fitted_strides,
        )
        shapes = [tf.unstack(tf.shape(level)[1:3]) for level in features]
        size = tf.shape(image)[1:3]
        anchors = generator.pyramid(shapes, keras.ops, tf.unstack(size))
        anchors = BoxSpace(self.box_shift).normalize(anchors, size, xp=keras.ops)
        return tf.tile(anchors[None], [tf.shape(image)[0], 1, 1])

    def compute_output_shape(self, image_shape, features_shape):
        return (image_shape[0], None, 4)

    def get_config(self):
        names = ("sizes", "ratios", "strides", "spacing", "offset")
        names += ("rounded", "fitted_strides", "box_shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
