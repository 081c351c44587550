"""RoIAlign and RoIWarp: bilinear samples in each bin of a RoI."""

import tensorflow as tf

from mrcnn.layers.roi_crop import crop_and_resize, spread, taps
from mrcnn.layers.roi_groups import by_count, in_order


def roi_align(features, boxes, box_indices, crop_size, samples=2, reduce="mean", half_pixel=True):
    """Return the mean or the maximum of bilinear samples in each bin, nothing rounded (RoIAlign).

    Mask R-CNN, section 3.

    Args:
        features: `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]` in cells. No gradient flows to them.
        box_indices: int32 `[n]`, the image of each box.
        crop_size: two integers.
        samples: samples per bin and axis. 0 for as many as a bin has cells, rounded up, at least 1
            and at most the cells of the map.
        reduce: "mean" or "max"; the latter with a fixed number of samples.
        half_pixel: the first cell covers 0 to 1, with its centre at 0.5. Otherwise its centre is at
            0, and boxes are at least one cell high and wide.

    Returns:
        `[n, *crop_size, channels]` float32. The outermost cells are repeated once beyond the
        border; samples farther out are 0.

    Raises:
        ValueError: for another `reduce`, and for "max" with `samples` 0.
    """
    if reduce not in ("mean", "max"):
        raise ValueError(f'RoIAlign reduces with "{reduce}"; accepted are "mean" and "max".')
    if reduce == "max" and not samples:
        raise ValueError("RoIAlign with the maximum needs a fixed number of samples, at least 1.")
    crop_size = [int(side) for side in crop_size]
    boxes = tf.stop_gradient(boxes)
    if not samples:
        return _adaptive(pad_cells(features), boxes, box_indices, crop_size, half_pixel)
    padded, corners, shape = align_samples(features, boxes, crop_size, samples, half_pixel)
    return reduce_samples(crop_and_resize(padded, corners, box_indices, shape), samples, reduce)


def pad_cells(features):
    """Return features with their outermost cells repeated once on every side.

    They give samples up to a cell outside the value of the border.
    """
    return tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")


def align_samples(features, boxes, crop_size, samples, half_pixel):
    """Return what `crop_and_resize` needs for the samples of `roi_align`.

    Args:
        features, boxes, crop_size, samples, half_pixel: see `roi_align`; `samples` is not 0.

    Returns:
        Padded features, the outermost samples `[n, (y1, x1, y2, x2)]`, and the samples per axis.
    """
    padded, shape = pad_cells(features), [samples * side for side in crop_size]
    return padded, _corners(padded, boxes, tf.constant(shape, tf.float32), half_pixel), shape


def reduce_samples(crops, samples, reduce="mean"):
    """Return the mean or the maximum of the samples of each bin; see `roi_align`."""
    pool = tf.nn.avg_pool2d if reduce == "mean" else tf.nn.max_pool2d
    return pool(crops, samples, samples, "SAME") if samples > 1 else crops


def _sizes(boxes, half_pixel):
    sizes = boxes[:, 2:] - boxes[:, :2]
    return sizes if half_pixel else tf.maximum(sizes, 1.0)


def _corners(padded, boxes, samples, half_pixel):
    """Return `[n, (y1, x1, y2, x2)]`, the outermost samples, as `crop_and_resize` expects them.

    `samples` are per box and axis, float32 `[2]` or `[n, 2]`.
    """
    # Samples sit in the middle of equal parts of the box. The padding moved everything by one.
    sizes = _sizes(boxes, half_pixel) / samples
    first = boxes[:, :2] + 0.5 * sizes - (0.5 if half_pixel else 0.0) + 1.0
    last = first + sizes * (samples - 1.0)
    ends = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)
    return tf.concat([first, last], axis=1) / tf.tile(ends, [2])


def _adaptive(padded, boxes, box_indices, crop_size, half_pixel):
    """Return the mean of samples in each bin, as many as it has cells."""
    bins = tf.math.ceil(_sizes(boxes, half_pixel) / tf.constant(crop_size, tf.float32))
    # Without the upper limit a box far larger than the image would fill the memory.
    most = tf.cast(tf.maximum(tf.shape(padded)[1:3] - 2, 1), tf.float32)
    counts = tf.clip_by_value(bins, 1.0, most)
    corners = _corners(padded, boxes, counts * tf.constant(crop_size, tf.float32), half_pixel)
    box_indices = tf.convert_to_tensor(box_indices, tf.int32)
    crops = _adaptive_crops(
        padded, corners, box_indices, tf.cast(counts, tf.int32), tf.constant(crop_size)
    )
    crops.set_shape([None, *crop_size, padded.shape[-1]])
    return crops


