"""Matches of boxes and ground truth, samples for training, non-maximum suppression.

Shorthand: A anchors, G ground-truth boxes. All functions work on NumPy arrays, on the CPU side of
the input pipeline.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mrcnn.constants import NEGATIVE, NEUTRAL, POSITIVE
from mrcnn.ops.boxes import box_area, compute_iou


def match_anchors(
    overlaps: np.ndarray,
    crowd_mask: np.ndarray | None = None,
    negative_below: float = 0.3,
    positive_from: float = 0.7,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the role of every anchor in RPN training.

    An anchor is negative where its best IoU is below `negative_below`; positive where it is at
    least `positive_from`, or where no anchor overlaps one of the ground-truth boxes more (all
    anchors of a tie count, so that every object is learned from); else neutral. (Faster R-CNN,
    section 3.1.2.)

    Args:
        overlaps: `[A, G]` IoU of anchors and ground-truth boxes without crowds.
        crowd_mask: `[A]` bool, True for the anchors that touch a crowd: they are never negative.
        negative_below: IoU.
        positive_from: IoU.

    Returns:
        match: `[A]` int32, POSITIVE, NEGATIVE or NEUTRAL.
        gt_index: `[A]` int64, the ground-truth box of the best IoU (the first one of a tie); it
            means something where `match` is positive only.
    """
    # `compute_overlaps` returns the transpose of a [G, A] array: its rows are contiguous.
    by_gt = np.asarray(overlaps).T
    best = np.zeros(by_gt.shape[1], by_gt.dtype)
    gt_index = np.zeros(by_gt.shape[1], np.int64)
    forced = np.zeros(by_gt.shape[1], bool)
    for index, ious in enumerate(by_gt):
        better = ious > best
        best[better] = ious[better]
        gt_index[better] = index
        highest = ious.max(initial=0)
        # A box that no anchor touches has its "best" IoU, 0, nearly everywhere.
        if highest > 0:
            forced |= ious == highest
    match = np.full(len(best), NEUTRAL, np.int32)
    match[best < negative_below] = NEGATIVE
    if crowd_mask is not None:
        match[crowd_mask & (match == NEGATIVE)] = NEUTRAL
    match[forced | (best >= positive_from)] = POSITIVE
    return match, gt_index


def positive_limit(count: int, fraction: float) -> int:
    """Return how many of `count` training examples may be positive."""
    return int(count * fraction)


def subsample(indices: np.ndarray, count: int, rng: Any = np.random) -> np.ndarray:
    """Return at most `count` of the indices, drawn without replacement.

    Args:
        indices: `[n]`.
        count: how many to keep; fewer than 0 counts as 0.
        rng: `np.random`, a `RandomState` or a `Generator`. `np.random` under a seed keeps what the
            original kept under that seed, which drew those to drop with `np.random.choice`.

    Returns:
        `[min(n, count)]` in random order; `indices` as they are where there are not too many.
    """
    extra = len(indices) - max(count, 0)
    if extra <= 0:
        return indices
    if isinstance(rng, np.random.Generator):
        return rng.choice(indices, len(indices) - extra, replace=False)
    return indices[rng.permutation(len(indices))[extra:]]


def sample_balanced(
    match: np.ndarray, count: int, positive_fraction: float = 0.5, rng: Any = np.random
) -> np.ndarray:
    """Return matches of which at most `count` are not neutral.

    Positives take at most `positive_limit(count, positive_fraction)` places, negatives the rest.

    Args:
        match: `[A]`, POSITIVE, NEGATIVE or NEUTRAL.
        count: places for both.
        positive_fraction: of `count`.
        rng: see `subsample`.

    Returns:
        A copy of `match` in which those that found no place are NEUTRAL.
    """
    positives, negatives = (np.flatnonzero(match == code) for code in (POSITIVE, NEGATIVE))
    positives = subsample(positives, positive_limit(count, positive_fraction), rng)
    negatives = subsample(negatives, count - len(positives), rng)
    sampled = np.full_like(match, NEUTRAL)
    sampled[positives] = POSITIVE
    sampled[negatives] = NEGATIVE
    return sampled


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Run greedy non-maximum suppression.

    Args:
        boxes: `[n, (y1, x1, y2, x2)]`, at least one.
        scores: `[n]`.
        threshold: a box goes where its IoU with a kept box of higher score is above this.

    Returns:
        `[k]` int32, the kept indices by falling score.

    Raises:
        AssertionError: if there are no boxes.
    """
    boxes = np.asarray(boxes)
    assert len(boxes) > 0, "non_max_suppression needs at least one box; given were none."
    if boxes.dtype.kind != "f":
        boxes = boxes.astype(np.float32)
    areas = box_area(boxes)
    order = np.argsort(scores)[::-1]
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        ious = compute_iou(boxes[best], boxes[rest], areas[best], areas[rest])
        order = rest[ious <= threshold]
    return np.array(kept, np.int32)
