"""Mask R-CNN on one page: how an image becomes detections, and what it learns from.

B images, A anchors, P proposals, R RoIs, D detections, K classes (0 is the background), S anchors
and G instances of ground truth an image. Boxes are (y1, x1, y2, x2), float32, normalized, unless a
name ends in _px.
"""

from types import SimpleNamespace

import keras
from keras import layers

from mrcnn.backbones import build_backbone
from mrcnn.backbones.fpn import fpn
from mrcnn.heads.box import BoxHead
from mrcnn.heads.mask import MaskHead
from mrcnn.heads.rpn import RPN
from mrcnn.inputs import model_inputs
from mrcnn.layers.anchors import AnchorLayer
from mrcnn.layers.boxes import NormalizeBoxes
from mrcnn.layers.detections import DetectionLayer
from mrcnn.layers.precision import in_precision
from mrcnn.layers.proposals import ProposalLayer
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.weights.keras_model import CheckpointModel

ROI_LEVELS = ("P2", "P3", "P4", "P5")


@in_precision
def build_graph(config, mode):
    """The Keras model of a configuration.

    Arguments:
        config: a Config. This is the only place where it meets the layers, which take scalars.
        mode: "training" or "inference". Both have the same weights.

    Returns:
        A functional `keras.Model`, for batches of any size.
        Inference: inputs input_image, input_image_meta, input_anchors; outputs detections
            [B, D, (y1, x1, y2, x2, class_id, score)], mrcnn_class [B, P, K], mrcnn_bbox
            [B, P, K, 4], mrcnn_mask [B, D, 28, 28, K], rpn_rois [B, P, 4], rpn_class [B, A, 2],
            rpn_bbox [B, A, 4].
        Training: inputs input_image, input_image_meta, input_rpn_match [B, A, 1], input_rpn_bbox
            [B, S, 4], input_gt_class_ids [B, G], input_gt_boxes_px [B, G, 4], input_gt_masks
            [B, h, w, G] (and input_roi_px [B, P, 4] without USE_RPN_ROIS); outputs
            rpn_class_logits, rpn_class, rpn_bbox, mrcnn_class_logits [B, R, K], mrcnn_class,
            mrcnn_bbox, mrcnn_mask (of the batch's positive RoIs alone, [1, positives, 28, 28, K]),
            rpn_rois, output_rois [B, R, 4], and the five losses, [1] each.
    """
    # === Layers ===
    c = config
    rpn = RPN(
        len(c.RPN_ANCHOR_RATIOS), c.RPN_ANCHOR_STRIDE, c.TOP_DOWN_PYRAMID_SIZE, c.LOSS_WEIGHTS
    )
    box_head = BoxHead(c.NUM_CLASSES, c.FPN_CLASSIF_FC_LAYERS_SIZE, c.TRAIN_BN, c.LOSS_WEIGHTS)
    mask_head = MaskHead(c.NUM_CLASSES, c.TRAIN_BN, c.LOSS_WEIGHTS)
    box_align = PyramidROIAlign([c.POOL_SIZE] * 2, c.ROI_ALIGN, name="roi_align_classifier")
    mask_align = PyramidROIAlign([c.MASK_POOL_SIZE] * 2, c.ROI_ALIGN, name="roi_align_mask")
    propose = ProposalLayer(
        c.POST_NMS_ROIS_TRAINING if mode == "training" else c.POST_NMS_ROIS_INFERENCE,
        c.RPN_NMS_THRESHOLD,
        pre_nms_limit=c.PRE_NMS_LIMIT,
        bbox_std_dev=c.RPN_BBOX_STD_DEV,
        name="ROI",
    )

    # === Graph ===
    x = SimpleNamespace(
        **{i.name: keras.Input(i.shape, dtype=i.dtype, name=i.name) for i in model_inputs(c, mode)}
    )
    inputs = list(vars(x).values())
    image, meta = x.input_image, x.input_image_meta
    stages = build_backbone(c.BACKBONE, image, c.TRAIN_BN, c.BACKBONE_STRIDES[0], c.MEAN_PIXEL)
    pyramid = fpn(stages, c.TOP_DOWN_PYRAMID_SIZE)
    roi_features = [meta, *(pyramid[level] for level in ROI_LEVELS)]
    rpn_logits, rpn_probs, rpn_deltas = rpn(pyramid)

    if mode == "inference":
        # Boxes first, then masks of the boxes that are left.
        proposals = propose([rpn_probs, rpn_deltas, x.input_anchors])
        _, probs, deltas = box_head(box_align([proposals, *roi_features]))
        detections = DetectionLayer(
            max_instances=c.DETECTION_MAX_INSTANCES,
            min_confidence=c.DETECTION_MIN_CONFIDENCE,
            nms_threshold=c.DETECTION_NMS_THRESHOLD,
            bbox_std_dev=c.BBOX_STD_DEV,
            name="mrcnn_detection",
        )([proposals, probs, deltas, meta])
        boxes, detected = detections[..., :4], detections[..., 4] > 0
        masks = mask_head(mask_align([boxes, *roi_features]), keep=detected)
        outputs = [detections, probs, deltas, masks, proposals, rpn_probs, rpn_deltas]
        return CheckpointModel(inputs, outputs, name="mask_rcnn")

    if c.USE_RPN_ROIS:
        anchors = AnchorLayer(
            c.RPN_ANCHOR_SCALES,
            c.RPN_ANCHOR_RATIOS,
            c.BACKBONE_STRIDES,
            c.RPN_ANCHOR_STRIDE,
            name="anchors",
        )(image, list(pyramid.values()))
        proposals = propose([rpn_probs, rpn_deltas, anchors])
    else:
        proposals = NormalizeBoxes(name="ROI")(x.input_roi, image)
    gt_boxes = NormalizeBoxes(name="gt_boxes")(x.input_gt_boxes, image)
    rois, target_ids, target_deltas, target_masks = DetectionTargetLayer(
        rois_per_image=c.TRAIN_ROIS_PER_IMAGE,
        positive_ratio=c.ROI_POSITIVE_RATIO,
        mask_shape=c.MASK_SHAPE,
        mini_masks=c.USE_MINI_MASK,
        bbox_std_dev=c.BBOX_STD_DEV,
        name="proposal_targets",
    )([proposals, x.input_gt_class_ids, gt_boxes, x.input_gt_masks])
    rois = layers.Identity(dtype="float32", name="output_rois")(rois)
    logits, probs, deltas = box_head(box_align([rois, *roi_features]))
    # Positives come first, and only they have a mask.
    most = max(1, int(c.TRAIN_ROIS_PER_IMAGE * c.ROI_POSITIVE_RATIO))
    positive = target_ids[:, :most] > 0
    masks = mask_head(mask_align([rois[:, :most], *roi_features]), keep=positive, restore=False)
    losses = [
        *rpn.losses(x.input_rpn_match, x.input_rpn_bbox, rpn_logits, rpn_deltas),
        *box_head.losses(target_ids, target_deltas, meta, logits, deltas),
        mask_head.loss(target_masks[:, :most], target_ids[:, :most], masks, positive),
    ]

    # === Model ===
    outputs = [rpn_logits, rpn_probs, rpn_deltas, logits, probs, deltas, masks, proposals, rois]
    return CheckpointModel(inputs, outputs + losses, name="mask_rcnn")
