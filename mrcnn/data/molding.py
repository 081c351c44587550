"""Resizing and normalization of photos as the Config says, for training and for detection."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import numpy as np

from mrcnn.ops.images import Window, resize_image, subtract_mean
from mrcnn.ops.scaling import MULTIPLE, padded_size, resample, scaled_size


def resize_photo(image: np.ndarray, config: Any, rng: Any = random) -> tuple:
    """Return the five results of `resize_image` with the settings of a Config.

    Of an IMAGE_MIN_DIM of several sides, `rng` draws one: Python's `random`, or a `random.Random`.
    """
    min_dim = config.IMAGE_MIN_DIM
    return resize_image(
        image,
        min_dim=rng.choice(min_dim) if np.ndim(min_dim) else min_dim,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
        rng=rng,
        canvas=tuple(map(int, config.IMAGE_SHAPE[:2])),
        filter=_filter(config),
    )


def side_divisors(config: Any) -> list[int]:
    """Return the strides that must divide the sides of molded images.

    In the mode "pad32" they are those up to C5; coarser levels are rounded up to whole cells.
    """
    if config.IMAGE_RESIZE_MODE != "pad32":
        return list(config.BACKBONE_STRIDES)
    return [_multiple(config)]


def _multiple(config):
    """Return what the sides of an image are padded to for detection in the mode "pad32".

    Only a pyramid, whose levels are added up, needs padding: without one, Detectron2 has none, and
    its weights see a border where the photo ends.
    """
    return MULTIPLE if getattr(config, "NECK", "fpn") == "fpn" else 1


def normalize(images: Any, windows: Any, config: Any, xp: ModuleType = np) -> Any:
    """Subtract MEAN_PIXEL and divide by STD_PIXEL; in the mode "pad32", padding becomes 0.

    Args:
        images: `[batch, height, width, channels]`, resized.
        windows: `[batch, (y1, x1, y2, x2)]` in pixels, the photos within them.
        xp: `numpy`, or `keras.ops` for tensors.

    Returns:
        `[batch, height, width, channels]` float32.
    """
    pads, mean, std = config.IMAGE_RESIZE_MODE == "pad32", config.MEAN_PIXEL, config.STD_PIXEL
    if xp is not np:
        normalized = subtract_mean(images, mean, xp, std_pixel=std)
        if not pads:
            return normalized
        rows, columns = (xp.arange(size, dtype="float32") for size in xp.shape(images)[1:3])
        y1, x1, y2, x2 = (xp.cast(windows[:, i, None], "float32") for i in range(4))
        rows = xp.logical_and(rows >= y1, rows < y2)[:, :, None, None]
        columns = xp.logical_and(columns >= x1, columns < x2)[:, None, :, None]
        return xp.where(xp.logical_and(rows, columns), normalized, 0.0)
    # In float32: in float64, an image of 1024x1024 takes longer than all the rest.
    mean, std = np.float32(mean), np.float32(std)
    if not pads:
        return subtract_mean(images, mean, std_pixel=std)
    normalized = np.zeros(images.shape, np.float32)
    for image, row, window in zip(images, normalized, windows, strict=True):
        y1, x1, y2, x2 = map(int, window)
        _normalize_photo(image[y1:y2, x1:x2], mean, std, row, (y1, x1))
    return normalized


def _normalize_photo(photo, mean, std, out, corner=(0, 0)):
    """Write a normalized photo into `out` at `corner`, both `[height, width, channels]`."""
    height, width, channels = photo.shape
    top, left = corner[0], corner[1] * channels
    # Whole rows of numbers, which NumPy computes eight times faster than pixel by pixel.
    mean, std = (np.resize(np.float32(values), width * channels) for values in (mean, std))
    part = out.reshape(len(out), -1)[top : top + height, left : left + width * channels]
    np.subtract(photo.reshape(height, -1), mean, out=part)
    np.divide(part, std, out=part)


def mold_photo(image: np.ndarray, config: Any) -> tuple[np.ndarray, Window, float]:
    """Resize and normalize one photo for detection.

    In the mode "pad32" a bilinear filter does not round to whole numbers. Of an IMAGE_MIN_DIM of
    several sides, the largest is taken.

    Returns:
        `[height, width, channels]` float32, the window `(y1, x1, y2, x2)` of the photo in it, in
        pixels, and the scale, see `resize_image`.
    """
    if config.IMAGE_RESIZE_MODE != "pad32":
        molded, window, scale, _, _ = resize_photo(image, config)
        molded = subtract_mean(molded, config.MEAN_PIXEL, std_pixel=config.STD_PIXEL)
        return molded.astype(np.float32, copy=False), window, scale
    kind, min_dim = _filter(config), config.IMAGE_MIN_DIM
    min_dim = max(min_dim) if np.ndim(min_dim) else min_dim
    size = scaled_size(*image.shape[:2], min_dim, config.IMAGE_MAX_DIM, kind)
    # Each array of this size takes milliseconds: none for the padded image before normalization.
    photo = resample(image.astype(np.float32) if kind == "bilinear" else image, size, kind)
    molded = np.zeros((*padded_size(*size, _multiple(config)), image.shape[2]), np.float32)
    _normalize_photo(photo, config.MEAN_PIXEL, config.STD_PIXEL, molded)
    return molded, (0, 0, *size), size[0] / image.shape[0]


def _filter(config):
    return getattr(config, "RESIZE_FILTER", "bilinear")