# A tf.function of the module: see `crop_and_resize`.
@tf.function(autograph=False, reduce_retracing=True)
@tf.custom_gradient
def _adaptive_crops(features, corners, box_indices, counts, crop_size):
    shape = tf.shape(features)

    def crop(chosen, count):
        crops = tf.image.crop_and_resize(
            features, tf.gather(corners, chosen), tf.gather(box_indices, chosen), count * crop_size
        )
        # One axis after the other: TensorFlow would transpose everything first.
        rows = tf.reshape(crops, [-1, count[0], crop_size[1] * count[1] * shape[3]])
        columns = tf.reshape(tf.reduce_mean(rows, axis=1), [-1, count[1], shape[3]])
        crops = tf.reduce_mean(columns, axis=1)
        return [tf.reshape(crops, [-1, crop_size[0], crop_size[1], shape[3]])]

    def grad(dy):
        def mix(chosen, count):
            boxes, images = tf.gather(corners, chosen), tf.gather(box_indices, chosen)
            return _mixing(boxes, images, chosen, count, crop_size, shape)

        (rows, cells, weights), _ = by_count(counts, mix, [tf.int32, tf.int32, tf.float32])
        dy = tf.reshape(dy, [-1, shape[3]])
        return spread(dy, rows, cells, weights, shape), None, None, None, None

    (crops,), order = by_count(counts, crop, [features.dtype])
    return in_order([crops], [order]), grad


def _mixing(corners, box_indices, places, count, crop_size, shape):
    """Return the cells that each bin mixes: bins, flat cells and weights, each `[m]`."""
    (rows, row_weights), (columns, column_weights) = (
        _window(corners[:, axis], corners[:, 2 + axis], crop_size[axis], count[axis], size)
        for axis, size in enumerate((shape[1], shape[2]))
    )
    corner = (box_indices * shape[1])[:, None, None]
    cells = (corner + rows)[:, :, None, :, None] * shape[2] + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    bins = tf.reshape(tf.range(crop_size[0] * crop_size[1]), [1, crop_size[0], crop_size[1], 1, 1])
    bins += tf.reshape(places * crop_size[0] * crop_size[1], [-1, 1, 1, 1, 1])
    used = tf.where(weights > 0)
    bins = tf.broadcast_to(bins, tf.shape(cells))
    return [tf.gather_nd(x, used) for x in (bins, cells, weights)]


def _window(start, end, bins, count, size):
    """Return the cells along an axis that each bin mixes, and their weights, `[n, bins, width]`."""
    cells, weights = taps(start, end, bins * count, size)
    lower, upper = (tf.reshape(x, [-1, bins, count]) for x in cells)
    first = lower[..., :1]
    # Neighbouring samples share cells.
    width = tf.reduce_max(tf.concat([tf.reshape(upper - first, [-1]), [0]], axis=0)) + 1
    total = sum(
        tf.reduce_sum(
            tf.one_hot(x - first, width) * tf.reshape(weight, [-1, bins, count, 1]), axis=2
        )
        for x, weight in zip((lower, upper), weights, strict=True)
    )
    return first + tf.range(width), total / tf.cast(count, tf.float32)


def round_to_cells(boxes):
    """Return boxes that cover the whole cells that RoIPool takes.

    Both corners are rounded to the next cell, halves away from 0, and the cell of the second is a
    part of the box (Fast R-CNN, section 2.1, as Caffe's layer).

    Args:
        boxes: `[n, (y1, x1, y2, x2)]` in cells.

    Returns:
        `[n, (y1, x1, y2, x2)]` float32, whole numbers, at least one cell high and wide; y2 and x2
        are exclusive.
    """
    whole = tf.floor(tf.abs(boxes))
    rounded = tf.sign(boxes) * (whole + tf.cast(tf.abs(boxes) - whole >= 0.5, boxes.dtype))
    starts = rounded[:, :2]
    return tf.concat([starts, tf.maximum(rounded[:, 2:], starts) + 1.0], axis=1)


def roi_warp(features, boxes, box_indices, crop_size, samples=2):
    """Return the mean of bilinear samples in each bin of a box rounded to whole cells (RoIWarp).

    It differs from RoIAlign in the rounding alone, and from RoIPool in the sampling alone
    (Mask R-CNN, section 4.2).

    Args:
        features: `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]` in cells, rounded by `round_to_cells`.
        box_indices: int32 `[n]`, the image of each box.
        crop_size: two integers.
        samples: see `roi_align`.

    Returns:
        `[n, *crop_size, channels]` float32. The first cell covers 0 to 1, as in `roi_align`.
    """
    return roi_align(features, round_to_cells(boxes), box_indices, crop_size, samples)
