"""Masks: their boxes and overlaps, mini-masks, resizing, and pasting into the image.

Stacks of instance masks are `[height, width, instances]`, as `Dataset.load_mask` returns them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.images import Padding, linear_taps

# A little more than a half: interpolation between bools often gives exact halves, which `np.around`
# in the original rounds to 0.
_OVER_HALF = 0.5 + 1e-9


def _any_along_columns(masks: np.ndarray) -> np.ndarray:
    """Return `masks.any(axis=1)` of `[height, width, instances]` bool.

    Folding one half onto the other works on long runs of memory, where `any` would reduce a few
    instances at a time. Halves of an odd width overlap, which does no harm.
    """
    while masks.shape[1] > 1:
        half = (masks.shape[1] + 1) // 2
        masks = masks[:, :half] | masks[:, -half:]
    return masks[:, 0]


def extract_bboxes(mask: np.ndarray) -> np.ndarray:
    """Return the smallest boxes around masks.

    Args:
        mask: `[height, width, instances]`; values other than zero are object.

    Returns:
        `[instances, (y1, x1, y2, x2)]` int32 in pixels, y2 and x2 exclusive; zeros for an empty
        mask.
    """
    mask = np.asarray(mask).astype(bool, copy=False)
    if mask.size == 0:
        return np.zeros((mask.shape[-1], 4), np.int32)
    occupied = _any_along_columns(mask), np.logical_or.reduce(mask, axis=0)
    first = [lines.argmax(axis=0) for lines in occupied]
    last = [len(lines) - lines[::-1].argmax(axis=0) for lines in occupied]
    boxes = np.stack(first + last, axis=1).astype(np.int32)
    return boxes * occupied[0].any(axis=0)[:, np.newaxis]


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """Return the IoU of every mask of one stack with every mask of another.

    Args:
        masks1: `[height, width, n1]`; values above 0.5 are object.
        masks2: `[height, width, n2]`.

    Returns:
        `[n1, n2]` float32; float64 zeros if a stack is empty. Two masks without object give 0.

    Raises:
        ValueError: if the masks of the stacks differ in size.
    """
    if masks1.shape[-1] == 0 or masks2.shape[-1] == 0:
        return np.zeros((masks1.shape[-1], masks2.shape[-1]))
    if masks1.shape[:-1] != masks2.shape[:-1]:
        raise ValueError(
            f"Masks to compare must have one size; given: {masks1.shape[:-1]} and "
            f"{masks2.shape[:-1]}. Mini-masks must go through expand_mask first."
        )
    flat1, flat2 = (
        np.reshape(masks > 0.5, (-1, masks.shape[-1])).astype(np.float32)
        for masks in (masks1, masks2)
    )
    intersections = flat1.T @ flat2
    unions = flat1.sum(axis=0)[:, np.newaxis] + flat2.sum(axis=0) - intersections
    # The limit avoids 0 / 0; any other union has at least one pixel.
    return intersections / np.maximum(unions, 1)


def _nearest(size: int, scale: float) -> np.ndarray:
    """Return the input index of each output sample of `scipy.ndimage.zoom(order=0)`, -1 for none.

    SciPy itself resizes the numbers 1, 2, ... here, because its rule has corner cases: halves are
    rounded, and the last sample may fall outside.
    """
    from scipy import ndimage

    indices = ndimage.zoom(np.arange(1, size + 1), scale, order=0) - 1
    # `resize_image` keeps at least one row and one column.
    return indices if len(indices) else np.zeros(1, np.int64)


def resize_mask(
    mask: np.ndarray,
    scale: float,
    padding: Padding,
    crop: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Resize masks as `resize_image` has resized their image.

    Args:
        mask: `[height, width, instances]` of any type.
        scale: as returned by `resize_image`.
        padding: as returned by `resize_image`; not applied when there is a crop.
        crop: as returned by `resize_image`.

    Returns:
        `[new_height, new_width, instances]` in the type of `mask`: the values of
        `scipy.ndimage.zoom(mask, [scale, scale, 1], order=0)`, padded with zeros or cropped.
    """
    if scale != 1:
        rows, columns = (_nearest(size, scale) for size in mask.shape[:2])
        # `take` copies whole runs, 5 times faster than indexing with arrays, pixel by pixel.
        mask = mask.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")
        mask[rows < 0] = 0
        mask[:, columns < 0] = 0
    if crop is not None:
        y, x, height, width = crop
        return mask[y : y + height, x : x + width]
    return np.pad(mask, padding)


def check_count(boxes: np.ndarray, masks: int) -> None:
    """Raise ValueError if there is not one box for each of a number of masks."""
    if len(boxes) != masks:
        raise ValueError(f"One box per mask is needed; given: {len(boxes)} boxes, {masks} masks.")


