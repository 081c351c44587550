"""Resizing, padding and normalization of photos inside an exported graph.

The formulas are those of `mrcnn.ops.images` and `mrcnn.ops.scaling`, in operations that all
runtimes have. Sizes of photos are two integers where they are known, else scalar tensors.
"""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.molding import normalize, side_divisors
from mrcnn.ops.pixels import check_sides
from mrcnn.ops.scaling import MULTIPLE


def mold(photos, size, config):
    """Resize, pad and normalize photos as `mrcnn.data.molding.mold_photo`.

    Args:
        photos: uint8 `[batch, height, width, channels]`.
        size: `(height, width)` of the photos, two integers, or two scalar int32 tensors.
        config: a `Config`.

    Returns:
        The network's images `[batch, h, w, channels]` float32, and the window `[(y1, x1, y2, x2)]`
        float32 of the photos in them, in pixels.

    Raises:
        ValueError: in the mode "crop"; if the sides of a known size do not fit the network.
    """
    mode = config.IMAGE_RESIZE_MODE
    if mode == "crop":
        raise ValueError(
            'IMAGE_RESIZE_MODE is "crop", which keeps a random part of an image and is for '
            'training; export with "square", "pad64" or "pad32".'
        )
    pixels = tf.cast(photos, tf.float32)
    target = _fixed(_target_size, size, config)
    if mode == "pad32" and getattr(config, "RESIZE_FILTER", "bilinear") == "antialias":
        pixels = _antialias(pixels, size, target)
    elif mode != "none":
        pixels = _bilinear(pixels, size, target, fades=mode != "pad32")
        # Only the mode "pad32" does without whole numbers.
        pixels = pixels if mode == "pad32" else tf.floor(pixels)
    top, left, *full = _fixed(_padding, target, config)
    window = tf.stack([top, left, top + target[0], left + target[1]])
    if all(isinstance(side, int) for side in full):
        check_sides(full, side_divisors(config), "The molded image")
    below, right = full[0] - top - target[0], full[1] - left - target[1]
    pixels = tf.pad(pixels, [[0, 0], [top, below], [left, right], [0, 0]])
    sides = [side if isinstance(side, int) else None for side in full]
    pixels = tf.ensure_shape(pixels, [photos.shape[0], *sides, photos.shape[-1]])
    window = tf.cast(window, tf.float32)
    return normalize(pixels, window[None], config, keras.ops), window


def _fixed(function, size, config):
    """Return whole numbers of a function of a size: integers for integers, else int32 tensors."""
    if not all(isinstance(side, int) for side in size):
        return [tf.cast(value, tf.int32) for value in function(size, config)]
    with tf.init_scope():
        return [int(value) for value in function([tf.constant(side) for side in size], config)]


def _target_size(size, config):
    """Return the sides of the resized photos, as `resize_image` computes them: in float64."""
    height, width = (tf.cast(side, tf.float64) for side in size)
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    most, least = config.IMAGE_MAX_DIM, config.IMAGE_MIN_DIM
    least = max(least) if np.ndim(least) else least
    least, most = (None if limit is None else float(limit) for limit in (least, most))
    mode = config.IMAGE_RESIZE_MODE
    if mode == "none":
        return height, width
    if mode == "pad32":
        sides = _by_shorter_side(height, width, short, long, least, most, config)
        return [tf.maximum(side, 1.0) for side in sides]
    scale = tf.maximum(tf.cast(1.0, tf.float64), least / short) if least else 1.0
    scale = tf.maximum(tf.cast(scale, tf.float64), float(config.IMAGE_MIN_SCALE or 0))
    if mode == "square":
        if most:
            scale = tf.where(tf.round(long * scale) > most, most / long, scale)
        for side, limit in zip((height, width), config.IMAGE_SHAPE[:2], strict=True):
            limit = float(limit)
            scale = tf.where(tf.round(side * scale) > limit, limit / side, scale)
    return [tf.maximum(tf.round(side * scale), 1.0) for side in (height, width)]


def _by_shorter_side(height, width, short, long, least, most, config):
    """Return the sides that `mrcnn.ops.scaling.scaled_size` computes."""
    one = tf.ones([], tf.float64)
    if getattr(config, "RESIZE_FILTER", "bilinear") == "bilinear":
        limits = [limit / side for limit, side in ((least, short), (most, long)) if limit]
        scale = tf.reduce_min(tf.stack(limits)) if limits else one
        return tf.floor(height * scale), tf.floor(width * scale)
    scale = least / short if least else one
    sides = [
        tf.where(side == short, least * one if least else side, side * scale)
        for side in (height, width)
    ]
    if most:
        longest = tf.maximum(*sides)
        scale = tf.where(longest > most, most / longest, one)
        sides = [side * scale for side in sides]
    return [tf.floor(side + 0.5) for side in sides]


