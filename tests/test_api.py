"""The names and signatures that scripts written for the original call."""

import importlib
import inspect

import pytest

from mrcnn import config_check
from mrcnn.config import Config

# One line a name: "module name (parameters)". A parameter without a default may have one here.
SIGNATURES = """\
config Config.display (self)
config Config.to_dict (self)

utils Dataset (class_map=None)
utils Dataset.add_class (self, source, class_id, class_name)
utils Dataset.add_image (self, source, image_id, path, **kwargs)
utils Dataset.image_reference (self, image_id)
utils Dataset.prepare (self, class_map=None)
utils Dataset.map_source_class_id (self, source_class_id)
utils Dataset.get_source_class_id (self, class_id, source)
utils Dataset.source_image_link (self, image_id)
utils Dataset.load_image (self, image_id)
utils Dataset.load_mask (self, image_id)
utils extract_bboxes (mask)
utils compute_iou (box, boxes, box_area, boxes_area)
utils compute_overlaps (boxes1, boxes2)
utils compute_overlaps_masks (masks1, masks2)
utils non_max_suppression (boxes, scores, threshold)
utils apply_box_deltas (boxes, deltas)
utils box_refinement (box, gt_box)
utils box_refinement_graph (box, gt_box)
utils resize_image (image, min_dim=None, max_dim=None, min_scale=None, mode="square")
utils resize_mask (mask, scale, padding, crop=None)
utils minimize_mask (bbox, mask, mini_shape)
utils expand_mask (bbox, mini_mask, image_shape)
utils mold_mask (mask, config)
utils unmold_mask (mask, bbox, image_shape)
utils generate_anchors (scales, ratios, shape, feature_stride, anchor_stride)
utils generate_pyramid_anchors (scales, ratios, feature_shapes, feature_strides, anchor_stride)
utils trim_zeros (x)
utils compute_matches (gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, \
pred_masks, iou_threshold=0.5, score_threshold=0.0)
utils compute_ap (gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, \
pred_masks, iou_threshold=0.5)
utils compute_ap_range (gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, \
pred_mask, iou_thresholds=None, verbose=1)
utils compute_recall (pred_boxes, gt_boxes, iou)
utils batch_slice (inputs, graph_fn, batch_size, names=None)
utils download_trained_weights (coco_model_path, verbose=1)
utils norm_boxes (boxes, shape)
utils denorm_boxes (boxes, shape)
utils resize (image, output_shape, order=1, mode="constant", cval=0, clip=True, \
preserve_range=False, anti_aliasing=False, anti_aliasing_sigma=None)

model log (text, array=None)
model BatchNorm.call (self, inputs, training=None)
model compute_backbone_shapes (config, image_shape)
model identity_block (input_tensor, kernel_size, filters, stage, block, use_bias=True, \
train_bn=True)
model conv_block (input_tensor, kernel_size, filters, stage, block, strides=(2, 2), \
use_bias=True, train_bn=True)
model resnet_graph (input_image, architecture, stage5=False, train_bn=True)
model apply_box_deltas_graph (boxes, deltas)
model clip_boxes_graph (boxes, window)
model overlaps_graph (boxes1, boxes2)
model detection_targets_graph (proposals, gt_class_ids, gt_boxes, gt_masks, config)
model refine_detections_graph (rois, probs, deltas, window, config)
model log2_graph (x)
model trim_zeros_graph (boxes, name="trim_zeros")
model batch_pack_graph (x, counts, num_rows)
model norm_boxes_graph (boxes, shape)
model denorm_boxes_graph (boxes, shape)
model parse_image_meta_graph (meta)
model smooth_l1_loss (y_true, y_pred)
model rpn_class_loss_graph (rpn_match, rpn_class_logits)
model rpn_bbox_loss_graph (config, target_bbox, rpn_match, rpn_bbox)
model mrcnn_class_loss_graph (target_class_ids, pred_class_logits, active_class_ids)
model mrcnn_bbox_loss_graph (target_bbox, target_class_ids, pred_bbox)
model mrcnn_mask_loss_graph (target_masks, target_class_ids, pred_masks)
model rpn_graph (feature_map, anchors_per_location, anchor_stride)
model build_rpn_model (anchor_stride, anchors_per_location, depth)
model fpn_classifier_graph (rois, feature_maps, image_meta, pool_size, num_classes, \
train_bn=True, fc_layers_size=1024)
model build_fpn_mask_graph (rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True)
model ProposalLayer (proposal_count, nms_threshold, config)
model PyramidROIAlign (pool_shape)
model DetectionTargetLayer (config)
model DetectionLayer (config=None)
model load_image_gt (dataset, config, image_id, augment=False, augmentation=None, \
use_mini_mask=False)
model build_detection_targets (rpn_rois, gt_class_ids, gt_boxes, gt_masks, config)
model build_rpn_targets (image_shape, anchors, gt_class_ids, gt_boxes, config)
model generate_random_rois (image_shape, count, gt_class_ids, gt_boxes)
model data_generator (dataset, config, shuffle=True, augment=False, augmentation=None, \
random_rois=0, batch_size=1, detection_targets=False, no_augmentation_sources=None)
model DataGenerator (dataset, config, shuffle=True, augmentation=None, random_rois=0, \
detection_targets=False)
model compose_image_meta (image_id, original_image_shape, image_shape, window, scale, \
active_class_ids)
model parse_image_meta (meta)
model mold_image (images, config)
model unmold_image (normalized_images, config)
model MaskRCNN (mode, config, model_dir)
model MaskRCNN.build (self, mode, config)
model MaskRCNN.train (self, train_dataset, val_dataset, learning_rate, epochs, layers, \
augmentation=None, custom_callbacks=None, no_augmentation_sources=None)
model MaskRCNN.detect (self, images, verbose=0)
model MaskRCNN.detect_molded (self, molded_images, image_metas, verbose=0)
model MaskRCNN.load_weights (self, filepath, by_name=False, exclude=None)
model MaskRCNN.find_last (self)
model MaskRCNN.get_imagenet_weights (self)
model MaskRCNN.compile (self, learning_rate, momentum)
model MaskRCNN.set_trainable (self, layer_regex, keras_model=None, indent=0, verbose=1)
model MaskRCNN.set_log_dir (self, model_path=None)
model MaskRCNN.mold_inputs (self, images)
model MaskRCNN.unmold_detections (self, detections, mrcnn_mask, original_image_shape, \
image_shape, window)
model MaskRCNN.get_anchors (self, image_shape)
model MaskRCNN.get_trainable_layers (self)
model MaskRCNN.find_trainable_layer (self, layer)
model MaskRCNN.run_graph (self, images, outputs, image_metas=None)
model MaskRCNN.ancestor (self, tensor, name, checked=None)

visualize display_images (images, titles=None, cols=4, cmap=None, norm=None, interpolation=None)
visualize random_colors (N, bright=True)
visualize apply_mask (image, mask, color, alpha=0.5)
visualize display_instances (image, boxes, masks, class_ids, class_names, scores=None, title="", \
figsize=(16, 16), ax=None, show_mask=True, show_bbox=True, colors=None, captions=None)
visualize display_differences (image, gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, \
pred_score, pred_mask, class_names, title="", ax=None, show_mask=True, show_box=True, \
iou_threshold=0.5, score_threshold=0.5)
visualize draw_rois (image, rois, refined_rois, mask, class_ids, class_names, limit=10)
visualize draw_box (image, box, color)
visualize display_top_masks (image, mask, class_ids, class_names, limit=4)
visualize plot_precision_recall (AP, precisions, recalls)
visualize plot_overlaps (gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names, \
threshold=0.5)
visualize draw_boxes (image, boxes=None, refined_boxes=None, masks=None, captions=None, \
visibilities=None, title="", ax=None)
visualize display_table (table)
visualize display_weight_stats (model)

parallel_model ParallelModel (keras_model, gpu_count)
"""


