"""COCO: train on it and measure on it, as Matterport's sample of this name does.

    python coco.py train --dataset DIR --model coco          go on from the COCO weights
    python coco.py train --dataset DIR --model imagenet      start from ImageNet's
    python coco.py train --dataset DIR --model last          go on with the newest run
    python coco.py evaluate --dataset DIR --model last       COCO's figures of the newest weights
    python coco.py evaluate --dataset DIR --results FILE     the same of results in a file

`--download` fetches what DIR lacks. `python coco.py COMMAND --help` lists the options.
"""

import argparse
import contextlib
import io
import os
from pathlib import Path

from coco_download import fetch, places
from coco_results import (
    EVAL_TYPES,
    build_coco_results,
    detect_all,
    evaluate_coco,
    read_results,
    report,
    types_in,
    write_results,
)

from mrcnn.config import Config
from mrcnn.datasets import CocoJsonDataset
from mrcnn.readers.coco import segmentation_to_rle

__all__ = [
    "CocoConfig",
    "CocoDataset",
    "SmallCocoConfig",
    "build_coco_results",
    "evaluate_coco",
    "main",
]

MODEL_WORDS = ("coco", "imagenet", "last", "random")

CONFIG_WORDS = {
    "precision": "PRECISION",
    "gpus": "GPU_COUNT",
    "steps": "STEPS_PER_EPOCH",
    "rate": "LEARNING_RATE",
}

# The part to validate and evaluate on. In 2014 the rest of "val" is for training.
VALIDATION = {"2014": "minival", "2017": "val"}


class CocoConfig(Config):
    """Settings of the original: two images a GPU of 12 GB."""

    NAME = "coco"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 80
    EPOCHS = 160


class RandomCocoConfig(CocoConfig):
    """For random weights; the name tells `--model last` how the run began."""

    NAME = "coco_random"
    # Stored statistics say nothing about random weights: those of the batch have to be used.
    TRAIN_BN = None


class SmallCocoConfig(CocoConfig):
    """A network that learns a handful of images by heart, from random weights, on a CPU."""

    NAME = "coco_small"
    BACKBONE = "small"
    # The pyramid begins at stride 2, for small images are full of small objects.
    BACKBONE_STRIDES = [2, 4, 8, 16, 32]
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TOP_DOWN_PYRAMID_SIZE = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 384
    IMAGES_PER_GPU = 4
    # Stored statistics say nothing about random weights: those of the batch have to be used.
    TRAIN_BN = None
    LEARNING_RATE = 0.04
    WARMUP_STEPS = 50
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    TRAIN_ROIS_PER_IMAGE = 128
    # A quarter of the work in the mask head.
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    STEPS_PER_EPOCH = 50
    VALIDATION_STEPS = 2
    EPOCHS = 18


class CocoDataset(CocoJsonDataset):
    """A part of COCO, or any data set in its layout: `<subset><year>/` and `annotations/`."""

    def load_coco(
        self,
        dataset_dir,
        subset,
        year="2014",
        class_ids=None,
        class_map=None,
        return_coco=False,
        auto_download=False,
    ):
        """Add the classes and images of a part of COCO.

        Args:
            dataset_dir: folder of `annotations/instances_<subset><year>.json` and of the images.
            subset: "train" or "val"; of 2014 also "minival", 5000 images of "val", and
                "valminusminival", the others.
            year: 2014 or 2017.
            class_ids: COCO's ids of the classes to load, with the images that show one of them.
            class_map: no effect, as in the original.
            return_coco: return the annotations as a `pycocotools.coco.COCO`.
            auto_download: fetch what the folder lacks.

        Raises:
            FileNotFoundError: names the folder or file that is missing.
            DownloadError, ValueError: as `download` and `load_coco_json`.
        """
        if auto_download:
            self.auto_download(dataset_dir, subset, year)
        annotations, images = places(dataset_dir, subset, year)
        for path in (Path(dataset_dir), annotations, images):
            if not path.exists():
                raise FileNotFoundError(f"There is no {path}; --download fetches COCO.")
        self.load_coco_json(str(annotations), str(images), class_ids=class_ids, source="coco")
        return open_coco(annotations) if return_coco else None

    def auto_download(self, dataset_dir, subset, year):
        """Fetch and unpack what the folder lacks of a part of COCO; see `coco_download.fetch`."""
        fetch(dataset_dir, subset, year)

    def image_reference(self, image_id):
        """Address of the image in COCO's explorer."""
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().image_reference(image_id)
        return f"https://cocodataset.org/#explore?id={info['id']}"

    def annToRLE(self, ann, height, width):
        """Run lengths of an annotation, compressed, as `pycocotools.mask` takes them."""
        return segmentation_to_rle(ann["segmentation"], height, width)

    def annToMask(self, ann, height, width):
        """Mask of an annotation, [height, width] uint8 of 0 and 1."""
        from pycocotools import mask

        return mask.decode(self.annToRLE(ann, height, width))


