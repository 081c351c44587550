"""Annotations and detections in COCO's JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.files import replacing
from mrcnn.ops.contours import flat, mask_polygons
from mrcnn.ops.rle import encode_mask


def coco_rle(mask: np.ndarray | dict) -> dict:
    """Return a mask `[height, width]`, or its RLE, as an RLE whose counts are a str, for JSON."""
    rle = mask if isinstance(mask, dict) else encode_mask(mask)
    counts = rle["counts"]
    size = [int(side) for side in rle["size"]]
    return {"size": size, "counts": counts.decode() if isinstance(counts, bytes) else counts}


def coco_polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Return the outlines of a mask `[height, width]` as COCO's polygons; None if it has holes.

    COCO has no holes: the polygons of an object are united.
    """
    components = mask_polygons(mask)
    if any(len(rings) > 1 for rings in components):
        return None
    return [flat(rings[0]) for rings in components]


def coco_annotation(
    annotation_id: int,
    image_id: Any,
    category_id: Any,
    mask: np.ndarray,
    iscrowd: bool = False,
    polygons: bool = False,
) -> dict:
    """Return an object as an entry of `annotations`.

    Args:
        annotation_id, image_id, category_id: COCO's ids.
        mask: `[height, width]` bool, with at least one pixel.
        iscrowd: True for one mask over many objects.
        polygons: write polygons where the object has no holes and is no crowd, else run lengths
            (RLE). Both give the mask back exactly.
    """
    outlines = coco_polygons(mask) if polygons and not iscrowd else None
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": _box(mask),
        "area": int(np.count_nonzero(mask)),
        "iscrowd": int(iscrowd),
        "segmentation": outlines or coco_rle(mask),
    }


def coco_document(
    images: Sequence[dict], annotations: Sequence[dict], categories: Sequence[tuple[int, str]]
) -> dict:
    """Return a COCO file.

    Args:
        images: dicts of `id`, `file_name`, `height` and `width`.
        annotations: see `coco_annotation`.
        categories: `(id, name)` of each, without a background.
    """
    named = [{"id": number, "name": name, "supercategory": ""} for number, name in categories]
    return {
        "info": {"description": "written by mrcnn"},
        "licenses": [],
        "images": list(images),
        "annotations": list(annotations),
        "categories": named,
    }


def write_json(path: str | os.PathLike, document: Any) -> None:
    """Write a JSON file, whole or not at all; OSError names the path."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _box(mask):
    """Return COCO's box `[x, y, width, height]` of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y, x = int(rows[0]), int(columns[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
