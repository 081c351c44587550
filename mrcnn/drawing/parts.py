"""Masks cut out to their boxes, so that drawing works on the pixels of an instance alone.

A part is (row, column, [h, w] bool): the upper left corner in the image, and the mask inside the
tight box of its object, [0, 0] for an empty one.
"""

import numpy as np

from mrcnn.drawing.checks import mask_list
from mrcnn.ops.rle_crop import crop_rle


def mask_parts(masks, image_shape, count, boxes=None) -> list | None:
    """Return `count` masks as parts; None for None. RLEs are decoded inside their boxes only.

    Args:
        masks: [height, width, N], a list of COCO RLEs, or None.
        image_shape: (height, width, ...) pixels.
        boxes: [N, (y1, x1, y2, x2)] pixels where the masks are most likely found, which saves time.

    Raises:
        ValueError: if the masks do not have the size of the image.
    """
    listed = mask_list(masks, image_shape, count)
    if listed is None or not len(listed):
        return listed
    if not isinstance(listed[0], dict):
        return _array_parts(np.asarray(masks), boxes, image_shape)
    for number, mask in enumerate(listed):
        if list(mask["size"]) != list(image_shape[:2]):
            raise ValueError(
                f"instance {number}: the mask has shape {tuple(mask['size'])} but the image "
                f"{tuple(image_shape[:2])}"
            )
    return [crop_rle(mask) for mask in listed]


def _array_parts(masks, boxes, image_shape):
    if boxes is not None and len(boxes) == masks.shape[-1]:
        near = np.hstack([np.floor(boxes[:, :2]) - 1, np.ceil(boxes[:, 2:]) + 1])
        parts = _cut(masks, near.clip(0, np.tile(image_shape[:2], 2)).astype(int))
        # Finding the boxes of all masks takes ten times as long, and is needed only where masks
        # reach out of the given boxes.
        if sum(np.count_nonzero(mask) for *_, mask in parts) == np.count_nonzero(masks):
            return parts
    windows = np.zeros((masks.shape[-1], 4), int)
    for side, other in ((0, 1), (1, 0)):
        covered = masks.any(axis=other)
        windows[:, side] = covered.argmax(axis=0)
        windows[:, side + 2] = (len(covered) - covered[::-1].argmax(axis=0)) * covered.any(axis=0)
    return _cut(masks, windows)


def _cut(masks, windows):
    """Return the masks [h, w, N] inside their windows [N, (y1, x1, y2, x2)] as tight parts."""
    parts = []
    for i, (y1, x1, y2, x2) in enumerate(windows.tolist()):
        cut = np.ascontiguousarray(masks[y1:y2, x1:x2, i]) != 0
        rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
        if len(rows):
            y1, x1 = y1 + int(rows[0]), x1 + int(columns[0])
            cut = cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        parts.append((y1, x1, cut if len(rows) else cut[:0, :0]))
    return parts


def part_box(part) -> tuple[int, int, int, int]:
    """Return the box (y1, x1, y2, x2) in pixels of a part."""
    top, left, mask = part
    return top, left, top + mask.shape[0], left + mask.shape[1]


def magnified(part, factor: int):
    """Return a part of the image that is larger by a whole factor."""
    top, left, mask = part
    return top * factor, left * factor, mask.repeat(factor, axis=0).repeat(factor, axis=1)
