"""Precision of instances, as in the 2018 Data Science Bowl."""

from __future__ import annotations

import numpy as np


def mask_overlaps(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """Compute the IoU of every mask of one stack with every mask of another.

    The numbers are those of `mrcnn.ops.masks.compute_overlaps_masks`, at a cost that grows with the
    pixels of the objects instead of the image: 300 cells in 1024 x 1024 pixels take a third of a
    second. RLEs of pycocotools take 20 times longer, because they begin with the whole image.

    Args:
        masks1, masks2: `[height, width, n1]` and `[height, width, n2]` bool; masks may overlap.

    Returns:
        `[n1, n2]` float64. Two empty masks give 0.

    Raises:
        ValueError: if the masks of the stacks differ in size.
    """
    if masks1.shape[:2] != masks2.shape[:2]:
        raise ValueError(
            f"Masks to compare must have one size; given: {masks1.shape[:2]} and "
            f"{masks2.shape[:2]}."
        )
    sparse1, sparse2 = _sparse(masks1), _sparse(masks2)
    intersections = (sparse1.T @ sparse2).toarray().astype(np.float64)
    areas1, areas2 = (np.asarray(sparse.sum(axis=0)).ravel() for sparse in (sparse1, sparse2))
    unions = areas1[:, np.newaxis] + areas2 - intersections
    return intersections / np.maximum(unions, 1)


def _sparse(masks):
    """Return `[height, width, n]` masks as a sparse int matrix `[height * width, n]`."""
    from scipy import sparse

    masks = np.asarray(masks).astype(bool, copy=False)
    pixels, count = masks.shape[0] * masks.shape[1], masks.shape[2]
    stacked = masks.transpose(2, 0, 1)
    # Read in memory order, because a copy would take most of the time: `detect` stores one instance
    # after the other, `load_mask` one pixel after the other.
    if stacked.flags.c_contiguous:
        column, row = np.divmod(np.flatnonzero(stacked), max(pixels, 1))
    else:
        row, column = np.divmod(np.flatnonzero(masks), max(count, 1))
    ones = np.ones(len(row), np.int32)
    return sparse.csr_matrix((ones, (row, column)), shape=(pixels, count))


def instance_precision(
    gt_masks: np.ndarray, pred_masks: np.ndarray, iou_threshold: float = 0.5
) -> tuple[int, int, int]:
    """Count true positives, false positives and false negatives of one image, whatever their class.

    An object and a prediction can match if their IoU is greater than the threshold. Each has one
    match at most, and as many as possible match. The precision of the image is
    `tp / (tp + fp + fn)`; the Bowl takes its mean over thresholds 0.5, 0.55 ... 0.95 and images.

    Args:
        gt_masks, pred_masks: `[height, width, n]` and `[height, width, m]` bool.
        iou_threshold: mask IoU that a match exceeds.

    Raises:
        ValueError: if the masks differ in size.
    """
    from scipy import sparse
    from scipy.sparse import csgraph

    overlaps = mask_overlaps(gt_masks, pred_masks)
    objects, predictions = overlaps.shape
    pairs = sparse.csr_matrix(overlaps > iou_threshold)
    tp = 0
    if pairs.nnz:
        tp = int(np.count_nonzero(csgraph.maximum_bipartite_matching(pairs, "column") >= 0))
    return tp, predictions - tp, objects - tp
