"""Batches of images of different sizes: each is padded to the largest, below and at the right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.constants import NEUTRAL
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


def _grids(generator, size):
    """Return the `(rows, columns)` of the positions of anchors on each level."""
    return [tuple(map(int, shape)) for shape in -(-generator.shapes(size) // generator.spacing)]
