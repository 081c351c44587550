"""Random RoIs, which train the heads without a region proposal network."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.ops.boxes import box_area


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    rng: Any = np.random,
) -> np.ndarray:
    """Draw RoIs such as a region proposal network might find: 90 % near objects, 10 % anywhere.

    Args:
        image_shape: `(height, width, ...)` in pixels.
        count: number of RoIs.
        gt_class_ids: not used; the original has it.
        gt_boxes: `[instances, (y1, x1, y2, x2)]` in pixels. "Near" is within the same box made
            three times as high and wide. Padding rows are ignored; without boxes all RoIs are
            anywhere.
        rng: `np.random`, a `RandomState` or a `Generator`.

    Returns:
        `[count, (y1, x1, y2, x2)]` int32 in pixels, at least one pixel high and wide, in the order
        of the boxes.
    """
    height, width = image_shape[:2]
    boxes = np.asarray(gt_boxes, np.int64).reshape(-1, 4)
    boxes = boxes[box_area(boxes) > 0]
    per_box = int(0.9 * count / len(boxes)) if len(boxes) else 0
    rois = []
    for y1, x1, y2, x2 in boxes:
        h, w = y2 - y1, x2 - x1
        rows = _random_intervals(max(y1 - h, 0), min(y2 + h, height), per_box, rng)
        columns = _random_intervals(max(x1 - w, 0), min(x2 + w, width), per_box, rng)
        rois.append(np.stack([rows, columns], axis=-1))
    rest = count - per_box * len(boxes)
    rows, columns = (_random_intervals(0, size, rest, rng) for size in (height, width))
    rois.append(np.stack([rows, columns], axis=-1))
    # [count, (start, end), (y, x)] is (y1, x1, y2, x2) when flattened.
    return np.concatenate(rois).reshape(-1, 4).astype(np.int32)


def _random_intervals(low, high, count, rng):
    """Draw `[count, (start, end)]` among the intervals within `low` and `high`."""
    # Draws two different numbers without a loop: the second one skips the first.
    draw = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    first = draw(low, high + 1, count)
    second = draw(low, high, count)
    second += second >= first
    return np.sort(np.stack([first, second], axis=-1), axis=-1)
