"""The face of the model: `MaskRCNN`, and the names that old scripts import from here."""

from mrcnn.backbones.resnet import conv_block, identity_block, resnet_graph
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.heads.box import mrcnn_bbox_loss_graph, mrcnn_class_loss_graph
from mrcnn.heads.mask import mrcnn_mask_loss_graph
from mrcnn.heads.rpn import rpn_class_loss_graph
from mrcnn.inference.trace import log
from mrcnn.layers.losses import smooth_l1_loss
from mrcnn.layers.norm import BatchNorm
from mrcnn.legacy import imports as _imports
from mrcnn.legacy.detection_targets import build_detection_targets
from mrcnn.legacy.formulas import (
    build_rpn_targets,
    compute_backbone_shapes,
    mold_image,
    parse_image_meta,
    unmold_image,
)
from mrcnn.legacy.generator import DataGenerator, data_generator
from mrcnn.legacy.graph_names import (
    apply_box_deltas_graph,
    batch_pack_graph,
    build_fpn_mask_graph,
    build_rpn_model,
    clip_boxes_graph,
    denorm_boxes_graph,
    detection_targets_graph,
    fpn_classifier_graph,
    log2_graph,
    norm_boxes_graph,
    overlaps_graph,
    parse_image_meta_graph,
    refine_detections_graph,
    rpn_bbox_loss_graph,
    rpn_graph,
    trim_zeros_graph,
)
from mrcnn.legacy.image_gt import load_image_gt
from mrcnn.legacy.layers import (
    DetectionLayer,
    DetectionTargetLayer,
    ProposalLayer,
    PyramidROIAlign,
)
from mrcnn.mask_rcnn import MaskRCNN
from mrcnn.ops.meta import compose_image_meta

__getattr__ = _imports.lazy_imports(__name__, _imports.MODEL)
