"""Helpers for batches of images with different numbers of boxes."""

import tensorflow as tf


def map_images(fn, tensors, signature):
    """Apply `fn` to each image of a batch of any size.

    Arguments:
        fn: gets one tensor without its batch axis for each of `tensors`.
        tensors: a list of tensors `[batch, ...]`.
        signature: `tf.TensorSpec` of what `fn` returns.
    """
    return tf.map_fn(lambda args: fn(*args), tensors, fn_output_signature=signature)


def pad_rows(x, count):
    """`[n, ...]` -> `[count, ...]`: zeros below, or the first `count` rows."""
    x = x[:count]
    paddings = [[0, count - tf.shape(x)[0]]] + [[0, 0]] * (len(x.shape) - 1)
    padded = tf.pad(x, paddings)
    padded.set_shape([count, *x.shape[1:]])
    return padded


def not_padding(rows):
    """`[..., n, columns]` -> bool `[..., n]`: False where a row is all zeros."""
    return tf.reduce_any(tf.not_equal(rows, 0), axis=-1)


def trim_zeros_graph(boxes, name="trim_zeros"):
    """Drop the padding of `[n, 4]`; returns the rows left and the bool `[n]` that chose them."""
    keep = not_padding(boxes)
    return tf.boolean_mask(boxes, keep, name=name), keep


def batch_pack_graph(x, counts, num_rows):
    """The first `counts[i]` rows of each `x[i]`, `i < num_rows`, stacked into one `[n, ...]`."""
    keep = tf.sequence_mask(counts[:num_rows], tf.shape(x)[1])
    return tf.boolean_mask(x[:num_rows], keep)


def batch_slice(inputs, graph_fn, batch_size, names=None):
    """Run `graph_fn` on each image of a batch and stack the results. Kept for old custom layers.

    Arguments:
        inputs: a tensor or a list of tensors `[batch, ...]`.
        graph_fn: gets one slice of each input; returns a tensor or a list of tensors.
        batch_size: number of images, a Python integer.
        names: a name for each output tensor.

    Returns:
        One tensor `[batch, ...]` where `graph_fn` returns one, else a list.
    """
    if not isinstance(inputs, (list, tuple)):
        inputs = [inputs]
    rows = []
    for image in range(batch_size):
        outputs = graph_fn(*[x[image] for x in inputs])
        rows.append(outputs if isinstance(outputs, (list, tuple)) else [outputs])
    columns = list(zip(*rows, strict=True))
    names = names or [None] * len(columns)
    results = [tf.stack(column, name=name) for column, name in zip(columns, names, strict=True)]
    return results[0] if len(results) == 1 else results
