"""Polygons as run lengths, by the rule of pycocotools, also where its library would not get along.

pycocotools walks along the outline in steps of a fifth of a pixel and keeps every step, in or out
of the image: a triangle with corners a million pixels away takes 360 MB. Outlines that long are
drawn here by the same rule, from the columns of the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The library's steps per pixel.
_SCALE = 5
# Pixels; longer outlines are drawn here.
_LONG = 1 << 15
# Cheap bound, numbers of a polygon times their range: below it an outline is not long.
_SURELY_SHORT = 1 << 16
# Crossings in memory at a time.
_BLOCK = 1 << 18
# `coco_mask.merge` takes the masks one by one, and reads the growing union each time.
_MERGED_AT_ONCE = 16


def polygons_to_rle(polygons: Sequence[Sequence[float]], height: int, width: int) -> dict:
    """Return the union of polygons as a compressed COCO RLE, equal to that of pycocotools.

    Args:
        polygons: each `[x, y, x, y, ...]` in pixels, finite numbers within a million.
        height, width: of the mask, in pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`.
    """
    from pycocotools import mask as coco_mask

    if all(map(_is_short, polygons)):
        rles = coco_mask.frPyObjects(polygons, height, width)
    else:
        rles = [_polygon_to_rle(polygon, height, width) for polygon in polygons]
    while len(rles) > _MERGED_AT_ONCE:
        groups = range(0, len(rles), _MERGED_AT_ONCE)
        rles = [coco_mask.merge(rles[start : start + _MERGED_AT_ONCE]) for start in groups]
    return coco_mask.merge(rles) if len(rles) > 1 else rles[0]


def _is_short(polygon):
    """Return True if the library draws a polygon in little time and memory."""
    if len(polygon) * (max(polygon) - min(polygon)) <= _SURELY_SHORT:
        return True
    corners = np.reshape(np.asarray(polygon, np.float64), (-1, 2))
    sides = np.abs(corners - np.roll(corners, -1, axis=0)).max(axis=1)
    return float(sides.sum()) <= _LONG


class _Edges:
    """The edges of a polygon in the library's steps, and the columns that each one crosses.

    An edge crosses column x where it steps between 5 x + 2 and 5 x + 3, the middle of the column.
    """

    def __init__(self, polygon, height, width):
        self.height, self.size = height, height * width
        scaled = _SCALE * np.reshape(np.asarray(polygon, np.float64), (-1, 2)).T + 0.5
        self.x1, self.y1 = np.trunc(scaled).astype(np.int64)
        self.x2, self.y2 = np.roll(self.x1, -1), np.roll(self.y1, -1)
        dx, dy = np.abs(self.x2 - self.x1), np.abs(self.y2 - self.y1)
        self.steep = dx < dy
        # As the library, from left to right, and steep edges from top to bottom.
        turned = np.where(self.steep, self.y1 > self.y2, self.x1 > self.x2)
        self.x1, self.x2 = np.where(turned, [self.x2, self.x1], [self.x1, self.x2])
        self.y1, self.y2 = np.where(turned, [self.y2, self.y1], [self.y1, self.y2])
        run = np.where(self.steep, self.x2 - self.x1, self.y2 - self.y1)
        self.slope = run / np.maximum(np.maximum(dx, dy), 1)
        left, right = np.minimum(self.x1, self.x2), np.maximum(self.x1, self.x2)
        self.first = np.maximum(-((2 - left) // _SCALE), 0)
        last = np.minimum((right - 3) // _SCALE, width - 1)
        self.columns = np.maximum(last - self.first + 1, 0)

    def crossings(self, edges):
        """Return the positions in a mask, column by column, at which some edges begin or end it."""
        count = self.columns[edges]
        index = np.repeat(edges, count)
        start = np.repeat(np.cumsum(count) - count, count)
        column = self.first[index] + np.arange(len(index)) - start
        x1, y1, slope, middle = self.x1[index], self.y1[index], self.slope[index], 5 * column + 2
        # A step of a flat edge goes to the next fifth of a column: look up the height of both.
        rows = [np.trunc(y1 + slope * (x - x1) + 0.5) for x in (middle, middle + 1)]
        flat = np.minimum(*rows)
        row = np.where(self.steep[index], _row_before(x1, y1, slope, middle), flat)
        row = np.ceil(np.clip((row + 0.5) / _SCALE - 0.5, 0, self.height))
        # Half the size sorts in half the time.
        small = np.int32 if self.size < 1 << 31 else np.int64
        return (column * self.height + row.astype(np.int64)).astype(small)


def _row_before(x1, y1, slope, middle):
    """Return the last row of steep edges before they step between `middle` and `middle + 1`."""
    slope = np.where(slope == 0, 1, slope)
    step = np.floor((middle + 0.5 - x1) / slope) - 1
    # The quotient may be off by one; only the library's own formula decides.
    for _ in range(3):
        x = np.trunc(x1 + slope * step + 0.5)
        step += np.where(slope > 0, x <= middle, x > middle)
    return y1 + step - 1


def _polygon_to_rle(polygon, height, width):
    """Return a polygon as a compressed RLE."""
    from pycocotools import mask as coco_mask

    if _is_short(polygon):
        return coco_mask.frPyObjects([polygon], height, width)[0]
    edges = _Edges(polygon, height, width)
    ends = np.cumsum(edges.columns)
    cuts = np.searchsorted(ends, np.arange(_BLOCK, ends[-1], _BLOCK))
    blocks = np.split(np.arange(len(ends)), cuts)
    positions = np.concatenate([edges.crossings(block) for block in blocks])
    # Two crossings at one position cancel out.
    positions, times = np.unique(positions, return_counts=True)
    positions = positions[(times % 2 == 1) & (positions < height * width)]
    runs = np.diff(positions, prepend=0, append=height * width)
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
