"""Masks as COCO run lengths (RLE), which take little memory even for large images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mrcnn.ops.masks import paste_masks

_NOT_THE_IMAGE = "an RLE whose counts do not add up to the image"


def encode_mask(mask: np.ndarray) -> dict:
    """Return a mask `[height, width]` bool as a COCO RLE, a dict of `size` and `counts`."""
    from pycocotools import mask as coco_mask

    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def decode_mask(rle: dict) -> np.ndarray:
    """Return the mask `[height, width]` bool of a COCO RLE."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode(rle).astype(bool)


def paste_rles(
    masks: np.ndarray,
    boxes: np.ndarray,
    image_shape: Sequence[int],
    paste: Callable[..., np.ndarray] = paste_masks,
) -> list[dict]:
    """Paste masks into COCO RLEs, with one full-size mask in memory at a time.

    Args:
        masks: `[instances, h, w]` floats, 0 to 1.
        boxes: `[instances, (y1, x1, y2, x2)]` in pixels, integers for `paste_masks`.
        image_shape: `(height, width)` of the result; more entries are ignored.
        paste: function from one mask and one box to `[height, width, 1]` bool: `paste_masks`, or
            one of `mrcnn.ops.paste`.

    Returns:
        A list of `{"size": [height, width], "counts": bytes}`.
    """
    return [
        encode_mask(paste(np.asarray(mask)[np.newaxis], [box], image_shape)[..., 0])
        for mask, box in zip(masks, boxes, strict=True)
    ]


def rle_fault(rle: dict, height: int, width: int) -> str | None:
    """Return the problem with a COCO RLE of any content for an image of this size, or None.

    pycocotools checks nothing: it returns uninitialized memory, or writes beyond the mask.
    """
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list | tuple) or not isinstance(counts, list | str | bytes):
        return "an RLE without size or counts"
    if list(size) != [height, width]:
        return "an RLE of another size than its image"
    runs = counts if isinstance(counts, list) else _decompress(counts)
    # True is an int, too.
    whole = set(map(type, runs)) == {int} and min(runs) >= 0
    return None if whole and sum(runs) == height * width else _NOT_THE_IMAGE


def _decompress(counts):
    """Return the run lengths in a compressed RLE; `[-1]` for another string.

    A character holds five bits of a number, the lowest first; from the fourth number on, it is the
    difference to the number two before. Source: `rleFrString` of the COCO API.
    """
    runs, value, shift = [], 0, 0
    for code in counts.encode(errors="replace") if isinstance(counts, str) else counts:
        code -= 48
        # From the seventh character on, pycocotools reads another number, as its integers overflow.
        if not 0 <= code < 64 or shift > 25:
            return [-1]
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    return runs if shift == 0 else [-1]
