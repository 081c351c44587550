"""The training that a command line asks for: its Config, weights, and what was assumed."""

import os
from dataclasses import dataclass
from typing import Any

from mrcnn.commands.data import Data
from mrcnn.commands.options import settings_of
from mrcnn.commands.presets import fit_schedule, fitted_config
from mrcnn.commands.start import Start, choose_start, coco_file, config_of_file, fit_classes
from mrcnn.commands.survey import survey
from mrcnn.data.checks import shorten, shown

_CLASSES_SHOWN = 20


@dataclass
class Training:
    """A training that is ready to start.

    Attributes:
        data: `Data`.
        config: Config, whose constants EPOCHS and LAYERS are arguments of the training.
        start: `Start`, or None to resume the newest run.
        lines: sentences on what was assumed.
    """

    data: Data
    config: Any
    start: Start | None
    lines: list

    def run(self, args):
        """Train; return the document for `--json`."""
        import keras

        from mrcnn.mask_rcnn import MaskRCNN
        from mrcnn.runs.imported import warn_of_settings
        from mrcnn.runs.provenance import metrics_of
        from mrcnn.runs.run import checkpoints

        print("\n".join(self.lines), flush=True)
        keras.utils.set_random_seed(args.seed)
        config, data = self.config, self.data
        model = MaskRCNN("training", config, args.logs)
        if self.start is None:
            model.start_from("last")
        elif os.path.isfile(self.start.weights):
            # Not those of the MaskRCNN, which would continue the run that the file is in.
            load, path = model.keras_model.load_weights, self.start.weights
            warn_of_settings(config, path, load(path, exclude=self.start.exclude))
        else:
            model.start_from(self.start.weights)
        history = model.train(
            data.train,
            data.val,
            config.LEARNING_RATE,
            config.EPOCHS,
            config.LAYERS,
            augmentation=None if args.augmentation == "none" else args.augmentation,
        )
        last = next(iter(checkpoints(model.log_dir)), None)
        print(f"Weights: {last}\nTry them: mrcnn predict PHOTOS --weights {last}")
        return {
            "run": model.log_dir,
            "weights": last,
            "epochs": model.epoch,
            "metrics": metrics_of({n: v[-1] for n, v in history.history.items() if v}),
            "data": _facts(data),
            "assumed": self.lines,
        }


def new_training(args, data):
    """Return the `Training` of a new run."""
    start = _start(args, data)
    found = survey(data.train)
    lines = _data_lines(data, found)
    changes = {"NAME": data.name, "NUM_CLASSES": data.train.num_classes}
    if data.config is not None:
        config = data.config()
        config.NAME = data.name if args.name else config.NAME
    elif start.preset is None:
        config = config_of_file(start.weights, **changes)
        lines.append(f"Settings: those in {start.weights}.")
    else:
        is_new = start.weights == "random"
        sizes = found, args.image_size
        config = fitted_config(start.preset, *changes.values(), *sizes, adapts=is_new)
        lines.append(f"Settings: the preset {start.preset}.")
    lines += _apply(args, data, config, start)
    _check_classes(config, data)
    lines.append(f"Weights: {start.reason}.")
    if sentence := fit_classes(start, data.train.class_names):
        lines.append(sentence)
    return Training(data, config, start, lines)


def _start(args, data):
    if data.config is None or args.weights or args.preset:
        return choose_start(args.weights, args.preset, args.logs, args.error)
    config, path = data.config, coco_file(args.logs)
    if path and config.RECIPE == "matterport" and str(config.BACKBONE).startswith("resnet"):
        return Start(str(path), None, f"{path}, trained on COCO")
    return Start("random", None, "random")


def _apply(args, data, config, start):
    """Put the options of a command line into a new Config; return sentences on sizes and steps."""
    from mrcnn.commands.presets import set_image_size

    if args.gpus:
        config.GPU_COUNT = args.gpus
    if args.image_size and (data.config is not None or start.preset is None):
        set_image_size(config, args.image_size)
    images = len(data.train.image_ids), 0 if data.val is None else len(data.val.image_ids)
    if data.config is None:
        preset = start.preset or ("paper" if config.RECIPE == "paper" else "default")
        config.EPOCHS = fit_schedule(config, preset, *images, args.epochs, args.steps)
    else:
        config.EPOCHS = args.epochs or getattr(config, "EPOCHS", 30)
        if args.steps:
            config.STEPS_PER_EPOCH = args.steps
    if args.rate:
        config.LEARNING_RATE = args.rate
    for name, value in settings_of(args).items():
        setattr(config, name, value)
    config.LAYERS = args.layers or getattr(config, "LAYERS", None) or _layers(config, start)
    config.validate()
    return [
        f"Images: {_size_text(config)}; anchors of "
        f"{', '.join(f'{side:g}' for side in config.RPN_ANCHOR_SCALES)} pixels.",
        f"Steps: {_count(config.EPOCHS, 'epoch')} of {_count(config.STEPS_PER_EPOCH, 'step')} of "
        f"{_count(config.BATCH_SIZE, 'image')}; {config.LAYERS} layers learn, at a rate of "
        f"{config.LEARNING_RATE:g}.",
    ]


