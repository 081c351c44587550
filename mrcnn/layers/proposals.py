"""The step from scored anchors to proposals."""

import keras
import tensorflow as tf

from mrcnn.layers.batching import map_images, suppress
from mrcnn.ops import boxes as box_ops


@keras.saving.register_keras_serializable(package="mrcnn")
class ProposalLayer(keras.layers.Layer):
    """Refine the best anchors with the RPN's deltas, and drop duplicates.

    The best `pre_nms_limit` anchors of all levels together are moved by their deltas, clipped to
    the image, and go through one non-maximum suppression (Faster R-CNN, section 3.3; the original
    has one NMS over all levels, the FPN paper one per level).

    Args:
        proposal_count: proposals per image.
        nms_threshold: IoU above which two boxes are duplicates; the one with the lower score goes.
        pre_nms_limit: anchors per image that take part in the suppression.
        bbox_std_dev: four factors of the deltas.

    Inputs: a list of
        rpn_probs: `[batch, num_anchors, 2 or 1]`; the last entry is that of the foreground.
        rpn_bbox: `[batch, num_anchors, (dy, dx, log dh, log dw)]`.
        anchors: `[batch, num_anchors, (y1, x1, y2, x2)]`, normalized.

    Returns:
        `[batch, proposal_count, (y1, x1, y2, x2)]` float32, normalized, best first, zero padded.
    """

    def __init__(
        self,
        proposal_count,
        nms_threshold,
        pre_nms_limit=6000,
        bbox_std_dev=(0.1, 0.1, 0.2, 0.2),
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.proposal_count, self.nms_threshold = int(proposal_count), float(nms_threshold)
        self.pre_nms_limit = int(pre_nms_limit)
        self.bbox_std_dev = [float(value) for value in bbox_std_dev]

    def steps(self, rpn_probs, rpn_bbox, anchors):
        """Return every intermediate result in order; the last one is what `call` returns.

        Shapes are `[batch, pre_nms_limit, 4]` for `pre_nms_anchors`, `refined_anchors` and
        `refined_anchors_clipped`, `[batch, pre_nms_limit]` for `scores`, `[batch, proposal_count]`
        int32 padded with -1 for `nms_indices` (into the former), and `proposals` as above.
        """
        limit = tf.minimum(self.pre_nms_limit, tf.shape(anchors)[1])
        scores, best = tf.math.top_k(rpn_probs[..., -1], limit, sorted=True)
        deltas = tf.gather(rpn_bbox, best, batch_dims=1) * self.bbox_std_dev
        pre_nms = tf.gather(anchors, best, batch_dims=1)
        refined = box_ops.decode_boxes(pre_nms, deltas, xp=keras.ops)
        clipped = box_ops.clip_boxes(refined, [0.0, 0.0, 1.0, 1.0], xp=keras.ops)
        indices = map_images(
            self._suppress, [clipped, scores], tf.TensorSpec([self.proposal_count], tf.int32)
        )
        proposals = tf.gather(clipped, tf.maximum(indices, 0), batch_dims=1)
        proposals = tf.where((indices >= 0)[..., None], proposals, 0.0)
        return {
            "scores": scores,
            "pre_nms_anchors": pre_nms,
            "refined_anchors": refined,
            "refined_anchors_clipped": clipped,
            "nms_indices": indices,
            "proposals": proposals,
        }

    def _suppress(self, boxes, scores):
        return suppress(boxes, scores, self.proposal_count, self.nms_threshold)

    def call(self, inputs):
        return self.steps(*inputs)["proposals"]

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.proposal_count, 4)

    def get_config(self):
        names = ("proposal_count", "nms_threshold", "pre_nms_limit", "bbox_std_dev")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
