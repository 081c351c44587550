"""Outlines of objects: polygons, boxes, ellipses and bitmaps, in pixels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mrcnn import limits
from mrcnn.ops.polygons import polygons_to_rle
from mrcnn.readers.json_values import are_numbers

# Annotation tools round to whole pixels; only outlines that reach further out deserve a note.
_MARGIN = 1
# Beyond this, rasterisers take forever or overflow.
_FARTHEST = 1e6
# Larger ellipses are drawn by rows.
_MANY_PIXELS = 1 << 16
# Columns that usual polygons cross; more are counted.
_FEW_CROSSINGS = 1 << 15
# Pixels of a row of an ellipse that are filled in the time of one crossing of a polygon.
_FILLED = 4096


class Polygon(NamedTuple):
    """A closed polygon with its corners in order. Pixel (y, x) reaches from y to y + 1."""

    ys: list
    xs: list

    def extent(self):
        """Return `(y1, x1, y2, x2)` around it."""
        return min(self.ys), min(self.xs), max(self.ys), max(self.xs)

    def corners(self):
        """Return `[x, y, x, y, ...]`."""
        return [float(value) for point in zip(self.xs, self.ys, strict=True) for value in point]

    def draw(self, mask):
        """Set its pixels in a mask `[height, width]` bool, by the rule of pycocotools."""
        draw_outlines(mask, [self])


def box(y1: float, x1: float, y2: float, x2: float) -> Polygon:
    """Return the polygon of a box, y2 and x2 exclusive."""
    return Polygon([y1, y1, y2, y2], [x1, x2, x2, x1])


def turned_box(
    y1: float,
    x1: float,
    y2: float,
    x2: float,
    angle: float,
    around: tuple[float, float] | None = None,
) -> Polygon:
    """Return a box that is turned clockwise by `angle` radians, around (y, x) or its centre."""
    cy, cx = around or ((y1 + y2) / 2, (x1 + x2) / 2)
    sin, cos = math.sin(angle), math.cos(angle)
    offsets = [(y - cy, x - cx) for y, x in ((y1, x1), (y1, x2), (y2, x2), (y2, x1))]
    ys = [cy + dx * sin + dy * cos for dy, dx in offsets]
    return Polygon(ys, [cx + dx * cos - dy * sin for dy, dx in offsets])


class Ellipse(NamedTuple):
    """An ellipse around (cy, cx). The half axis `rx` is turned clockwise by `angle` radians."""

    cy: float
    cx: float
    ry: float
    rx: float
    angle: float = 0.0

    def extent(self):
        """Return `(y1, x1, y2, x2)` around it."""
        sin, cos = math.sin(self.angle), math.cos(self.angle)
        dy, dx = math.hypot(self.ry * cos, self.rx * sin), math.hypot(self.rx * cos, self.ry * sin)
        return self.cy - dy, self.cx - dx, self.cy + dy, self.cx + dx

    def draw(self, mask):
        """Set the pixels (y, x) inside, in a mask `[height, width]` bool."""
        rows, columns = _part(mask.shape, self.extent())
        ys, xs = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
        if len(ys) * len(xs) <= _MANY_PIXELS:
            mask[rows, columns] |= self._inside(ys[:, np.newaxis], xs)
            return
        # The pixels of a row are one run: its ends take a few looks, not one at each pixel.
        first, last = self._run(ys, columns.start, columns.stop)
        for y, left, right in zip(ys.tolist(), first.tolist(), last.tolist(), strict=True):
            mask[y, left:right] = True

    def _inside(self, ys, xs):
        """Return True for the pixels inside."""
        dy, dx = ys - self.cy, xs - self.cx
        sin, cos = math.sin(self.angle), math.cos(self.angle)
        # Far pixels of a very thin ellipse are infinitely many half axes away.
        with np.errstate(over="ignore"):
            along, across = (dx * cos + dy * sin) / self.rx, (dy * cos - dx * sin) / self.ry
            return along**2 + across**2 < 1

    def _run(self, ys, start, stop):
        """Return the first pixel inside, and the one after the last, of each row; equal if none."""
        sin, cos = math.sin(self.angle), math.cos(self.angle)
        # The middle of the run, where the formula has its minimum. Largest 1 avoids an underflow.
        ry, rx = self.ry / max(self.ry, self.rx), self.rx / max(self.ry, self.rx)
        slope = sin * cos * (rx**2 - ry**2) / max((cos * ry) ** 2 + (sin * rx) ** 2, 1e-300)
        middle = np.clip(self.cx + slope * (ys - self.cy), start, stop - 1)
        middle, upper = np.floor(middle).astype(np.int64), np.ceil(middle).astype(np.int64)
        middle = np.where(self._inside(ys, middle), middle, upper)
        hit = self._inside(ys, middle)
        # Halve the distance between a pixel inside and one that is outside.
        inner, first, last = middle, np.full_like(middle, start - 1), np.full_like(middle, stop)
        left, right = middle, middle
        for _ in range(int(stop - start).bit_length()):
            near = (first + left) // 2
            inside = (near > first) & self._inside(ys, near)
            first, left = np.where(inside, first, near), np.where(inside, near, left)
            near = (last + right + 1) // 2
            inside = (near < last) & self._inside(ys, near)
            last, right = np.where(inside, last, near), np.where(inside, near, right)
        return np.where(hit, left, inner), np.where(hit, right + 1, inner)


class Bitmap(NamedTuple):
    """A painted part of an image, with its upper left corner at (top, left).

    `runs` are the lengths of its runs, row by row: of background, object, background, ...
    """

    top: int
    left: int
    height: int
    width: int
    runs: np.ndarray

    def extent(self):
        """Return `(y1, x1, y2, x2)` around it."""
        return self.top, self.left, self.top + self.height, self.left + self.width

    def pixels(self):
        """Return its mask `[height, width]` bool."""
        is_object = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(is_object, self.runs).reshape(self.height, self.width)

    def draw(self, mask):
        """Set its pixels in a mask `[height, width]` bool; those outside are cut."""
        y1, x1, y2, x2 = self.extent()
        y1, x1, y2, x2 = max(y1, 0), max(x1, 0), min(y2, mask.shape[0]), min(x2, mask.shape[1])
        inner = slice(y1 - self.top, y2 - self.top), slice(x1 - self.left, x2 - self.left)
        mask[y1:y2, x1:x2] |= self.pixels()[inner]


def bitmap(top: int, left: int, pixels: np.ndarray) -> Bitmap:
    """Return the bitmap of a mask `[height, width]`; values other than zero are object."""
    flat = np.concatenate([[False], pixels.ravel() != 0])
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), pixels.size)
    return Bitmap(top, left, *pixels.shape, np.diff(ends, prepend=0))


Outline = Polygon | Ellipse | Bitmap


def draw_outlines(mask: np.ndarray, outlines: list[Outline]) -> None:
    """Set the pixels of all outlines of an object in its mask `[height, width]` bool."""
    from pycocotools import mask as coco_mask

    polygons = [outline for outline in outlines if isinstance(outline, Polygon)]
    if polygons:
        tops, lefts, bottoms, rights = zip(*(each.extent() for each in polygons), strict=True)
        extent = min(tops), min(lefts), max(bottoms), max(rights)
        rows, columns = _part(mask.shape, extent)
        # Decoding pixels beyond the polygons would take most of the time. Yet the canvas must begin
        # at (0, 0): another origin would round some corners to other pixels.
        runs = polygons_to_rle([each.corners() for each in polygons], rows.stop, columns.stop)
        mask[rows, columns] |= coco_mask.decode(runs).view(bool)[rows, columns]
    for outline in outlines:
        if not isinstance(outline, Polygon):
            outline.draw(mask)


def _part(size, extent):
    """Return the slices of rows and columns of a mask that an outline can reach."""
    (height, width), (y1, x1, y2, x2) = size, extent
    top, left = max(0, math.floor(y1)), max(0, math.floor(x1))
    bottom, right = min(height, math.ceil(y2) + 1), min(width, math.ceil(x2) + 1)
    return slice(top, max(top, bottom)), slice(left, max(left, right))


class Findings(NamedTuple):
    """Properties of an outline in an image.

    Attributes:
        fault: the reason why it has no mask; None if it has one.
        reaches_out: True if it leaves the image by more than rounding explains.
        work: a measure of the time to draw it, crossings of columns; 0 for usual polygons.
    """

    fault: str | None
    reaches_out: bool = False
    work: int = 0


def examine(outline: Outline, height: int, width: int) -> Findings:
    """Examine an outline whose numbers may be anything, for an image of this size."""
    if isinstance(outline, Bitmap):
        y1, x1, y2, x2 = outline.extent()
        if y1 >= height or x1 >= width or y2 <= 0 or x2 <= 0:
            return Findings("a shape outside the image")
        if (y2 - y1) * (x2 - x1) > limits.MAX_IMAGE_PIXELS:
            return Findings("a mask of too many pixels")
        if int(outline.runs[1::2].sum()) == 0:
            return Findings("a shape without area")
        out = min(y1, x1) < -_MARGIN or y2 > height + _MARGIN or x2 > width + _MARGIN
        return Findings(None, out)
    is_polygon = isinstance(outline, Polygon)
    if is_polygon and len(outline.ys) != len(outline.xs):
        return Findings("a polygon with different numbers of x and y coordinates")
    if is_polygon and len(outline.ys) < 3:
        return Findings("a polygon with fewer than 3 points")
    numbers = [*outline.ys, *outline.xs] if is_polygon else outline
    if not are_numbers(numbers):
        return Findings("a coordinate that is not a number")
    if not is_polygon and max(map(abs, numbers)) > _FARTHEST:
        return Findings("a coordinate beyond a million pixels")
    y1, x1, y2, x2 = extent = outline.extent()
    if is_polygon and (min(y1, x1) < -_FARTHEST or max(y2, x2) > _FARTHEST):
        return Findings("a coordinate beyond a million pixels")
    has_area = y2 > y1 and x2 > x1 if is_polygon else outline.ry > 0 and outline.rx > 0
    if not has_area:
        return Findings("a shape without area")
    if y1 >= height or x1 >= width or y2 < 0 or x2 < 0:
        return Findings("a shape outside the image")
    out = min(y1, x1) < -_MARGIN or y2 > height + _MARGIN or x2 > width + _MARGIN
    if is_polygon:
        few = len(outline.xs) * (x2 - x1) <= _FEW_CROSSINGS
        return Findings(None, out, 0 if few else _crossings(outline.xs, width))
    rows, columns = _part((height, width), extent)
    count = rows.stop - rows.start
    return Findings(None, out, count + count * (columns.stop - columns.start) // _FILLED)


def _crossings(xs, width):
    """Return how often a polygon crosses columns of an image."""
    visible = np.clip(np.asarray(xs, np.float64), 0, width)
    return int(np.abs(visible - np.roll(visible, 1)).sum())
