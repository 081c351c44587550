"""Bilinear crops by gathers alone, for runtimes without a kernel for crops."""

import tensorflow as tf


def gather_crop(maps, boxes, levels, box_indices, crop_size):
    """Return the crops of `tf.image.crop_and_resize`, each from the map of its level.

    Gathers are ops that every runtime has, and all shapes are known if those of the arguments are.
    The arrays in between take four times the memory of the crops.

    Args:
        maps: list of `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]`, normalized: 0 is the centre of the first cell of their map,
            1 that of the last.
        levels: int32 `[n]`, the place in `maps` that each box is cut from.
        box_indices: int32 `[n]`, the image of each box.
        crop_size: two integers.

    Returns:
        `[n, *crop_size, channels]` float32, one bilinear sample per bin; 0 outside the map.
    """

    def of_level(values):
        return tf.gather(values, levels)[:, None]

    channels, shapes = maps[0].shape[-1], tf.stack([tf.shape(each) for each in maps])
    flat = tf.concat([tf.reshape(each, [-1, channels]) for each in maps], axis=0)
    first_cells = tf.cumsum(tf.reduce_prod(shapes[:, :3], axis=1), exclusive=True)
    height, width = of_level(shapes[:, 1]), of_level(shapes[:, 2])
    corner = of_level(first_cells) + tf.cast(box_indices, tf.int32)[:, None] * height * width
    axes = []
    for axis, (samples, size) in enumerate(zip(crop_size, (height, width), strict=True)):
        # By a number that compilers do not know, because they would multiply by its inverse, and
        # the last bit decides whether a sample on the border of the map is inside.
        parts = of_level(tf.fill([len(maps)], max(samples - 1.0, 1.0)))
        ends = boxes[:, axis, None], boxes[:, 2 + axis, None]
        axes.append(_taps(*ends, int(samples), parts, size))
    (rows, row_weights), (columns, column_weights) = axes

    def mix_columns(row):
        start = (corner + row * width)[:, :, None]
        return sum(
            tf.gather(flat, start + column[:, None, :]) * weight[:, None, :, None]
            for column, weight in zip(columns, column_weights, strict=True)
        )

    return sum(
        mix_columns(row) * weight[:, :, None, None]
        for row, weight in zip(rows, row_weights, strict=True)
    )


def _taps(start, end, num_samples, parts, size):
    """Return the two cells along an axis that each sample mixes, and their two weights.

    All four are `[n, samples]`, as those of `roi_crop.taps`. `start`, `end`, the `parts` between
    the samples, and the `size` of the map are `[n, 1]`.
    """
    last = tf.cast(size - 1, tf.float32)
    steps = tf.range(num_samples, dtype=tf.float32)
    # In the order of TensorFlow's kernel, for the same rounding.
    position = start * last + steps * ((end - start) * last / parts)
    if num_samples == 1:
        position = 0.5 * (start + end) * last
    inside = tf.cast((position >= 0) & (position <= last), tf.float32)
    lower = tf.floor(position)
    fraction = position - lower
    lower = tf.cast(lower, tf.int32)
    cells = [tf.clip_by_value(cell, 0, size - 1) for cell in (lower, lower + 1)]
    return cells, [(1.0 - fraction) * inside, fraction * inside]
