"""Masks as COCO run lengths (RLE), which take little memory even for large images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.masks import unmold_mask


def encode_mask(mask: np.ndarray) -> dict:
    """Return a mask `[height, width]` bool as a COCO RLE, a dict of `size` and `counts`."""
    from pycocotools import mask as coco_mask

    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def decode_mask(rle: dict) -> np.ndarray:
    """Return the mask `[height, width]` bool of a COCO RLE."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode(rle).astype(bool)


def paste_rles(masks: np.ndarray, boxes: np.ndarray, image_shape: Sequence[int]) -> list[dict]:
    """Paste masks into COCO RLEs, with one full-size mask in memory at a time.

    Args:
        masks: `[instances, h, w]` floats, 0 to 1.
        boxes: `[instances, (y1, x1, y2, x2)]` integers in pixels.
        image_shape: `(height, width)` of the result; more entries are ignored.

    Returns:
        A list of `{"size": [height, width], "counts": bytes}`.
    """
    return [
        encode_mask(unmold_mask(mask, box, image_shape))
        for mask, box in zip(masks, boxes, strict=True)
    ]
