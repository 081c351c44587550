"""Functions on tensors under the names that scripts for Matterport's library use.

Arguments and results of the formulas are those of the NumPy functions, in float32.
"""

from functools import partial

import keras
import tensorflow as tf

from mrcnn.heads.box import BoxHead
from mrcnn.heads.mask import MaskHead
from mrcnn.heads.rpn import rpn_bbox_loss, rpn_level
from mrcnn.layers.batching import not_padding
from mrcnn.layers.norm import BatchNorm
from mrcnn.legacy import formulas
from mrcnn.legacy.layers import DetectionLayer, DetectionTargetLayer, PyramidROIAlign
from mrcnn.ops import boxes
from mrcnn.ops.meta import parse_meta

apply_box_deltas_graph = partial(formulas.apply_box_deltas, xp=keras.ops)
box_refinement_graph = partial(formulas.box_refinement, xp=keras.ops)
clip_boxes_graph = partial(boxes.clip_boxes, xp=keras.ops)
overlaps_graph = partial(boxes.compute_overlaps, xp=keras.ops)
norm_boxes_graph = partial(formulas.norm_boxes, xp=keras.ops)
denorm_boxes_graph = partial(formulas.denorm_boxes, xp=keras.ops)
parse_image_meta_graph = parse_meta
log2_graph = keras.ops.log2


def trim_zeros_graph(boxes, name="trim_zeros"):
    """Return the rows of `[n, 4]` that are not padding, and the bool `[n]` that chose them."""
    keep = not_padding(boxes)
    return tf.boolean_mask(boxes, keep, name=name), keep


def batch_pack_graph(x, counts, num_rows):
    """Stack the first `counts[i]` rows of each `x[i]`, `i < num_rows`, into one `[n, ...]`."""
    keep = tf.sequence_mask(counts[:num_rows], tf.shape(x)[1])
    return tf.boolean_mask(x[:num_rows], keep)


def batch_slice(inputs, graph_fn, batch_size, names=None):
    """Run `graph_fn` on each image of a batch and stack the results.

    Args:
        inputs: a tensor or a list of tensors `[batch, ...]`.
        graph_fn: gets one slice of each input; returns a tensor or a list of tensors.
        batch_size: number of images, a Python integer.
        names: a name for each output tensor.

    Returns:
        One tensor `[batch, ...]` where `graph_fn` returns one, else a list.
    """
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    rows = [graph_fn(*[x[image] for x in inputs]) for image in range(batch_size)]
    rows = [row if isinstance(row, (list, tuple)) else [row] for row in rows]
    names = names or [None] * len(rows[0])
    columns = zip(*rows, strict=True)
    results = [tf.stack(column, name=name) for column, name in zip(columns, names, strict=True)]
    return results[0] if len(results) == 1 else results


def refine_detections_graph(rois, probs, deltas, window, config):
    """Run `DetectionLayer` on one image; returns `[max_instances, 6]`.

    Arguments as there, without their batch axis, but `window` is `[(y1, x1, y2, x2)]`, normalized.
    """
    # In an image of 2x2 pixels, normalized coordinates and pixels differ by a shift only.
    pixels = window + [0.0, 0.0, 1.0, 1.0]
    inputs = [tensor[None] for tensor in (rois, probs, deltas, tf.cast(pixels, tf.float32))]
    return DetectionLayer(config)([*inputs, tf.zeros([1, 2, 2, 1])])[0]


def detection_targets_graph(proposals, gt_class_ids, gt_boxes, gt_masks, config):
    """Run `DetectionTargetLayer` on one image: the same tensors without their batch axis."""
    inputs = [tensor[None] for tensor in (proposals, gt_class_ids, gt_boxes, gt_masks)]
    return [tensor[0] for tensor in DetectionTargetLayer(config)(inputs)]


def rpn_graph(feature_map, anchors_per_location, anchor_stride):
    """Apply new layers of an RPN to a feature map, see `mrcnn.heads.rpn.rpn_level`."""
    return rpn_level(feature_map, anchors_per_location, anchor_stride)


def build_rpn_model(anchor_stride, anchors_per_location, depth):
    """Return `rpn_graph` for feature maps of `depth` channels as a model, "rpn_model"."""
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map")
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride)
    return keras.Model(feature_map, outputs, name="rpn_model")


def rpn_bbox_loss_graph(config, target_bbox, rpn_match, rpn_bbox):
    """Return `rpn_bbox_loss`; `config` has no effect."""
    return rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox)


def fpn_classifier_graph(
    rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True, fc_layers_size=1024
):
    """Apply RoIAlign and a new `BoxHead`.

    Args:
        rois: `[B, R, (y1, x1, y2, x2)]`, normalized.
        feature_maps: `[P2, P3, P4, P5]`.
        image_meta: `[B, meta_size]`.
        pool_size, num_classes, train_bn, fc_layers_size: see `BoxHead` and `BatchNorm`.
    """
    align = PyramidROIAlign([pool_size, pool_size], name="roi_align_classifier")
    head = BoxHead(num_classes, pool_size, fc_layers_size, partial(BatchNorm, train_bn=train_bn))
    return head(align([rois, image_meta, *feature_maps]))


def build_fpn_mask_graph(rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True):
    """Apply RoIAlign and a new `MaskHead`; arguments as in `fpn_classifier_graph`.

    Returns masks `[B, R, 2 * pool_size, 2 * pool_size, K]`.
    """
    align = PyramidROIAlign([pool_size, pool_size], name="roi_align_mask")
    head = MaskHead(num_classes, norm=partial(BatchNorm, train_bn=train_bn))
    return head(align([rois, image_meta, *feature_maps]))
