"""Anchors: boxes that the region proposal network scores and refines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np


class AnchorGenerator(NamedTuple):
    """A rule for the anchors of any image, per pyramid level, finest level first.

    Within a level they are in the order of the network's outputs: by row, column, ratio, size.
    Anchors are not clipped to the image.

    Args:
        sizes: for each level a tuple of sizes in pixels: the side of a square of the anchor's area.
        ratios: for each level a tuple of width / height.
        strides: pixels between neighbouring cells of each level.
        spacing: cells between neighbouring anchors; 1 puts anchors on every cell.
        offset: distance in strides of the first centre from the image border: 0 as the original,
            0.5 as the paper's code.
        rounded: round the halves of the sides of anchors to whole pixels, as torchvision.
        fitted_strides: take the image's sides divided by the cells of a level, rounded down,
            instead of `strides`. Torchvision does so, and they differ where a side is no multiple
            of the stride: 61 instead of 64 for 800 pixels.
        level_shapes: function from an image shape to `[(rows, columns), ...]` of the levels; by
            default the sides divided by the strides, rounded up.
    """

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[tuple[float, ...], ...]
    strides: tuple[int, ...]
    spacing: int = 1
    offset: float = 0.0
    rounded: bool = False
    fitted_strides: bool = False
    level_shapes: Callable | None = None

    @property
    def per_cell(self) -> int:
        """Number of anchors at each position."""
        return len(self.sizes[0]) * len(self.ratios[0])

    def shapes(self, image_shape: Sequence[int]) -> np.ndarray:
        """Return the shapes of the levels, `[levels, (rows, columns)]` int64."""
        if self.level_shapes is not None:
            return np.asarray(self.level_shapes(image_shape))
        return -(-np.asarray(image_shape[:2]) // np.asarray(self.strides)[:, np.newaxis])

    def level(
        self,
        index: int,
        shape: Sequence[Any],
        xp: ModuleType = np,
        image_shape: Sequence[Any] | None = None,
    ) -> Any:
        """Return the anchors of one level.

        Args:
            index: of the level.
            shape: `(rows, columns)` of its feature map, numbers or scalar tensors.
            image_shape: `(height, width)`, which `fitted_strides` needs.
            xp: `numpy`, or `keras.ops` inside a graph.

        Returns:
            `[anchors, (y1, x1, y2, x2)]` in pixels, float64 from NumPy, float32 from `keras.ops`.
        """
        sizes, roots = np.asarray(self.sizes[index]), np.sqrt(self.ratios[index])[:, np.newaxis]
        halves = 0.5 * np.stack([sizes / roots, sizes * roots], axis=-1).reshape(-1, 2)
        halves = np.round(halves) if self.rounded else halves
        dtype, strides = "float64" if xp is np else "float32", [self.strides[index]] * 2
        if self.fitted_strides and image_shape is not None:
            pairs = zip(image_shape[:2], shape[:2], strict=True)
            strides = [side // cells for side, cells in pairs]
            strides = strides if xp is np else [xp.cast(stride, dtype) for stride in strides]
        rows, columns = (
            xp.arange(0, cells, self.spacing, dtype=dtype) * stride + self.offset * stride
            for cells, stride in zip(shape[:2], strides, strict=True)
        )
        centers = xp.stack(xp.meshgrid(rows, columns, indexing="ij"), axis=-1)
        centers, halves = xp.reshape(centers, (-1, 1, 2)), halves.astype(dtype)
        return xp.reshape(xp.concatenate([centers - halves, centers + halves], axis=-1), (-1, 4))

    def pyramid(
        self,
        shapes: Sequence[Sequence[Any]],
        xp: ModuleType = np,
        image_shape: Sequence[Any] | None = None,
    ) -> Any:
        """Return the anchors of all levels, `[anchors, 4]`; `shapes` are their (rows, columns)."""
        levels = [self.level(i, shape, xp, image_shape) for i, shape in enumerate(shapes)]
        return xp.concatenate(levels, axis=0)

    def of_image(self, image_shape: Sequence[int]) -> np.ndarray:
        """Return the anchors of an image, computed once per image shape.

        Args:
            image_shape: `(height, width, ...)` of the network's input in pixels.

        Returns:
            `[anchors, (y1, x1, y2, x2)]` float64 in pixels. The array is read-only, and its columns
            are contiguous, as `compute_overlaps` wants them.
        """
        return _of_image(self, tuple(int(side) for side in image_shape[:2]))


@functools.lru_cache(maxsize=16)
def _of_image(generator, image_shape):
    anchors = np.asfortranarray(generator.pyramid(generator.shapes(image_shape), np, image_shape))
    anchors.flags.writeable = False
    return anchors
