"""Command lines: options, one-sentence errors, models with their weights, training in stages.

Each script in `samples/` is a Config, a Dataset and a function per command. TensorFlow is imported
when a model is made, so that `--help` and wrong command lines answer at once.
"""

import argparse
import copy
from pathlib import Path

# Of other classes, for networks of the original's sizes.
PRETRAINED = ("coco", "imagenet")
WEIGHTS = (*PRETRAINED, "last", "random")


def at_least(low):
    """Return the argparse type of whole numbers from `low` on."""

    def whole_number(text):
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return int(text)

    return whole_number


PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Keyword arguments of `add_argument`. "flags" are for options that have more than their own name; a
# "dest" in capitals is the setting of the Config that `model_of` replaces.
_FLAGS = {"flags": ("--weights", "--model")}
OPTIONS = {
    "dataset": {"help": "folder of the data set", "required": True},
    "weights": {"help": '"coco", "imagenet", "random", "last" for the newest run, or a file'}
    | _FLAGS,
    "trained": {"help": '"last" for the newest run, or a file', "default": "last"} | _FLAGS,
    "logs": {"help": "folder of runs and checkpoints", "default": "logs"},
    "small": {"help": "use a small network, not ResNet-101", "action": "store_true"},
    "precision": {"help": "policy of Keras", "choices": PRECISIONS, "dest": "PRECISION"},
    "epochs": {"help": "total number of epochs", "type": at_least(1), "dest": "EPOCHS"},
    "steps": {"help": "steps per epoch", "type": at_least(1), "dest": "STEPS_PER_EPOCH"},
    "rate": {"help": "learning rate", "type": float, "dest": "LEARNING_RATE"},
    "gpus": {"help": "GPUs of this machine", "type": at_least(1), "dest": "GPU_COUNT"},
    "layers": {"help": "one stage: heads, 3+, 4+, 5+, all, or a regular expression of layers"},
    "limit": {"help": "use only the first N images", "type": at_least(1), "metavar": "N"},
    "seed": {"help": "random seed", "type": at_least(0), "default": 0},
    "output": {"help": "folder of results"},
}


class CommandLine:
    """A command line whose commands are functions of the parsed arguments.

    Args:
        prog, description: name of the program, and one sentence for `--help`.
        options: options of this program, which add to `OPTIONS` or replace some.
    """

    def __init__(self, prog, description, **options):
        self.parser = argparse.ArgumentParser(prog=prog, description=description)
        self._commands = self.parser.add_subparsers(required=True, metavar="COMMAND")
        self._options = OPTIONS | options

    def command(self, options, **defaults):
        """Decorate `run_<name>(args)`, whose docstring is the help of the command `<name>`.

        Args:
            options: names of options, separated by spaces; of "a|b" exactly one has to be given.
            defaults: values of `args`, by the name or "dest" of these options or of others.
        """

        def add(run):
            name = run.__name__.removeprefix("run_")
            sub = self._commands.add_parser(name, help=run.__doc__, description=run.__doc__)
            for text in options.split():
                exclusive = "|" in text
                target = sub.add_mutually_exclusive_group(required=True) if exclusive else sub
                for option in text.split("|"):
                    keywords = dict(self._options[option])
                    dest = keywords.get("dest", option)
                    default = defaults.get(dest, keywords.get("default"))
                    keywords["help"] += f" ({default})" if default else ""
                    target.add_argument(*keywords.pop("flags", (f"--{option}",)), **keywords)
            sub.set_defaults(run=run, error=sub.error, **defaults)
            return run

        return add

    def __call__(self, argv=None):
        """Run a command line; errors in files and values end it with one sentence and status 1."""
        args = self.parser.parse_args(argv)
        weights = getattr(args, "weights", None)
        if weights in PRETRAINED and getattr(args, "small", False):
            args.error(f"there are no {weights} weights for --small; leave out one of the two")
        try:
            if weights and weights not in WEIGHTS and not Path(weights).is_file():
                accepted = f"--weights takes {', '.join(WEIGHTS)} or a file"
                raise FileNotFoundError(f"There is no file {weights}; {accepted}.")
            args.run(args)
        except (OSError, ValueError) as error:
            self.parser.exit(1, f"{self.parser.prog}: {error}\n")


def model_of(args, mode, config, from_random=None, **settings):
    """Call `make_model` with the options of a command line: weights, logs, seed and settings."""
    settings |= {k: v for k, v in vars(args).items() if k.isupper() and v is not None}
    start = args.weights, args.logs, config, from_random, getattr(args, "seed", 0)
    return make_model(mode, *start, **settings)


def make_model(mode, weights, logs, config, from_random=None, seed=0, **settings):
    """Make a `MaskRCNN` with its weights.

    Args:
        mode: "training" or "inference", which takes whole images, one at a time.
        weights: "coco", "imagenet", "random", "last" or a file, as `MaskRCNN.start_from`.
        logs: folder of the runs.
        config: a Config or a class of Configs.
        from_random: the class for "random", if that is another. Runs and files then bring their own
            Config, and `config` is for files without one, such as the original's.
        seed: of all random numbers.
        settings: values that replace those of the Config.

    Raises OSError or ValueError where there are no such weights, or they have other classes.
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
    # The COCO weights know COCO's classes; for others their last layers are left out.
    knows = "coco" if config.NUM_CLASSES == COCO_CLASSES else "last"
    if mode == "inference" and weights in set(WEIGHTS) - {knows, "last"}:
        raise ValueError(
            f'Weights "{weights}" do not know the classes of "{config.NAME}"; give "last" or a '
            "file of trained weights."
        )
    keras.utils.set_random_seed(seed)
    model = mask_rcnn.MaskRCNN(mode=mode, config=config, model_dir=str(logs))
    model.start_from(str(weights))
    return model


def _config_of(weights, logs, kinds):
    """Return the Config kept with a file or with the newest run of the `kinds`; else the first."""
    from mrcnn.runs.run import checkpoints, run_folders
    from mrcnn.runs.settings import read_config

    if weights == "last":
        runs = reversed(run_folders(logs, *(kind.NAME for kind in kinds)))
        weights = next((path for run in runs for path in checkpoints(run)), None)
    try:
        # Without any checkpoint, loading the weights will say where it looked.
        return read_config(weights)[0] if weights else kinds[0]
    except ValueError:
        # The original's files do not hold their settings.
        return kinds[0]


def settling(rate, epochs, layers="all"):
    """Return stages that end with a quarter of the epochs at a tenth of the learning rate."""
    return [(layers, rate, epochs - epochs // 4), (layers, rate / 10, epochs)]


def train(model, train_set, val_set, stages, **options):
    """Train in stages, without those that a resumed run has finished.

    Args:
        model: a `MaskRCNN` in training mode.
        train_set, val_set, options: as of `MaskRCNN.train`.
        stages: list of (layers, learning rate, number of the last epoch).

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
