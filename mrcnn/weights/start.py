"""The weights that training starts from, by the words that command lines use."""

import os

from mrcnn.weights.download import download_trained_weights, imagenet_weights

# Of the weights that the original was trained to, the background counted.
COCO_CLASSES = 81

# Their sizes are the number of classes.
CLASS_LAYERS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]


def starting_weights(weights, model_dir, num_classes):
    """File of some weights, and the layers to leave out.

    Arguments:
        weights: "coco", downloaded once to `model_dir`; "imagenet"; else a file.
        model_dir: a folder, which is made where it is missing.
        num_classes: of the model, with the background.

    Returns:
        The path, and a list of layer names or None.
    """
    if weights == "imagenet":
        return imagenet_weights(), None
    if weights != "coco":
        return weights, None
    path = os.path.join(model_dir, "mask_rcnn_coco.h5")
    if not os.path.exists(path):
        download_trained_weights(path)
    return path, None if num_classes == COCO_CLASSES else CLASS_LAYERS
