"""Select the RoIs that need a mask."""

import keras
import tensorflow as tf


def _at_least_one(keep):
    """Return `keep`; if it is all False, the first RoI is True: kernels fail on empty batches."""
    first = tf.reshape(tf.equal(tf.range(tf.size(keep)), 0), tf.shape(keep))
    return keep | (first & ~tf.reduce_any(keep))


@keras.saving.register_keras_serializable(package="mrcnn")
class SelectRoIs(keras.layers.Layer):
    """Move the RoIs to keep into one row for the whole batch.

    Background and padding have no mask, and the mask head is the most expensive head: it runs on
    this row alone.

    Inputs:
        values: `[batch, num_rois, ...]`.
        keep: bool `[batch, num_rois]`.

    Returns:
        `[1, num_kept, ...]`, image by image. If `keep` is all False, the first RoI of the batch.
    """

    def call(self, values, keep):
        return tf.boolean_mask(values, _at_least_one(keep))[None]

    def compute_output_spec(self, values, keep):
        return keras.KerasTensor((1, None, *values.shape[2:]), values.dtype)


def restore_rois(values, keep):
    """Undo `SelectRoIs`: `[1, num_kept, ...]` -> `[batch, num_rois, ...]`, zeros for other RoIs."""
    indices = tf.where(_at_least_one(keep))
    shape = tf.concat([tf.shape(keep), tf.shape(values)[2:]], axis=0)
    static_shape = keep.shape.concatenate(values.shape[2:])
    # `real` is 0 for the RoI that `_at_least_one` has added.
    real = tf.cast(tf.gather_nd(keep, indices), values.dtype)
    values = values[0] * tf.reshape(real, [-1] + [1] * (len(values.shape) - 2))
    restored = tf.scatter_nd(indices, values, tf.cast(shape, tf.int64))
    restored.set_shape(static_shape)
    return restored
