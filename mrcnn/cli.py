"""What command lines share: options, one-sentence errors, models with weights, training in stages.

`samples/` builds its scripts with it: a script has its Config, its Dataset, and a function for each
command. TensorFlow is imported when a model is made, so that `--help` and mistakes are quick.
"""

import argparse
import contextlib
import copy
import os
from pathlib import Path

# What weights may be called instead of giving a file.
WEIGHTS = ("coco", "imagenet", "last", "random")
# Trained on other classes; the sizes of their layers are those of the original's networks.
PRETRAINED = ("coco", "imagenet")

# Options that change a setting.
SETTINGS = {
    "gpus": "GPU_COUNT",
    "precision": "PRECISION",
    "rate": "LEARNING_RATE",
    "steps": "STEPS_PER_EPOCH",
}


def at_least(low):
    """The argparse type of whole numbers from `low` on."""

    def whole_number(text):
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return int(text)

    return whole_number


# Keyword arguments of `add_argument`; "flags" where an option has more than its own name.
OPTIONS = {
    "dataset": {"help": "folder of the data set", "required": True},
    "weights": {
        "flags": ("--weights", "--model"),
        "help": '"coco", "imagenet", "random", a file, or "last": the newest run in --logs, which '
        "train resumes",
    },
    "trained": {
        "flags": ("--weights", "--model"),
        "help": 'a file, or "last": the newest weights in --logs',
        "default": "last",
    },
    "logs": {"help": "folder of runs and checkpoints", "default": "logs"},
    "small": {"help": "use a small network, not ResNet-101", "action": "store_true"},
    "precision": {
        "help": "number format of the network, a policy of Keras",
        "choices": ("float32", "mixed_bfloat16", "mixed_float16"),
    },
    "epochs": {"help": "epochs in all, other than the Config's", "type": at_least(1)},
    "steps": {"help": "steps per epoch, other than the Config's", "type": at_least(1)},
    "rate": {"help": "learning rate, other than the Config's", "type": float},
    "gpus": {"help": "GPUs of this machine, each with its own batch", "type": at_least(1)},
    "layers": {"help": "one stage: heads, 3+, 4+, 5+, all, or a regular expression of layers"},
    "limit": {"help": "use only the first N images", "type": at_least(1), "metavar": "N"},
    "seed": {"help": "random seed", "type": at_least(0), "default": 0},
    "output": {"help": "folder of results"},
}


class CommandLine:
    """A command line whose commands are functions of the parsed arguments.

    Args:
        prog: name of the program.
        description: one sentence for `--help`.
        options: options of this program, which add to `OPTIONS` or replace some.

    Attributes:
        parser: the `argparse.ArgumentParser`.
    """

    def __init__(self, prog, description, **options):
        self.parser = argparse.ArgumentParser(prog=prog, description=description)
        self._commands = self.parser.add_subparsers(required=True, metavar="COMMAND")
        self._options = OPTIONS | options

    def command(self, options, **defaults):
        """Decorate `run_<name>(args)`; its docstring is the help of the command `<name>`.

        Args:
            options: names of options, separated by spaces; of "a|b" exactly one has to be given.
            defaults: values of `args`, of these options or beside them.
        """

        def add(run):
            name = run.__name__.removeprefix("run_")
            sub = self._commands.add_parser(name, help=run.__doc__, description=run.__doc__)
            for choice in (text.split("|") for text in options.split()):
                target = sub
                if len(choice) > 1:
                    target = sub.add_mutually_exclusive_group(required=True)
                for option in choice:
                    keywords = dict(self._options[option])
                    default = defaults.get(option, keywords.get("default"))
                    keywords["help"] += f" ({default})" if default else ""
                    target.add_argument(*keywords.pop("flags", (f"--{option}",)), **keywords)
            sub.set_defaults(run=run, error=sub.error, **defaults)
            return run

        return add

    def __call__(self, argv=None):
        """Run a command line; what is wrong with files becomes one sentence and exit status 1."""
        args = self.parser.parse_args(argv)
        # Pages of notes by TensorFlow's compiler would bury the progress bar.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        weights = getattr(args, "weights", None)
        if weights in PRETRAINED and getattr(args, "small", False):
            args.error(f"there are no {weights} weights for --small; leave out one of the two")
        try:
            if weights and weights not in WEIGHTS and not Path(weights).is_file():
                names = ", ".join(WEIGHTS)
                raise FileNotFoundError(
                    f"There is no file {weights}; --weights takes {names} or a file."
                )
            args.run(args)
        except (OSError, ValueError) as error:
            self.parser.exit(1, f"{self.parser.prog}: {error}\n")


