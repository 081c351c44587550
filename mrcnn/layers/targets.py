"""Targets of the heads, from proposals and ground truth."""

import keras
import tensorflow as tf

from mrcnn.layers.batch_part import draw_noise
from mrcnn.layers.batching import not_padding
from mrcnn.layers.mask_targets import aligned_masks, cropped_masks
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.match import positive_limit


@keras.saving.register_keras_serializable(package="mrcnn")
class DetectionTargetLayer(keras.layers.Layer):
    """Choose RoIs among the proposals and give each its class, deltas and mask.

    A proposal is positive if its IoU with an instance is at least `positive_iou`. Otherwise it is
    negative, unless it overlaps a crowd. Positives are drawn at random, at most `positive_ratio` of
    the RoIs, then negatives (Mask R-CNN, section 3.1). Targets are constants: no gradient flows to
    the proposals.

    Args:
        rois_per_image: places for positives and negatives.
        positive_ratio: fraction of positives, 0 to 1.
        mask_shape: `(height, width)` of the target masks.
        mini_masks: whether masks cover the box of their instance, else the whole image.
        bbox_std_dev: four numbers that divide the deltas.
        positive_iou: lowest IoU of a positive.
        crowd_iou: a proposal with at least this IoU with a crowd is not negative.
        box_shift: see `BoxSpace`.
        add_gt: whether the boxes of instances are proposals, too.
        fill_negatives: whether negatives take all places that positives leave, as in the paper's
            code. Else there are as many as keep `positive_ratio`, so that, as in the original, an
            image with few positives trains on few RoIs.
        padding_class: class id of places without a RoI, such as -1 for losses that leave them out.
        mask_targets: "crop" or "align", see `mrcnn.layers.mask_targets`.
        mask_threshold, half_pixel: of "align", see `aligned_masks`.
        seed: of the random choice outside a `batch_part`.

    Inputs: a list of
        proposals: `[batch, num_proposals, (y1, x1, y2, x2)]`, normalized, zero padded.
        gt_class_ids: int `[batch, max_instances]`, zero padded, negative for crowds.
        gt_boxes: `[batch, max_instances, (y1, x1, y2, x2)]`, normalized, zero padded.
        gt_masks: bool or float `[batch, height, width, max_instances]`.

    Returns, all zero padded, positives first:
        rois: `[batch, rois_per_image, (y1, x1, y2, x2)]` float32, normalized.
        class_ids: int32 `[batch, rois_per_image]`, 0 for negatives, `padding_class` for padding.
        deltas: `[batch, rois_per_image, 4]` float32, divided by the standard deviations.
        masks: `[batch, rois_per_image, *mask_shape]` float32, 0 or 1, or anything between with
            "align" and no threshold.

    Raises:
        ValueError: if `mask_targets` is neither.
    """

    MASK_TARGETS = ("crop", "align")

    def __init__(
        self,
        rois_per_image=200,
        positive_ratio=0.33,
        mask_shape=(28, 28),
        mini_masks=True,
        bbox_std_dev=(0.1, 0.1, 0.2, 0.2),
        positive_iou=0.5,
        crowd_iou=0.001,
        box_shift=1.0,
        add_gt=False,
        fill_negatives=False,
        padding_class=0,
        mask_targets="crop",
        mask_threshold=None,
        half_pixel=True,
        seed=None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if mask_targets not in self.MASK_TARGETS:
            raise ValueError(f'mask_targets is "{mask_targets}"; accepted are "crop" and "align".')
        self.rois_per_image, self.positive_ratio = int(rois_per_image), float(positive_ratio)
        self.mask_shape, self.mini_masks = tuple(map(int, mask_shape)), bool(mini_masks)
        self.bbox_std_dev = [float(value) for value in bbox_std_dev]
        self.positive_iou, self.crowd_iou = float(positive_iou), float(crowd_iou)
        self.box_shift, self.seed = float(box_shift), seed
        self.add_gt, self.fill_negatives = bool(add_gt), bool(fill_negatives)
        self.padding_class, self.mask_targets = int(padding_class), mask_targets
        self.mask_threshold, self.half_pixel = mask_threshold, bool(half_pixel)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.max_positives = max(1, positive_limit(self.rois_per_image, self.positive_ratio))

    def steps(self, proposals, gt_class_ids, gt_boxes, gt_masks):
        """Return every intermediate result in order; `call` returns the last four.

        With `add_gt`, the last `max_instances` of the proposals are the boxes of the ground truth.
        `overlaps` `[batch, num_proposals, max_instances]` are -1 for padding and crowds;
        `positive` and `negative` bool `[batch, num_proposals]` are the candidates; `chosen` int32
        `[batch, rois_per_image]` are indices of proposals and `num_positive`, `num_negative`
        `[batch, 1]` say how many of them count.
        """
        proposals = tf.stop_gradient(proposals)
        gt_class_ids = tf.cast(gt_class_ids, tf.int32)
        real_gt = not_padding(gt_boxes)
        if self.add_gt:
            usable = (real_gt & (gt_class_ids > 0))[..., None]
            proposals = tf.concat([proposals, tf.where(usable, gt_boxes, 0.0)], axis=1)
        overlaps = box_ops.compute_overlaps(proposals, gt_boxes, xp=keras.ops)
        instances = (real_gt & (gt_class_ids > 0))[:, None, :]
        crowds = (real_gt & (gt_class_ids < 0))[:, None, :]
        real = not_padding(proposals)
        crowd = tf.reduce_max(tf.where(crowds, overlaps, 0.0), axis=2)
        overlaps = tf.where(instances, overlaps, -1.0)
        best = tf.reduce_max(overlaps, axis=2)
        positive = real & (best >= self.positive_iou)
        negative = real & (best < self.positive_iou) & (crowd < self.crowd_iou)
        chosen, num_positive, num_negative = self._draw(positive, negative)
        slots = tf.range(self.rois_per_image)[None]
        is_positive, is_roi = slots < num_positive, slots < num_positive + num_negative
        rois = tf.gather(proposals, chosen, batch_dims=1)
        rois = tf.where(is_roi[..., None], rois, 0.0)
        matches = tf.argmax(overlaps, axis=2, output_type=tf.int32)
        matches = tf.gather(matches, chosen, batch_dims=1)
        class_ids = tf.where(is_roi, 0, self.padding_class)
        matched_ids = tf.gather(gt_class_ids, matches, batch_dims=1)
        class_ids = tf.where(is_positive, matched_ids, class_ids)
        boxes = tf.gather(gt_boxes, matches, batch_dims=1)
        deltas = box_ops.encode_boxes(rois, boxes, xp=keras.ops) / self.bbox_std_dev
        deltas = tf.where(is_positive[..., None], deltas, 0.0)
        masks = self._masks(rois, boxes, matches, is_positive, gt_masks)
        return {
            "overlaps": overlaps,
            "positive": positive,
            "negative": negative,
            "chosen": chosen,
            "num_positive": num_positive,
            "num_negative": num_negative,
            "rois": tf.stop_gradient(rois),
            "class_ids": class_ids,
            "deltas": tf.stop_gradient(deltas),
            "masks": tf.stop_gradient(masks),
        }

    def _draw(self, positive, negative):
        """Draw positives, then negatives; return indices of proposals and the number of each."""
        # Not `keras.random`: replicas and accumulated batches draw what one large batch would draw.
        noise = draw_noise(tf.shape(positive), self.seed_generator)
        slots, count = self.rois_per_image, tf.shape(positive)[1]
        # Candidates have random keys, all others -1, so the highest keys are a random choice.
        positives = tf.math.top_k(
            tf.where(positive, noise, -1.0), tf.minimum(self.max_positives, count)
        ).indices
        negatives = tf.math.top_k(tf.where(negative, noise, -1.0), tf.minimum(slots, count)).indices
        num_positive = _count(positive, self.max_positives)
        most = slots - num_positive
        if not self.fill_negatives:
            wanted = tf.cast(num_positive, tf.float32) * (1.0 / self.positive_ratio)
            most = tf.minimum(tf.cast(wanted, tf.int32) - num_positive, most)
        num_negative = tf.minimum(_count(negative, slots), most)
        slot = tf.tile(tf.range(slots)[None], [tf.shape(positive)[0], 1])
        from_positive = tf.clip_by_value(slot, 0, tf.shape(positives)[1] - 1)
        from_negative = tf.clip_by_value(slot - num_positive, 0, tf.shape(negatives)[1] - 1)
        chosen = tf.where(
            slot < num_positive,
            tf.gather(positives, from_positive, batch_dims=1),
            tf.gather(negatives, from_negative, batch_dims=1),
        )
        return chosen, num_positive, num_negative

    def _masks(self, rois, boxes, matches, is_positive, gt_masks):
        """Return the masks of positives, cropped to their RoI and resized; zeros for the rest."""
        # Positives come first, so only these rows can have a mask.
        count = self.max_positives
        inputs = rois[:, :count], boxes[:, :count], matches[:, :count]
        options = gt_masks, self.mask_shape, self.mini_masks, self.box_shift
        if self.mask_targets == "crop":
            masks = cropped_masks(*inputs, *options)
        else:
            positive = is_positive[:, :count]
            sampling = self.half_pixel, self.mask_threshold
            masks = aligned_masks(*inputs, positive, *options, *sampling)
        masks = tf.where(is_positive[:, :count, None, None], masks, 0.0)
        return tf.pad(masks, [[0, 0], [0, self.rois_per_image - count], [0, 0], [0, 0]])

    def call(self, inputs):
        steps = self.steps(*inputs)
        return [steps[name] for name in ("rois", "class_ids", "deltas", "masks")]

    def compute_output_spec(self, inputs):
        batch, count = inputs[0].shape[0], self.rois_per_image
        return [
            keras.KerasTensor((batch, count, 4), "float32"),
            keras.KerasTensor((batch, count), "int32"),
            keras.KerasTensor((batch, count, 4), "float32"),
            keras.KerasTensor((batch, count, *self.mask_shape), "float32"),
        ]

    def get_config(self):
        names = ("rois_per_image", "positive_ratio", "mask_shape", "mini_masks", "bbox_std_dev")
        names += ("positive_iou", "crowd_iou", "box_shift", "add_gt", "fill_negatives")
        names += ("padding_class", "mask_targets", "mask_threshold", "half_pixel", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _count(flags, limit):
    """Return the number of True per row, at most `limit`: int32 `[batch, 1]`."""
    return tf.minimum(tf.reduce_sum(tf.cast(flags, tf.int32), axis=1, keepdims=True), limit)
