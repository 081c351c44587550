"""The historical `mrcnn.utils`: every name that scripts, notebooks and subclasses take from it.

The code lives elsewhere; this is an index, with `compute_coco_metrics` for what the original left
to every user. Importing it does not import TensorFlow: the functions that need it do so when they
are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mrcnn.data.dataset import Dataset
from mrcnn.evaluation.ap import compute_ap, compute_ap_range, compute_matches, compute_recall
from mrcnn.evaluation.dataset_metrics import compute_coco_metrics
from mrcnn.ops.anchors import generate_anchors, generate_pyramid_anchors
from mrcnn.ops.boxes import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    encode_boxes,
    norm_boxes,
    trim_zeros,
)
from mrcnn.ops.images import resize, resize_image
from mrcnn.ops.masks import (
    compute_overlaps_masks,
    expand_mask,
    extract_bboxes,
    minimize_mask,
    mold_mask,
    resize_mask,
    unmold_mask,
)
from mrcnn.ops.match import non_max_suppression
from mrcnn.weights.download import COCO_MODEL_URL, download_trained_weights

__all__ = [
    "COCO_MODEL_URL",
    "Dataset",
    "apply_box_deltas",
    "batch_slice",
    "box_refinement",
    "box_refinement_graph",
    "compute_ap",
    "compute_ap_range",
    "compute_coco_metrics",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "mold_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]


def batch_slice(inputs: Any, graph_fn: Callable, batch_size: int, names: Any = None) -> Any:
    """Run a function for one image on a batch: see `mrcnn.layers.batching.batch_slice`."""
    from mrcnn.layers import batching

    return batching.batch_slice(inputs, graph_fn, batch_size, names)


def box_refinement_graph(box: Any, gt_box: Any) -> Any:
    """`box_refinement` on tensors: `[n, (y1, x1, y2, x2)]` twice to `[n, 4]` float32 deltas."""
    from keras import ops

    return encode_boxes(box, gt_box, xp=ops)
