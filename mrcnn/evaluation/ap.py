"""The original's average precision: one image, all classes together.

These are quick numbers for notebooks and validation, neither the Pascal VOC nor the COCO metric:
see `compute_ap`. `compute_coco_metrics` computes the COCO metric.

Shorthand: P predictions, G ground-truth objects. The functions share these arguments, and raise
ValueError if predicted and ground-truth masks differ in size:

    gt_boxes        [G, (y1, x1, y2, x2)] in pixels; rows of zeros at the end are padding
    gt_class_ids    [G] int
    gt_masks        [height, width, G]; values above 0.5 are object
    pred_boxes      [P, (y1, x1, y2, x2)] in pixels; rows of zeros at the end are padding
    pred_class_ids  [P] int
    pred_scores     [P] float
    pred_masks      [height, width, P]; values above 0.5 are object
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.boxes import compute_overlaps, trim_zeros
from mrcnn.ops.masks import compute_overlaps_masks

COCO_IOU_THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def _ranked_overlaps(gt_boxes, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks):
    """Drop padding, sort predictions by falling score; return class ids `[P]`, IoU `[P, G]`."""
    gt_count, pred_count = (
        len(trim_zeros(np.reshape(boxes, (-1, 4)))) for boxes in (gt_boxes, pred_boxes)
    )
    order = np.argsort(np.asarray(pred_scores)[:pred_count])[::-1]
    overlaps = compute_overlaps_masks(pred_masks[..., order], gt_masks[..., :gt_count])
    return np.asarray(pred_class_ids)[order], overlaps


def _match(gt_class_ids, pred_class_ids, overlaps, iou_threshold):
    """Match greedily: each prediction takes the free object of its class that it overlaps most."""
    pred_match, gt_match = (np.full(count, -1.0) for count in overlaps.shape)
    for prediction, ious in enumerate(overlaps):
        for gt in np.argsort(ious)[::-1]:
            if ious[gt] < iou_threshold:
                break
            if gt_match[gt] < 0 and pred_class_ids[prediction] == gt_class_ids[gt]:
                gt_match[gt], pred_match[prediction] = prediction, gt
                break
    return gt_match, pred_match


def compute_matches(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the true positives among the predictions of one image.

    In order of falling score, each prediction takes the free ground-truth object of its class that
    its mask overlaps most. The boxes only tell objects from padding.

    Args:
        iou_threshold: mask IoU below which nothing matches.
        score_threshold: a second lower limit of the IoU, not of the score, as in the original.
        The others: see the top of the module.

    Returns:
        gt_match: `[G]` float64, the prediction of each object; -1 without one.
        pred_match: `[P]` float64, the object of each prediction; -1 without one.
        overlaps: `[P, G]` float32, mask IoU.
        In all three, predictions are sorted and counted by falling score.
    """
    ranked_class_ids, overlaps = _ranked_overlaps(
        gt_boxes, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks
    )
    threshold = max(iou_threshold, score_threshold)
    return *_match(gt_class_ids, ranked_class_ids, overlaps, threshold), overlaps


def _average_precision(gt_match, pred_match):
    """Return the area under the precision-recall curve of one image, and the curve."""
    if len(gt_match) == len(pred_match) == 0:
        return 1.0, np.ones(2), np.array([0.0, 1.0])
    hits = np.cumsum(pred_match > -1)
    precisions = np.concatenate([[0], hits / np.arange(1, len(hits) + 1), [0]])
    # float32, as in the original: the last bits of its recalls are part of its results.
    recalls = hits.astype(np.float32) / max(len(gt_match), 1)
    recalls = np.concatenate([[0], recalls, [1]])
    # Precision at a recall is the best one at this or any higher recall.
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.flatnonzero(recalls[:-1] != recalls[1:]) + 1
    area = np.sum((recalls[steps] - recalls[steps - 1]) * precisions[steps])
    return float(area), precisions, recalls


def compute_ap(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Compute the average precision of one image at one mask IoU.

    Pascal VOC and COCO rank the predictions of a class over the whole dataset and average over
    classes. This ranks the predictions of all classes in one image; its average over images gives
    an image with one object the weight of one with fifty, and does not compare scores across
    images. Use it to follow a training, not to compare with papers.

    Without ground truth there is no recall; the result is then 1 if nothing was predicted and 0
    otherwise, so that an average over images stays a number.

    Args:
        iou_threshold: least mask IoU of a true positive.
        The others: see the top of the module.

    Returns:
        mAP: the area under the interpolated precision-recall curve, 0 to 1.
        precisions: `[P + 2]` float64, falling.
        recalls: `[P + 2]` float64, rising from 0 to 1.
        overlaps: `[P, G]` float32, mask IoU, predictions sorted by falling score.
    """
    gt = gt_boxes, gt_class_ids, gt_masks
    pred = pred_boxes, pred_class_ids, pred_scores, pred_masks
    gt_match, pred_match, overlaps = compute_matches(*gt, *pred, iou_threshold)
    return *_average_precision(gt_match, pred_match), overlaps


def compute_ap_range(
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    iou_thresholds: Sequence[float] | None = None,
    verbose: int = 1,
) -> float:
    """Return the mean of `compute_ap` over IoU thresholds, 0 to 1.

    Args:
        iou_thresholds: COCO's 0.5, 0.55 ... 0.95 by default.
        verbose: 0 prints nothing, 1 one line per threshold and one for the mean.
        The others: see the top of the module.
    """
    thresholds = COCO_IOU_THRESHOLDS if iou_thresholds is None else np.asarray(iou_thresholds)
    ranked_class_ids, overlaps = _ranked_overlaps(
        gt_box, gt_mask, pred_box, pred_class_id, pred_score, pred_mask
    )
    results = []
    for threshold in thresholds:
        matches = _match(gt_class_id, ranked_class_ids, overlaps, threshold)
        results.append(_average_precision(*matches)[0])
        if verbose:
            print(f"AP @{threshold:.2f}:\t {results[-1]:.3f}")
    mean = float(np.mean(results))
    if verbose:
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(
    pred_boxes: np.ndarray, gt_boxes: np.ndarray, iou: float
) -> tuple[float, np.ndarray]:
    """Return the share of the ground-truth boxes that are the best match of a predicted box.

    Args:
        pred_boxes: `[P, (y1, x1, y2, x2)]`.
        gt_boxes: `[G, (y1, x1, y2, x2)]` in the same unit.
        iou: box IoU that a prediction needs to count.

    Returns:
        recall: 0 to 1; 1 without ground truth.
        positive_ids: `[k]` int64, the predictions that reach `iou` with a ground-truth box.
    """
    if len(gt_boxes) == 0 or len(pred_boxes) == 0:
        return float(len(gt_boxes) == 0), np.zeros(0, np.int64)
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    positive_ids = np.flatnonzero(overlaps.max(axis=1) >= iou)
    found = np.unique(overlaps[positive_ids].argmax(axis=1))
    return len(found) / len(gt_boxes), positive_ids
