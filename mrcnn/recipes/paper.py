"""Recipe of the paper's Mask R-CNN, as torchvision and Detectron2 build it.

Laid beside `matterport.py` it shows each difference between the original and the paper once. Values
that users can choose come from the `PaperConfig`; `docs/paper.md` compares them with the paper.
"""

from functools import partial

import keras

from mrcnn.backbones import build_backbone
from mrcnn.backbones.fpn import fpn
from mrcnn.backbones.resnet import ResNetStage
from mrcnn.data.rpn_targets import RPNTargets
from mrcnn.heads.box import BoxHead, FullyConnected, losses_per_roi
from mrcnn.heads.mask import MaskHead
from mrcnn.heads.rpn import RPN
from mrcnn.inputs import model_inputs
from mrcnn.layers.anchors import AnchorLayer
from mrcnn.layers.boxes import NormalizeBoxes
from mrcnn.layers.class_detections import ClassDetectionLayer
from mrcnn.layers.level_proposals import LevelProposalLayer
from mrcnn.layers.norm import make_norm
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.ops.anchors import AnchorGenerator
from mrcnn.ops.space import BoxSpace
from mrcnn.recipes.parts import NetworkParts, Operators

# 0 and 1 are the borders of the image.
SPACE = BoxSpace(shift=0.0)

