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


@tf.function(autograph=False, reduce_retracing=True)
def _pool(features, box_indices, top, bottom, left, right):
    flat = tf.reshape(features, [-1, tf.shape(features)[-1]])
    counts = tf.stack(
        [tf.reduce_max(bottom - top, axis=1), tf.reduce_max(right - left, axis=1)], axis=1
    )
    bins = tf.stack([tf.shape(top)[1], tf.shape(left)[1]])

    def cells(chosen, count):
        """Return the flat indices of the cells, `[bins of all chosen, cells of a bin]`."""
        last = tf.shape(features)[1:3] - 1
        i, j = tf.range(count[0]), tf.range(count[1])
        # Smaller bins have their last cell several times.
        rows = tf.gather(top, chosen)[..., None] + i
        rows = tf.minimum(rows, tf.gather(bottom, chosen)[..., None] - 1)
        columns = tf.gather(left, chosen)[..., None] + j
        columns = tf.minimum(columns, tf.gather(right, chosen)[..., None] - 1)
        rows = (
            tf.clip_by_value(rows, 0, last[0])
            + (tf.gather(box_indices, chosen) * (last[0] + 1))[:, None, None]
        )
        columns = tf.clip_by_value(columns, 0, last[1])
        index = rows[:, :, None, :, None] * (last[1] + 1) + columns[:, None, :, None, :]
        return tf.reshape(index, [-1, count[0] * count[1]])

    def maximum(chosen, count):
        values = tf.reduce_max(tf.gather(flat, cells(chosen, count)), axis=1)
        return [tf.reshape(values, [-1, bins[0], bins[1], tf.shape(features)[-1]])]

    counts = tf.maximum(counts, 1)
    (pooled,), order = by_count(counts, maximum, [features.dtype])
    pooled = in_order([pooled], [order])
    filled = (bottom > top)[:, :, None] & (right > left)[:, None, :]
    return tf.where(filled[..., None], pooled, 0.0)
