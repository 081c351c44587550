"""Parts that a recipe provides, and the calls that the graph makes to each of them.

B images, A anchors, P proposals, R RoIs, K classes with the background. Boxes are
(y1, x1, y2, x2), float32, normalized in the recipe's `BoxSpace`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mrcnn.inputs import Input


@dataclass(frozen=True)
class NetworkParts:
    """Parts with weights, each made once and shared by all graphs of a network.

    Attributes:
        backbone: function from an image `[B, h, w, channels]` to `{"C2": ..., "C5": ...}`.
        neck: function from these to a pyramid `{"P2": ..., "P6": ...}`, finest level first.
        rpn: applied to the pyramid it returns `RPNOutputs`; `losses(rpn_match, rpn_bbox, outputs)`
            returns a dict of losses.
        box_head: applied to RoI features `[B, R, h, w, channels]` it returns logits `[B, R, K]`,
            probabilities `[B, R, K]` and deltas `[B, R, K, 4]`; `losses(target_class_ids,
            target_deltas, active_class_ids, logits, deltas)` returns a dict of losses.
        mask_head: applied to RoI features and a bool `keep` `[B, R]` it returns masks; see
            `mrcnn.heads.mask.MaskHead`. `losses(target_masks, target_class_ids, masks, keep)`
            returns a dict of losses.
    """

    backbone: Callable
    neck: Callable
    rpn: Any
    box_head: Any
    mask_head: Any


@dataclass(frozen=True)
class Operators:
    """Parts without weights, which a graph puts between the others.

    Attributes:
        inputs: function from "training" or "inference" to a list of `mrcnn.inputs.Input`.
        roi_levels: names of the pyramid levels that RoI features come from, finest first.
        anchors: layer from an image and a list of pyramid levels to anchors `[B, A, 4]`.
        propose: dict from mode to a function from `RPNOutputs`, anchors, windows in pixels `[B, 4]`
            and the image to proposals `[B, P, 4]`, zero padded. Without "training", RoIs come from
            the input "input_roi".
        normalize: function from a layer name to a layer that takes boxes in pixels `[B, n, 4]` and
            the image, and returns them normalized.
        targets: layer from `[proposals, class ids, boxes, masks]` to RoIs and their targets, with
            at most `max_positives` positives, which come first.
        box_align, mask_align: layers from `[boxes, image, *levels]` to RoI features.
        detect: layer from `[rois, probabilities, deltas, windows in pixels, image]` to detections
            `[B, D, (y1, x1, y2, x2, class_id, score)]`, zero padded.
        fixed_shapes: whether the inference graph of a batch and an image of known sizes has known
            shapes throughout, and plain gathers, as runtimes for small devices need it. It costs
            work on boxes that turn out to be padding.
    """

    inputs: Callable[[str], list[Input]]
    roi_levels: tuple[str, ...]
    anchors: Callable
    propose: dict[str, Callable]
    normalize: Callable
    targets: Any
    box_align: Callable
    mask_align: Callable
    detect: Callable
    fixed_shapes: bool = False
