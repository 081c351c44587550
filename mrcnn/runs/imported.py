"""The Config of a model whose weights come from another program: from what its file shows."""

import os
import re
import warnings

import numpy as np

from mrcnn.runs.provenance import names_in, origin
from mrcnn.runs.run import CONFIG_FILE
from mrcnn.runs.settings import check_size, make_config, read_facts
from mrcnn.weights import is_foreign, matterport, own_metadata, settings_of, tensor_files
from mrcnn.weights.coco_names import class_names as coco_names
from mrcnn.weights.start import CLASS_LAYERS, COCO_CLASSES


def imported_config(path, mode, **changes):
    """Return a `PaperConfig` for a weight file of torchvision or Detectron2.

    Args:
        path: of the file. Its name becomes `NAME`.
        mode: "inference" or "training".
        changes: settings to replace.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not one of a Mask R-CNN; a `WeightFileError` if it is damaged or of
            another program.
    """
    settings, is_detector = settings_of(path)
    if not is_detector:
        trunk = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise ValueError(
            f'"{path}" is an ImageNet classifier, which has weights for the backbone alone. Make a '
            f"MaskRCNN with a PaperConfig of {trunk}, and start its training with "
            f'start_from("{path}").'
        )
    if missing := [n for n in ("BACKBONE", "NUM_CLASSES") if n not in {**settings, **changes}]:
        raise ValueError(
            f'"{path}" does not show {" and ".join(missing)}: tensors are missing, or its backbone '
            "is none of the ResNets and ResNeXts in mrcnn.registry.BACKBONES."
        )
    if mode == "training":
        # Images of a batch share their anchors.
        settings["RPN_STRIDES_FITTED"] = False
    stem = os.path.splitext(os.path.basename(path))[0]
    named = {"RECIPE": "paper", "NAME": re.sub(r"\W+", "_", stem) or "imported"}
    config = make_config(settings | named, **changes)
    check_size(config, path, changes)
    return config


def original_config(path, **changes):
    """Return a Config for a file of the original, which holds no settings; None for all others.

    Sizes of layers and the number of classes follow from the weights; all else has the defaults of
    the original.

    Args:
        path: of the file. Its name becomes `NAME`.
        changes: settings to replace.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, it is damaged, or it has other
            layers than the original's Mask R-CNN.
    """
    path = os.fspath(path)
    is_own = os.path.isfile(os.path.join(os.path.dirname(path), CONFIG_FILE))
    if not matterport.recognises(path) or is_own or "config" in matterport.read_metadata(path):
        return None
    settings = matterport.settings_of(path)
    if missing := [name for name in ("BACKBONE", "NUM_CLASSES") if name not in settings | changes]:
        raise ValueError(
            f'"{path}" does not say with which settings it was trained, and its layers do not show '
            f"{' and '.join(missing)}; make a MaskRCNN with its Config and call load_weights."
        )
    config = make_config(settings | {"NAME": _name_of(path)}, **changes)
    config.validate()
    check_size(config, path, changes)
    return config


def _name_of(path):
    stem = os.path.splitext(os.path.basename(path))[0].removeprefix("mask_rcnn_")
    return re.sub(r"\W+", "_", stem) or "imported"


def classes_of(path):
    """Return the number of classes of a weight file, background included, and their names.

    Either may be None: a trunk has no classes, and files of others may hold no names.

    Raises:
        FileNotFoundError, ValueError: if it is no weight file, or is damaged.
    """
    if is_foreign(path):
        count = settings_of(path)[0].get("NUM_CLASSES")
        metadata = own_metadata(tensor_files.read_tensors(path).metadata)
        return count, names_in(metadata, count) or coco_names(count)
    if matterport.recognises(path) and "config" not in matterport.read_metadata(path):
        count = matterport.settings_of(path).get("NUM_CLASSES")
        return count, coco_names(count) if count == COCO_CLASSES else None
    facts = read_facts(path)
    count, names = facts["config"].get("NUM_CLASSES"), facts.get("class_names")
    return (count if type(count) is int else None), names


def layers_of_other_classes(path, num_classes):
    """Return the layers to exclude of a file with another number of classes, or None."""
    return CLASS_LAYERS if classes_of(path)[0] not in (None, num_classes) else None


def adopted(num_classes, report):
    """Return what a model takes over from a file whose class layers it has loaded.

    Damaged facts in the file are left out: its weights have been loaded.

    Args:
        num_classes: of the model.
        report: `LoadReport`, or None.

    Returns:
        The class names, or None; and the metadata on the origin of the weights, `{name: text}`.
        (None, {}) if the file has no names, or its class layers were left out.
    """
    if report is None or CLASS_LAYERS[0] not in report.loaded:
        return None, {}
    names = names_in(report.metadata, num_classes)
    is_original = "config" not in report.metadata and num_classes == COCO_CLASSES
    if names is None and (report.program or is_original):
        names = coco_names(num_classes)
    return names, origin(report.metadata)


def warn_of_settings(config, path, report):
    """Warn if a Config feeds or builds a backbone otherwise than the program of its weights.

    Args:
        config: the Config.
        path: of the weights.
        report: their `LoadReport`, or None.
    """
    settings = report.settings if report else {}
    differ = [
        f"{name} {settings[name]!r} (the Config has {getattr(config, name, None)!r})"
        for name in ("STD_PIXEL", "RESNET_STYLE")
        if name in settings and not _is_equal(settings[name], getattr(config, name, None))
    ]
    if differ:
        warnings.warn(
            f'The weights in "{path}" are usually for {" and ".join(differ)}; with other values '
            "the backbone computes something else.",
            stacklevel=4,
        )


def _is_equal(theirs, ours):
    if isinstance(theirs, str):
        return theirs == ours
    return np.allclose(theirs, np.broadcast_to(ours, np.shape(theirs)), rtol=1e-3)
