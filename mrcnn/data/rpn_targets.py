"""Targets of the region proposal network: which anchors are objects, and how far off they are.

Shorthand: A anchors, G ground-truth boxes, T = RPN_TRAIN_ANCHORS_PER_IMAGE.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.constants import POSITIVE
from mrcnn.ops.anchors import compute_backbone_shapes, generate_pyramid_anchors
from mrcnn.ops.boxes import compute_overlaps, encode_boxes
from mrcnn.ops.match import match_anchors, sample_balanced

# An anchor that shares more than this IoU with a crowd is no example of background.
_CROWD_IOU = 0.001


def pyramid_anchors(config: Any, image_shape: Sequence[int]) -> np.ndarray:
    """The anchors of an image, computed once for each shape.

    Arguments:
        config: read are the backbone's strides and the five RPN_ANCHOR_ and BACKBONE_ words.
        image_shape: `(height, width, ...)` of the network's input in pixels.

    Returns:
        `[A, (y1, x1, y2, x2)]` float64 in pixels, read-only, its columns contiguous.
    """
    shapes = compute_backbone_shapes(config, image_shape)
    words = config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, shapes, config.BACKBONE_STRIDES
    return _cached_anchors(*map(_hashable, words), config.RPN_ANCHOR_STRIDE)


@functools.lru_cache(maxsize=16)
def _cached_anchors(scales, ratios, shapes, strides, anchor_stride):
    anchors = generate_pyramid_anchors(scales, ratios, shapes, strides, anchor_stride)
    anchors = np.asfortranarray(anchors)
    anchors.flags.writeable = False
    return anchors


def _hashable(values):
    """Nested lists and arrays as nested tuples."""
    if np.ndim(values) == 0:
        return values
    return tuple(_hashable(value) for value in values)


def build_rpn_targets(
    image_shape: Sequence[int],
    anchors: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_boxes: np.ndarray,
    config: Any,
    rng: Any = np.random,
) -> tuple[np.ndarray, np.ndarray]:
    """Match anchors to ground truth and draw the balanced sample that trains the RPN.

    Positive are the anchors with an IoU of 0.7 or more with a box, and those that overlap a box
    more than any other anchor does; negative are those below 0.3 with every box. At most half of
    the T anchors drawn are positive. (Faster R-CNN, section 3.1.2 and 3.1.3.)

    Arguments:
        image_shape: not used; the original has it.
        anchors: `[A, (y1, x1, y2, x2)]` in pixels.
        gt_class_ids: `[G]`. A negative id marks a crowd: it has no positive anchors, and anchors
            that touch it are never negative.
        gt_boxes: `[G, (y1, x1, y2, x2)]` in pixels. There may be none.
        config: read are RPN_TRAIN_ANCHORS_PER_IMAGE and RPN_BBOX_STD_DEV.
        rng: `np.random`, a `RandomState` or a `Generator`.

    Returns:
        rpn_match: `[A]` int32, POSITIVE (1), NEGATIVE (-1) or NEUTRAL (0).
        rpn_bbox: `[T, (dy, dx, log dh, log dw)]` float64, deltas of the positive anchors, in the
            order of the anchors and divided by RPN_BBOX_STD_DEV; then zeros.
    """
    gt_class_ids, gt_boxes = np.asarray(gt_class_ids), np.asarray(gt_boxes).reshape(-1, 4)
    # Where the image has crowds, an id of 0 is left out with them; where it has none, all count.
    crowds = gt_class_ids < 0
    touches_crowd = None
    if crowds.any():
        touches_crowd = anchor_overlaps(anchors, gt_boxes[crowds]).max(axis=1) >= _CROWD_IOU
        gt_boxes = gt_boxes[gt_class_ids > 0]

    match, gt_index = match_anchors(anchor_overlaps(anchors, gt_boxes), touches_crowd)
    count = config.RPN_TRAIN_ANCHORS_PER_IMAGE
    match = sample_balanced(match, count, rng=rng)

    rpn_bbox = np.zeros((count, 4))
    positives = np.flatnonzero(match == POSITIVE)
    if len(positives):
        deltas = encode_boxes(anchors[positives], gt_boxes[gt_index[positives]])
        rpn_bbox[: len(positives)] = deltas / config.RPN_BBOX_STD_DEV
    return match, rpn_bbox


def anchor_overlaps(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """`compute_overlaps(anchors, boxes)` for many anchors and small boxes, three times faster.

    Four comparisons find the anchors that a box touches at all, 5 % for a box of 100 pixels in an
    image of 512; only those need an IoU.

    Arguments:
        anchors: `[A, (y1, x1, y2, x2)]`; fastest with contiguous columns.
        boxes: `[G, (y1, x1, y2, x2)]` in the same unit.

    Returns:
        `[A, G]` float64, the transpose of a contiguous array.
    """
    overlaps = np.zeros((len(boxes), len(anchors)))
    top, left, bottom, right = np.asfortranarray(anchors).T
    for row, (y1, x1, y2, x2) in zip(overlaps, boxes, strict=True):
        touching = np.flatnonzero((top < y2) & (left < x2) & (bottom > y1) & (right > x1))
        row[touching] = compute_overlaps(anchors[touching], np.array([[y1, x1, y2, x2]]))[:, 0]
    return overlaps.T
