"""Anchors: the boxes that the region proposal network scores and refines.

Anchors are `[n, (y1, x1, y2, x2)]` float64 in pixels, not clipped to the image. Their order is the
order of the network's outputs: level, row, column, then shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def generate_anchors(
    scales: float | Sequence[float],
    ratios: float | Sequence[float],
    shape: Sequence[int],
    feature_stride: int,
    anchor_stride: int,
) -> np.ndarray:
    """Anchors of one feature map.

    Arguments:
        scales: side or sides in pixels of the square with the anchor's area.
        ratios: width / height, one or many.
        shape: `(rows, columns)` of the feature map.
        feature_stride: pixels between neighbouring cells of the feature map.
        anchor_stride: cells between neighbouring anchors; 1 puts anchors on every cell.

    Returns:
        `[rows * columns * len(ratios) * len(scales), (y1, x1, y2, x2)]` float64 in pixels. Centres
        are multiples of the strides, without the half cell that Detectron adds. On one cell the
        ratios vary slower than the scales.
    """
    scales, roots = np.atleast_1d(scales), np.sqrt(np.atleast_1d(ratios))[:, np.newaxis]
    sizes = np.stack([scales / roots, scales * roots], axis=-1).reshape(-1, 2)
    rows, columns = (np.arange(0, cells, anchor_stride) * feature_stride for cells in shape[:2])
    centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return np.concatenate([centers - 0.5 * sizes, centers + 0.5 * sizes], axis=-1).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Sequence[float],
    ratios: float | Sequence[float],
    feature_shapes: Sequence[Sequence[int]],
    feature_strides: Sequence[int],
    anchor_stride: int,
) -> np.ndarray:
    """Anchors of all levels of a pyramid, finest level first.

    Arguments:
        scales: one entry a level, see `generate_anchors`.
        ratios: the same for all levels.
        feature_shapes: `(rows, columns)` of each level.
        feature_strides: pixels between neighbouring cells of each level.
        anchor_stride: cells between neighbouring anchors.

    Returns:
        `[anchors, (y1, x1, y2, x2)]` float64 in pixels.

    Raises:
        ValueError: if the three lists have different lengths.
    """
    lengths = len(scales), len(feature_shapes), len(feature_strides)
    if len(set(lengths)) > 1:
        raise ValueError(
            "Anchors need one scale, one shape and one stride a pyramid level; "
            "given were {} scales, {} shapes and {} strides.".format(*lengths)
        )
    levels = zip(scales, feature_shapes, feature_strides, strict=True)
    return np.concatenate(
        [generate_anchors(scale, ratios, *level, anchor_stride) for scale, *level in levels]
    )


def backbone_shapes(image_shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """`[levels, (rows, columns)]` int64: feature map shapes of an image `(height, width, ...)`."""
    return -(-np.asarray(image_shape[:2]) // np.asarray(strides)[:, np.newaxis])


def compute_backbone_shapes(config: Any, image_shape: Sequence[int]) -> np.ndarray:
    """Shapes of the feature maps that a configuration's backbone makes of an image.

    Arguments:
        config: read are `BACKBONE` and `BACKBONE_STRIDES`, or, where `BACKBONE` is a function,
            `COMPUTE_BACKBONE_SHAPE`, which gets `image_shape`.
        image_shape: `(height, width, ...)` in pixels.

    Returns:
        `[levels, (rows, columns)]` int64.
    """
    if callable(config.BACKBONE) and config.COMPUTE_BACKBONE_SHAPE is not None:
        return np.asarray(config.COMPUTE_BACKBONE_SHAPE(image_shape))
    return backbone_shapes(image_shape, config.BACKBONE_STRIDES)