def open_coco(annotations):
    """The `pycocotools.coco.COCO` of an annotation file, without its remarks on the screen."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(annotations))


def load_dataset(args, *subsets, return_coco=False):
    """A prepared CocoDataset of parts of COCO, cut to --limit images; and the COCO object."""
    dataset = CocoDataset()
    for subset in subsets:
        where = args.dataset, subset, args.year
        coco = dataset.load_coco(*where, return_coco=return_coco, auto_download=args.download)
    if args.limit:
        dataset.image_info = dataset.image_info[: args.limit]
    dataset.prepare()
    return (dataset, coco) if return_coco else dataset


def make_model(mode, config, logs, weights):
    """A MaskRCNN with weights: one of MODEL_WORDS, or a file."""
    # TensorFlow takes seconds to load, and `--help` needs none of it.
    from mrcnn import model as modellib

    model = modellib.MaskRCNN(mode=mode, config=config, model_dir=str(logs))
    model.start_from(weights)
    return model


def stages_of(args, config):
    """Stages of training: a list of (layers, learning rate, number of the last epoch)."""
    rate, total = config.LEARNING_RATE, args.epochs or config.EPOCHS
    if args.layers:
        return [(args.layers, rate, total)]
    if isinstance(config, SmallCocoConfig | RandomCocoConfig):
        # There is nothing worth keeping beneath the heads. The last quarter lets it settle.
        return [("all", rate, total - total // 4), ("all", rate / 10, total)]
    return [("heads", rate, total // 4), ("4+", rate, total * 3 // 4), ("all", rate / 10, total)]


def run_train(args):
    """Train a model."""
    # The original trains on what "minival" leaves of "val", too.
    also = ["valminusminival"] if args.year == "2014" else []
    train = load_dataset(args, "train", *also)
    val = load_dataset(args, VALIDATION[args.year])
    config = configure(args, train.num_classes)
    model = make_model("training", config, args.logs, args.model)
    augmentation = None
    # What is learned by heart is not going to be seen mirrored.
    if not args.small:
        from mrcnn.data.imgaug_shim import iaa

        augmentation = iaa.Fliplr(0.5)
    stages = stages_of(args, config)
    if model.epoch >= stages[-1][2]:
        print(f"{model.epoch} epochs are finished; a larger number of --epochs goes on.")
    for layers, rate, last in stages:
        if model.epoch < last:
            rules = {"learning_rate": rate, "epochs": last, "layers": layers}
            model.train(train, val, augmentation=augmentation, **rules)
    print(f"Checkpoints are in {model.log_dir}.")


def run_evaluate(args):
    """Print COCO's figures for a model, or for results in files."""
    subset = args.subset or VALIDATION[args.year]
    results = read_results(args.results) if args.results else None
    dataset, coco = load_dataset(args, subset, return_coco=True)
    if results is not None:
        report(dataset, coco, dataset.image_ids, results, args.eval or types_in(results))
        return
    config = configure(args, dataset.num_classes)
    config.GPU_COUNT = config.IMAGES_PER_GPU = 1
    # Every guess counts in an average precision, the better ones first.
    config.DETECTION_MIN_CONFIDENCE = 0
    model = make_model("inference", config, args.logs, args.model)
    results = detect_all(model, dataset, dataset.image_ids)
    types = args.eval or list(EVAL_TYPES)
    for eval_type in types:
        path = Path(args.output or model.log_dir) / f"{eval_type}_{subset}{args.year}_results.json"
        write_results(results, eval_type, path)
        print(f"Results are in {path}.")
    report(dataset, coco, dataset.image_ids, results, types)


def configure(args, num_classes):
    """The Config that a command line asks for. Seeds the random numbers of Keras, too."""
    import keras

    keras.utils.set_random_seed(getattr(args, "seed", 0))
    config = config_class(args)()
    config.NUM_CLASSES = num_classes
    for option, word in CONFIG_WORDS.items():
        # Not every command has every option.
        if getattr(args, option, None) is not None:
            setattr(config, word, getattr(args, option))
    return config


