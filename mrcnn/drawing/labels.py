"""Places for labels: inside large instances, beside small ones, aside in crowds, never colliding.

Labels are placed one after another, greedily, each at the cheapest of its candidate positions: a
position costs what it hides of other instances, plus a little for its rank among the positions.
"""

import numpy as np

# A label may hide other instances by this much together, in units of one whole instance.
_MOST_HIDDEN = 0.8

# Part of the image that labels may cover together, so that a crowd is not hidden by its labels.
_MOST_COVERED = 0.15

# This many labels are allowed on small images, too.
_FEW = 6

# Above this number of instances, labels are not moved aside: lines would cross everything.
_CROWD = 40

# Part of a label that must be over the mask of its instance, to count as inside.
_INSIDE = 0.97

# Longer side of masks in which room for labels is sought.
_COARSE = 64


def place_labels(sizes, boxes, image_shape, parts=None, order=None) -> list:
    """Choose a place for each label.

    Args:
        sizes: [S, N, (height, width)] pixels of the labels, in S sizes to try from the first to the
            last.
        boxes: [N, (y1, x1, y2, x2)] pixels of the instances.
        image_shape: (height, width, ...) pixels.
        parts: [N] masks as (row, column, [h, w] bool): the cut-out and its upper left corner; or
            None.
        order: instance indices, those that choose first at the front; the others get no label.

    Returns:
        [N] (index of the size, row, column of the upper left corner), or None where a label
        would hide too much.
    """
    sizes, boxes = np.asarray(sizes, np.float64), np.asarray(boxes, np.float64).reshape(-1, 4)
    placed, places = np.zeros((0, 4)), [None] * len(boxes)
    placed_area, room = 0.0, _MOST_COVERED * image_shape[0] * image_shape[1]
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1)
    for i in range(len(boxes)) if order is None else order:
        for number, size in enumerate(sizes[:, i]):
            if placed_area + size.prod() > room and len(placed) >= _FEW:
                continue
            part = None if parts is None else parts[i]
            corners, costs = _candidates(size, boxes[i], part, len(boxes) <= _CROWD)
            plates = np.hstack([corners, corners + size])
            fits = (plates[:, :2] >= 0).all(1) & (plates[:, 2:] <= image_shape[:2]).all(1)
            fits &= ~_common(plates, placed).any(axis=1)
            if not fits.any():
                continue
            hidden = _common(plates, boxes) / areas
            hidden[:, i] = 0
            hidden = hidden.sum(axis=1)
            fits &= hidden <= _MOST_HIDDEN
            if fits.any():
                best = np.where(fits, hidden + costs, np.inf).argmin()
                places[i] = (number, *(int(v) for v in corners[best]))
                placed = np.vstack([placed, plates[best]])
                placed_area += size.prod()
                break
    return places


def leader(box, corner, size) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the ends (y, x) of a line from a label to its instance, or None where they touch.

    Args:
        box: (y1, x1, y2, x2) pixels of the instance.
        corner: (row, column) of the label's upper left corner.
        size: (height, width) of the label.
    """
    first, last = np.asarray(box[:2], np.float64), np.asarray(box[2:], np.float64)
    start, stop = np.asarray(corner), np.add(corner, size)
    if np.maximum(first - stop, start - last).max() <= 1:
        return None
    middle = (first + last) / 2
    return middle.clip(start, stop - 1), middle


def _common(a, b):
    """Return the areas that boxes `a` [A, 4] and `b` [B, 4] share, [A, B]."""
    top_left = np.maximum(a[:, None, :2], b[:, :2])
    return np.clip(np.minimum(a[:, None, 2:], b[:, 2:]) - top_left, 0, None).prod(axis=2)


def _candidates(size, box, part, aside):
    """Return upper left corners [C, (y, x)] and the cost of each, in units of hidden instances."""
    (height, width), (y1, x1, y2, x2) = size, box
    inside = [] if part is None else _room(part, size)
    middle_y, middle_x = (y1 + y2 - height) / 2, (x1 + x2 - width) / 2
    around = [
        (y1 - height, x1), (y1 - height, middle_x), (y1 - height, x2 - width),
        (y2, x1), (y2, middle_x), (y2, x2 - width),
        (middle_y, x2), (middle_y, x1 - width),
    ]  # fmt: skip
    corners = [(y1, x1), (y1, x2 - width), (y2 - height, x1), (y2 - height, x2 - width)]
    is_large = y2 - y1 > 2.5 * height and x2 - x1 > 1.2 * width
    steps = [(inside, 0, 0.01), (around, 0.15, 0.01), (corners, 0.1 if is_large else 0.4, 0.02)]
    if aside:
        far = [
            (middle_y + dy * (distance * height + (y2 - y1) / 2),
             middle_x + dx * (distance * height + (x2 - x1 + width) / 2))
            for distance in (1.5, 3, 4.5)
            for dy, dx in ((-1, 0), (1, 0), (0, 1), (0, -1), (-1, 1), (-1, -1), (1, 1), (1, -1))
        ]  # fmt: skip
        steps.append((far, 0.45, 0.015))
    places = [place for group, _, _ in steps for place in group]
    costs = [start + step * rank for group, start, step in steps for rank in range(len(group))]
    return np.rint(np.reshape(places, (-1, 2))), np.array(costs)


def _room(part, size) -> list:
    """Return corners of labels of a size that lie in a mask, nearest to its middle first."""
    import cv2

    top, left, mask = part
    if mask.shape[0] < size[0] or mask.shape[1] < size[1]:
        return []
    scale = min(1, _COARSE / max(mask.shape))
    shape = [max(1, round(side * scale)) for side in mask.shape]
    coarse = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    scale = np.divide(mask.shape, shape)
    window = np.maximum(1, np.ceil(size / scale)).astype(int)
    sums = cv2.integral(coarse)
    sums = sums[window[0] :, window[1] :] + sums[: -window[0], : -window[1]] - (
        sums[window[0] :, : -window[1]] + sums[: -window[0], window[1] :]
    )  # fmt: skip
    found = np.argwhere(sums >= _INSIDE * window.prod())
    if not len(found):
        return []
    weights = coarse / coarse.sum()
    middle = weights.sum(axis=1) @ np.arange(shape[0]), weights.sum(axis=0) @ np.arange(shape[1])
    distance = np.square(found + (window - 1) / 2 - middle).sum(axis=1)
    nearest = found[np.argsort(distance, kind="stable")]
    # A few places all over the mask: the nearest ones differ by a pixel.
    chosen = nearest[:: max(1, len(nearest) // 8)][:9]
    return [(top + y * scale[0], left + x * scale[1]) for y, x in chosen]
