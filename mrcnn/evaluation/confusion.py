"""Confusion matrix of the classes of detections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion_matrix(
    coco_gt: Any,
    results: Sequence[dict],
    iou_type: str,
    num_classes: int,
    iou: float = 0.5,
    score: float = 0.5,
) -> np.ndarray:
    """Count objects by their class and the class that was predicted for them.

    In order of falling score, each prediction of an image takes the free object of any class that
    it overlaps most. Predictions that match no object and lie on a crowd are left out.

    Args:
        coco_gt: `pycocotools.coco.COCO`, whose categories are 1 to num_classes - 1.
        results: COCO result dicts.
        iou_type: "bbox" or "segm", whose overlap counts.
        num_classes: with the background.
        iou, score: least IoU of a match, and least score of the predictions to count.

    Returns:
        `[num_classes, num_classes]` int64, rows truth, columns predicted. Class 0 is the
        background: row 0 counts false positives, column 0 objects without a prediction.
    """
    from pycocotools import mask as coco_mask

    geometry = {"bbox": "bbox", "segm": "segmentation"}[iou_type]
    found = defaultdict(list)
    for result in results:
        if result["score"] >= score:
            found[result["image_id"]].append(result)
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for image_id in coco_gt.imgs:
        objects = coco_gt.imgToAnns.get(image_id, [])
        predictions = sorted(found[image_id], key=lambda result: -result["score"])
        crowd = np.array([gt["iscrowd"] for gt in objects], bool)
        overlaps = np.zeros((len(predictions), len(objects)))
        if overlaps.size:
            shapes = ([item[geometry] for item in items] for items in (predictions, objects))
            overlaps = coco_mask.iou(*shapes, crowd.astype(np.uint8))
        true_ids, predicted_ids = (
            [item["category_id"] for item in items] for items in (objects, predictions)
        )
        for pair in _pairs(overlaps, true_ids, predicted_ids, crowd, iou):
            matrix[pair] += 1
    return matrix


def _pairs(overlaps, true_ids, predicted_ids, crowd, iou):
    """Yield class ids (true, predicted) of the matches of an image, 0 where one is missing."""
    free = ~crowd
    for predicted, row in zip(predicted_ids, overlaps, strict=True):
        rest = np.where(free & (row >= iou), row, 0)
        if rest.any():
            best = int(np.argmax(rest))
            free[best] = False
            yield true_ids[best], predicted
        elif not (row[crowd] >= iou).any():
            yield 0, predicted
    for index in np.flatnonzero(free):
        yield true_ids[index], 0