def _layers(config, start):
    """Return the layers that learn by default: with trained backbones of few images, the heads."""
    if start.weights == "random" or config.BACKBONE == "small":
        return "all"
    return "3+" if config.RECIPE == "paper" else "heads"


def _size_text(config):
    if config.IMAGE_RESIZE_MODE == "square":
        height, width = config.IMAGE_SHAPE[:2]
        return f"resized to {height}x{width}"
    return f"resized to {config.IMAGE_MIN_DIM}, at most {config.IMAGE_MAX_DIM} pixels"


def resumed_training(args, data):
    """Return the `Training` that continues the newest run of a data set's name.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if the run has other classes than the data.
    """
    from mrcnn.runs.run import CONFIG_FILE, run_folders
    from mrcnn.runs.settings import read_config, read_facts

    is_program = data.config is not None and not args.name
    name = data.config.NAME if is_program else data.name
    folders = [f for f in run_folders(args.logs, name) if os.path.isfile(f"{f}/{CONFIG_FILE}")]
    if not folders:
        raise FileNotFoundError(
            f'There is no run of "{name}" in "{args.logs}" to resume; leave out --resume to start '
            "one, or give its --name."
        )
    path = os.path.join(folders[-1], CONFIG_FILE)
    facts = read_facts(path)
    names, stored = facts.get("class_names"), facts["config"]
    # A file cannot hold functions, such as a BACKBONE, and a program has them.
    config = data.config() if data.config is not None else read_config(path)[0]
    config.NAME = name
    for setting, default in (("EPOCHS", 30), ("LAYERS", "all")):
        if not hasattr(config, setting):
            setattr(config, setting, stored.get(setting, default))
    if names is not None and names != list(data.train.class_names):
        raise ValueError(
            f"{folders[-1]} was trained on the classes {shorten(names[1:], _CLASSES_SHOWN)}, and "
            f"the data have {shorten(data.train.class_names[1:], _CLASSES_SHOWN)}; train with "
            "--weights and a file to start a new run."
        )
    given = {
        "EPOCHS": args.epochs,
        "LAYERS": args.layers,
        "LEARNING_RATE": args.rate,
        "STEPS_PER_EPOCH": args.steps,
    }
    for setting, value in given.items():
        if value:
            setattr(config, setting, value)
    for setting, value in settings_of(args).items():
        setattr(config, setting, value)
    _check_classes(config, data)
    lines = [*_data_lines(data), f"Settings and weights: those of {folders[-1]}."]
    return Training(data, config, None, lines)


def _check_classes(config, data):
    if config.NUM_CLASSES != data.train.num_classes:
        names = shorten(list(map(shown, data.train.class_names[1:])), _CLASSES_SHOWN)
        raise ValueError(
            f"NUM_CLASSES is {config.NUM_CLASSES}, and the data have "
            f"{data.train.num_classes - 1} classes and the background: {names}."
        )


def _data_lines(data, found=None):
    """Return sentences on the data."""
    names = shorten(list(map(shown, data.train.class_names[1:])), _CLASSES_SHOWN)
    count = data.train.num_classes - 1
    objects = f" with {found.count_text()} objects" if found else ""
    val = 0 if data.val is None else len(data.val.image_ids)
    return [
        f"Data: {data.source} ({data.format}), {len(data.train.image_ids)} images{objects} for "
        f"training, {val or 'none'} for validation.",
        *data.notes,
        f"{count} class{'es' if count > 1 else ''}: {names}.",
    ]


def _facts(data):
    return {
        "name": data.name,
        "source": data.source,
        "format": data.format,
        "classes": list(data.train.class_names[1:]),
        "images": len(data.train.image_ids),
        "validation_images": 0 if data.val is None else len(data.val.image_ids),
        "notes": data.notes,
    }


def _count(number, noun):
    return f"{number} {noun}{'s' if number != 1 else ''}"
