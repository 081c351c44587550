"""Pasting of predicted masks into the photo at boxes of fractions of pixels, as the references.

`mrcnn.ops.masks.paste_masks` is the original's way, with boxes of whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.images import linear_taps
from mrcnn.ops.masks import check_count

# A side of a box in pixels of the photo, and the samples of the mask that each of them takes: first
# pixel, and matrix [pixels, samples]. Pixels that cannot be object may be left out.
Side = tuple[int, np.ndarray]


def paste_expanded(
    masks: np.ndarray, boxes: np.ndarray, image_shape: Sequence[int], threshold: float = 0.5
) -> np.ndarray:
    """Resize masks, with a border of zeros, to boxes of whole pixels.

    It is the way of Detectron and of torchvision (`paste_masks_in_image`). The border is one sample
    wide; boxes grow by it on all sides, and their corners are cut to whole pixels.

    Args:
        masks: `[instances, h, w]` floats, 0 to 1.
        boxes: `[instances, (y1, x1, y2, x2)]` in pixels; parts outside the image are cut.
        image_shape: `(height, width)` of the result; more entries are ignored.
        threshold: object is above it.

    Returns:
        `[height, width, instances]` bool, a view in which each instance is contiguous.

    Raises:
        ValueError: if there is not one box per mask.
    """
    return _paste(masks, boxes, image_shape, _expanded_side, np.greater, threshold)


def paste_exact(
    masks: np.ndarray, boxes: np.ndarray, image_shape: Sequence[int], threshold: float = 0.5
) -> np.ndarray:
    """Sample masks at the centres of the photo's pixels, zeros outside of them.

    It is the way of Detectron2 (`paste_masks_in_image`).

    Args:
        masks: `[instances, h, w]` floats, 0 to 1.
        boxes: `[instances, (y1, x1, y2, x2)]` in pixels; parts outside the image are cut.
        image_shape: `(height, width)` of the result; more entries are ignored.
        threshold: lowest value of object, 0.5 or more.

    Returns:
        `[height, width, instances]` bool, a view in which each instance is contiguous.

    Raises:
        ValueError: if there is not one box per mask.
    """
    return _paste(masks, boxes, image_shape, _exact_side, np.greater_equal, threshold)


def _paste(masks, boxes, image_shape, side, is_object, threshold):
    # The references compute in float32, which decides where a border falls on a whole number.
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    check_count(boxes, len(masks))
    height, width = map(int, image_shape[:2])
    full = np.zeros((len(masks), height, width), bool)
    for canvas, mask, (y1, x1, y2, x2) in zip(full, masks, boxes, strict=True):
        if y2 <= y1 or x2 <= x1:
            continue
        # Both ways are separable: values = rows @ mask @ columns.T
        top, rows = side(y1, y2, mask.shape[0], height)
        left, columns = side(x1, x2, mask.shape[1], width)
        values = (rows @ np.asarray(mask, np.float32)) @ columns.T
        part = canvas[top : top + len(rows), left : left + len(columns)]
        is_object(values, threshold, out=part)
    return full.transpose(1, 2, 0)


def _expanded_side(low, high, samples, limit) -> Side:
    """Return the pixels of one side of a box, and their samples, for `paste_expanded`."""
    half, middle = (high - low) * np.float32(0.5), (high + low) * np.float32(0.5)
    half *= np.float32((samples + 2) / samples)
    first, last = int(middle - half), int(middle + half)
    start, stop = max(first, 0), min(last + 1, limit)
    if start >= stop:
        return 0, np.zeros((0, samples), np.float32)
    index, weight = linear_taps(samples + 2, last + 1 - first, start - first, stop - first)
    # The border is zero, so that it needs no samples.
    return start, _matrix(index - 1, weight, samples)


def _exact_side(low, high, samples, limit) -> Side:
    """Return the pixels of one side of a box, and their samples, for `paste_exact`."""
    # Beyond the box, at most half of a value of the mask is left.
    start, stop = max(int(np.floor(low)), 0), min(int(np.ceil(high)), limit)
    centres = np.arange(start, max(stop, start)) + 0.5
    position = (centres - float(low)) / (float(high) - float(low)) * samples - 0.5
    lower = np.floor(position)
    index = np.stack([lower, lower + 1]).astype(np.int64)
    return start, _matrix(index, np.stack([lower + 1 - position, position - lower]), samples)


def _matrix(index, weight, samples):
    """Return `[pixels, samples]` float32 that mixes two samples per pixel, 0 for those outside."""
    matrix = np.zeros((index.shape[1], samples), np.float32)
    pixels = np.arange(index.shape[1])
    for samples_of_pixels, weights in zip(index, weight, strict=True):
        inside = (samples_of_pixels >= 0) & (samples_of_pixels < samples)
        matrix[pixels[inside], samples_of_pixels[inside]] += weights[inside]
    return matrix
