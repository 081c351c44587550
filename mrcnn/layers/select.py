"""Select the RoIs that need a mask."""

import keras
import tensorflow as tf


def _at_least_one(keep):
    """`keep`, or the very first RoI where it is False everywhere: kernels fail on empty batches."""
    first = tf.reshape(tf.equal(tf.range(tf.size(keep)), 0), tf.shape(keep))
    return keep | (first & ~tf.reduce_any(keep))


@keras.saving.register_keras_serializable(package="mrcnn")
class SelectRoIs(keras.layers.Layer):
    """Keep some of the RoIs.

    The mask head is the most expensive part of the heads, and padded or background RoIs have no
    mask: those that stay are moved into one row of RoIs of the whole batch.

    Inputs:
        values: `[batch, num_rois, ...]`.
        keep: bool `[batch, num_rois]`.

    Returns:
        `[1, num_kept, ...]`, image by image. If none is to be kept, the first RoI of all.
    """

    def call(self, values, keep):
        return tf.boolean_mask(values, _at_least_one(keep))[None]

    def compute_output_spec(self, values, keep):
        return keras.KerasTensor((1, None, *values.shape[2:]), values.dtype)


def restore_rois(values, keep):
    """The inverse of `SelectRoIs`: `[1, num_kept, ...]` -> `[batch, num_rois, ...]`, else zeros."""
    indices = tf.where(_at_least_one(keep))
    shape = tf.concat([tf.shape(keep), tf.shape(values)[2:]], axis=0)
    static_shape = keep.shape.concatenate(values.shape[2:])
    real = tf.cast(tf.gather_nd(keep, indices), values.dtype)
    values = values[0] * tf.reshape(real, [-1] + [1] * (len(values.shape) - 2))
    restored = tf.scatter_nd(indices, values, tf.cast(shape, tf.int64))
    restored.set_shape(static_shape)
    return restored
