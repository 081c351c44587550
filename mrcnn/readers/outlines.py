"""Outlines of objects as people draw them: polygons, boxes, ellipses. Pixels, y before x."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# Annotation tools round to whole pixels; what reaches further out than that is worth a word.
_MARGIN = 1
# Rasterisers walk along every edge, and their integers overflow.
_FARTHEST = 1e6


class Polygon(NamedTuple):
    """A closed polygon with its corners in order. The pixel (y, x) has its centre at (y, x)."""

    ys: list
    xs: list

    def numbers(self):
        return [*self.ys, *self.xs]

    def extent(self):
        """`(y1, x1, y2, x2)` around it."""
        return min(self.ys), min(self.xs), max(self.ys), max(self.xs)

    def draw(self, mask):
        """Set the pixels whose centre lies within or on an edge, in a mask `[height, width]` bool.

        They are exactly those of `skimage.draw.polygon`, which asks each pixel about each edge.
        Here each edge says, in each row, from which pixel on the answer changes.
        """
        height, width = mask.shape
        ys, xs = np.asarray(self.ys, float), np.asarray(self.xs, float)
        top, left, bottom, right = self.extent()
        top, bottom = max(0, math.ceil(top)), min(height - 1, math.floor(bottom))
        left, right = max(0, math.floor(left)), min(width, math.ceil(right) + 1)
        rows = np.arange(top, bottom + 1)
        if len(rows) == 0 or right <= left:
            return
        # [2 rules, rows, columns]: a row through a corner meets either both edges there or none,
        # by one rule those below it, by the other those above; where the rules differ is an edge.
        changes = np.zeros((2, len(rows), right - left), bool)
        y0, x0, y1, x1 = ys, xs, np.roll(ys, 1), np.roll(xs, 1)
        for rule, crosses in enumerate((np.greater, np.less)):
            edge, row = np.nonzero(
                crosses(y0[:, np.newaxis], rows) != crosses(y1[:, np.newaxis], rows)
            )
            dy0, dy1 = y0[edge] - rows[row], y1[edge] - rows[row]
            near = np.rint((x0[edge] * dy1 - x1[edge] * dy0) / (dy1 - dy0))
            distance = ((x0[edge] - near) * dy1 - (x1[edge] - near) * dy0) / (dy1 - dy0)
            start = near + (distance > 0 if rule == 0 else distance >= 0)
            start = np.clip(start - left, 0, right - left).astype(int)
            inside = start < right - left
            np.logical_xor.at(changes[rule], (row[inside], start[inside]), True)
        within = np.logical_xor.accumulate(changes, axis=2)
        mask[top : bottom + 1, left:right] |= within[0] | within[1]
        corner = (ys == np.rint(ys)) & (xs == np.rint(xs))
        corner &= (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
        mask[ys[corner].astype(int), xs[corner].astype(int)] = True


class Box(NamedTuple):
    """A box of whole pixels: from y1 on, up to but without y2."""

    y1: float
    x1: float
    y2: float
    x2: float

    def numbers(self):
        return self

    def extent(self):
        return self

    def draw(self, mask):
        """Set the pixels at least half of which lies within, in a mask `[height, width]` bool."""
        y1, x1, y2, x2 = (max(0, math.floor(side + 0.5)) for side in self)
        mask[y1:y2, x1:x2] = True


class Ellipse(NamedTuple):
    """An ellipse around (cy, cx). The half axis `rx` is turned clockwise by `angle` radians."""

    cy: float
    cx: float
    ry: float
    rx: float
    angle: float = 0.0

    def numbers(self):
        return self

    def extent(self):
        """`(y1, x1, y2, x2)` around it."""
        sin, cos = math.sin(self.angle), math.cos(self.angle)
        dy, dx = math.hypot(self.ry * cos, self.rx * sin), math.hypot(self.rx * cos, self.ry * sin)
        return self.cy - dy, self.cx - dx, self.cy + dy, self.cx + dx

    def draw(self, mask):
        """Set the pixels whose centre lies within, in a mask `[height, width]` bool."""
        y1, x1, y2, x2 = self.extent()
        rows = slice(max(0, math.floor(y1)), max(0, math.ceil(y2) + 1))
        columns = slice(max(0, math.floor(x1)), max(0, math.ceil(x2) + 1))
        part = mask[rows, columns]
        dy = rows.start + np.arange(part.shape[0])[:, np.newaxis] - self.cy
        dx = columns.start + np.arange(part.shape[1]) - self.cx
        sin, cos = math.sin(self.angle), math.cos(self.angle)
        along, across = (dx * cos + dy * sin) / self.rx, (dy * cos - dx * sin) / self.ry
        part |= along**2 + across**2 < 1


Outline = Polygon | Box | Ellipse


def outline_fault(outline: Outline, height: int, width: int) -> str | None:
    """Why nothing can be made of an outline in an image of a size; None if something can."""
    if isinstance(outline, Polygon):
        if len(outline.ys) != len(outline.xs):
            return "a polygon with more coordinates of one kind than of the other"
        if len(outline.ys) < 3:
            return "a polygon with fewer than 3 points"
    numbers = outline.numbers()
    try:
        finite = math.isfinite(sum(numbers))
    except TypeError:
        finite = False
    if not finite:
        return "a coordinate that is not a number"
    if max(map(abs, numbers)) > _FARTHEST:
        return "a coordinate beyond a million pixels"
    if isinstance(outline, Ellipse) and not (outline.ry > 0 and outline.rx > 0):
        return "a shape without area"
    y1, x1, y2, x2 = outline.extent()
    if isinstance(outline, Box) and not (y2 > y1 and x2 > x1):
        return "a shape without area"
    if y1 >= height or x1 >= width or y2 < 0 or x2 < 0:
        return "a shape outside the image"
    return None


def reaches_out(outline: Outline, height: int, width: int) -> bool:
    """Whether a sound outline leaves the image by more than rounding explains."""
    y1, x1, y2, x2 = outline.extent()
    return min(y1, x1) < -_MARGIN or y2 > height + _MARGIN or x2 > width + _MARGIN


def draw_outlines(outlines: list[Outline], mask: np.ndarray) -> None:
    """Set the pixels of all outlines in a mask `[height, width]` bool, cut at its borders."""
    for outline in outlines:
        outline.draw(mask)