def find(module, dotted_name):
    """The object `dotted_name` of the module mrcnn.<module>."""
    found = importlib.import_module(f"mrcnn.{module}")
    for name in dotted_name.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("line", [line for line in SIGNATURES.split("\n") if line])
def test_old_calls_still_bind(line):
    module, name, parameters = line.split(" ", 2)
    old = inspect.signature(eval(f"lambda {parameters[1:-1]}: None"))
    found = find(module, name)
    new = inspect.signature(found).parameters
    if [*new] == ["args", "kwargs"]:
        # Older releases of Keras hide the arguments of layers.
        new = dict([*inspect.signature(found.__init__).parameters.items()][1:])
    for theirs, ours in zip(old.parameters.values(), new.values(), strict=False):
        assert (ours.name, ours.kind) == (theirs.name, theirs.kind)
        assert theirs.default in (inspect.Parameter.empty, ours.default)
    for ours in list(new.values())[len(old.parameters) :]:
        assert ours.default is not ours.empty or ours.kind in (
            ours.VAR_KEYWORD,
            ours.VAR_POSITIONAL,
        )
    assert len(new) >= len(old.parameters)


def test_url_of_the_coco_weights():
    assert find("utils", "COCO_MODEL_URL").endswith("/v2.0/mask_rcnn_coco.h5")


def test_words_that_the_config_accepts_are_those_that_the_package_has():
    assert config_check.RESIZE_MODES == find("ops.images", "_MODES")
    assert config_check.ROI_ALIGN_MODES == find("model", "PyramidROIAlign.METHODS")
    assert tuple(Config.LOSS_WEIGHTS) == find("constants", "LOSS_NAMES")
