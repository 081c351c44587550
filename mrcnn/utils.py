"""The historical `mrcnn.utils`: every name that scripts, notebooks and subclasses take from it.

The code lives elsewhere; this is an index, with `compute_coco_metrics` for what the original left
to every user. Importing it does not import TensorFlow.
"""

from __future__ import annotations

from typing import Any

from mrcnn.data.dataset import Dataset
from mrcnn.evaluation.ap import compute_ap, compute_ap_range, compute_matches, compute_recall
from mrcnn.evaluation.dataset_metrics import compute_coco_metrics
from mrcnn.legacy.formulas import (
    apply_box_deltas,
    box_refinement,
    denorm_boxes,
    generate_anchors,
    generate_pyramid_anchors,
    mold_mask,
    norm_boxes,
)
from mrcnn.ops.boxes import compute_iou, compute_overlaps, trim_zeros
from mrcnn.ops.images import resize, resize_image
from mrcnn.ops.masks import (
    compute_overlaps_masks,
    expand_mask,
    extract_bboxes,
    minimize_mask,
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


def __getattr__(name: str) -> Any:
    """Import the names that need TensorFlow when they are asked for."""
    if name not in ("batch_slice", "box_refinement_graph"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mrcnn.legacy import graph_names

    return getattr(graph_names, name)
