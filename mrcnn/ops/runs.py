"""Masks as column runs, which can be moved, cut and united without the pixels of an image.

Column runs are `[k, (x, y1, y2)]` int64: the rows y1 to y2, exclusive, of the column x. They are
sorted by x, then y1, and do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.rle_crop import run_lengths

# pycocotools counts pixels in 32 bits.
MAX_PIXELS = 2**32 - 1


def rle_to_runs(rle: dict) -> np.ndarray:
    """Return the column runs of a COCO RLE."""
    height = int(rle["size"][0])
    borders = run_lengths(rle).cumsum()
    stops = borders[1::2]
    starts = borders[::2][: len(stops)]
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    first, last = starts // height, (stops - 1) // height
    # A run may go on in the next columns.
    columns = last - first + 1
    index = np.repeat(np.arange(len(starts)), columns)
    x = first[index] + np.arange(len(index)) - (columns.cumsum() - columns)[index]
    y1, y2 = starts[index] - x * height, stops[index] - x * height
    return np.stack([x, y1.clip(min=0), y2.clip(max=height)], axis=1)


def runs_to_rle(runs: np.ndarray, height: int, width: int) -> dict:
    """Return the COCO RLE, with compressed counts, of column runs in an image of this size."""
    from pycocotools import mask as coco_mask

    x, y1, y2 = runs.T
    borders = np.stack([x * height + y1, x * height + y2], axis=1).ravel()
    # A run that reaches the lower border and goes on at the upper one is one run.
    same = np.flatnonzero(borders[1:-1:2] == borders[2::2]) * 2 + 1
    borders = np.delete(borders, np.concatenate([same, same + 1]))
    counts = np.diff(borders, prepend=0)
    if (rest := height * width - counts.sum()) > 0:
        counts = np.append(counts, rest)
    return coco_mask.frPyObjects(
        {"size": [height, width], "counts": counts.tolist()}, height, width
    )


def move_runs(runs: np.ndarray, y: int, x: int) -> np.ndarray:
    """Return column runs moved down and to the right by whole pixels."""
    return runs + np.array([x, y, y])


def cut_runs(runs: np.ndarray, box: Sequence[int]) -> np.ndarray:
    """Return the part of column runs in a box `(y1, x1, y2, x2)` of whole pixels."""
    top, left, bottom, right = box
    runs = runs[np.searchsorted(runs[:, 0], left) : np.searchsorted(runs[:, 0], right)].copy()
    runs[:, 1:] = runs[:, 1:].clip(top, bottom)
    return runs[runs[:, 1] < runs[:, 2]]


def unite_runs(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the column runs of the union of several, at least one."""
    runs = np.concatenate(parts)
    runs = runs[np.lexsort((runs[:, 1], runs[:, 0]))]
    if len(parts) == 1 or not len(runs):
        return runs
    # On one line, with a gap after each column, so that runs of two columns do not touch.
    column = runs[:, 0] * (int(runs[:, 2].max()) + 1)
    starts, stops = column + runs[:, 1], np.maximum.accumulate(column + runs[:, 2])
    first = np.flatnonzero(np.append(True, starts[1:] > stops[:-1]))
    last = np.append(first[1:], len(runs)) - 1
    return np.stack([runs[first, 0], runs[first, 1], stops[last] - column[last]], axis=1)


def runs_area(runs: np.ndarray) -> int:
    """Return the number of pixels of column runs."""
    return int((runs[:, 2] - runs[:, 1]).sum())


def shared_area(runs: np.ndarray, other: np.ndarray) -> int:
    """Return the number of pixels that two masks share."""
    if not len(runs) or not len(other):
        return 0
    return runs_area(runs) + runs_area(other) - runs_area(unite_runs([runs, other]))


def runs_box(runs: np.ndarray) -> tuple[int, int, int, int]:
    """Return the tight box `(y1, x1, y2, x2)` of column runs, zeros where there are none."""
    if not len(runs):
        return 0, 0, 0, 0
    return int(runs[:, 1].min()), int(runs[0, 0]), int(runs[:, 2].max()), int(runs[-1, 0]) + 1