# The levels of each neck with their strides, and how many of them give RoI features.
LEVELS = {
    "fpn": ({"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}, 4),
    "c4": ({"C4": 16}, 1),
    "c5": ({"C5": 32}, 1),
    "dc5": ({"C5": 16}, 1),
}


def anchors(c):
    """Return the `AnchorGenerator`: one size per level, or all sizes on the only level."""
    levels, _ = LEVELS[c.NECK]
    sizes = tuple(map(float, c.RPN_ANCHOR_SCALES))
    return AnchorGenerator(
        sizes=tuple((size,) for size in sizes) if c.NECK == "fpn" else (sizes,),
        ratios=(tuple(map(float, c.RPN_ANCHOR_RATIOS)),) * len(levels),
        strides=tuple(levels.values()),
        spacing=c.RPN_ANCHOR_STRIDE,
        offset=0.0,
        rounded=c.RPN_ANCHORS_ROUNDED,
        fitted_strides=c.RPN_STRIDES_FITTED,
        level_shapes=c.COMPUTE_BACKBONE_SHAPE if callable(c.BACKBONE) else None,
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
    "BACKBONE_NORM",
    "BOX_HEAD",
    "FPN_CLASSIF_FC_LAYERS_SIZE",
    "FPN_EXTRA_LEVEL",
    "FPN_NORM",
    "HEAD_NORM",
    "IMAGE_CHANNEL_COUNT",
    "NECK",
    "NUM_CLASSES",
    "POOL_SIZE",
    "RESNET_STYLE",
    "RPN_ANCHOR_RATIOS",
    "RPN_ANCHOR_STRIDE",
    "RPN_CONVS",
    "TOP_DOWN_PYRAMID_SIZE",
)


def network_parts(c):
    """Return the `NetworkParts`: no normalization in the heads unless the Config asks for it."""

    def norm(kind):
        return make_norm(kind, c.TRAIN_BN, c.NORM_EPSILON)

    backbone = partial(
        build_backbone,
        c.BACKBONE,
        train_bn=c.TRAIN_BN,
        first_stride=c.BACKBONE_STRIDES[0],
        mean_pixel=c.MEAN_PIXEL,
        std_pixel=c.STD_PIXEL,
        style=c.RESNET_STYLE,
        norm=c.BACKBONE_NORM,
        epsilon=c.NORM_EPSILON,
        stage5=c.NECK != "c4",
        dilation5=2 if c.NECK == "dc5" else 1,
    )
    if c.NECK == "fpn":
        neck = partial(
            fpn,
            channels=c.TOP_DOWN_PYRAMID_SIZE,
            norm=norm(c.FPN_NORM),
            extra_level=c.FPN_EXTRA_LEVEL,
        )
    else:
        neck = partial(_one_level, *LEVELS[c.NECK][0])
    box_trunk, mask_head = _head_parts(c, norm)
    box_head = BoxHead(c.NUM_CLASSES, loss_weights=c.LOSS_WEIGHTS, trunk=box_trunk)
    box_head.loss_functions = losses_per_roi(c.BOX_LOSS_BETA)
    return NetworkParts(
        backbone=backbone,
        neck=neck,
        rpn=RPN(
            anchors(c).per_cell,
            hidden=None,
            logits=1,
            anchor_stride=c.RPN_ANCHOR_STRIDE,
            loss_weights=c.LOSS_WEIGHTS,
            convs=c.RPN_CONVS,
            bbox_loss=("rpn_bbox_loss_per_anchor", {"beta": float(c.RPN_LOSS_BETA)}),
        ),
        box_head=box_head,
        mask_head=mask_head,
    )


def _one_level(name, stages):
    """Return the pyramid of a network without FPN: one stage of the backbone."""
    return {name: stages[name]}


def _head_parts(c, norm):
    """Return the trunk of the box head, and the mask head."""
    mask_options = {"channels": 256, "loss_weights": c.LOSS_WEIGHTS}
    if c.NECK == "c4":
        stage5 = ResNetStage(
            c.BACKBONE,
            style=c.RESNET_STYLE,
            norm=c.BACKBONE_NORM,
            train_bn=c.TRAIN_BN,
            epsilon=c.NORM_EPSILON,
            rois=True,
        )
        mask_head = MaskHead(c.NUM_CLASSES, convs=0, trunk=stage5, **mask_options)
        return partial(_mean_of_stage, stage5), mask_head
    conv_norm = norm(c.HEAD_NORM)
    box_trunk = FullyConnected(
        c.POOL_SIZE,
        c.FPN_CLASSIF_FC_LAYERS_SIZE,
        count=1 if c.BOX_HEAD == "4conv1fc" else 2,
        convs=[256] * 4 if c.BOX_HEAD == "4conv1fc" else (),
        conv_norm=conv_norm,
    )
    return box_trunk, MaskHead(
        c.NUM_CLASSES,
        norm=conv_norm,
        norm_name="mrcnn_mask_norm",
        use_bias=conv_norm is None,
        **mask_options,
    )


def _mean_of_stage(stage5, x):
    """Return the mean over the cells of each RoI, `[B, R, channels]`, after the last stage."""
    return keras.ops.mean(stage5(x), axis=(2, 3))


def operators(c, fixed_shapes=False):
    """Return the `Operators`: NMS per level, all classes of a RoI, several samples per bin.

    Args:
        c: a `PaperConfig`.
        fixed_shapes: see `Operators`.
    """
    generator, shift = anchors(c), SPACE.shift
    counts = {
        "training": (c.POST_NMS_ROIS_TRAINING, c.PRE_NMS_ROIS_TRAINING),
        "inference": (c.POST_NMS_ROIS_INFERENCE, c.PRE_NMS_ROIS_INFERENCE),
    }
    if not c.USE_RPN_ROIS:
        del counts["training"]

    def propose(count, pre_nms_count):
        layer = LevelProposalLayer(
            count, pre_nms_count, c.RPN_NMS_THRESHOLD, c.RPN_BBOX_STD_DEV, shift, name="ROI"
        )

        def call(rpn, anchors, windows, image):
            levels = [(logits, deltas) for logits, _, deltas in rpn.levels.values()]
            return layer(levels, anchors, windows, image)

        return call

    levels, roi_levels = LEVELS[c.NECK]

    def align(pool_size, name):
        # The last stage of a ResNet, on RoIs, halves its input.
        side = 2 * pool_size if c.NECK == "c4" else pool_size
        # Without a pyramid, sides need not be multiples of the stride: the last cell is cut.
        strides = None if c.NECK == "fpn" else tuple(levels.values())
        return PyramidROIAlign(
            [side] * 2,
            c.ROI_ALIGN,
            level_rounding="floor",
            box_shift=shift,
            samples=c.ROI_SAMPLES,
            half_pixel=c.ROI_HALF_PIXEL,
            strides=strides,
            fixed_shapes=fixed_shapes,
            name=name,
        )

    return Operators(
        inputs=partial(model_inputs, c),
        roi_levels=tuple(levels)[:roi_levels],
        anchors=AnchorLayer(
            generator.sizes,
            generator.ratios,
            generator.strides,
            generator.spacing,
            generator.offset,
            generator.rounded,
            generator.fitted_strides,
            box_shift=shift,
            name="anchors",
        ),
        propose={mode: propose(*count) for mode, count in counts.items()},
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
            add_gt=True,
            fill_negatives=True,
            padding_class=-1,
            mask_targets="align",
            mask_threshold=c.MASK_TARGET_THRESHOLD,
            half_pixel=c.ROI_HALF_PIXEL,
            name="proposal_targets",
        ),
        box_align=align(c.POOL_SIZE, "roi_align_classifier"),
        mask_align=align(c.MASK_POOL_SIZE, "roi_align_mask"),
        detect=ClassDetectionLayer(
            max_instances=c.DETECTION_MAX_INSTANCES,
            min_confidence=c.DETECTION_MIN_CONFIDENCE or 0,
            nms_threshold=c.DETECTION_NMS_THRESHOLD,
            bbox_std_dev=c.BBOX_STD_DEV,
            box_shift=shift,
            fixed_shapes=fixed_shapes,
            name="mrcnn_detection",
        ),
        fixed_shapes=fixed_shapes,
    )