def model_of(args, mode, config, from_random=None, **settings):
    """`make_model` for the options of a command line: weights, logs, seed and `SETTINGS`."""
    for option, name in SETTINGS.items():
        # Not every command has every option.
        if getattr(args, option, None) is not None:
            settings[name] = getattr(args, option)
    seed = getattr(args, "seed", 0)
    return make_model(mode, args.weights, args.logs, config, from_random, seed, **settings)


def make_model(mode, weights, logs, config, from_random=None, seed=0, **settings):
    """Make a `MaskRCNN` with its weights.

    Args:
        mode: "training" or "inference", which takes whole images, one at a time.
        weights: "coco", "imagenet", "random", "last" or a file, as `MaskRCNN.start_from`.
        logs: folder of the runs.
        config: a Config or a class of Configs.
        from_random: the class for "random", where that is another. Then runs and files, which keep
            their Config, decide themselves; `config` is for those that do not, as the original's.
        seed: of all random numbers.
        settings: values that replace those of the Config.

    Raises:
        FileNotFoundError, OSError, ValueError: one sentence, if there are no such weights, or if
            they know nothing of the classes to detect.
    """
    if from_random and weights == "random":
        config = from_random
    elif from_random and weights not in PRETRAINED:
        config = _config_of(weights, logs, (config, from_random))
    import keras

    from mrcnn import mask_rcnn
    from mrcnn.runs.settings import for_detection
    from mrcnn.weights.start import COCO_CLASSES

    config = config() if isinstance(config, type) else copy.copy(config)
    if mode == "inference":
        config = for_detection(config)
        settings |= {"GPU_COUNT": 1, "IMAGES_PER_GPU": 1}
    for name, value in settings.items():
        setattr(config, name, value)
    # COCO's weights know its own classes; for others they lack the last layers.
    knows = weights == "coco" and config.NUM_CLASSES == COCO_CLASSES
    if mode == "inference" and weights in ("coco", "imagenet", "random") and not knows:
        raise ValueError(
            f'Weights "{weights}" do not know the classes of "{config.NAME}"; give "last" or a '
            "file of trained weights."
        )
    keras.utils.set_random_seed(seed)
    model = mask_rcnn.MaskRCNN(mode=mode, config=config, model_dir=str(logs))
    model.start_from(str(weights))
    return model


def _config_of(weights, logs, kinds):
    """The Config that a file, or the newest run of one of the `kinds`, was trained with."""
    from mrcnn.runs.run import Run, checkpoints_at
    from mrcnn.runs.settings import make_config, read_facts

    if weights == "last":
        newest = []
        for name in {kind.NAME for kind in kinds}:
            # Without any run, loading the weights says where it looked.
            with contextlib.suppress(FileNotFoundError):
                path = checkpoints_at(logs, name)[0]
                newest.append((Run.of_checkpoint(path, name).place, path))
        if not newest:
            return kinds[0]
        weights = max(newest)[1]
    try:
        return make_config(read_facts(weights)["config"])
    except ValueError:
        # The original's files do not tell.
        return kinds[0]


def settling(rate, epochs, layers="all"):
    """Stages that end with a quarter of the epochs at a tenth of the learning rate."""
    return [(layers, rate, epochs - epochs // 4), (layers, rate / 10, epochs)]


def train(model, train_set, val_set, stages, **options):
    """Train in stages, without those that the run has behind it.

    Args:
        model: a `MaskRCNN` in training mode.
        train_set, val_set: prepared data sets.
        stages: list of (layers, learning rate, number of the last epoch).
        options: as of `MaskRCNN.train`.

    Returns:
        Loss curves, a dict of lists with one value per epoch.
    """
    if model.epoch >= stages[-1][2]:
        print(f"{model.epoch} epochs are finished; a larger number of --epochs continues.")
    curves = {}
    for layers, rate, last in stages:
        if model.epoch < last:
            stage = {"learning_rate": rate, "epochs": last, "layers": layers}
            history = model.train(train_set, val_set, **stage, **options)
            for name, values in history.history.items():
                curves.setdefault(name, []).extend(values)
    print(f"Checkpoints and loss curves are in {model.log_dir}.")
    return curves


def progress(items, unit, count=None):
    """Yield items and show a progress bar.

    Args:
        items: any iterable.
        unit: name of an item.
        count: number of the items, where `len` cannot tell it; 0 if nobody can.
    """
    import keras

    bar = keras.utils.Progbar((len(items) if count is None else count) or None, unit_name=unit)
    for item in items:
        yield item
        bar.add(1)
