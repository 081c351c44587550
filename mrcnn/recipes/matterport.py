"""Recipe of Matterport's Mask R-CNN: every choice of the original on one page.

Values that users can choose come from the `Config`; plain numbers here are fixed in the original.
`docs/differences.md` compares them with the paper.
"""

from functools import partial

from mrcnn.backbones import build_backbone
from mrcnn.backbones.fpn import fpn
from mrcnn.data.rpn_targets import RPNTargets
from mrcnn.heads.box import BoxHead
from mrcnn.heads.mask import MaskHead
from mrcnn.heads.rpn import RPN
from mrcnn.inputs import model_inputs
from mrcnn.layers.anchors import AnchorLayer
from mrcnn.layers.boxes import NormalizeBoxes
from mrcnn.layers.detections import DetectionLayer
from mrcnn.layers.norm import BatchNorm
from mrcnn.layers.proposals import ProposalLayer
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.ops.anchors import AnchorGenerator
from mrcnn.ops.space import BoxSpace
from mrcnn.recipes.parts import NetworkParts, Operators

# 0 is the centre of the first row or column, 1 that of the last.
SPACE = BoxSpace(shift=1.0)


def anchors(c):
    """Return the `AnchorGenerator`: one size per level, centres at the cells' first pixels."""
    own_shapes = c.COMPUTE_BACKBONE_SHAPE if callable(c.BACKBONE) else None
    return AnchorGenerator(
        sizes=tuple((float(size),) for size in c.RPN_ANCHOR_SCALES),
        ratios=(tuple(map(float, c.RPN_ANCHOR_RATIOS)),) * len(c.RPN_ANCHOR_SCALES),
        strides=tuple(map(int, c.BACKBONE_STRIDES)),
        spacing=c.RPN_ANCHOR_STRIDE,
        offset=0.0,
        level_shapes=own_shapes,
    )


def rpn_targets(c):
    """Return the `RPNTargets`: matcher and sampler of anchors."""
    return RPNTargets(
        anchors(c),
        count=c.RPN_TRAIN_ANCHORS_PER_IMAGE,
        std_dev=c.RPN_BBOX_STD_DEV,
        negative_below=0.3,
        positive_from=0.7,
        positive_fraction=0.5,
        crowd_iou=0.001,
    )


# Settings that decide names and shapes of weights. Operators of another Config work with a network
# if these settings agree.
WEIGHT_SETTINGS = (
    "BACKBONE",
    "BACKBONE_STRIDES",
    "FPN_CLASSIF_FC_LAYERS_SIZE",
    "IMAGE_CHANNEL_COUNT",
    "NUM_CLASSES",
    "POOL_SIZE",
    "RPN_ANCHOR_RATIOS",
    "RPN_ANCHOR_STRIDE",
    "TOP_DOWN_PYRAMID_SIZE",
)


def network_parts(c):
    """Return the `NetworkParts`: batch norm in all heads, class-specific boxes and masks."""
    norm = partial(BatchNorm, train_bn=c.TRAIN_BN)
    return NetworkParts(
        backbone=lambda image: build_backbone(
            c.BACKBONE, image, c.TRAIN_BN, c.BACKBONE_STRIDES[0], c.MEAN_PIXEL, c.STD_PIXEL
        ),
        neck=partial(fpn, channels=c.TOP_DOWN_PYRAMID_SIZE),
        rpn=RPN(
            anchors(c).per_cell,
            channels=c.TOP_DOWN_PYRAMID_SIZE,
            hidden=512,
            logits=2,
            anchor_stride=c.RPN_ANCHOR_STRIDE,
            loss_weights=c.LOSS_WEIGHTS,
        ),
        box_head=BoxHead(
            c.NUM_CLASSES, c.POOL_SIZE, c.FPN_CLASSIF_FC_LAYERS_SIZE, norm, c.LOSS_WEIGHTS
        ),
        mask_head=MaskHead(c.NUM_CLASSES, 256, norm, c.LOSS_WEIGHTS),
    )


def operators(c, fixed_shapes=False):
    """Return the `Operators`: joint NMS over levels, one class per RoI, one sample per bin.

    Args:
        c: a `Config`.
        fixed_shapes: see `Operators`.
    """
    generator, shift = anchors(c), SPACE.shift
    counts = {"training": c.POST_NMS_ROIS_TRAINING, "inference": c.POST_NMS_ROIS_INFERENCE}
    if not c.USE_RPN_ROIS:
        del counts["training"]

    def propose(count):
        layer = ProposalLayer(
            count,
            c.RPN_NMS_THRESHOLD,
            pre_nms_limit=c.PRE_NMS_LIMIT,
            bbox_std_dev=c.RPN_BBOX_STD_DEV,
            name="ROI",
        )
        return lambda rpn, anchors, *_: layer([rpn.probs, rpn.deltas, anchors])

    def align(pool_size, name):
        # Rounded, not floored: level 4 for a box of 224 pixels, 5 from 224 * sqrt(2) on.
        return PyramidROIAlign(
            [pool_size] * 2,
            c.ROI_ALIGN,
            level_rounding="round",
            box_shift=shift,
            fixed_shapes=fixed_shapes,
            name=name,
        )

    return Operators(
        inputs=partial(model_inputs, c),
        roi_levels=("P2", "P3", "P4", "P5"),
        anchors=AnchorLayer(
            generator.sizes,
            generator.ratios,
            generator.strides,
            generator.spacing,
            generator.offset,
            box_shift=shift,
            name="anchors",
        ),
        propose={mode: propose(count) for mode, count in counts.items()},
        normalize=partial(NormalizeBoxes, shift),
        targets=DetectionTargetLayer(
            rois_per_image=c.TRAIN_ROIS_PER_IMAGE,
            positive_ratio=c.ROI_POSITIVE_RATIO,
            mask_shape=c.MASK_SHAPE,
            mini_masks=c.USE_MINI_MASK,
            bbox_std_dev=c.BBOX_STD_DEV,
            positive_iou=0.5,
            crowd_iou=0.001,
            box_shift=shift,
            name="proposal_targets",
        ),
        box_align=align(c.POOL_SIZE, "roi_align_classifier"),
        mask_align=align(c.MASK_POOL_SIZE, "roi_align_mask"),
        detect=DetectionLayer(
            max_instances=c.DETECTION_MAX_INSTANCES,
            min_confidence=c.DETECTION_MIN_CONFIDENCE or 0,
            nms_threshold=c.DETECTION_NMS_THRESHOLD,
            bbox_std_dev=c.BBOX_STD_DEV,
            box_shift=shift,
            name="mrcnn_detection",
        ),
        fixed_shapes=fixed_shapes,
    )
