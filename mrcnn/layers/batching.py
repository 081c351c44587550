"""Helpers for batches of images with different numbers of boxes."""

import tensorflow as tf


def map_images(fn, tensors, signature):
    """Apply `fn` to each image of a batch of any size.

    Args:
        fn: function of one tensor per entry of `tensors`, without the batch axis.
        tensors: a list of tensors `[batch, ...]`.
        signature: `tf.TensorSpec` of the result of `fn`.

    Returns:
        The results of `fn`, stacked: `[batch, ...]`.
    """
    return tf.map_fn(lambda args: fn(*args), tensors, fn_output_signature=signature)


def pad_rows(x, count):
    """Pad `[n, ...]` to `[count, ...]` with zero rows, or take its first `count` rows."""
    x = x[:count]
    paddings = [[0, count - tf.shape(x)[0]]] + [[0, 0]] * (len(x.shape) - 1)
    padded = tf.pad(x, paddings)
    padded.set_shape([count, *x.shape[1:]])
    return padded


def not_padding(rows):
    """Return bool `[..., n]`, False where a row of `[..., n, columns]` is all zeros."""
    return tf.reduce_any(tf.not_equal(rows, 0), axis=-1)
