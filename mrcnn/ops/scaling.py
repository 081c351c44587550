"""Resizing by the shorter side, and padding, as torchvision and Detectron2 do it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Filters of `resample`.
FILTERS = ("bilinear", "antialias")

# Both sides of padded images are multiples of it, the stride of C5.
MULTIPLE = 32

# OpenCV resizes images with up to this many channels.
_CV_CHANNELS = 64


def scaled_size(
    height: int, width: int, min_dim: int | None, max_dim: int | None, filter: str = "bilinear"
) -> tuple[int, int]:
    """Return the `(height, width)` of a resized image, in pixels.

    The shorter side gets `min_dim`, unless the longer one would exceed `max_dim`; None is no limit.
    Sides are cut to whole pixels with the filter "bilinear", as `GeneralizedRCNNTransform` of
    torchvision, and rounded with "antialias", as `ResizeShortestEdge` of Detectron2. The order of
    the operations matters, because a side may be half a pixel more or less than a whole number.
    """
    short, long = min(height, width), max(height, width)
    if filter == "bilinear":
        limits = [limit / side for limit, side in ((min_dim, short), (max_dim, long)) if limit]
        scale = min(limits, default=1)
        return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))
    scale = min_dim / short if min_dim else 1.0
    sides = [float(min_dim or side) if side == short else side * scale for side in (height, width)]
    if max_dim and max(sides) > max_dim:
        scale = max_dim / max(sides)
        sides = [side * scale for side in sides]
    return max(1, int(sides[0] + 0.5)), max(1, int(sides[1] + 0.5))


def resample(image: np.ndarray, size: Sequence[int], filter: str = "bilinear") -> np.ndarray:
    """Resize an image to a size.

    Args:
        image: `[height, width, channels]` or `[height, width]`, of any number type.
        size: `(height, width)` of the result, in pixels.
        filter: "bilinear": between the centres of the four nearest pixels, and the outermost ones
            repeated beyond the border; "antialias": Pillow's `BILINEAR`, whose triangle covers all
            pixels that a pixel of the result stands for.

    Returns:
        `[*size, ...]` in the type of `image`; whole numbers are rounded.
    """
    height, width = map(int, size)
    if image.shape[:2] == (height, width):
        return image
    function = _antialias if filter == "antialias" else _bilinear
    pixels = function(image, height, width).reshape(height, width, *image.shape[2:])
    if image.dtype.kind not in "fc" and pixels.dtype != image.dtype:
        pixels = np.rint(pixels)
    return pixels.astype(image.dtype, copy=False)


def _bilinear(image, height, width):
    try:
        import cv2
    except ImportError:
        cv2 = None
    if cv2 is None or image.shape[2:] > (_CV_CHANNELS,):
        from skimage import transform

        return transform.resize(
            image.astype(np.float64),
            (height, width),
            order=1,
            mode="edge",
            preserve_range=True,
            anti_aliasing=False,
        )
    # OpenCV computes with bytes as with floats, only worse: one pixel in eight is one off.
    exact = image.dtype in (np.uint8, np.float32)
    pixels = image.astype(np.float32 if exact else np.float64, order="C", copy=False)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)


def _antialias(image, height, width):
    from PIL import Image

    def resize(pixels):
        pixels = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(pixels.resize((width, height), Image.Resampling.BILINEAR))

    if image.dtype == np.uint8 and image.shape[2:] in ((), (3,)):
        return resize(image)
    # Pillow's images of two and four channels have an alpha channel, which is no colour.
    planes = image.reshape(*image.shape[:2], -1)
    planes = planes if image.dtype == np.uint8 else planes.astype(np.float32)
    return np.stack([resize(planes[..., i]) for i in range(planes.shape[2])], axis=-1)


def resample_masks(masks: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize `[height, width, instances]` of any type to a `(height, width)` in pixels.

    Each pixel takes the value at its centre.
    """
    if masks.shape[:2] == tuple(size):
        return masks
    rows, columns = (
        ((np.arange(out) + 0.5) * (side / out)).astype(np.int64)
        for side, out in zip(masks.shape[:2], size, strict=True)
    )
    # `take` copies whole runs, faster than indexing with arrays, pixel by pixel.
    return masks.take(rows, axis=0).take(columns, axis=1)


def padded_size(height: int, width: int, multiple: int = MULTIPLE) -> tuple[int, int]:
    """Return both sides rounded up to multiples of a number."""
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def pad_sides(array: np.ndarray) -> np.ndarray:
    """Return `[height, width, ...]` padded with zeros below and at the right to multiples of 32."""
    height, width = array.shape[:2]
    size = padded_size(height, width)
    if size == (height, width):
        return array
    padded = np.zeros((*size, *array.shape[2:]), array.dtype)
    padded[:height, :width] = array
    return padded
