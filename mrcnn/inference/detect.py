"""Detection in any number of images of any size."""

import warnings
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from mrcnn.inference.molding import as_images, mold_one, unmolder
from mrcnn.inference.result import Result
from mrcnn.weights.finite import describe_non_finite, non_finite_weights

# Layers whose outputs are the detections and their masks, and the layer that decides on classes.
_OUTPUTS = ("mrcnn_detection", "mrcnn_mask")
_CLASS_HEAD = "mrcnn_class_logits"


class Detector:
    """An inference graph, compiled once for all batch and image sizes.

    Args:
        keras_model: of `build_graph(config, "inference")`.
        get_anchors: function of a molded image shape that returns normalized anchors `[A, 4]`.
        all_masks: return the masks of all classes, `[batch, D, h, w, num_classes]`.
        any_size: compile one graph for images of any size. Else each of the first three sizes
            compiles another, which knows the size.

    Raises:
        ValueError: if the model, of a subclass's `build`, lacks the outputs.
    """

    def __init__(self, keras_model, get_anchors, all_masks=False, any_size=False):
        self.keras_model, self.get_anchors = keras_model, get_anchors
        self.all_masks = all_masks
        if counts := non_finite_weights(keras_model.variables):
            warnings.warn(
                f"The weights of the model are not finite, so nothing will be detected: "
                f"{describe_non_finite(counts)}.",
                stacklevel=4,
            )
        # TensorFlow skips the computation of all other outputs.
        outputs = dict(zip(keras_model.output_names, keras_model.outputs, strict=True))
        missing = [name for name in _OUTPUTS if name not in outputs]
        if missing:
            raise ValueError(
                f"detect() needs outputs of keras_model named {' and '.join(_OUTPUTS)}; it has "
                f"{', '.join(outputs)}."
            )
        # A subclass's `build` may leave out the probabilities.
        names = [name for name in (*_OUTPUTS, "mrcnn_class") if name in outputs]
        wanted = [outputs[name] for name in names]
        model = keras.Model(keras_model.inputs, wanted)

        def predict(images, metas, anchors):
            anchors = tf.tile(anchors[None], [tf.shape(images)[0], 1, 1])
            detections, masks, *probs = model([images, metas, anchors], training=False)
            best = tf.reduce_max(probs[0][..., 1:], [1, 2]) if probs else metas[:, 0] * np.nan
            if all_masks:
                return detections, masks, best
            class_ids = tf.cast(detections[..., 4], tf.int32)
            # Only the mask of the predicted class: with COCO, 1/80 of the numbers to copy.
            masks = tf.gather(masks, class_ids, axis=4, batch_dims=2)
            return detections, masks, best

        inputs = keras_model.inputs
        shapes = [*(tensor.shape for tensor in inputs[:2]), (None, 4)]
        # TensorFlow warns of code that is traced five times, but counts each partial by itself.
        self.predict = tf.function(
            partial(predict),
            input_signature=[tf.TensorSpec(s, tf.float32) for s in shapes] if any_size else None,
            autograph=False,
            reduce_retracing=not any_size,
        )

    def __call__(self, molded_images, metas):
        """Run the graph.

        Args:
            molded_images: `[batch, height, width, channels]`.
            metas: `[batch, meta_size]`.

        Returns:
            Detections `[batch, D, 6]`, masks `[batch, D, h, w]` of their classes, or all masks, and
            the best probability of any class but the background over all proposals `[batch]`, NaN
            if the model does not have it, NumPy arrays.
        """
        anchors = self.get_anchors(molded_images.shape[1:])
        outputs = self.predict(
            tf.constant(molded_images, tf.float32),
            tf.constant(metas, tf.float32),
            tf.constant(anchors, tf.float32),
        )
        return tuple(output.numpy() for output in outputs)


def detect(detector, images, config, mask_format="full"):
    """Detect in images of any sizes, see `MaskRCNN.detect`.

    Batches are made of up to `BATCH_SIZE` images of one molded shape. The results have no image,
    path and class names.
    """
    as_photo = unmolder(config, mask_format)
    images = as_images(images, int(config.IMAGE_SHAPE[2]))
    results = [None] * len(images)
    groups = {}
    for index, image in enumerate(images):
        molded, meta, window = mold_one(image, config, index)
        group = groups.setdefault(molded.shape, [])
        group.append((index, molded, meta, window))
        if len(group) == config.BATCH_SIZE:
            _detect_batch(detector, groups.pop(molded.shape), images, results, as_photo, config)
    for group in groups.values():
        _detect_batch(detector, group, images, results, as_photo, config)
    return results


def _detect_batch(detector, group, images, results, as_photo, config):
    indices, molded, metas, windows = zip(*group, strict=True)
    detections, masks, best = detector(np.stack(molded), np.stack(metas))
    for row, index in enumerate(indices):
        found = detections[row], masks[row]
        shapes = images[index].shape, molded[row].shape
        found = as_photo(*found, *shapes, windows[row])
        results[index] = as_result(*found, best[row], config)


def detect_molded(detector, molded_images, metas, config, class_names=None):
    """Detect in molded images; see `MaskRCNN.detect_molded`. The results have no image."""
    molded_images, metas = np.asarray(molded_images), np.asarray(metas)
    if len(molded_images) != len(metas):
        raise ValueError(
            f"detect_molded got {len(molded_images)} images and {len(metas)} image_metas."
        )
    results, as_photo, shape = [], unmolder(config), molded_images.shape[1:]
    window = (0, 0, *shape[:2])
    for start in range(0, len(molded_images), config.BATCH_SIZE):
        batch = slice(start, start + config.BATCH_SIZE)
        for *found, best in zip(*detector(molded_images[batch], metas[batch]), strict=True):
            found = as_photo(*found, shape, shape, window)
            results.append(as_result(*found, best, config, class_names=class_names))
    return results


def as_result(boxes, class_ids, scores, masks, best, config, **attributes):
    """Return a `Result`; `attributes` are its image, path and class_names.

    `best` is the best probability of any class in the image, for a result without instances.
    """
    values = {"rois": boxes, "class_ids": class_ids, "scores": scores, "masks": masks}
    result = Result(values, **attributes)
    if not len(boxes) and np.isfinite(best):
        # NumPy scalars, for callers that treat all entries of a result alike.
        result["best_score"] = best
        result["min_confidence"] = np.float32(config.DETECTION_MIN_CONFIDENCE)
    return result


def class_head(keras_model):
    """Return the weights of the layer that decides on classes; None without such a layer."""
    # A subclass's `build` may return anything.
    layers = [each for each in getattr(keras_model, "layers", ()) if each.name == _CLASS_HEAD]
    return layers[0].get_weights() if layers else None


def warn_of_random_head(keras_model, initial, stacklevel):
    """Warn if the class head still has its initial weights, those of `class_head`, or None."""
    current = class_head(keras_model) if initial else None
    if current and all(map(np.array_equal, current, initial)):
        warnings.warn(
            "This model has random weights: neither load_weights(), start_from() nor training has "
            "set those of its class head, so detections are meaningless. Load a trained model with "
            "load_weights(path), start_from(...) or MaskRCNN.from_run(folder).",
            stacklevel=stacklevel,
        )
