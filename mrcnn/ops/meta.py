"""Meta vector, which describes an image to the network, and the names of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Columns of the entries by name; the class flags take the rest.
_COLUMNS = {
    "image_id": 0,
    "original_image_shape": slice(1, 4),
    "image_shape": slice(4, 7),
    "window": slice(7, 11),
    "scale": 11,
    "active_class_ids": slice(12, None),
}


def meta_size(num_classes: int) -> int:
    """Return the length of a meta vector for `num_classes` classes, background included."""
    return _COLUMNS["active_class_ids"].start + num_classes


def compose_image_meta(
    image_id: int,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
    scale: float,
    active_class_ids: Sequence[int],
) -> np.ndarray:
    """Return the meta vector of an image, an input of the network.

    Args:
        image_id: a number.
        original_image_shape: `(height, width, channels)` before resizing.
        image_shape: `(height, width, channels)` after it.
        window: `(y1, x1, y2, x2)` in pixels, see `resize_image`.
        scale: see `resize_image`.
        active_class_ids: `[NUM_CLASSES]`, 1 for the classes of the image's data set, else 0.

    Returns:
        `[12 + NUM_CLASSES]` float64.
    """
    parts = ([image_id], original_image_shape, image_shape, window, [scale], active_class_ids)
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def parse_meta(meta: Any) -> dict[str, Any]:
    """Split `[batch, 12 + NUM_CLASSES]` meta vectors, NumPy arrays or tensors, into their entries.

    Returns:
        `image_id [batch]`, `original_image_shape [batch, 3]`, `image_shape [batch, 3]`,
        `window [batch, 4]` in pixels, `scale [batch]`, `active_class_ids [batch, NUM_CLASSES]`, all
        in the type of `meta`.
    """
    return {name: meta[:, columns] for name, columns in _COLUMNS.items()}
