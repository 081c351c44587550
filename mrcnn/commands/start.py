"""The weights that `mrcnn train` starts from, and the settings that belong to them."""

import os
from dataclasses import dataclass
from pathlib import Path

from mrcnn.data.checks import shorten

COCO_FILE = "mask_rcnn_coco.h5"


@dataclass
class Start:
    """Weights to start from.

    Attributes:
        weights: "coco", "imagenet", "random", or a path.
        preset: "small", "default", "paper", or None for the settings in the file.
        reason: end of the sentence "Weights: ...".
        exclude: names of layers to leave out, or None.
    """

    weights: str
    preset: str | None
    reason: str
    exclude: list | None = None


def choose_start(weights, preset, logs, error):
    """Return the `Start` of a command line.

    Args:
        weights: as given, or None for the best at hand.
        preset: as given, or None.
        logs: folder of runs.
        error: function of a sentence, for arguments that contradict each other.

    Raises:
        FileNotFoundError: if there are no such weights, or none at hand.
    """
    if weights is None:
        return _at_hand(preset, logs)
    if weights == "random":
        return Start("random", preset or "small", "random")
    if weights in ("coco", "imagenet"):
        if preset == "small":
            error(f"there are no {weights} weights for --preset small; leave out one of the two")
        if weights == "coco" and preset == "paper":
            error(
                "the COCO weights of the original do not fit --preset paper; give a file of "
                "torchvision or Detectron2, or --weights imagenet"
            )
        path = coco_file(logs) if weights == "coco" else None
        return Start(str(path or weights), preset or "default", f"{weights}")
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f"There is no file {weights}; --weights takes coco, imagenet, last, random or a file."
        )
    return Start(str(weights), preset, str(weights))


def _at_hand(preset, logs):
    path = None if preset in ("small", "paper") else coco_file(logs)
    if path:
        return Start(str(path), "default", f"{path}, trained on COCO")
    if preset in (None, "small"):
        found = "" if preset else f"; no {COCO_FILE} in {logs}, here, or in Keras's cache"
        return Start("random", "small", f"random, for the small network{found}")
    if preset == "paper" and (path := _paper_trunk()):
        return Start(str(path), "paper", f"{path}, trained on ImageNet")
    name = "imagenet" if preset == "paper" else "coco"
    raise FileNotFoundError(
        f"No weights for --preset {preset} are at hand; --weights {name} downloads some, and "
        "--preset small needs none."
    )


def coco_file(logs):
    """Return the path of the original's COCO file in a folder, here, or in Keras's; or None."""
    from mrcnn.weights.download import models_folder

    places = (Path(logs), Path("."), models_folder())
    return next((p / COCO_FILE for p in places if (p / COCO_FILE).is_file()), None)


def _paper_trunk():
    from mrcnn.config import PaperConfig
    from mrcnn.weights.download import TORCHVISION_TRUNKS, models_folder

    path = models_folder() / TORCHVISION_TRUNKS[PaperConfig.BACKBONE]
    return path if path.is_file() else None


def config_of_file(path, **settings):
    """Return the Config in a weight file, or the one that its layers show, with other settings.

    Raises:
        ValueError: if the file is of another program, or is damaged.
    """
    from mrcnn.config import PaperConfig
    from mrcnn.runs.imported import imported_config, original_config
    from mrcnn.runs.settings import read_config
    from mrcnn.weights import is_foreign
    from mrcnn.weights import settings_of as settings_of_file

    if not is_foreign(path):
        return original_config(path, **settings) or read_config(path, **settings)[0]
    found, is_detector = settings_of_file(path)
    if is_detector:
        return imported_config(path, "training", **settings)
    config = PaperConfig()
    for name, value in {**found, **settings}.items():
        setattr(config, name, value)
    return config


def fit_classes(start, class_names):
    """Leave out the class layers of a file with other classes; return a sentence, or None.

    Args:
        start: a `Start`, whose `exclude` is set.
        class_names: of the data, the background first.
    """
    from mrcnn.runs.imported import classes_of
    from mrcnn.weights.start import CLASS_LAYERS

    if not os.path.isfile(start.weights):
        return None
    count, names = classes_of(start.weights)
    if count is None or names == list(class_names):
        return None
    if names is None and count == len(class_names):
        return (
            f"{start.weights} does not name its {count - 1} classes; as their number fits, they "
            "are taken for those of the data."
        )
    start.exclude = CLASS_LAYERS
    theirs = shorten(names[1:], 5) if names else f"{count - 1} classes without names"
    return (
        f"Its classes are others ({theirs}), so the last layers of box and mask head start from "
        "random weights."
    )