def _padding(target, config):
    """Return the place of the upper left corner, and the sides of the padded images."""
    mode = config.IMAGE_RESIZE_MODE
    if mode in ("none", "pad32"):
        is_pyramid = getattr(config, "NECK", "fpn") == "fpn"
        multiple = MULTIPLE if mode == "pad32" and is_pyramid else 1
        return [0, 0, *(_up(side, multiple) for side in target)]
    if mode == "square":
        full = [int(side) for side in config.IMAGE_SHAPE[:2]]
    else:
        full = [_up(side, 64) for side in target]
    corner = [(whole - side) // 2 for whole, side in zip(full, target, strict=True)]
    return [*corner, *full]


def _up(side, multiple):
    # ONNX cuts quotients of integers towards 0, so negative ones would not be rounded up.
    return (side + multiple - 1) // multiple * multiple


def _positions(side, target):
    """Return where the centres of `target` samples lie among `side` samples, float64 `[target]`."""
    centers = tf.range(tf.cast(target, tf.float64), dtype=tf.float64) + 0.5
    return centers * (tf.cast(side, tf.float64) / tf.cast(target, tf.float64)) - 0.5


def _taps(side, target, _):
    """Return two samples to mix per sample of the result, the part of the second, and their sum."""
    position = _positions(side, target)
    lower = tf.clip_by_value(tf.floor(position), 0.0, tf.cast(side - 1, tf.float64))
    part = tf.clip_by_value(position - lower, 0.0, 1.0)
    last = tf.cast(side, tf.float64)
    inside = tf.minimum(tf.minimum(position + 1.0, last - position), 1.0)
    lower = tf.cast(lower, tf.int32)
    upper = tf.minimum(lower + 1, side - 1)
    return lower, upper, tf.cast(part, tf.float32), tf.cast(inside, tf.float32)


def _weights(side, target, _):
    """Return the matrix `[target, side]` of Pillow's triangle filter, rows of sum 1.

    Pillow has weights of 22 bits. Their sum with bytes takes 30, and float32 has 24. So the matrix
    comes as two, of the upper and of the lower 11 bits, each of which gives exact sums.
    """
    scale = tf.cast(side, tf.float64) / tf.cast(target, tf.float64)
    samples = tf.range(tf.cast(side, tf.float64), dtype=tf.float64)
    distance = samples - _positions(side, target)[:, None]
    weights = tf.maximum(1.0 - tf.abs(distance) / tf.maximum(scale, 1.0), 0.0)
    weights = tf.floor(2.0**22 * weights / tf.reduce_sum(weights, axis=1, keepdims=True) + 0.5)
    upper = tf.floor(weights / 2.0**11)
    lower = weights - 2.0**11 * upper
    return [tf.cast(part, tf.float32) for part in (upper / 2.0**11, lower / 2.0**22)]


def _per_axis(function, size, target):
    """Return the tensors of a function of each axis, constants where sizes are known."""
    for axis, (side, new) in enumerate(zip(size, target, strict=True), start=1):
        if isinstance(side, int) and isinstance(new, int):
            with tf.init_scope():
                values = [value.numpy() for value in function(side, new, None)]
            yield axis, [tf.constant(value) for value in values]
        else:
            yield axis, function(side, new, None)


def _bilinear(pixels, size, target, fades):
    """Resize between the four nearest pixels.

    Args:
        fades: whether pixels outside the photo count as 0, as in `mrcnn.ops.images`; else the
            outermost ones are repeated. No value gets below the lowest one of the photo.
    """
    if isinstance(size[0], int) and tuple(size) == tuple(target):
        return pixels
    limits = [reduce(pixels, [1, 2, 3], True) for reduce in (tf.reduce_min, tf.reduce_max)]
    for axis, (lower, upper, part, inside) in _per_axis(_taps, size, target):
        shape = [1, -1, 1, 1] if axis == 1 else [1, 1, -1, 1]
        start = tf.gather(pixels, lower, axis=axis)
        # In this order, two equal pixels give the same again, which must not be cut to one less.
        pixels = start + (tf.gather(pixels, upper, axis=axis) - start) * tf.reshape(part, shape)
        if fades:
            pixels = tf.clip_by_value(pixels * tf.reshape(inside, shape), *limits)
    return pixels


def _antialias(pixels, size, target):
    """Resize as Pillow: first along x, and rounded to whole numbers after each axis."""
    for axis, weights in reversed(list(_per_axis(_weights, size, target))):
        equation = "oh,bhwc->bowc" if axis == 1 else "ow,bhwc->bhoc"
        upper, lower = (tf.einsum(equation, part, pixels) for part in weights)
        whole = tf.floor(upper + 0.5)
        pixels = whole + tf.floor(upper + 0.5 - whole + lower)
    return pixels
