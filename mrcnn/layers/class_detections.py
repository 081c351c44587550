"""The step from classified proposals to detections of all classes."""

import keras
import tensorflow as tf

from mrcnn.layers.batching import gather_rows, map_images
from mrcnn.layers.detections import suppress_by_class
from mrcnn.layers.level_proposals import MAX_LOG_SIZE
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.space import BoxSpace

# Sides of a box, in pixels, below which it is dropped, as in torchvision.
_LEAST_SIDE = 1e-2


@keras.saving.register_keras_serializable(package="mrcnn")
class ClassDetectionLayer(keras.layers.Layer):
    """Give each RoI all classes with a sufficient score; drop duplicates within each class.

    Every class of a RoI has a box of its own. Boxes are clipped to the window, which is the image
    without its padding (Fast R-CNN, section 3; Mask R-CNN, section 3.1, as Detectron has it).

    Args:
        max_instances: detections per image.
        min_confidence: score that a detection exceeds.
        nms_threshold: IoU above which two boxes of one class are duplicates; the lower score goes.
        bbox_std_dev: four factors of the deltas.
        box_shift: see `BoxSpace`.
        fixed_shapes: decode the boxes of all pairs of a RoI and a class, so that all shapes are
            known before the graph runs.

    Inputs: a list of
        rois: `[batch, num_rois, (y1, x1, y2, x2)]`, normalized, zero padded.
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
        min_confidence=0.05,
        nms_threshold=0.5,
        bbox_std_dev=(0.1, 0.1, 0.2, 0.2),
        box_shift=0.0,
        fixed_shapes=False,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.max_instances, self.min_confidence = int(max_instances), float(min_confidence)
        self.nms_threshold, self.box_shift = float(nms_threshold), float(box_shift)
        self.bbox_std_dev = [float(value) for value in bbox_std_dev]
        self.fixed_shapes = bool(fixed_shapes)

    def call(self, inputs):
        rois, probs, deltas, windows, image = inputs
        size = tf.shape(image)[1:3]
        windows = BoxSpace(self.box_shift).normalize(windows, size, xp=keras.ops)
        least = _LEAST_SIDE / tf.cast(size, tf.float32)
        classes = probs.shape[-1]

        def detect(rois, probs, deltas, window):
            is_roi = tf.reduce_any(tf.not_equal(rois, 0), axis=-1, keepdims=True)
            found = is_roi & (probs[:, 1:] > self.min_confidence)
            if self.fixed_shapes:
                grid = tf.meshgrid(tf.range(tf.shape(rois)[0]), tf.range(1, classes), indexing="ij")
                roi, class_ids = (tf.reshape(axis, [-1]) for axis in grid)
            else:
                # Few of all pairs of a RoI and a class pass the threshold; decode only these.
                roi, class_ids = tf.unstack(tf.cast(tf.where(found), tf.int32) + [[0, 1]], axis=1)
            places = tf.stack([roi, class_ids], axis=1)
            chosen = tf.gather_nd(deltas, places) * self.bbox_std_dev
            boxes = box_ops.decode_boxes(tf.gather(rois, roi), chosen, keras.ops, MAX_LOG_SIZE)
            boxes = box_ops.clip_boxes(boxes, window, xp=keras.ops)
            is_box = tf.reduce_all(boxes[:, 2:] - boxes[:, :2] >= least, axis=-1)
            if self.fixed_shapes:
                is_box &= tf.reshape(found, [-1])
            scores = tf.where(is_box, tf.gather_nd(probs, places), -1.0)
            keep = suppress_by_class(
                boxes, class_ids, scores, classes, self.max_instances, self.nms_threshold
            )
            columns = [tf.cast(class_ids, tf.float32)[:, None], scores[:, None]]
            return gather_rows(tf.concat([boxes, *columns], axis=1), keep)

        signature = tf.TensorSpec([self.max_instances, 6], tf.float32)
        return map_images(detect, [rois, probs, deltas, windows], signature)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self):
        names = ("max_instances", "min_confidence", "nms_threshold", "bbox_std_dev", "box_shift")
        names += ("fixed_shapes",)
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
