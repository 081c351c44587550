"""Matches of anchors and ground truth, and samples of them for training.

Shorthand: A anchors, G ground-truth boxes. All functions work on NumPy arrays, on the CPU side of
the input pipeline.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mrcnn.constants import NEGATIVE, NEUTRAL, POSITIVE


def match_anchors(
    overlaps: np.ndarray,
    crowd_mask: np.ndarray | None = None,
    negative_below: float = 0.3,
    positive_from: float = 0.7,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the role of every anchor in RPN training (Faster R-CNN, section 3.1.2).

    An anchor is positive if its best IoU is at least `positive_from`, or if it has the highest IoU
    of all anchors with one of the ground-truth boxes; ties count, so every object has a positive.
    Else it is negative if its best IoU is below `negative_below`. All others are neutral.

    Args:
        overlaps: `[A, G]` IoU of anchors and ground-truth boxes without crowds.
        crowd_mask: `[A]` bool, True for anchors that overlap a crowd: they are never negative.
        negative_below: upper limit of the IoU of negatives.
        positive_from: lowest IoU of positives.

    Returns:
        match: `[A]` int32, POSITIVE, NEGATIVE or NEUTRAL.
        gt_index: `[A]` int64, the ground-truth box of the best IoU, the first one of a tie; valid
            for positives only.
    """
    # `compute_overlaps` returns the transpose of a [G, A] array, so these rows are contiguous.
    by_gt = np.asarray(overlaps).T
    best = np.zeros(by_gt.shape[1], by_gt.dtype)
    gt_index = np.zeros(by_gt.shape[1], np.int64)
    forced = np.zeros(by_gt.shape[1], bool)
    for index, ious in enumerate(by_gt):
        better = ious > best
        best[better] = ious[better]
        gt_index[better] = index
        highest = ious.max(initial=0)
        # A box that no anchor overlaps has its "best" IoU, 0, with nearly every anchor.
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
        rng: `np.random`, a `RandomState` or a `Generator`. With `np.random` and a seed the result
            is that of the original, which drew the indices to drop with `np.random.choice`.

    Returns:
        `[min(n, count)]` in random order; `indices` unchanged if they are not too many.
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
    """Draw at most `count` positives and negatives; all others become neutral.

    Positives take at most `positive_limit(count, positive_fraction)` places, negatives the rest.

    Args:
        match: `[A]`, POSITIVE, NEGATIVE or NEUTRAL.
        count: places for both.
        positive_fraction: of `count`.
        rng: see `subsample`.

    Returns:
        A copy of `match`, NEUTRAL for anchors that were not drawn.
    """
    positives, negatives = (np.flatnonzero(match == code) for code in (POSITIVE, NEGATIVE))
    positives = subsample(positives, positive_limit(count, positive_fraction), rng)
    negatives = subsample(negatives, count - len(positives), rng)
    sampled = np.full_like(match, NEUTRAL)
    sampled[positives] = POSITIVE
    sampled[negatives] = NEGATIVE
    return sampled
