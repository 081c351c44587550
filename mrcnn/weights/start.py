"""The weights that training starts from, by the names in command lines."""

import os

from mrcnn.registry import find_backbone
from mrcnn.weights import is_foreign, settings_of
from mrcnn.weights.download import (
    TORCHVISION_TRUNKS,
    download_trained_weights,
    torchvision_trunk,
)

# Classes of the original's weights, the background counted.
COCO_CLASSES = 81

# Layers whose shapes depend on the number of classes.
CLASS_LAYERS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]


def starting_weights(weights, model_dir, num_classes, backbone):
    """Return the path of weights, or None for random ones, and the layers to exclude, or None.

    Args:
        weights: "coco", downloaded once to `model_dir`; "imagenet"; "random"; else a file. The
            layers that depend on the number of classes are excluded of "coco" and of files of
            torchvision and Detectron2, if they have another number.
        model_dir: a folder, created if missing.
        num_classes: of the model, with the background.
        backbone: `Config.BACKBONE`.
    """
    if weights == "random":
        return None, None
    if weights == "imagenet":
        return imagenet_weights(backbone), None
    if weights != "coco":
        return weights, _class_layers(weights, num_classes)
    path = os.path.join(model_dir, "mask_rcnn_coco.h5")
    if not os.path.exists(path):
        download_trained_weights(path)
    return path, None if num_classes == COCO_CLASSES else CLASS_LAYERS


def _class_layers(path, num_classes):
    """Return the layers to exclude of a file of another program, None for all other files."""
    if not is_foreign(path):
        return None
    settings, _ = settings_of(path)
    return None if settings.get("NUM_CLASSES") in (None, num_classes) else CLASS_LAYERS


def imagenet_weights(backbone, style="matterport"):
    """Return the path of the ImageNet weights of a backbone, downloaded once.

    Args:
        backbone: `Config.BACKBONE`.
        style: `PaperConfig.RESNET_STYLE`, which has no effect on other backbones than ResNets.

    Raises:
        ValueError: if there are none.
        DownloadError: if they cannot be fetched.
    """
    if style != "matterport" and backbone in TORCHVISION_TRUNKS:
        if style == "torchvision":
            return torchvision_trunk(backbone)
        raise ValueError(
            f'No address of ImageNet weights for RESNET_STYLE "{style}" is known; give the file of '
            'a classifier, such as Detectron2\'s R-50.pkl, instead of "imagenet".'
        )
    weights = find_backbone(backbone).function("imagenet")
    if weights is None:
        raise ValueError(f'There are no ImageNet weights for BACKBONE "{backbone}"; use "random".')
    return weights(backbone)
