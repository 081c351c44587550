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
        image: [height, width] or [height, width, channels].
        gt_box, gt_class_id, gt_mask: [G, (y1, x1, y2, x2)] pixels, [G], [height, width, G].
        pred_box, pred_class_id, pred_score, pred_mask: the same of P detections, with [P] scores.
        class_names: names by class id.
        title: line of text above the image; None or "" explains the colours.
        ax: Matplotlib axes to draw on.
        show_mask: fill the masks.
        show_box: draw the boxes.
        iou_threshold, score_threshold: mask IoU that a match needs; see `compute_matches`.
        save_to: path of the picture to write instead of showing it.

    Raises:
        ValueError: as `display_instances`.
    """
    # The matching drops boxes of zeros and ranks by score: done here, so that its indices hold.
    real = np.any(gt_box, axis=-1)
    best = np.argsort(-np.asarray(pred_score), kind="stable")
    best = best[np.any(np.asarray(pred_box)[best], axis=-1)]
    gt = [np.asarray(gt_box)[real], np.asarray(gt_class_id)[real], np.asarray(gt_mask)[..., real]]
    found = [np.asarray(values)[best] for values in (pred_box, pred_class_id, pred_score)]
    found.append(np.asarray(pred_mask)[..., best])
    _, pred_match, overlaps = compute_matches(
        *gt, *found, iou_threshold=iou_threshold, score_threshold=score_threshold
    )
    captions = [""] * len(gt[0])
    for score, match, ious in zip(found[2], pred_match, overlaps, strict=True):
        iou = ious[int(match)] if match > -1 else ious.max(initial=0)
        captions.append(f"{score:.2f} / {iou:.2f}")
    display_instances(
        image,
        np.concatenate([gt[0], found[0]]),
        np.concatenate([gt[2], found[3]], axis=-1),
        np.concatenate([gt[1], found[1]]),
        class_names,
        title=title or "ground truth: green, detections: red with score / IoU",
        ax=ax,
        show_mask=show_mask,
        show_bbox=show_box,
        colors=[(0, 1, 0)] * len(gt[0]) + [(1, 0, 0)] * len(found[0]),
        captions=captions,
        save_to=save_to,
    )
