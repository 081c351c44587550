"""From classified proposals to detections."""

import keras
import tensorflow as tf

from mrcnn.constants import BACKGROUND
from mrcnn.layers.batching import map_images, pad_rows
from mrcnn.ops import boxes as box_ops


@keras.saving.register_keras_serializable(package="mrcnn")
class DetectionLayer(keras.layers.Layer):
    """Give each RoI its best class and that class's box, and drop the doubtful and the doubles.

    Boxes are clipped to the window of the image without its padding. Non-maximum suppression works
    class by class (Faster R-CNN; the original takes the one best class of a RoI, Detectron all
    classes above a score).

    Arguments:
        config: old scripts pass their Config, which is read at once.
        max_instances: detections an image.
        min_confidence: least score.
        nms_threshold: IoU above which the lower-scored of two boxes of one class is dropped.
        bbox_std_dev: four factors of the deltas.

    Inputs: a list of
        rois: `[batch, num_rois, (y1, x1, y2, x2)]`, normalized.
        probs: `[batch, num_rois, num_classes]`.
        deltas: `[batch, num_rois, num_classes, (dy, dx, log dh, log dw)]`.
        image_meta: `[batch, meta_size]`, for the window.

    Returns:
        `[batch, max_instances, (y1, x1, y2, x2, class_id, score)]` float32, boxes normalized, best
        first, zero padded.
    """

    def __init__(
        self,
        config=None,
        max_instances=100,
        min_confidence=0.7,
        nms_threshold=0.3,
        bbox_std_dev=(0.1, 0.1, 0.2, 0.2),
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        # The number of boxes that are left depends on the image: nothing for XLA.
        self.supports_jit = False
        if config is not None:
            max_instances = config.DETECTION_MAX_INSTANCES
            min_confidence = config.DETECTION_MIN_CONFIDENCE
            nms_threshold, bbox_std_dev = config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV
        self.max_instances, self.min_confidence = int(max_instances), float(min_confidence or 0)
        self.nms_threshold = float(nms_threshold)
        self.bbox_std_dev = [float(value) for value in bbox_std_dev]

    def steps(self, rois, probs, deltas, image_meta):
        """Every intermediate result in order, for inspection; the last one is what `call` returns.

        `class_ids` int32 and `scores` are `[batch, num_rois]`, `refined` and `clipped` boxes
        `[batch, num_rois, 4]`, `candidates` bool `[batch, num_rois]`, `nms_indices` int32
        `[batch, max_instances]` padded with -1.
        """
        class_ids = tf.argmax(probs, axis=-1, output_type=tf.int32)
        scores = tf.reduce_max(probs, axis=-1)
        deltas = tf.gather(deltas, class_ids, batch_dims=2) * self.bbox_std_dev
        refined = box_ops.decode_boxes(rois, deltas, xp=keras.ops)
        # Entries 4 to 6 of the meta vector are the shape of the molded image, 7 to 10 its window.
        scale = tf.tile(image_meta[:, 4:6], [1, 2]) - 1.0
        window = (image_meta[:, 7:11] - [0.0, 0.0, 1.0, 1.0]) / scale
        clipped = box_ops.clip_boxes(refined, window[:, None], xp=keras.ops)
        candidates = (class_ids > BACKGROUND) & (scores >= self.min_confidence)
        indices = map_images(
            self._suppress,
            [clipped, class_ids, tf.where(candidates, scores, -1.0)],
            tf.TensorSpec([self.max_instances], tf.int32),
        )
        rows = tf.concat(
            [clipped, tf.cast(class_ids, tf.float32)[..., None], scores[..., None]], axis=-1
        )
        detections = tf.gather(rows, tf.maximum(indices, 0), batch_dims=1)
        return {
            "class_ids": class_ids,
            "scores": scores,
            "refined": refined,
            "clipped": clipped,
            "candidates": candidates,
            "nms_indices": indices,
            "detections": tf.where((indices >= 0)[..., None], detections, 0.0),
        }

    def _suppress(self, boxes, class_ids, scores):
        overlaps = box_ops.compute_overlaps(boxes, boxes, xp=keras.ops)
        # Boxes of different classes never suppress each other.
        same = tf.equal(class_ids[:, None], class_ids[None])
        keep = tf.image.non_max_suppression_overlaps(
            tf.where(same, overlaps, 0.0),
            scores,
            self.max_instances,
            self.nms_threshold,
            score_threshold=-0.5,
        )
        return pad_rows(keep + 1, self.max_instances) - 1

    def call(self, inputs):
        return self.steps(*inputs)["detections"]

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self):
        names = ("max_instances", "min_confidence", "nms_threshold", "bbox_std_dev")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def refine_detections_graph(rois, probs, deltas, window, config):
    """`DetectionLayer` on one image.

    Arguments as there, without their batch axis, but `window` is `[(y1, x1, y2, x2)]`, normalized.
    Returns `[max_instances, 6]`.
    """
    # A meta vector of a 2x2 image: there pixels and normalized coordinates differ by a shift only.
    meta = tf.concat([[0.0] * 4, [2.0, 2.0, 0.0], window + [0.0, 0.0, 1.0, 1.0], [1.0]], axis=0)
    inputs = [tensor[None] for tensor in (rois, probs, deltas, meta)]
    return DetectionLayer(config)(inputs)[0]
