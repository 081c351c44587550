"""Helpers for batches of images with different numbers of boxes."""

import tensorflow as tf

# Beyond all boxes, those of classes that `suppress_by_class` has moved apart too.
_FAR = 1000.0


def map_images(fn, tensors, signature):
    """Apply `fn` to each image of a batch of any size.

    Args:
        fn: function of one tensor per entry of `tensors`, without the batch axis.
        tensors: a list of tensors `[batch, ...]`.
        signature: `tf.TensorSpec` of the result of `fn`.

    Returns:
        The results of `fn`, stacked: `[batch, ...]`.
    """
    if tensors[0].shape[0] == 1:
        # Without a loop, which not all runtimes can read.
        result = fn(*(tensor[0] for tensor in tensors))
        result.set_shape(signature.shape)
        return result[None]
    return tf.map_fn(lambda args: fn(*args), tensors, fn_output_signature=signature)


def suppress(boxes, scores, count, threshold, score_threshold=float("-inf")):
    """Return the rows that non-maximum suppression keeps, best first, padded with -1.

    Args:
        boxes: `[n, (y1, x1, y2, x2)]`.
        scores: `[n]`.
        count: rows to keep at most.
        threshold: IoU above which the lower-scored of two boxes is dropped.
        score_threshold: boxes that do not exceed it take no part.

    Returns:
        int32 `[count]`.
    """
    # LiteRT compares a box that it has kept with itself before it drops it from the candidates. So
    # it would keep a box without area, which overlaps nothing, again and again. Such boxes get
    # places of their own, with an area, and still overlap nothing.
    sizes = boxes[:, 2:] - boxes[:, :2]
    is_empty = tf.equal(sizes[:, :1] * sizes[:, 1:], 0.0)
    place = _FAR + 2.0 * tf.cast(tf.range(tf.shape(boxes)[0]), tf.float32)[:, None]
    boxes = tf.where(is_empty, tf.concat([place, place, place + 1.0, place + 1.0], axis=1), boxes)
    # The kernel of `tf.image.non_max_suppression`, but with a number of rows that is known before
    # it runs. (`tf.image.non_max_suppression_padded` is a loop of many ops.)
    kept, num_kept = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes,
        scores=scores,
        max_output_size=count,
        iou_threshold=threshold,
        score_threshold=score_threshold,
        pad_to_max_output_size=True,
    )
    kept = tf.where(tf.range(count) < num_kept, kept, -1)
    kept.set_shape([count])
    return kept


def gather_rows(x, indices):
    """Return the rows of `[n, ...]` at `indices`, int32 `[k]`, zeros for -1."""
    # There may be no row at all, so -1 gets one of its own.
    return tf.gather(tf.pad(x, [[1, 0]] + [[0, 0]] * (len(x.shape) - 1)), indices + 1)


def not_padding(rows):
    """Return bool `[..., n]`, False where a row of `[..., n, columns]` is all zeros."""
    return tf.reduce_any(tf.not_equal(rows, 0), axis=-1)
