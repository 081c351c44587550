"""The function that is exported: from a photo to detections in its pixels, in one graph."""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.export.molding import mold
from mrcnn.export.unmolding import paste, photo_boxes
from mrcnn.layers.batching import map_images

# Names of the input and of the outputs.
INPUT, OUTPUTS = "image", ("boxes", "class_ids", "scores", "masks")


class Serving:
    """Photos in, detections out: resizing, network, boxes in pixels and pasted masks.

    Args:
        network: a `Network`.
        config: its `Config`.
        image_size: `(height, width)` of all photos in pixels; None for photos of any size.
        batch: 1 for one photo `[height, width, channels]`; a larger number or None, for any, for
            photos of one size `[batch, height, width, channels]`.
        masks: "pasted" for masks of the photo's size, "small" for those of the mask head.
        padded: return DETECTION_MAX_INSTANCES rows for one photo too, for runtimes that need to
            know all shapes. Batches are always padded.
        operators: `Operators` to use instead of the network's own.

    Attributes:
        function: `tf.function` of `image`, uint8, that returns a dict of
            boxes: float32 `[n, (y1, x1, y2, x2)]` in pixels of the photo, best score first.
            class_ids: int32 `[n]`.
            scores: float32 `[n]`.
            masks: bool `[n, height, width]`, or float32 `[n, h, w]`, 0 to 1, within the boxes.
            Batches have an axis more in front. Rows of padding are zeros, at the end.
        model: the Keras model inside it, from images and metas to detections and masks.
        image_size, batch, masks, padded: the arguments.

    Raises:
        ValueError: see `mrcnn.export.molding.mold`.
    """

    def __init__(
        self,
        network,
        config,
        image_size=None,
        batch=1,
        masks="pasted",
        padded=False,
        operators=None,
    ):
        self.config, self.batch, self.masks = config, batch, masks
        self.image_size = None if image_size is None else tuple(int(side) for side in image_size)
        self.padded = padded or batch != 1
        graph = network.graph("export", operators or config.recipe().operators(config))
        outputs = dict(zip(graph.output_names, graph.outputs, strict=True))
        wanted = [outputs["mrcnn_detection"], outputs["mrcnn_mask"]]
        self.model = keras.Model(graph.inputs, wanted)
        shape = [*(self.image_size or (None, None)), int(config.IMAGE_SHAPE[2])]
        spec = tf.TensorSpec(shape if batch == 1 else [batch, *shape], tf.uint8, name=INPUT)
        self.function = tf.function(self._serve, input_signature=[spec], autograph=False)

    def _serve(self, image):
        photos = image[None] if self.batch == 1 else image
        size = self.image_size or tuple(tf.unstack(tf.shape(photos)[1:3]))
        molded, window = mold(photos, size, self.config)
        detections, masks = self.model([molded, self._metas(photos, window)], training=False)
        # Of the masks of all classes, that of the predicted one.
        chosen = tf.one_hot(tf.cast(detections[..., 4], tf.int32), masks.shape[-1])
        masks = tf.reduce_sum(masks * chosen[:, :, None, None, :], axis=-1)
        molded_size = tf.cast(tf.shape(molded)[1:3], tf.float32)

        def one(rows, small):
            return tuple(self._unmold(rows, small, size, window, molded_size).values())

        if self.batch == 1:
            found = one(detections[0], masks[0])
        else:
            types = [tf.float32, tf.int32, tf.float32, tf.bool]
            if self.masks == "small":
                types[3] = tf.float32
            found = map_images(one, [detections, masks], tuple(types))
        # The names of the outputs of a file are those of the last nodes.
        return {
            name: tf.identity(tensor, name=name)
            for name, tensor in zip(OUTPUTS, found, strict=True)
        }

    def _metas(self, photos, window):
        """Return the metas `[batch, 12 + K]`, of which the network reads the window."""
        classes = tf.zeros([int(self.config.NUM_CLASSES) + 1])
        meta = tf.concat([tf.zeros([7]), window, classes], axis=0)
        return tf.tile(meta[None], [tf.shape(photos)[0], 1])

    def _unmold(self, detections, masks, size, window, molded_size):
        """Return the outputs for one photo, given its rows `[D, 6]` and masks `[D, h, w]`."""
        space, way = self.config.recipe().SPACE, getattr(self.config, "MASK_PASTE", None)
        photo_size = tf.cast(tf.stack(size), tf.float32)
        boxes = photo_boxes(
            detections[:, :4], window, molded_size, photo_size, space, whole_pixels=way is None
        )
        found = (detections[:, 4] > 0) & tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)
        rows = tf.concat([boxes, detections[:, 4:]], axis=1)
        if self.padded:
            # Detections first, in their order, then zeros.
            count = detections.shape[0]
            rank = tf.cast(found, tf.float32) * count - np.arange(count, dtype=np.float32)
            order = tf.math.top_k(rank, count).indices
            keep = tf.cast(found, tf.float32)
            rows, masks = rows * keep[:, None], masks * keep[:, None, None]
        else:
            order = tf.where(found)[:, 0]
        rows, masks = tf.gather(rows, order), tf.gather(masks, order)
        boxes = rows[:, :4]
        if self.masks == "pasted":
            masks = paste(masks, boxes, size, way)
        return {
            "boxes": boxes,
            "class_ids": tf.cast(rows[:, 4], tf.int32),
            "scores": rows[:, 5],
            "masks": masks,
        }
