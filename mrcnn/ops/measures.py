"""Measures of masks: area, perimeter, centroid and equivalent diameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def measure_mask(
    mask: np.ndarray, corner: Sequence[int] = (0, 0), scale: float = 1.0
) -> dict[str, float]:
    """Measure a mask by the definitions of `skimage.measure.regionprops`.

    Args:
        mask: `[height, width]` bool, or a part of a larger one with all its object.
        corner: `(y, x)` of the part in pixels.
        scale: length of a pixel's side; lengths are multiplied by it, the area by its square.

    Returns:
        `area`; `perimeter`, of the line through the centres of the border pixels (4-neighbourhood);
        `centroid_y` and `centroid_x`, 0 for the centre of the first pixel; `equivalent_diameter`,
        of the circle of the same area. Without object the area is 0 and the others are NaN.
    """
    from skimage.measure import perimeter

    area = int(np.count_nonzero(mask))
    if not area:
        names = ("perimeter", "centroid_y", "centroid_x", "equivalent_diameter")
        return {"area": 0.0, **dict.fromkeys(names, float("nan"))}
    y, x = (np.mean(index) + first for index, first in zip(np.nonzero(mask), corner, strict=True))
    return {
        "area": float(area * scale**2),
        "perimeter": float(perimeter(mask, 4) * scale),
        "centroid_y": float(y * scale),
        "centroid_x": float(x * scale),
        "equivalent_diameter": float(2 * np.sqrt(area / np.pi) * scale),
    }
