"""RoIPool: the maximum of the whole cells in each bin of a RoI."""

import tensorflow as tf

from mrcnn.layers.roi_groups import by_count, in_order
from mrcnn.layers.roi_ops import round_to_cells


def roi_pool(features, boxes, box_indices, crop_size):
    """Return the maximum of each bin, boxes and bins rounded to whole cells (RoIPool).

    Fast R-CNN, section 2.1. Bins overlap where their borders fall into a cell.

    Args:
        features: `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]` in cells, rounded by `round_to_cells`. No gradient flows to
            them.
        box_indices: int32 `[n]`, the image of each box.
        crop_size: two integers.

    Returns:
        `[n, *crop_size, channels]` float32; 0 for bins without a cell of the map. The gradient of
        a bin goes to the first cell, in the order of rows, that has the maximum.
    """
    crop_size = [int(side) for side in crop_size]
    box_indices = tf.convert_to_tensor(box_indices, tf.int32)
    size = tf.shape(features)[1:3]
    # Boxes far outside must not overflow below.
    whole = tf.clip_by_value(round_to_cells(tf.stop_gradient(boxes)), -1e6, 1e6)
    whole = tf.cast(whole, tf.int32)
    spans = [
        _spans(whole[:, axis], whole[:, 2 + axis], crop_size[axis], size[axis]) for axis in (0, 1)
    ]
    pooled = _pool(features, box_indices, *spans[0], *spans[1])
    pooled.set_shape([None, *crop_size, features.shape[-1]])
    return pooled


def _spans(start, end, bins, size):
    """Return the first cell of each bin along an axis, and the one after its last, `[n, bins]`."""
    i, length = tf.range(bins), (end - start)[:, None]
    first = start[:, None] + i * length // bins
    last = start[:, None] - (-(i + 1) * length // bins)
    return tf.clip_by_value(first, 0, size), tf.clip_by_value(last, 0, size)


# A tf.function of the module: see `crop_and_resize`.
@tf.function(autograph=False, reduce_retracing=True)
@tf.custom_gradient
def _pool(features, box_indices, top, bottom, left, right):
    shape = tf.shape(features)
    flat = tf.reshape(features, [-1, shape[3]])
    result_shape = [-1, tf.shape(top)[1], tf.shape(left)[1], shape[3]]
    filled = ((bottom > top)[:, :, None] & (right > left)[:, None, :])[..., None]
    largest = [tf.reduce_max(bottom - top, axis=1), tf.reduce_max(right - left, axis=1)]
    counts = tf.maximum(tf.stack(largest, axis=1), 1)

    def cells(chosen, count):
        corner = tf.gather(box_indices, chosen)[:, None, None] * shape[1]
        spans = (tf.gather(x, chosen) for x in (top, bottom, left, right))
        return _cells(corner, *spans, count, shape)

    def maximum(chosen, count):
        values = tf.reduce_max(tf.gather(flat, cells(chosen, count)), axis=1)
        return [tf.reshape(values, result_shape)]

    def grad(dy):
        def winners(chosen, count):
            index = cells(chosen, count)
            best = tf.argmax(tf.gather(flat, index), axis=1, output_type=tf.int32)
            return [tf.reshape(tf.gather(index, best, batch_dims=1), result_shape)]

        (index,), order = by_count(counts, winners, [tf.int32])
        index = tf.cast(in_order([index], [order]), tf.int64) * tf.cast(shape[3], tf.int64)
        index += tf.range(tf.cast(shape[3], tf.int64))
        dy = tf.where(filled, dy, 0.0)
        total = tf.cast(tf.size(features), tf.int64)
        gradient = tf.math.unsorted_segment_sum(dy, index, total)
        return tf.reshape(gradient, shape), None, None, None, None, None

    (pooled,), order = by_count(counts, maximum, [features.dtype])
    return tf.where(filled, in_order([pooled], [order]), 0.0), grad


def _cells(corner, top, bottom, left, right, count, shape):
    """Return the flat indices of the cells of each bin, `[bins of all RoIs, cells of a bin]`."""
    # Bins that are smaller than the largest one have their last cell several times.
    rows = tf.minimum(top[..., None] + tf.range(count[0]), bottom[..., None] - 1)
    columns = tf.minimum(left[..., None] + tf.range(count[1]), right[..., None] - 1)
    rows = corner + tf.clip_by_value(rows, 0, shape[1] - 1)
    columns = tf.clip_by_value(columns, 0, shape[2] - 1)
    index = rows[:, :, None, :, None] * shape[2] + columns[:, None, :, None, :]
    return tf.reshape(index, [-1, count[0] * count[1]])
