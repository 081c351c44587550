"""Run a head only where there is something to see."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mrcnn")
class SelectRoIs(keras.layers.Layer):
    """Keep the RoIs that count.

    The mask head is the most expensive part of the heads, and padded or background RoIs have no
    mask: those that stay are moved into one row of RoIs of the whole batch.

    Inputs:
        values: `[batch, num_rois, ...]`.
        keep: bool `[batch, num_rois]`.

    Returns:
        `[1, num_kept, ...]`, image by image.
    """

    def call(self, values, keep):
        return tf.boolean_mask(values, keep)[None]

    def compute_output_spec(self, values, keep):
        return keras.KerasTensor((1, None, *values.shape[2:]), values.dtype)


def restore_rois(values, keep):
    """The inverse of `SelectRoIs`: `[1, num_kept, ...]` -> `[batch, num_rois, ...]`, else zeros."""
    indices = tf.where(keep)
    shape = tf.concat([tf.shape(keep), tf.shape(values)[2:]], axis=0)
    restored = tf.scatter_nd(indices, values[0], tf.cast(shape, tf.int64))
    restored.set_shape(keep.shape.concatenate(values.shape[2:]))
    return restored
