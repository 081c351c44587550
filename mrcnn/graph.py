"""Mask R-CNN on one page: from an image to detections, and to the losses of training.

B images, A anchors, P proposals, R RoIs, D detections, K classes (0 is the background), S anchors
and G instances of ground truth per image. Boxes are (y1, x1, y2, x2), float32, normalized, unless a
name ends in _px. The parts come from a recipe; `mrcnn.recipes.parts` describes each of them.
"""

import keras
from keras import layers

from mrcnn.layers.precision import precision
from mrcnn.ops.meta import parse_meta
from mrcnn.weights.keras_model import CheckpointModel


def build_network(config):
    """Build the `Network` of a Config, by its `RECIPE` and in its `PRECISION`."""
    recipe = config.recipe()
    with precision(config.PRECISION):
        return Network(recipe.network_parts(config), recipe.operators(config))


def build_graph(config, mode):
    """Build the Keras model of a Config for one mode; see `Network.graph`."""
    return build_network(config).graph(mode)


class Network:
    """One set of weights, and the graphs that use it.

    Args:
        parts: `NetworkParts`.
        operators: `Operators`.

    Attributes:
        stages: `{"C2": ..., "C5": ...}`, outputs of the backbone's stages.
        pyramid: `{"P2": ..., "P6": ...}`.
        rpn: `RPNOutputs`.
    """

    def __init__(self, parts, operators):
        self.parts, self.operators = parts, operators
        self._inputs, self._graphs = {}, {}
        image = self._input_tensors("inference")["input_image"]
        self.stages = parts.backbone(image)
        self.pyramid = parts.neck(self.stages)
        self.rpn = parts.rpn(self.pyramid)

    def graph(self, mode, operators=None):
        """Return the functional Keras model of a mode, for batches of any size.

        Args:
            mode: "training", "inference" or "export". All graphs of a network have the same
                weights.
            operators: `Operators` to use instead of the network's own.

        Returns:
            Inference: inputs input_image, input_image_meta, input_anchors; outputs detections
                [B, D, (y1, x1, y2, x2, class_id, score)], mrcnn_class [B, P, K], mrcnn_bbox
                [B, P, K, 4], mrcnn_mask [B, D, 28, 28, K], rpn_rois [B, P, 4], rpn_class [B, A, 2],
                rpn_bbox [B, A, 4].
            Export: as inference without input_anchors; the graph makes them.
            Training: inputs input_image, input_image_meta, input_rpn_match [B, A, 1],
                input_rpn_bbox [B, S, 4], input_gt_class_ids [B, G], input_gt_boxes_px [B, G, 4],
                input_gt_masks [B, h, w, G] (and input_roi_px [B, P, 4] without USE_RPN_ROIS);
                outputs rpn_class_logits, rpn_class, rpn_bbox, mrcnn_class_logits [B, R, K],
                mrcnn_class, mrcnn_bbox, mrcnn_mask (of the batch's positive RoIs alone,
                [1, positives, 28, 28, K]), rpn_rois, output_rois [B, R, 4], and the losses, [1]
                each, in the order of the heads.
        """
        if operators is None and mode in self._graphs:
            return self._graphs[mode]
        build = self._training if mode == "training" else self._inference
        model = build(self._input_tensors(mode), operators or self.operators)
        if operators is None:
            self._graphs[mode] = model
        return model

    def given_boxes(self):
        """Return a model for boxes that the caller gives: class, deltas and mask of each.

        Inputs are input_image [B, h, w, channels] and input_boxes [B, R, 4]; outputs mrcnn_class
        [B, R, K], mrcnn_bbox [B, R, K, 4] and mrcnn_mask [B, R, 28, 28, K].
        """
        p, image = self.operators, self._inputs["input_image"]
        boxes = keras.Input((None, 4), dtype="float32", name="input_boxes")
        _, probs, deltas = self.parts.box_head(self._features(p.box_align, boxes))
        masks = self.parts.mask_head(self._features(p.mask_align, boxes))
        return CheckpointModel([image, boxes], [probs, deltas, masks], name="mask_rcnn_given_boxes")

    def _inference(self, x, p):
        # The mask head sees final detections instead of proposals: they are fewer, and their boxes
        # are better (Mask R-CNN, section 3.1).
        window_px = parse_meta(x["input_image_meta"])["window"]
        anchors = x.get("input_anchors")
        if anchors is None:
            anchors = p.anchors(x["input_image"], list(self.pyramid.values()))
        propose = p.propose["inference"]
        proposals = propose(self.rpn, anchors, window_px, x["input_image"])
        _, probs, deltas = self.parts.box_head(self._features(p.box_align, proposals))
        detections = p.detect([proposals, probs, deltas, window_px, x["input_image"]])
        boxes, detected = detections[..., :4], detections[..., 4] > 0
        keep = None if p.fixed_shapes else detected
        masks = self.parts.mask_head(self._features(p.mask_align, boxes), keep=keep)
        outputs = [detections, probs, deltas, masks, proposals, self.rpn.probs, self.rpn.deltas]
        return CheckpointModel(list(x.values()), outputs, stages=self.stages, name="mask_rcnn")

    def _training(self, x, p):
        image, heads = x["input_image"], self.parts
        meta = parse_meta(x["input_image_meta"])
        active = meta["active_class_ids"]
        if "training" in p.propose:
            anchors = p.anchors(image, list(self.pyramid.values()))
            proposals = p.propose["training"](self.rpn, anchors, meta["window"], image)
        else:
            proposals = p.normalize(name="ROI")(x["input_roi"], image)
        gt_boxes = p.normalize(name="gt_boxes")(x["input_gt_boxes"], image)
        rois, target_ids, target_deltas, target_masks = p.targets(
            [proposals, x["input_gt_class_ids"], gt_boxes, x["input_gt_masks"]]
        )
        # Identity gives the output its historical layer name.
        rois = layers.Identity(dtype="float32", name="output_rois")(rois)
        logits, probs, deltas = heads.box_head(self._features(p.box_align, rois))
        # Only positives have a mask to learn, and they come first. Without the other RoIs the mask
        # head, the most expensive one, has a third of the work.
        most = p.targets.max_positives
        target_masks, mask_ids = target_masks[:, :most], target_ids[:, :most]
        positive = mask_ids > 0
        features = self._features(p.mask_align, rois[:, :most])
        masks = heads.mask_head(features, keep=positive, restore=False)
        losses = {
            **heads.rpn.losses(x["input_rpn_match"], x["input_rpn_bbox"], self.rpn),
            **heads.box_head.losses(target_ids, target_deltas, active, logits, deltas),
            **heads.mask_head.losses(target_masks, mask_ids, masks, positive),
        }
        outputs = [self.rpn.logits, self.rpn.probs, self.rpn.deltas]
        outputs += [logits, probs, deltas, masks, proposals, rois, *losses.values()]
        return CheckpointModel(list(x.values()), outputs, stages=self.stages, name="mask_rcnn")

    def _features(self, align, boxes):
        levels = [self.pyramid[level] for level in self.operators.roi_levels]
        return align([boxes, self._inputs["input_image"], *levels])

    def _input_tensors(self, mode):
        """Return the inputs of a mode by name; those of both modes are the same tensors."""
        for i in self.operators.inputs(mode):
            if i.name not in self._inputs:
                self._inputs[i.name] = keras.Input(i.shape, dtype=i.dtype, name=i.name)
        return {i.name: self._inputs[i.name] for i in self.operators.inputs(mode)}
