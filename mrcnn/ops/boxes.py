"""Boxes: areas, overlaps, deltas, clipping, pyramid levels.

Boxes are `[..., (y1, x1, y2, x2)]`, in pixels or normalized, with any leading axes, unless a
function says otherwise. `xp` is `numpy` or `keras.ops`. With `keras.ops` all functions compute in
float32 under any precision policy: the 8 bits of a bfloat16 cannot place a box in an image of
1000 pixels.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

# A NumPy array when `xp` is NumPy, a tensor or a KerasTensor when it is `keras.ops`.
Array = Any

# Sizes and areas below these cannot belong to a real box. The limits keep results for padding rows
# finite, so that a masked loss has no NaN in its gradient.
_MIN_SIZE = 1e-7
_MIN_AREA = 1e-12

# Elements of one temporary array in `compute_overlaps`: 64 KB of float64 stay in a core's cache.
_BLOCK = 8192


def _float(x: Array, xp: ModuleType, numpy_dtype: type = np.float32) -> Array:
    """Return `x` as float32; NumPy callers may ask for another precision."""
    return np.asarray(x, numpy_dtype) if xp is np else xp.cast(x, "float32")


def _centers_and_sizes(boxes: Array) -> tuple[Array, Array]:
    """`[..., 4]` boxes -> `[..., (cy, cx)]` and `[..., (h, w)]`."""
    sizes = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sizes, sizes


def box_area(boxes: Array, xp: ModuleType = np) -> Array:
    """Return the areas `[...]` of boxes `[..., (y1, x1, y2, x2)]`, in the square of their unit."""
    boxes = np.asarray(boxes) if xp is np else _float(boxes, xp)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(a: Array, b: Array, area_a: Array, area_b: Array, xp: ModuleType) -> Array:
    """Return the IoU of boxes, given their areas; 0 where both are empty. All axes broadcast."""
    heights = xp.minimum(a[..., 2], b[..., 2]) - xp.maximum(a[..., 0], b[..., 0])
    widths = xp.minimum(a[..., 3], b[..., 3]) - xp.maximum(a[..., 1], b[..., 1])
    intersections = xp.maximum(heights, 0) * xp.maximum(widths, 0)
    return intersections / xp.maximum(area_a + area_b - intersections, _MIN_AREA)


def compute_overlaps(boxes1: Array, boxes2: Array, xp: ModuleType = np) -> Array:
    """Return the IoU of every box of one set with every box of another.

    Args:
        boxes1: `[..., n1, (y1, x1, y2, x2)]`; leading axes with `keras.ops` only.
        boxes2: `[..., n2, (y1, x1, y2, x2)]`.

    Returns:
        `[..., n1, n2]`, float64 from NumPy, float32 from `keras.ops`; 0 for two boxes without
        area. NumPy is fastest if the longer set comes first.
    """
    boxes1, boxes2 = (_float(boxes, xp, np.float64) for boxes in (boxes1, boxes2))
    if xp is not np:
        a, b = xp.expand_dims(boxes1, -2), xp.expand_dims(boxes2, -3)
        return iou(a, b, box_area(a, xp), box_area(b, xp), xp)
    overlaps = np.empty((len(boxes2), len(boxes1)))
    # One row of `boxes2` against a block of `boxes1`, both contiguous. A broadcast over everything
    # needs temporary arrays of the size of the result, and is several times slower.
    columns = np.ascontiguousarray(boxes1.T)
    areas1, areas2 = box_area(boxes1), box_area(boxes2)
    for start in range(0, len(boxes1), _BLOCK):
        block = slice(start, start + _BLOCK)
        for row, box, area in zip(overlaps, boxes2, areas2, strict=True):
            row[block] = iou(columns[:, block].T, box, areas1[block], area, np)
    return overlaps.T


def encode_boxes(boxes: Array, gt_boxes: Array, xp: ModuleType = np) -> Array:
    """Return the deltas that turn `boxes` into `gt_boxes`; the inverse of `decode_boxes`.

    Args:
        boxes: `[..., (y1, x1, y2, x2)]`.
        gt_boxes: `[..., (y1, x1, y2, x2)]` in the same unit.

    Returns:
        `[..., (dy, dx, log dh, log dw)]` float32 (R-CNN, appendix C), not divided by standard
        deviations. They are finite for boxes without area too.
    """
    centers, sizes = _centers_and_sizes(_float(boxes, xp))
    gt_centers, gt_sizes = _centers_and_sizes(_float(gt_boxes, xp))
    sizes, gt_sizes = xp.maximum(sizes, _MIN_SIZE), xp.maximum(gt_sizes, _MIN_SIZE)
    shifts = (gt_centers - centers) / sizes
    return xp.concatenate([shifts, xp.log(gt_sizes / sizes)], axis=-1)


def decode_boxes(
    boxes: Array, deltas: Array, xp: ModuleType = np, max_log_size: float = 80.0
) -> Array:
    """Return boxes moved and stretched by deltas; the inverse of `encode_boxes`.

    Args:
        boxes: `[..., (y1, x1, y2, x2)]`.
        deltas: `[..., (dy, dx, log dh, log dw)]`, already multiplied by the standard deviations.
        max_log_size: upper limit of `log dh` and `log dw`. The original has none, and the default
            only keeps `exp` finite; Detectron uses `log(1000 / 16)`.

    Returns:
        `[..., (y1, x1, y2, x2)]` float32, not clipped to the image.
    """
    centers, sizes = _centers_and_sizes(_float(boxes, xp))
    deltas = _float(deltas, xp)
    centers = centers + deltas[..., :2] * sizes
    sizes = sizes * xp.exp(xp.minimum(deltas[..., 2:], max_log_size))
    corners = centers - 0.5 * sizes
    return xp.concatenate([corners, corners + sizes], axis=-1)


def clip_boxes(boxes: Array, window: Array, xp: ModuleType = np) -> Array:
    """Return boxes cut to a window.

    Args:
        boxes: `[..., (y1, x1, y2, x2)]`.
        window: `[(y1, x1, y2, x2)]` in the same unit, or one window per box in a shape that
            broadcasts against `boxes`: `[batch, 1, 4]` for boxes `[batch, n, 4]`.

    Returns:
        `[..., 4]` float32. A box outside the window has no area left.
    """
    boxes, window = _float(boxes, xp), _float(window, xp)
    low = xp.concatenate([window[..., :2]] * 2, axis=-1)
    high = xp.concatenate([window[..., 2:]] * 2, axis=-1)
    return xp.maximum(xp.minimum(boxes, high), low)


def trim_zeros(x: np.ndarray) -> np.ndarray:
    """Return the rows of `[rows, columns]` that are not all zeros, without padding."""
    x = np.asarray(x)
    return x[np.any(x != 0, axis=1)]


def pyramid_level(
    boxes: Array,
    image_area: Array,
    xp: ModuleType = np,
    rounding: str = "round",
    min_level: int = 2,
    max_level: int = 5,
    canonical_size: float = 224.0,
    canonical_level: int = 4,
) -> Array:
    """Return the pyramid level whose features describe a box: `4 + log2(sqrt(h * w) / 224 pixels)`.

    Args:
        boxes: `[..., (y1, x1, y2, x2)]`, normalized.
        image_area: height times width of the image in square pixels: a number, or an array that
            broadcasts against the leading axes of `boxes`.
        rounding: `"round"` as the original, or `"floor"` as the FPN paper (equation 1).
        min_level: lowest level; boxes without area get it.
        max_level: highest level.
        canonical_size: side in pixels of the box that belongs to `canonical_level`.
        canonical_level: level of such a box.

    Returns:
        `[...]` int32, between `min_level` and `max_level`.

    Raises:
        ValueError: for another `rounding`.
    """
    if rounding not in ("round", "floor"):
        raise ValueError(f'rounding is "{rounding}"; accepted are "round" and "floor".')
    _, sizes = _centers_and_sizes(_float(boxes, xp))
    side = xp.sqrt(xp.maximum(sizes[..., 0] * sizes[..., 1], _MIN_AREA))
    level = xp.log2(side / (canonical_size / xp.sqrt(_float(image_area, xp)))) + canonical_level
    # The level of a box of exactly 224 pixels must not depend on the last bit of a logarithm.
    level = xp.round(level) if rounding == "round" else xp.floor(level + 1e-6)
    level = xp.clip(level, min_level, max_level)
    return level.astype(np.int32) if xp is np else xp.cast(level, "int32")