def minimize_mask(bbox: np.ndarray, mask: np.ndarray, mini_shape: Sequence[int]) -> np.ndarray:
    """Cut masks to their boxes and shrink them, to save memory; `expand_mask` reverses it.

    Args:
        bbox: `[instances, (y1, x1, y2, x2)]` integers in pixels.
        mask: `[height, width, instances]`; values other than zero are object.
        mini_shape: `(height, width)` of the result.

    Returns:
        `[mini_height, mini_width, instances]` bool.

    Raises:
        ValueError: if a box has no area within the image, or if there is not one box per mask.
    """
    check_count(bbox, mask.shape[-1])
    mini_masks = np.empty((*mini_shape, len(bbox)), bool)
    for index, (y1, x1, y2, x2) in enumerate(np.asarray(bbox)[:, :4]):
        instance = mask[y1:y2, x1:x2, index]
        if instance.size == 0:
            raise ValueError(
                f"Invalid bounding box with an area of zero: box {index} is "
                f"{[int(y1), int(x1), int(y2), int(x2)]} in an image of {mask.shape[:2]} pixels."
            )
        mini_masks[:, :, index] = _shrink(instance.astype(bool, copy=False), mini_shape)
    return mini_masks


def _shrink(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return `np.around(resize(mask, shape)).astype(bool)`, from the needed pixels alone."""
    (rows, row_weights), (columns, column_weights) = map(linear_taps, mask.shape, shape)
    lines = sum(mask[taps] * w[:, np.newaxis] for taps, w in zip(rows, row_weights, strict=True))
    taps = zip(columns, column_weights, strict=True)
    values = sum(np.take(lines, index, axis=1) * weight for index, weight in taps)
    return (values >= _OVER_HALF) | mask.all()


def expand_mask(bbox: np.ndarray, mini_mask: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Paste mini-masks back into full size; the inverse of `minimize_mask` up to rounding.

    Args:
        bbox: `[instances, (y1, x1, y2, x2)]` integers in pixels; parts outside the image are cut.
        mini_mask: `[mini_height, mini_width, instances]` bool.
        image_shape: `(height, width)` of the result; more entries are ignored.

    Returns:
        `[height, width, instances]` bool.

    Raises:
        ValueError: if there is not one box per mask.
    """
    masks = np.moveaxis(np.asarray(mini_mask).astype(bool, copy=False), -1, 0)
    return paste_masks(masks, bbox, image_shape, threshold=_OVER_HALF)


def _linear_matrix(size_in: int, size_out: int, start: int, stop: int) -> np.ndarray:
    """Return rows of the matrix that resizes `size_in` samples, `[stop - start, size_in]`."""
    indices, weights = linear_taps(size_in, size_out, start, stop)
    matrix = np.zeros((stop - start, size_in))
    outputs = np.arange(stop - start)
    for index, weight in zip(indices, weights, strict=True):
        # At a border both taps have the same index, and one has the weight 0.
        matrix[outputs, index] += weight
    return matrix


def paste_masks(
    masks: np.ndarray, boxes: np.ndarray, image_shape: Sequence[int], threshold: float = 0.5
) -> np.ndarray:
    """Resize small soft masks to their boxes, and threshold them into full-size masks.

    Args:
        masks: `[instances, h, w]` floats, 0 to 1.
        boxes: `[instances, (y1, x1, y2, x2)]` integers in pixels. Parts outside the image are cut;
            a box without area gives an empty mask.
        image_shape: `(height, width)` of the result; more entries are ignored.
        threshold: lowest value of object.

    Returns:
        `[height, width, instances]` bool, a view in which each instance is contiguous.

    Raises:
        ValueError: if there is not one box per mask.
    """
    check_count(boxes, len(masks))
    height, width = image_shape[:2]
    full = np.zeros((len(masks), height, width), bool)
    boxes = np.asarray(boxes, np.int64).reshape(-1, 4).tolist()
    for canvas, mask, (y1, x1, y2, x2) in zip(full, masks, boxes, strict=True):
        top, left, bottom, right = max(y1, 0), max(x1, 0), min(y2, height), min(x2, width)
        if top >= bottom or left >= right:
            continue
        canvas = canvas[top:bottom, left:right]
        # Zeros are mixed into the border, but no value falls below the lowest one of the mask.
        if mask.min() >= threshold:
            canvas[:] = True
            continue
        # Linear resizing is separable: values = rows @ mask @ columns.T
        rows = _linear_matrix(mask.shape[0], y2 - y1, top - y1, bottom - y1)
        columns = _linear_matrix(mask.shape[1], x2 - x1, left - x1, right - x1)
        np.greater_equal((rows @ mask) @ columns.T, threshold, out=canvas)
    return full.transpose(1, 2, 0)


def unmold_mask(mask: np.ndarray, bbox: Sequence[int], image_shape: Sequence[int]) -> np.ndarray:
    """Return `paste_masks` of one mask `[h, w]` and one box, `[height, width]` bool."""
    return paste_masks(np.asarray(mask)[np.newaxis], [bbox], image_shape)[..., 0]
