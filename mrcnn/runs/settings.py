"""The settings of a run as JSON, from which the model can be built without the user's class."""

import copy
import json
import math
import os
import sys
from types import ModuleType

import keras
import numpy as np
import tensorflow as tf

from mrcnn import __version__, limits
from mrcnn.config import Computed, Config, PaperConfig
from mrcnn.runs.provenance import check_provenance
from mrcnn.runs.run import CONFIG_FILE
from mrcnn.weights.matterport import WeightFileError, read_metadata


def describe(config, class_names=None, training=None):
    """Return the facts about a model as JSON can hold them.

    Args:
        config: the Config.
        class_names: list that starts with the background, or None.
        training: `provenance.training_facts` of a run, or None.

    Returns:
        A dict of "config", every setting by name; "class_names", a list that starts with the
        background, or None; "versions" of the libraries; and "training" if there is any.
    """
    facts = {
        "config": json.loads(json.dumps(config.to_dict(), default=_encode)),
        "class_names": None if class_names is None else list(map(str, class_names)),
        "versions": {"mrcnn": __version__} | {m.__name__: m.__version__ for m in (keras, tf, np)},
    }
    return facts | ({"training": training} if training else {})


def as_metadata(facts):
    """Return the facts as texts, the metadata of a weight file."""
    return {name: json.dumps(value) for name, value in facts.items()}


def read_facts(path):
    """Return the facts in a weight file, or in the `config.json` beside it.

    Raises:
        ValueError: if neither has them, or what is there is damaged.
    """
    beside = os.path.join(os.path.dirname(path), CONFIG_FILE)
    try:
        metadata = read_metadata(path)
    except WeightFileError:
        # An earlier checkpoint may be whole, and the settings are those of the run.
        if not os.path.isfile(beside):
            raise
        metadata = {}
    if "config" in metadata:
        return _parsed(path, lambda: {name: json.loads(text) for name, text in metadata.items()})
    if os.path.isfile(beside):
        with open(beside, encoding="utf-8") as file:
            return _parsed(beside, lambda: json.load(file))
    raise ValueError(
        f'"{path}" does not say with which settings it was trained, and has no {CONFIG_FILE} '
        "beside it; make a MaskRCNN with its Config and call load_weights."
    )


def _parsed(path, parse):
    """Return facts that JSON holds, with a dict of settings among them."""
    try:
        facts = parse()
    except (ValueError, RecursionError) as error:
        raise WeightFileError(f'The settings in "{path}" are not JSON ({error}).') from error
    names = facts.get("class_names") if isinstance(facts, dict) else None
    is_names = names is None or (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    )
    if not isinstance(facts, dict) or not isinstance(facts.get("config"), dict) or not is_names:
        raise WeightFileError(
            f'The settings in "{path}" are not a dict with "config", a dict, and "class_names", a '
            "list of names."
        )
    check_provenance(path, facts)
    return facts


def read_config(path, **changes):
    """Return the Config of a weight file and its class names, which may be None.

    Nothing in the file can run code: recipes and optimizers are found by name among those of this
    package and of Keras.

    Args:
        path: see `read_facts`.
        changes: see `make_config`.

    Raises:
        ValueError: names the file, if it has no settings, or such that no model can have.
    """
    facts = read_facts(path)
    settings, names = facts["config"], facts.get("class_names")
    recipe = settings.get("RECIPE", Config.RECIPE)
    if "RECIPE" not in changes and not _is_known_recipe(recipe):
        raise ValueError(
            f'"{path}" was made with the recipe {recipe!r}. A file may not choose a module to '
            "import; if you trust this one, import it before, or pass RECIPE as well."
        )
    try:
        config = make_config(settings, **changes)
        config.validate()
    # A wrong value may raise an error of any kind wherever it is first used.
    except Exception as error:
        if isinstance(error, ValueError) and _functions(settings, changes):
            raise
        raise ValueError(f'The settings in "{path}" cannot be used: {error}') from error
    check_size(config, path, changes)
    return config, names


def _is_known_recipe(name):
    """Return whether a recipe is one of this package, or a module that is already imported."""
    if not isinstance(name, str):
        return False
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "recipes")
    is_ours = name.isidentifier() and os.path.isfile(os.path.join(folder, f"{name}.py"))
    return is_ours or name in sys.modules


# Numbers above these would fill the memory; a program may pass larger ones itself.
_MOST = {
    "IMAGES_PER_GPU": 1 << 10,
    "MAX_GT_INSTANCES": 1 << 14,
    "TRAIN_ROIS_PER_IMAGE": 1 << 14,
    "DETECTION_MAX_INSTANCES": 1 << 14,
    "POST_NMS_ROIS_TRAINING": 1 << 14,
    "POST_NMS_ROIS_INFERENCE": 1 << 14,
    "PRE_NMS_LIMIT": 1 << 20,
    "IMAGE_MIN_DIM": 1 << 14,
    "IMAGE_MAX_DIM": 1 << 14,
    "IMAGE_MIN_SCALE": 1 << 6,
}


