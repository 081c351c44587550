"""The step from classified proposals to detections."""

import math
from functools import partial

import keras
import tensorflow as tf

from mrcnn.constants import BACKGROUND
from mrcnn.layers.batching import map_images, suppress
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.space import BoxSpace


def suppress_by_class(boxes, class_ids, scores, num_classes, count, threshold):
    """Return the rows that non-maximum suppression within each class keeps, best first,
    padded with -1.

    Args:
        boxes: `[n, (y1, x1, y2, x2)]`, normalized.
        class_ids: int32 `[n]`.
        scores: `[n]`, from 0 on; below 0 for boxes that do not take part.
        num_classes: number of classes.
        count: rows to keep at most.
        threshold: IoU above which the lower-scored of two boxes is dropped.
    """
    # Boxes of different classes must not suppress each other, and ONNX and LiteRT have no NMS per
    # class. So every class is moved to a cell of its own on a grid, 2 apart, where its boxes
    # overlap no others. A square grid keeps coordinates small: in float32 large ones would cost the
    # last digits of the IoU.
    side = math.ceil(math.sqrt(num_classes))
    place = tf.cast(tf.stack([class_ids // side, class_ids % side], axis=-1), tf.float32)
    return suppress(boxes + 2.0 * tf.tile(place, [1, 2]), scores, count, threshold, -0.5)


@keras.saving.register_keras_serializable(package="mrcnn")
class DetectionLayer(keras.layers.Layer):
    """Give each RoI its best class and that class's box; drop low-scoring and duplicate detections.

    Boxes are clipped to the window, which is the image without its padding. Non-maximum suppression
    works per class (Faster R-CNN). As in the original a RoI has its best class only; in Detectron
    it has all classes above a score.

    Args:
        max_instances: detections per image.
        min_confidence: least score.
        nms_threshold: IoU above which two boxes of one class are duplicates; the lower score goes.
        bbox_std_dev: four factors of the deltas.
        box_shift: see `BoxSpace`.

    Inputs: a list of
        rois: `[batch, num_rois, (y1, x1, y2, x2)]`, normalized.
        probs: `[batch, num_rois, num_classes]`.
        deltas: `[batch, num_rois, num_classes, (dy, dx, log dh, log dw)]`.
        windows: `[batch, (y1, x1, y2, x2)]` in pixels, each image's part without padding.
        image: `[batch, height, width, channels]`, for its size.

    Returns:
        `[batch, max_instances, (y1, x1, y2, x2, class_id, score)]` float32, boxes normalized, best
        first, zero padded.
    """

    def __init__(
        self,
        max_instances=100,
        min_confidence=0.7,
        nms_threshold=0.3,
        bbox_std_dev=(0.1, 0.1, 0.2, 0.2),
        box_shift=1.0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances, self.min_confidence = int(max_instances), float(min_confidence)
        self.nms_threshold = float(nms_threshold)
        self.bbox_std_dev = [float(value) for value in bbox_std_dev]
        self.box_shift = float(box_shift)

    def steps(self, rois, probs, deltas, windows, image):
        """Return every intermediate result in order; the last one is what `call` returns.

        `class_ids` int32 and `scores` are `[batch, num_rois]`, `refined` and `clipped` boxes
        `[batch, num_rois, 4]`, `candidates` bool `[batch, num_rois]`, `nms_indices` int32
        `[batch, max_instances]` padded with -1.
        """
        class_ids = tf.argmax(probs, axis=-1, output_type=tf.int32)
        scores = tf.reduce_max(probs, axis=-1)
        deltas = tf.gather(deltas, class_ids, batch_dims=2) * self.bbox_std_dev
        refined = box_ops.decode_boxes(rois, deltas, xp=keras.ops)
        space, size = BoxSpace(self.box_shift), tf.shape(image)[1:3]
        windows = space.normalize(windows, size, xp=keras.ops)[:, None]
        clipped = box_ops.clip_boxes(refined, windows, xp=keras.ops)
        candidates = (class_ids > BACKGROUND) & (scores >= self.min_confidence)
        indices = map_images(
            partial(self._suppress, num_classes=probs.shape[-1]),
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

    def _suppress(self, boxes, class_ids, scores, num_classes):
        return suppress_by_class(
            boxes, class_ids, scores, num_classes, self.max_instances, self.nms_threshold
        )

    def call(self, inputs):
        return self.steps(*inputs)["detections"]

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self):
        names = ("max_instances", "min_confidence", "nms_threshold", "bbox_std_dev", "box_shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
