"""The historical `mrcnn.utils`: every name that scripts, notebooks and subclasses take from it.

The code lives elsewhere; this is an index, with `compute_coco_metrics` for what the original left
to every user. Importing it does not import TensorFlow.
"""

from mrcnn.data.dataset import Dataset
from mrcnn.evaluation.ap import compute_ap, compute_ap_range, compute_matches, compute_recall
from mrcnn.evaluation.dataset_metrics import compute_coco_metrics
from mrcnn.legacy import imports as _imports
from mrcnn.legacy.formulas import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    denorm_boxes,
    generate_anchors,
    generate_pyramid_anchors,
    mold_mask,
    non_max_suppression,
    norm_boxes,
    resize_image,
)
from mrcnn.ops.boxes import compute_overlaps, trim_zeros
from mrcnn.ops.images import resize
from mrcnn.ops.masks import (
    compute_overlaps_masks,
    expand_mask,
    extract_bboxes,
    minimize_mask,
    resize_mask,
    unmold_mask,
)
from mrcnn.weights.download import COCO_MODEL_URL, download_trained_weights

# These need TensorFlow, and are imported when they are asked for.
_LAZY = {
    name: f"mrcnn.legacy.graph_names:{name}" for name in ("batch_slice", "box_refinement_graph")
}

__all__ = [*(name for name in globals() if not name.startswith("_")), *_LAZY]

__getattr__ = _imports.lazy_imports(__name__, _LAZY | _imports.UTILS)
