"""Training targets of the second stage in NumPy, for old notebooks and generators.

Training itself uses `DetectionTargetLayer`.

Shorthand: R random RoIs, G instances, T = TRAIN_ROIS_PER_IMAGE, K = NUM_CLASSES.
"""

import numpy as np

from mrcnn.constants import BACKGROUND
from mrcnn.ops.boxes import compute_overlaps, encode_boxes
from mrcnn.ops.images import resize
from mrcnn.ops.masks import expand_mask
from mrcnn.ops.match import positive_limit, subsample

_POSITIVE_IOU = 0.5


def build_detection_targets(rpn_rois, gt_class_ids, gt_boxes, gt_masks, config, rng=np.random):
    """Sample RoIs, and return the target class, box and mask of each.

    An RoI is positive where its IoU with an instance is at least 0.5. At most
    ROI_POSITIVE_RATIO * T of the sample are positive; negatives fill the rest, repeated where there
    are too few. (Mask R-CNN, section 3.1; unlike the layer, which pads with zeros.)

    Args:
        rpn_rois: `[R, (y1, x1, y2, x2)]` in pixels.
        gt_class_ids: `[G]` int32; padding and crowds (ids of 0 and less) are left out.
        gt_boxes: `[G, (y1, x1, y2, x2)]` int32 in pixels.
        gt_masks: `[height, width, G]` bool, or mini-masks with USE_MINI_MASK.
        config: a `Config`.
        rng: `np.random`, a `RandomState` or a `Generator`.

    Returns:
        rois: `[T, (y1, x1, y2, x2)]` in the type of `rpn_rois`, positives first.
        class_ids: `[T]` int32, 0 for negatives.
        bboxes: `[T, K, (dy, dx, log dh, log dw)]` float32, divided by BBOX_STD_DEV; zeros except
            for the class of a positive.
        masks: `[T, mask_height, mask_width, K]` float32, 0 to 1; zeros except for that class.

    Raises:
        ValueError: if there are no RoIs, or neither positives nor negatives among them.
    """
    if len(rpn_rois) == 0:
        raise ValueError("build_detection_targets needs at least one RoI and got none.")
    real = np.flatnonzero(gt_class_ids > 0)
    gt_class_ids, gt_boxes, gt_masks = gt_class_ids[real], gt_boxes[real], gt_masks[..., real]
    keep, instances = _sample_rois(rpn_rois, gt_boxes, config, rng)

    count, positives = config.TRAIN_ROIS_PER_IMAGE, np.arange(len(instances))
    rois = rpn_rois[keep]
    class_ids = np.full(count, BACKGROUND, np.int32)
    class_ids[positives] = gt_class_ids[instances]
    bboxes = np.zeros((count, config.NUM_CLASSES, 4), np.float32)
    deltas = encode_boxes(rois[positives], gt_boxes[instances]) / config.BBOX_STD_DEV
    bboxes[positives, class_ids[positives]] = deltas
    masks = np.zeros((count, *config.MASK_SHAPE, config.NUM_CLASSES), np.float32)
    # Large enough to crop every RoI from.
    canvas = np.ceil(rois[:, 2:].max(axis=0)).astype(int)
    for roi, instance in enumerate(instances):
        mask = gt_masks[..., instance]
        if config.USE_MINI_MASK:
            box = gt_boxes[instance, np.newaxis]
            mask = expand_mask(box, mask[..., np.newaxis], canvas)[..., 0]
        y1, x1, y2, x2 = rois[roi].astype(np.int32)
        masks[roi, :, :, class_ids[roi]] = resize(mask[y1:y2, x1:x2], tuple(config.MASK_SHAPE))
    return rois, class_ids, bboxes, masks


def _sample_rois(rois, gt_boxes, config, rng):
    """Return the indices `[T]` of the sample, positives first, and their instances."""
    overlaps = compute_overlaps(rois, gt_boxes)
    best = overlaps.max(axis=1, initial=0)
    count = config.TRAIN_ROIS_PER_IMAGE
    positives = np.flatnonzero(best >= _POSITIVE_IOU)
    positives = subsample(positives, positive_limit(count, config.ROI_POSITIVE_RATIO), rng)
    negatives = subsample(np.flatnonzero(best < _POSITIVE_IOU), count - len(positives), rng)
    missing = count - len(positives) - len(negatives)
    if missing:
        if len(negatives) == 0:
            raise ValueError(
                f"none of the {len(rois)} RoIs is a negative (IoU below {_POSITIVE_IOU} with every "
                "instance) to fill the sample with; give more RoIs."
            )
        negatives = np.append(negatives, rng.choice(negatives, missing))
    instances = overlaps[positives].argmax(axis=1) if len(positives) else np.zeros(0, np.int64)
    return np.append(positives, negatives), instances
