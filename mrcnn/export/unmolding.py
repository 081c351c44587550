"""Detections of the network in pixels of the photo, and masks pasted, inside an exported graph.

The formulas are those of `mrcnn.inference.molding.unmold`, `mrcnn.ops.masks.paste_masks` and
`mrcnn.ops.paste`.
"""

import keras
import tensorflow as tf


def photo_boxes(boxes, window, molded_size, photo_size, space, whole_pixels):
    """Return boxes of the network in pixels of the photo.

    Args:
        boxes: `[n, (y1, x1, y2, x2)]`, normalized.
        window: `[(y1, x1, y2, x2)]` of the photo in the network's image, in pixels.
        molded_size, photo_size: `(height, width)`, float32 `[2]`.
        space: `BoxSpace` of the boxes.
        whole_pixels: round boxes to whole pixels; else they are cut at the border of the photo.

    Returns:
        `[n, (y1, x1, y2, x2)]` float32.
    """
    if whole_pixels:
        window = space.normalize(window, molded_size, xp=keras.ops)
        corner, size = tf.tile(window[:2], [2]), tf.tile(window[2:] - window[:2], [2])
        boxes = (boxes - corner) / size
        return tf.round(space.denormalize(boxes, photo_size, xp=keras.ops))
    boxes = space.denormalize(boxes, molded_size, xp=keras.ops)
    corner, size = tf.tile(window[:2], [2]), tf.tile(window[2:] - window[:2], [2])
    limits = tf.tile(photo_size, [2])
    return tf.clip_by_value((boxes - corner) * (limits / size), 0.0, limits)


def paste(masks, boxes, photo_size, way):
    """Resize soft masks to their boxes in the photo, and threshold them at 0.5.

    Args:
        masks: `[n, h, w]`, 0 to 1.
        boxes: `[n, (y1, x1, y2, x2)]` float32 in pixels of the photo.
        photo_size: `(height, width)`, integers or scalar int32 tensors.
        way: MASK_PASTE: None, "expand" or "exact".

    Returns:
        bool `[n, height, width]`; False where a box has no area.
    """
    sides = []
    for axis, cells in enumerate(masks.shape[1:]):
        low, high = boxes[:, axis, None], boxes[:, 2 + axis, None]
        pixels = tf.cast(tf.range(photo_size[axis]), tf.float32)[None]
        first, end, place = _PLACES[way](low, high, pixels, float(cells))
        inside = (pixels >= first) & (pixels < end) & (high > low)
        # Two neighbouring cells have a share in a pixel, by their distances; outside are zeros.
        distance = tf.abs(place[:, :, None] - tf.range(cells, dtype=tf.float32))
        sides.append((inside, tf.where(inside[..., None], tf.maximum(1.0 - distance, 0.0), 0.0)))
    (rows, row_weights), (columns, column_weights) = sides
    values = tf.matmul(tf.matmul(row_weights, masks), column_weights, transpose_b=True)
    if way == "expand":
        return values > 0.5
    if way == "exact":
        return values >= 0.5
    # The original mixes zeros into the border, but keeps masks whole that are object everywhere.
    whole = tf.reduce_min(masks, axis=[1, 2]) >= 0.5
    return (values >= 0.5) | (whole[:, None, None] & rows[:, :, None] & columns[:, None, :])


def _whole(low, high, pixels, cells):
    """Return the first pixel, the one after the last, and the place of all pixels in the mask."""
    size = tf.maximum(high - low, 1.0)
    return low, high, (pixels - low + 0.5) * (cells / size) - 0.5


def _exact(low, high, pixels, cells):
    size = tf.maximum(high - low, 1e-6)
    return tf.floor(low), tf.math.ceil(high), (pixels + 0.5 - low) / size * cells - 0.5


def _expanded(low, high, pixels, cells):
    half, middle = (high - low) * 0.5 * ((cells + 2) / cells), (high + low) * 0.5
    # Cut towards zero, as by `int`.
    first, last = (tf.sign(x) * tf.floor(tf.abs(x)) for x in (middle - half, middle + half))
    place = (pixels - first + 0.5) * ((cells + 2) / (last + 1 - first)) - 0.5
    return first, last + 1, place - 1


_PLACES = {None: _whole, "expand": _expanded, "exact": _exact}
