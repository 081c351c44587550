"""Outlines of masks, as polygons that fill back to the same pixels.

The outline of a mask runs along the cracks between pixels, and a polygon of such corners is filled
by the rule of pycocotools (`mrcnn.ops.polygons`) to exactly the pixels that it encloses. That rule
looks at a polygon only where it crosses the middle of a column. So a staircase of cracks may
become a straight line wherever the line crosses each middle close enough to the crack.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A line that crosses the middle of a column between these distances from a crack, in pixels, fills
# from the same row on. The library rounds to fifths of a pixel, and a line of 45 degrees down.
_ABOVE, _BELOW = 0.4 - 1e-6, 0.5
# Corners that one line may replace, which bounds the search.
_FARTHEST = 512
# Rings of an object that are joined where they are nearest; of more, which are noise, the search
# would take long.
_NEAREST = 100


def mask_polygons(mask: np.ndarray) -> list[list[np.ndarray]]:
    """Return the outlines of a mask, exact under the filling rule of the package.

    Pixels that touch at a corner only are of two components.

    Args:
        mask: `[height, width]`; values other than zero are object.

    Returns:
        One list per component of its rings, the outer ring first, then the holes. A ring is
        `[corners, (y, x)]` float64, whole numbers and fifths: the pixel (y, x) reaches from there
        to (y + 1, x + 1). Outer rings run clockwise, holes counterclockwise, as seen on the screen.
        The outer rings less their holes are the mask, see `fill_rings`.
    """
    from scipy import ndimage

    mask = np.asarray(mask) != 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    mask = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    labels, count = ndimage.label(mask)
    components = [[] for _ in range(count)]
    for ring in _rings(np.pad(mask, 1)):
        # The first corner is the upper left one: of an object pixel, or of one of a hole.
        x, y = ring[0]
        is_outer = bool(mask[y, x])
        label = labels[y, x] if is_outer else labels[y - 1, x]
        corners = np.array(_thin(ring), np.float64)[:, ::-1] + (top, left)
        # Every ring was followed clockwise, beginning with its upper side.
        components[label - 1].append(corners if is_outer else corners[::-1])
    return components


def fill_rings(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Return the mask `[height, width]` bool of the first ring less the others."""
    from mrcnn.ops.polygons import polygons_to_rle
    from mrcnn.ops.rle import decode_mask

    mask, *holes = (decode_mask(polygons_to_rle([flat(r)], height, width)) for r in rings)
    for hole in holes:
        mask &= ~hole
    return mask


def flat(ring: np.ndarray) -> list[float]:
    """Return a ring `[corners, (y, x)]` as `[x, y, x, y, ...]`, as COCO files have it."""
    return np.asarray(ring, np.float64)[:, ::-1].ravel().tolist()


