"""Conversion between boxes in pixels and boxes in normalized coordinates."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

Array = Any


def _float(x: Array, xp: ModuleType) -> Array:
    return np.asarray(x, np.float64) if xp is np else xp.cast(x, "float32")


class BoxSpace(NamedTuple):
    """Normalized coordinates: `(box - [0, 0, shift, shift]) / ([h, w, h, w] - shift)`.

    In pixels, y2 and x2 are exclusive. Sizes are `(height, width)` in pixels; more entries are
    ignored. `xp` is `numpy`, which computes in float64, or `keras.ops`, which computes in float32.

    Args:
        shift: 1 as the original, where 0 is the centre of the first row or column and 1 that of the
            last; 0 as Detectron2 and torchvision, where 0 and 1 are the borders of the image.
    """

    shift: float = 1.0

    def _terms(self, size: Array, xp: ModuleType) -> tuple[Array, Array]:
        """Return scale `[4]` and offset `[4]` between pixels and normalized coordinates."""
        height, width = (_float(size[axis], xp) for axis in (0, 1))
        scale = xp.stack([height, width, height, width], axis=-1) - self.shift
        return scale, _float([0, 0, self.shift, self.shift], xp)

    def normalize(self, boxes: Array, size: Array, xp: ModuleType = np) -> Array:
        """Return `[..., (y1, x1, y2, x2)]` in pixels as `[..., 4]` float32, normalized."""
        scale, offset = self._terms(size, xp)
        boxes = (_float(boxes, xp) - offset) / scale
        return boxes.astype(np.float32) if xp is np else boxes

    def denormalize(self, boxes: Array, size: Array, xp: ModuleType = np) -> Array:
        """Return `[..., (y1, x1, y2, x2)]`, normalized, as `[..., 4]` floats in pixels."""
        scale, offset = self._terms(size, xp)
        return _float(boxes, xp) * scale + offset

    def to_pixels(self, boxes: Array, size: Array, xp: ModuleType = np) -> Array:
        """Return `denormalize` in whole pixels, int32, rounded half to even."""
        pixels = xp.round(self.denormalize(boxes, size, xp))
        return pixels.astype(np.int32) if xp is np else xp.cast(pixels, "int32")

    def convert(self, boxes: Array, size: Array, other: BoxSpace, xp: ModuleType = np) -> Array:
        """Return normalized boxes `[..., 4]` of this space in the coordinates of another space."""
        if other == self:
            return boxes
        return other.normalize(self.denormalize(boxes, size, xp), size, xp)


# Coordinates of the original, and of `tf.image.crop_and_resize`: 0 and 1 are centres of cells.
CELL_CENTERS = BoxSpace(shift=1.0)
