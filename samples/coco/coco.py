"""COCO: train on it and measure on it, as Matterport's sample of this name does.

    python coco.py train --dataset DIR --model coco          start from the COCO weights
    python coco.py train --dataset DIR --model imagenet      start from ImageNet's
    python coco.py train --dataset DIR --model last          resume the newest run
    python coco.py evaluate --dataset DIR --model last       COCO's figures of the newest weights
    python coco.py evaluate --dataset DIR --results FILE     the same of results in a file

`--download` fetches what DIR lacks. `python coco.py COMMAND --help` lists the options.
"""

import contextlib
import io
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

from mrcnn import cli
from mrcnn.config import Config, SmallConfig
from mrcnn.datasets import CocoJsonDataset
from mrcnn.readers.coco import segmentation_to_rle

__all__ = ["CocoConfig", "CocoDataset", "build_coco_results", "evaluate_coco", "main"]

# The part to validate and evaluate on. In 2014 the rest of "val" is for training.
VALIDATION = {"2014": "minival", "2017": "val"}


class CocoConfig(Config):
    """Settings of the original: two images on a GPU of 12 GB."""

    NAME = "coco"
    NUM_CLASSES = 1 + 80
    EPOCHS = 160


class RandomCocoConfig(CocoConfig):
    """For training from random weights."""

    NAME = "coco_random"
    # The stored statistics of random weights mean nothing: use those of the batch.
    TRAIN_BN = None


class SmallCocoConfig(SmallConfig, CocoConfig):
    """A small network that overfits a handful of images, from random weights, on a CPU."""

    NAME = "coco_small"
    # The pyramid begins at stride 2, since small images are full of small objects.
    BACKBONE_STRIDES = [2, 4, 8, 16, 32]
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 384
    IMAGES_PER_GPU = 4
    STEPS_PER_EPOCH = 50
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
        """Add the classes and images of a part of COCO; see `load_coco_json`.

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
        if not return_coco:
            return None
        from pycocotools.coco import COCO

        # pycocotools prints its progress.
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(annotations))

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


def load_dataset(args, *subsets, return_coco=False):
    """A prepared CocoDataset of parts of COCO, cut to --limit images; and the COCO object."""
    dataset = CocoDataset()
    how = {"return_coco": return_coco, "auto_download": args.download == "true"}
    for subset in subsets:
        coco = dataset.load_coco(args.dataset, subset, args.year, **how)
    if args.limit:
        dataset.image_info = dataset.image_info[: args.limit]
    dataset.prepare()
    return (dataset, coco) if return_coco else dataset


def model_of(args, mode, dataset, **settings):
    """The model of a command line, for the classes of a data set."""
    kinds = (SmallCocoConfig,) if args.small else (CocoConfig, RandomCocoConfig)
    return cli.model_of(args, mode, *kinds, NUM_CLASSES=dataset.num_classes, **settings)


def stages_of(args, config):
    """Stages of training: a list of (layers, learning rate, number of the last epoch)."""
    rate, total = config.LEARNING_RATE, args.epochs or config.EPOCHS
    if args.layers:
        return [(args.layers, rate, total)]
    # From random weights there is nothing worth preserving beneath the heads.
    if config.TRAIN_BN is None:
        return cli.settling(rate, total)
    return [("heads", rate, total // 4), ("4+", rate, total * 3 // 4), ("all", rate / 10, total)]


COMMON = "dataset year logs limit download small precision"

main = cli.CommandLine(
    "coco.py",
    "Mask R-CNN on COCO.",
    dataset={"help": "folder of COCO, or of data in its layout", "required": True},
    start={**cli.OPTIONS["weights"], "required": True},
    year={"help": "of the data set", "choices": VALIDATION, "default": "2017"},
    download={
        "help": "fetch what the folder lacks of COCO",
        **{"nargs": "?", "const": "true", "default": "", "metavar": "True|False"},
        **{"type": str.lower, "choices": ("true", "false")},
    },
    eval={"help": "figures to compute", "choices": ("bbox", "segm", "bbox,segm", "segm,bbox")},
    subset={"help": "evaluate on this part: train, val, minival, valminusminival"},
    results={"help": "evaluate the results in this JSON file, in place of a model"},
    output={"help": "folder for the results as JSON (that of the run)"},
)


@main.command(f"start {COMMON} epochs layers steps rate gpus seed")
def run_train(args):
    """Train a model."""
    # The original trains on the rest of "val", beside "minival", too.
    also = ["valminusminival"] if args.year == "2014" else []
    train_set = load_dataset(args, "train", *also)
    val_set = load_dataset(args, VALIDATION[args.year])
    model = model_of(args, "training", train_set)
    augmentation = None
    # Images to overfit are not going to be seen mirrored.
    if not args.small:
        from mrcnn.data.imgaug_shim import iaa

        augmentation = iaa.Fliplr(0.5)
    cli.train(model, train_set, val_set, stages_of(args, model.config), augmentation=augmentation)


@main.command(f"weights|results {COMMON} eval subset output")
def run_evaluate(args):
    """Print COCO's figures for a model, or for results in files."""
    subset = args.subset or VALIDATION[args.year]
    types = args.eval.split(",") if args.eval else []
    results = read_results(args.results) if args.results else None
    dataset, coco = load_dataset(args, subset, return_coco=True)
    if results is not None:
        report(dataset, coco, dataset.image_ids, results, types or types_in(results))
        return
    # Every detection counts in an average precision, those with higher scores first.
    model = model_of(args, "inference", dataset, DETECTION_MIN_CONFIDENCE=0)
    results = detect_all(model, dataset, dataset.image_ids)
    types = types or list(EVAL_TYPES)
    for eval_type in types:
        path = Path(args.output or model.log_dir) / f"{eval_type}_{subset}{args.year}_results.json"
        write_results(results, eval_type, path)
        print(f"Results are in {path}.")
    report(dataset, coco, dataset.image_ids, results, types)


if __name__ == "__main__":
    main()
