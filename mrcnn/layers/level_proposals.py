"""The step from scored anchors to proposals, level by level."""

import math

import keras
import tensorflow as tf

from mrcnn.layers.batching import gather_rows, map_images, suppress
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.space import BoxSpace

# Deltas stretch an anchor of 16 pixels to 1000 at most, as in Detectron.
MAX_LOG_SIZE = math.log(1000 / 16)

# Sides of a box, in pixels, below which it is dropped, as in torchvision.
_LEAST_SIDE = 1e-3

# Score of boxes that are dropped, below every logit.
_DROPPED = -1e30


@keras.saving.register_keras_serializable(package="mrcnn")
class LevelProposalLayer(keras.layers.Layer):
    """Refine the best anchors of each pyramid level, and drop duplicates within each level.

    The best `pre_nms_count` anchors of a level are moved by their deltas, clipped to the image, and
    go through non-maximum suppression of this level alone. The best of all levels remain (FPN
    paper, section 4.1, as Detectron has it).

    Args:
        proposal_count: proposals per image.
        pre_nms_count: anchors per level that take part in the suppression.
        nms_threshold: IoU above which two boxes are duplicates; the one with the lower score goes.
        bbox_std_dev: four factors of the deltas.
        box_shift: see `BoxSpace`.

    Inputs:
        levels: list of `(logits [batch, n, 1], deltas [batch, n, (dy, dx, log dh, log dw)])` of
            each level.
        anchors: `[batch, num_anchors, (y1, x1, y2, x2)]`, normalized, of all levels in their order.
        windows: `[batch, (y1, x1, y2, x2)]` in pixels, each image's part without padding.
        image: `[batch, height, width, channels]`, for its size.

    Returns:
        `[batch, proposal_count, (y1, x1, y2, x2)]` float32, normalized, best first, zero padded. No
        gradient flows to the deltas.
    """

    def __init__(
        self,
        proposal_count,
        pre_nms_count,
        nms_threshold,
        bbox_std_dev=(1.0, 1.0, 1.0, 1.0),
        box_shift=0.0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.proposal_count, self.pre_nms_count = int(proposal_count), int(pre_nms_count)
        self.nms_threshold, self.box_shift = float(nms_threshold), float(box_shift)
        self.bbox_std_dev = [float(value) for value in bbox_std_dev]

    def call(self, levels, anchors, windows, image):
        space, size = BoxSpace(self.box_shift), tf.shape(image)[1:3]
        windows = space.normalize(windows, size, xp=keras.ops)[:, None]
        least = _LEAST_SIDE / tf.cast(size, tf.float32)
        sizes = [tf.shape(logits)[1] for logits, _ in levels]
        candidates = []
        for (logits, deltas), level in zip(levels, tf.split(anchors, sizes, axis=1), strict=True):
            boxes, scores = self._best(logits[..., 0], deltas, level)
            boxes = box_ops.clip_boxes(boxes, windows, xp=keras.ops)
            is_box = tf.reduce_all(boxes[..., 2:] - boxes[..., :2] >= least, axis=-1)
            candidates.append((boxes, tf.where(is_box, scores, _DROPPED)))
        return tf.stop_gradient(
            map_images(
                self._suppress,
                [tensor for pair in candidates for tensor in pair],
                tf.TensorSpec([self.proposal_count, 4], tf.float32),
            )
        )

    def _best(self, logits, deltas, anchors):
        """Return the refined boxes and the logits of the best anchors of a level."""
        limit = tf.minimum(self.pre_nms_count, tf.shape(logits)[1])
        scores, best = tf.math.top_k(logits, limit)
        deltas = tf.gather(deltas, best, batch_dims=1) * self.bbox_std_dev
        anchors = tf.gather(anchors, best, batch_dims=1)
        boxes = box_ops.decode_boxes(anchors, deltas, keras.ops, MAX_LOG_SIZE)
        return boxes, scores

    def _suppress(self, *candidates):
        """Return the best boxes of an image, given boxes and scores of each level in turn."""
        kept = []
        for boxes, scores in zip(candidates[::2], candidates[1::2], strict=True):
            keep = suppress(boxes, scores, self.proposal_count, self.nms_threshold, _DROPPED / 2)
            scores = tf.where(keep >= 0, tf.gather(scores, tf.maximum(keep, 0)), _DROPPED)
            kept.append((gather_rows(boxes, keep), scores))
        boxes, scores = (tf.concat(column, axis=0) for column in zip(*kept, strict=True))
        # Padding of the levels, all zeros, comes last.
        return tf.gather(boxes, tf.math.top_k(scores, self.proposal_count).indices)

    def compute_output_spec(self, levels, anchors, windows, image):
        return keras.KerasTensor((anchors.shape[0], self.proposal_count, 4), "float32")

    def get_config(self):
        names = ("proposal_count", "pre_nms_count", "nms_threshold", "bbox_std_dev", "box_shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