def config_class(args):
    """The kind of Config; that of `--model last` by the newest run with a checkpoint."""
    if args.small:
        return SmallCocoConfig
    if args.model == "last":
        from mrcnn.runs.run import checkpoints, run_folders

        kinds = CocoConfig, RandomCocoConfig
        runs = [
            (Path(run).name[-len("20260102T0304") :], kind)
            for kind in kinds
            for run in run_folders(args.logs, kind.NAME)
            if checkpoints(run)
        ]
        return max(runs, key=lambda run: run[0], default=("", CocoConfig))[1]
    return RandomCocoConfig if args.model == "random" else CocoConfig


def at_least(low):
    """The type, for argparse, of whole numbers from `low` on."""

    def whole_number(text):
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return int(text)

    return whole_number


def eval_types(text):
    """The type, for argparse, of "bbox", "segm" and "bbox,segm"."""
    names = text.split(",")
    for name in names:
        if name not in EVAL_TYPES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(EVAL_TYPES)}")
    return list(dict.fromkeys(names))


def truth(text):
    """The type, for argparse, of the words for yes and no that the original's users write."""
    words = {"true": True, "false": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return words[text.lower()]


OPTIONS = {
    "dataset": {"help": "folder of COCO, or of data in its layout", "required": True},
    "year": {"help": "of the data set (%(default)s)", "choices": VALIDATION, "default": "2017"},
    "model": {
        "help": "weights to start from: coco, imagenet, random, a file, or last: those of the "
        "newest run in --logs, which train goes on with"
    },
    "logs": {"help": "folder of checkpoints (%(default)s)", "default": "logs"},
    "limit": {"help": "take the first N images only", "type": at_least(1), "metavar": "N"},
    "download": {
        "help": "fetch what the folder lacks of COCO",
        "type": truth,
        "nargs": "?",
        "const": True,
        "default": False,
        "metavar": "True|False",
    },
    "small": {"help": "a small network, not ResNet-101", "action": "store_true"},
    "precision": {
        "help": "of the numbers in the network (Keras's)",
        "choices": ("float32", "mixed_bfloat16", "mixed_float16"),
    },
    "epochs": {
        "help": f"total; stages follow suit ({CocoConfig.EPOCHS}, small {SmallCocoConfig.EPOCHS})",
        "type": at_least(1),
    },
    "layers": {"help": "one stage: heads, 3+, 4+, 5+, all, or a regular expression of layers"},
    "steps": {"help": "steps an epoch, other than the Config's", "type": at_least(1)},
    "rate": {"help": "learning rate, other than the Config's", "type": float},
    "gpus": {
        "help": "GPUs of this machine to train on, each with a batch of its own",
        "type": at_least(1),
    },
    "seed": {"help": "of weights (%(default)s)", "type": at_least(0), "default": 0},
    "eval": {"help": "bbox, segm, or bbox,segm (both)", "type": eval_types},
    "subset": {"help": "evaluate on this part: train, val, minival, valminusminival"},
    "results": {"help": "evaluate what this JSON file holds, in place of a model"},
    "output": {"help": "folder for the results as JSON (that of the run)"},
}


def make_parser():
    """The command line: each command is a function and the options that it reads."""
    parser = argparse.ArgumentParser(description="Mask R-CNN on COCO.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, options):
        sub = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        for option in f"dataset year model logs limit download small precision {options}".split():
            sub.add_argument(f"--{option}", **OPTIONS[option])
        sub.set_defaults(run=run, error=sub.error)

    command("train", run_train, "epochs layers steps rate gpus seed")
    command("evaluate", run_evaluate, "eval subset results output")
    return parser


def check(args):
    """Refuse what the options cannot mean together, before anything heavy is loaded."""
    from_file = getattr(args, "results", None)
    if bool(from_file) == bool(args.model):
        takes = "one of --model and --results" if hasattr(args, "results") else "--model"
        args.error(f"give {takes}")
    if args.small and args.model in ("coco", "imagenet"):
        args.error(f"there are no {args.model} weights for --small; leave out one of the two")
    if args.model and args.model not in MODEL_WORDS and not Path(args.model).is_file():
        words = ", ".join(MODEL_WORDS)
        raise FileNotFoundError(f"There is no file {args.model}; --model takes {words} or a file.")


def main(argv=None):
    """Run a command line."""
    parser = make_parser()
    args = parser.parse_args(argv)
    # Pages of notes by TensorFlow's compiler would bury the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        check(args)
        args.run(args)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
