"""Batches of images of different sizes: each is padded to the largest, below and at the right."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from mrcnn.constants import NEUTRAL
from mrcnn.data.rpn_targets import RPNTargets
from mrcnn.ops.anchors import AnchorGenerator


def stack_padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Stack arrays of one rank; shorter axes are filled with zeros at their ends."""
    shape = np.max([array.shape for array in arrays], axis=0)
    batch = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for row, array in zip(batch, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return batch


def spread_matches(
    matches: np.ndarray, sizes: np.ndarray, generator: AnchorGenerator
) -> np.ndarray:
    """Give the labels of each image's anchors to the same anchors of the padded image.

    The order of the positive anchors stays, and so do their deltas.

    Args:
        matches: `[batch, anchors, 1]` int32, the labels of the anchors of each image, padded.
        sizes: `[batch, (height, width)]` of the images in pixels, before padding.
        generator: of the anchors.

    Returns:
        `[batch, anchors of the largest height and width, 1]` int32; NEUTRAL beyond the image.
    """
    spread, full = [], _grids(generator, sizes.max(axis=0))
    for labels, size in zip(matches, sizes, strict=True):
        levels, start = [], 0
        for (rows, columns), grid in zip(_grids(generator, size), full, strict=True):
            count = rows * columns * generator.per_cell
            level = np.full((*grid, generator.per_cell), NEUTRAL, matches.dtype)
            part = labels[start : start + count].reshape(rows, columns, -1)
            level[:rows, :columns] = part
            levels.append(level.reshape(-1))
            start += count
        spread.append(np.concatenate(levels))
    return np.stack(spread)[..., np.newaxis]


def spread_targets(
    matches: np.ndarray,
    deltas: np.ndarray,
    sizes: np.ndarray,
    class_ids: np.ndarray,
    boxes: np.ndarray,
    generator: AnchorGenerator,
    targets: RPNTargets,
) -> tuple[np.ndarray, np.ndarray]:
    """Give the RPN targets of each image to the anchors of the padded image.

    With `fitted_strides`, anchors of coarse levels have another place in a larger image. An image
    whose anchors have moved is matched again, as in torchvision with those on the padding.

    Args:
        matches, sizes: see `spread_matches`.
        deltas: `[batch, anchors, (dy, dx, log dh, log dw)]` of the positive anchors.
        class_ids, boxes: `[batch, instances]` and `[batch, instances, (y1, x1, y2, x2)]` in pixels;
            class id 0 is padding.
        generator: of the anchors.
        targets: of the recipe, which are not called unless anchors have moved.

    Returns:
        `spread_matches`, and deltas in the order of its positive anchors.
    """
    full = sizes.max(axis=0)
    spread = spread_matches(matches, sizes, generator)
    if not generator.fitted_strides:
        return spread, deltas
    deltas, strides = deltas.copy(), full // generator.shapes(full)
    for index, size in enumerate(sizes):
        if np.array_equal(size // generator.shapes(size), strides):
            continue
        # A seed that is new for each sample, and the same when training resumes.
        rng = np.random.default_rng(zlib.crc32(matches[index].tobytes()))
        real = class_ids[index] != 0
        found = targets(full, class_ids[index][real], boxes[index][real], rng)
        spread[index], deltas[index] = found[0][:, np.newaxis], found[1]
    return spread, deltas


def _grids(generator, size):
    """Return the `(rows, columns)` of the positions of anchors on each level."""
    return [tuple(map(int, shape)) for shape in -(-generator.shapes(size) // generator.spacing)]