def check_size(config, path, changes):
    """Refuse settings that would fill the memory, with weights that the file cannot hold too."""
    sizes = {name: (np.max(getattr(config, name) or 0), most) for name, most in _MOST.items()}
    if config.IMAGE_RESIZE_MODE == "square":
        pixels = math.prod(map(int, config.IMAGE_SHAPE[:2]))
        sizes["IMAGE_SHAPE"] = pixels, limits.MAX_IMAGE_PIXELS
    for name, (value, most) in sizes.items():
        if value > most and name not in changes:
            raise ValueError(
                f'The settings in "{path}" have {name} = {value}, more than {most}; if you '
                f"trust them, pass {name} as well."
            )
    width, units = config.TOP_DOWN_PYRAMID_SIZE, config.FPN_CLASSIF_FC_LAYERS_SIZE
    box = units * (config.POOL_SIZE**2 * width + units + 5 * config.NUM_CLASSES)
    needed = 4 * (box + width * (9 * 4 * width + config.NUM_CLASSES))
    # Files may be compressed.
    if needed > 10 * os.path.getsize(path) + (1 << 28):
        raise ValueError(
            f'The settings in "{path}" ask for heads with {needed // 10**9} GB of weights, but '
            f"the file has {os.path.getsize(path) / 1e9:.3f} GB; it is damaged."
        )


def _functions(settings, changes):
    """Return the paths of the functions among stored settings that are not changed, by name."""
    return {
        name: value["function"]
        for name, value in settings.items()
        if _is_encoded(value, "function") and name not in changes
    }


def make_config(settings, **changes):
    """Make a Config of the settings in the facts about a model.

    Args:
        settings: `describe(...)["config"]`.
        changes: settings to replace; computed settings follow them.

    Raises:
        ValueError: if a setting is a function that is not among the changes.
    """
    if functions := _functions(settings, changes):
        given = ", ".join(f"{name}={path.split('.')[-1]}" for name, path in functions.items())
        raise ValueError(
            f"A file cannot hold functions, and this model was made with "
            f"{', '.join(functions.values())}; pass {given} as well."
        )
    is_paper = (settings | changes).get("RECIPE") == "paper"
    config, computed = PaperConfig() if is_paper else Config(), {}
    for name, value in settings.items():
        if name in changes and _is_encoded(value, "optimizer"):
            continue
        default = getattr(type(config), name, None)
        if name.startswith("_") or (callable(default) and not name.isupper()):
            raise ValueError(f"{name} is not the name of a setting")
        if isinstance(default, Computed):
            computed[name] = _decode(value)
        elif not _is_encoded(value, "function"):
            value = _decode(value)
            setattr(config, name, tuple(value) if isinstance(default, tuple) else value)
    # Computed settings that had been assigned a value of their own keep it.
    for name, value in computed.items():
        if not np.array_equal(value, getattr(config, name)):
            setattr(config, name, value)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def for_detection(config):
    """Return a copy of a Config for detection in whole images, even if training uses crops."""
    config = copy.copy(config)
    if config.IMAGE_RESIZE_MODE == "crop":
        config.IMAGE_RESIZE_MODE = "pad64"
    return config


def _encode(value):
    """Encode a value that JSON cannot hold as a dict whose first key names its kind."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, keras.optimizers.Optimizer):
        return {"optimizer": keras.optimizers.serialize(value)}
    if isinstance(value, ModuleType):
        # A recipe, which `Config.recipe` finds by this name.
        return value.__name__
    if callable(value) or hasattr(value, "network_parts"):
        owner = value if hasattr(value, "__qualname__") else type(value)
        return {"function": f"{owner.__module__}.{owner.__qualname__}"}
    return str(value)


def _decode(value):
    if _is_encoded(value, "array"):
        return np.array(value["array"], value["dtype"])
    if _is_encoded(value, "optimizer"):
        return _optimizer(value["optimizer"])
    return value


def _optimizer(stored, package=keras.optimizers):
    """Make an optimizer or a schedule of Keras's own classes and plain arguments alone."""
    kind = getattr(package, str(stored["class_name"]), None)
    bases = (keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule)
    if not (isinstance(kind, type) and issubclass(kind, bases)):
        raise ValueError(
            f"OPTIMIZER has {stored['class_name']!r}, which is not one of Keras's own classes; "
            "pass OPTIMIZER as well."
        )
    arguments = {}
    for name, value in stored["config"].items():
        if isinstance(value, dict):
            inner = name == "inner_optimizer"
            value = _optimizer(value, package if inner else keras.optimizers.schedules)
        arguments[name] = value
    return kind(**arguments)


def _is_encoded(value, kind):
    return isinstance(value, dict) and next(iter(value), None) == kind
