"""Ground truth and detections drawn over each other, with their overlaps."""

import numpy as np

from mrcnn.drawing.instances import display_instances
from mrcnn.evaluation.ap import compute_matches


def display_differences(
    image,
    gt_box,
    gt_class_id,
    gt_mask,
    pred_box,
    pred_class_id,
    pred_score,
    pred_mask,
    class_names,
    title="",
    ax=None,
    show_mask=True,
    show_box=True,
    iou_threshold=0.5,
    score_threshold=0.5,
    *,
    save_to=None,
) -> None:
    """Draw ground truth (green) and detections (red) over each other.

    A detection's caption is its score and the IoU of its mask with the object that it matches, or
    with the nearest one when it matches none.

    Args:
        gt_box, gt_class_id, gt_mask: [G, (y1, x1, y2, x2)] pixels, [G], [height, width, G].
        pred_box, pred_class_id, pred_score, pred_mask: the same of P detections, with [P] scores.
        title: line of text above the image; by default an explanation of the colours.
        iou_threshold, score_threshold: mask IoU that a match needs; see `compute_matches`.
        The others, and errors: see `display_instances`.
    """
    # compute_matches drops boxes of zeros and ranks by score; done first, its indices fit ours.
    real = np.flatnonzero(np.any(gt_box, axis=-1))
    best = np.argsort(-np.asarray(pred_score), kind="stable")
    best = best[np.any(np.asarray(pred_box)[best], axis=-1)]
    gt = _chosen(real, gt_box, gt_class_id, masks=gt_mask)
    found = _chosen(best, pred_box, pred_class_id, pred_score, masks=pred_mask)
    _, pred_match, overlaps = compute_matches(
        *gt, *found, iou_threshold=iou_threshold, score_threshold=score_threshold
    )
    captions = [""] * len(gt[0])
    for score, match, ious in zip(found[2], pred_match, overlaps, strict=True):
        iou = ious[int(match)] if match > -1 else ious.max(initial=0)
        captions.append(f"{score:.2f} / {iou:.2f}")
    display_instances(
        image,
        boxes=np.concatenate([gt[0], found[0]]),
        masks=np.concatenate([gt[2], found[3]], axis=-1),
        class_ids=np.concatenate([gt[1], found[1]]),
        class_names=class_names,
        title=title or "ground truth: green, detections: red with score / IoU",
        ax=ax,
        show_mask=show_mask,
        show_bbox=show_box,
        colors=[(0, 1, 0)] * len(gt[0]) + [(1, 0, 0)] * len(found[0]),
        captions=captions,
        save_to=save_to,
    )


def _chosen(indices, *arrays, masks):
    return [*(np.asarray(array)[indices] for array in arrays), np.asarray(masks)[..., indices]]