def join_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Join rings to one that fills the same pixels, for formats with one polygon per object.

    Each ring is reached over a cut, a line that is passed forth and back. Filling counts crossings,
    those of a cut twice, so it has no pixels.

    Args:
        rings: of all components and holes of an object, `[corners, (y, x)]` each.

    Returns:
        `[corners, (y, x)]` float64.
    """
    joined, *rest = (np.asarray(ring, np.float64) for ring in rings)
    rest, many = rest[:_NEAREST], rest[_NEAREST:]
    for ring in rest:
        here, there = _nearest(joined, ring)
        parts = [joined[: here + 1], np.roll(ring, -there, axis=0), ring[there : there + 1]]
        joined = np.concatenate([*parts, joined[here:]])
    if many:
        # From one to the next, in the order of rows, and all the way back.
        there = [corner for ring in many for corner in (ring, ring[:1])]
        back = [ring[:1] for ring in many[-2::-1]]
        joined = np.concatenate([joined, joined[:1], *there, *back])
    return joined


def _nearest(ring, other):
    """Return the indices of two corners that are near each other."""
    from scipy.spatial import cKDTree

    distances, indices = cKDTree(ring).query(other)
    there = int(np.argmin(distances))
    return int(indices[there]), there


def _rings(padded):
    """Yield the closed outlines of a mask `[height + 2, width + 2]` with an empty border.

    Each is a list of corners (x, y), counted from the inner part of the mask, that begins with its
    upper left corner and goes right first.
    """
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    falling = upper_left & lower_right & ~upper_right & ~lower_left
    rising = upper_right & lower_left & ~upper_left & ~lower_right
    # Where two pixels touch at a corner, two outlines pass.
    turns = (upper_left ^ upper_right ^ lower_left ^ lower_right).astype(np.int8)
    times = turns + 2 * (falling | rising)
    ys, xs = np.nonzero(times)
    times = times[ys, xs]
    second = np.zeros(int(times.sum()), bool)
    second[np.cumsum(times)[times == 2] - 1] = True
    is_rising = np.repeat(rising[ys, xs], times)
    ys, xs = np.repeat(ys, times), np.repeat(xs, times)
    # In each row of corners the first and the second are joined, the third and the fourth, ...;
    # so in each column. At a double corner the first one has the left side. It has the upper side,
    # too, or the lower one where the two pixels are the upper right and the lower left one.
    beside = np.arange(len(xs)) ^ 1
    order = np.lexsort((second ^ is_rising, ys, xs))
    above = np.empty_like(order)
    above[order] = order[np.arange(len(order)) ^ 1]
    yield from _follow(xs.tolist(), ys.tolist(), beside.tolist(), above.tolist())


def _follow(xs, ys, beside, above):
    """Yield the rings of corners with a neighbour in the row and one in the column each."""
    seen = bytearray(len(xs))
    for start in range(len(xs)):
        if seen[start]:
            continue
        ring, corner = [], start
        while not seen[corner]:
            other = beside[corner]
            seen[corner] = seen[other] = 1
            ring += [(xs[corner], ys[corner]), (xs[other], ys[other])]
            corner = above[other]
        yield ring


def _thin(ring):
    """Replace staircases in an outline of corners (x, y) by straight lines that fill the same.

    The outline begins with a horizontal side. Both ends of a vertical side from which it runs back
    stay, so that the shape does.
    """
    sides = [(*ring[index], ring[index + 1][0]) for index in range(0, len(ring), 2)]
    goes_right = [x2 > x1 for x1, _, x2 in sides]
    kept = []
    for first, last in _one_way(goes_right):
        x, y, _ = sides[first]
        kept.append((x, y))
        side = first
        while side <= last:
            best = _farthest(kept[-1], sides, side, last)
            if best is None:
                # Down or up the vertical side to the corner from which a horizontal line goes on.
                kept.append(sides[side][:2])
            else:
                side, corner = best
                kept.append(corner)
    return kept


def _one_way(goes_right):
    """Yield first and last of the horizontal sides that follow each other in one direction."""
    first = 0
    for side in range(1, len(goes_right) + 1):
        if side == len(goes_right) or goes_right[side] != goes_right[first]:
            yield first, side - 1
            first = side


def _farthest(start, sides, first, last):
    """Return where a straight line from `start` may end that fills as the sides from `first` do.

    Returns:
        The number of the next side, and the corner (x, y); None if the line would not reach even
        the end of the side `first`.
    """
    x0, y0 = start
    lowest, highest, best = -np.inf, np.inf, None
    for side in range(first, min(first + _FARTHEST, last + 1)):
        x1, y, x2 = sides[side]
        # Slopes are over the distance along x, in the direction of the outline.
        step = 1 if x2 > x1 else -1
        for middle in (x1 + 0.5 * step, x2 - 0.5 * step):
            run = (middle - x0) * step
            lowest = max(lowest, (y - _ABOVE - y0) / run)
            highest = min(highest, (y + _BELOW - y0) / run)
        if lowest > highest:
            break
        run = (x2 - x0) * step
        # The middle of the vertical side after it, near which a smooth outline passes.
        ends = (_middle(y, sides[side + 1][1]), y) if side < last else (y,)
        for end in ends:
            if lowest <= (end - y0) / run <= highest:
                best = side + 1, (x2, end)
                break
    return best


def _middle(y1, y2):
    """Return a whole number of fifths, which rounding to fifths keeps, near the middle."""
    whole, half = divmod(y1 + y2, 2)
    return whole + 0.4 * half
