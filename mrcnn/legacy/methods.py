"""Methods of `MaskRCNN` that only scripts for Matterport's library call or override."""

import numpy as np

from mrcnn.inference import molding, trace
from mrcnn.inference.detect import as_result
from mrcnn.inference.trace import log
from mrcnn.ops.rle import encode_mask
from mrcnn.training import fit, selection
from mrcnn.weights import start

# Methods that `detect` and `train` call if a subclass overrides them.
_OWN = {}


class LegacyMethods:
    """Base class of `MaskRCNN`. It reads its config, keras_model, strategy, epoch, get_anchors."""

    # Training

    def get_imagenet_weights(self):
        """Return the path of the backbone's ImageNet weights, downloaded once."""
        style = getattr(self.config, "RESNET_STYLE", "matterport")
        return start.imagenet_weights(self.config.BACKBONE, style)

    def compile(self, learning_rate, momentum):
        """Give `keras_model` its `OPTIMIZER`, gradients clipped by `GRADIENT_CLIP_NORM`."""
        fit.compile_model(
            self.keras_model, self.config, self.strategy, learning_rate, momentum, self.epoch
        )

    def set_trainable(self, layer_regex, keras_model=None, indent=0, verbose=1):
        """Train the layers whose whole name matches a regular expression; freeze the rest."""
        selection.set_trainable(keras_model or self.keras_model, layer_regex, indent, verbose)

    def get_trainable_layers(self):
        """Return the layers with weights, those of nested models one by one."""
        return selection.trainable_layers(self.keras_model)

    def find_trainable_layer(self, layer):
        """Return `layer`; the original unwraps layers here."""
        return layer

    # Detection

    def mold_inputs(self, images):
        """Prepare images as in `detect`, whose molded shapes must agree, for the graph.

        Returns:
            molded images `[batch, height, width, channels]` float32, image metas
            `[batch, meta_size]`, windows int `[batch, (y1, x1, y2, x2)]` in molded pixels.
        """
        return molding.mold_inputs(images, self.config)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """Convert outputs of the graph for one image, see `mrcnn.inference.molding.unmold`.

        `mrcnn_mask` has the masks of all classes, `[D, h, w, num_classes]`.
        """
        classes = np.asarray(detections)[:, 4].astype(np.int32)
        masks = np.asarray(mrcnn_mask)[np.arange(len(classes)), :, :, classes]
        as_photo = molding.unmolder(self.config)
        return as_photo(detections, masks, original_image_shape, image_shape, window)

    # Intermediate results

    def ancestor(self, tensor, name, checked=None):
        """Return a tensor of the graph by its historical name, see `trace.ancestor`.

        `tensor` and `checked` have no effect: Keras 3 keeps no path from tensor to tensor.
        """
        return trace.ancestor(self.keras_model, name)

    def run_graph(self, images, outputs, image_metas=None):
        """Evaluate tensors of the graph; returns an OrderedDict of NumPy arrays by name.

        Args:
            images: list of images as in `detect`, or, with `image_metas`, molded images.
            outputs: list of `(name, tensor)`: outputs of layers, or results of `ancestor`.
            image_metas: `[batch, meta_size]`.
        """
        if image_metas is None:
            molded, image_metas, _ = self.mold_inputs(images)
        else:
            molded = np.asarray(images)
        anchors = self.get_anchors(molded.shape[1:])
        anchors = np.broadcast_to(anchors, (len(molded), *anchors.shape))
        values = trace.run_graph(self.keras_model, [molded, image_metas, anchors], outputs)
        for name, value in values.items():
            log(name, value)
        return values


_OWN.update(vars(LegacyMethods))


def overridden(model, name):
    """Return the method that replaces one of `LegacyMethods`, or None.

    A subclass may define it, and a script may set it on `MaskRCNN` or on the model.
    """
    replaced = name in vars(model) or getattr(type(model), name) is not _OWN[name]
    return getattr(model, name) if replaced else None


def detect_overridden(model, detector, images, mask_format="full"):
    """Detect in images by `mold_inputs` and `unmold_detections` of a subclass.

    They are called as the original's `detect` calls them: the former with up to BATCH_SIZE images,
    the latter for each image, with the masks of all classes.

    Args:
        model: the `MaskRCNN`.
        detector: a `Detector` made with `all_masks`.
        images: list of arrays.
        mask_format: see `MaskRCNN.detect`.
    """
    molding.check_format(mask_format)
    results = []
    for batch in _batches(images, model.config):
        molded, metas, windows = model.mold_inputs(batch)
        molded = np.asarray(molded)
        outputs = zip(*detector(molded, np.asarray(metas)), strict=True)
        for image, row, window, output in zip(batch, molded, windows, outputs, strict=True):
            *found, best = output
            shapes = image.shape, row.shape
            boxes, class_ids, scores, masks = model.unmold_detections(*found, *shapes, window)
            if mask_format == "rle":
                masks = [encode_mask(mask) for mask in np.moveaxis(masks, -1, 0)]
            results.append(as_result(boxes, class_ids, scores, masks, best, model.config))
    return results


def _batches(images, config):
    """Yield up to BATCH_SIZE images in a row whose molded shapes agree."""
    batch = []
    for image in images:
        fits = config.IMAGE_RESIZE_MODE == "square" or not batch or image.shape == batch[0].shape
        if len(batch) == config.BATCH_SIZE or not fits:
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch
