"""Detections of other programs with golden weights: the settings, and the comparison with ours."""

import numpy as np

from mrcnn.ops.boxes import compute_overlaps

SETTINGS = {
    "IMAGE_MIN_DIM": 256,
    "IMAGE_MAX_DIM": 384,
    "DETECTION_MIN_CONFIDENCE": 0,
    "DETECTION_MAX_INSTANCES": 50,
    "POST_NMS_ROIS_INFERENCE": 200,
}


def check_detections(found, golden, program):
    """Compare detections as sets: class, box, score and area of the mask."""
    labels = golden["labels"] + (program == "detectron2")
    overlaps = compute_overlaps(found["rois"], golden["boxes"][:, [1, 0, 3, 2]])
    areas, matched = found["masks"].sum(axis=(0, 1)), set()
    for theirs in range(len(labels)):
        fits = (
            (found["class_ids"] == labels[theirs])
            & (overlaps[:, theirs] > 0.99)
            & (abs(found["scores"] - golden["scores"][theirs]) < 3e-3)
            & (abs(areas - golden["mask_area"][theirs]) <= 0.02 * golden["mask_area"][theirs])
        )
        free = [ours for ours in np.flatnonzero(fits) if ours not in matched]
        matched.update(free[:1])
    assert len(labels) == len(found["scores"]) == 50
    assert len(matched) >= 49
