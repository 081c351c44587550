"""Bilinear crops of boxes, with an exact gradient."""

import tensorflow as tf


def crop_and_resize(features, boxes, box_indices, crop_size):
    """Run `tf.image.crop_and_resize`, with an exact and repeatable gradient.

    On CPUs TensorFlow's own gradient adds to one cell from several threads without a lock, so some
    terms get lost, different ones in every run. Here one thread sums each cell, in a fixed order.
    GPUs add atomically and keep TensorFlow's kernel.

    Args:
        features: `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]`, normalized. No gradient flows to them.
        box_indices: int32 `[n]`, the image of each box.
        crop_size: two integers.

    Returns:
        `[n, *crop_size, channels]` float32, one bilinear sample per bin; 0 outside the image.
    """
    crop_size = [int(side) for side in crop_size]
    box_indices = tf.convert_to_tensor(box_indices, tf.int32)
    crops = _crop(features, tf.stop_gradient(boxes), box_indices, tf.constant(crop_size))
    crops.set_shape([None, *crop_size, features.shape[-1]])
    return crops


# A tf.function of the module, so that the custom gradient keeps no training step in memory: see
# `layers/conv.py`.
@tf.function(autograph=False, reduce_retracing=True)
@tf.custom_gradient
def _crop(features, boxes, box_indices, crop_size):
    def grad(dy):
        shape = tf.shape(features)
        if tf.config.list_logical_devices("GPU"):
            gradient = tf.raw_ops.CropAndResizeGradImage(
                grads=dy, boxes=boxes, box_ind=box_indices, image_size=shape, T=features.dtype
            )
        else:
            gradient = _gradient_in_order(dy, boxes, box_indices, shape)
        return gradient, None, None, None

    return tf.image.crop_and_resize(features, boxes, box_indices, crop_size), grad


def _gradient_in_order(dy, boxes, box_indices, shape):
    """Return the gradient of features `[batch, h, w, channels]`, given `dy`, that of the crops.

    Every sample mixes four cells. So the crops are a sparse matrix times the cells, and the
    gradient is the transpose of this matrix times `dy`.
    """
    height, width, channels = shape[1], shape[2], shape[3]
    rows, row_weights = taps(boxes[:, 0], boxes[:, 2], tf.shape(dy)[1], height)
    columns, column_weights = taps(boxes[:, 1], boxes[:, 3], tf.shape(dy)[2], width)
    corner = (box_indices * height)[:, None, None]
    cells, weights = [], []
    for row, row_weight in zip(rows, row_weights, strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            cells.append((corner + row[:, :, None]) * width + column[:, None, :])
            weights.append(row_weight[:, :, None] * column_weight[:, None, :])
    samples = tf.repeat(tf.range(tf.size(cells[0])), 4)
    cells = tf.reshape(tf.stack(cells, axis=-1), [-1])
    weights = tf.reshape(tf.stack(weights, axis=-1), [-1])
    return spread(tf.reshape(dy, [-1, channels]), samples, cells, weights, shape)


def spread(dy, rows, cells, weights, shape):
    """Return the gradient of features that were mixed: each cell's sum of weights times `dy`.

    Args:
        dy: `[n, channels]`, the gradient of the mixtures.
        rows: `[m]`, mixtures.
        cells: `[m]`, flat indices of the cells that they mix.
        weights: float32 `[m]`, of the cells in the mixtures.
        shape: `[batch, h, w, channels]` of the features.
    """
    mixing = tf.SparseTensor(
        tf.cast(tf.stack([rows, cells], axis=1), tf.int64),
        weights,
        tf.cast([tf.shape(dy)[0], tf.reduce_prod(shape[:3])], tf.int64),
    )
    return tf.reshape(tf.sparse.sparse_dense_matmul(mixing, dy, adjoint_a=True), shape)


def taps(start, end, num_samples, size):
    """Return the two cells along an axis that each sample mixes, and their two weights.

    All four are `[n, samples]`; weights are 0 outside the image. Samples lie at
    `start + i * (end - start) / (samples - 1)`, a single one in the middle.
    """
    last = tf.cast(size - 1, tf.float32)
    steps = tf.cast(tf.maximum(num_samples - 1, 1), tf.float32)
    i = tf.cast(tf.range(num_samples), tf.float32)
    spread = start[:, None] * last + i * ((end - start) * last / steps)[:, None]
    middle = tf.broadcast_to(0.5 * (start + end)[:, None] * last, tf.shape(spread))
    position = tf.where(num_samples > 1, spread, middle)
    inside = tf.cast((position >= 0) & (position <= last), tf.float32)
    lower = tf.floor(position)
    fraction = position - lower
    cells = [tf.clip_by_value(tf.cast(p, tf.int32), 0, size - 1) for p in (lower, lower + 1)]
    return cells, [(1.0 - fraction) * inside, fraction * inside]
