"""COCO: train on it and measure on it, as Matterport's sample of this name does.

    python coco.py train --dataset DIR --model coco          start from the COCO weights
    python coco.py evaluate --dataset DIR --model last       COCO's figures of the newest weights
    python coco.py evaluate --dataset DIR --results FILE     the same of results in a file

With `--recipe paper` all of it is the paper's: settings, schedule, and weights that torchvision and
Detectron2 have published.

    python coco.py train --recipe paper --dataset DIR --model imagenet --gpus 8
    python coco.py evaluate --recipe paper --dataset DIR --model maskrcnn_r50_fpn.pth

`--download` fetches what DIR lacks. `python coco.py COMMAND --help` lists the options.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from coco_download import fetch, places
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tqdm import tqdm

from mrcnn import cli
from mrcnn.config import Config, PaperConfig, SmallConfig
from mrcnn.datasets import CocoJsonDataset
from mrcnn.evaluation.coco import run_coco_eval
from mrcnn.evaluation.dataset_metrics import as_coco_results
from mrcnn.files import replacing
from mrcnn.readers.coco import segmentation_to_rle

# The part to validate and evaluate on. In 2014 the rest of "val" is for training.
VALIDATION = {"2014": "minival", "2017": "val"}

# Classes of torchvision's weights, which are COCO's category ids with their gaps.
CATEGORY_IDS = 91

# The key in which results of a type differ.
EVAL_TYPES = {"bbox": "bbox", "segm": "segmentation"}
RESULT_KEYS = ("image_id", "category_id", "score")


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


class PaperCocoConfig(PaperConfig):
    """Settings of the paper: 180 epochs of 16,000 images, whatever the batch."""

    NAME = "coco_paper"
    NUM_CLASSES = 1 + 80
    EPOCHS = 180


class RandomPaperCocoConfig(PaperCocoConfig):
    """For training from random weights, with group normalization (He et al. 2019)."""

    NAME = "coco_paper_random"
    BACKBONE_NORM = FPN_NORM = HEAD_NORM = "group"


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
        """Add the classes and images of a part of COCO; raises as `load_coco_json` and `fetch`.

        Args:
            dataset_dir: folder of `annotations/instances_<subset><year>.json` and of the images.
            subset: "train" or "val"; of 2014 also "minival" (5000 images of "val") and the others,
                "valminusminival".
            year: 2014 or 2017.
            class_ids: COCO's ids of the classes to load, with the images that show one of them.
            class_map: no effect, as in the original.
            return_coco: return the annotations as a `pycocotools.coco.COCO`.
            auto_download: fetch what the folder lacks.
        """
        if auto_download:
            self.auto_download(dataset_dir, subset, year)
        annotations, images = places(dataset_dir, subset, year)
        for path in (Path(dataset_dir), annotations, images):
            if not path.exists():
                raise FileNotFoundError(f"There is no {path}; --download fetches COCO.")
        self.load_coco_json(str(annotations), str(images), class_ids=class_ids, source="coco")
        # pycocotools prints its progress.
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(annotations)) if return_coco else None

    def auto_download(self, dataset_dir, subset, year):
        """Fetch what the folder lacks of a part of COCO; see `coco_download.fetch`."""
        fetch(dataset_dir, subset, year)

    def image_reference(self, image_id):
        """Return the address of the image in COCO's explorer."""
        info = self.image_info[image_id]
        if info["source"] != "coco":
            return super().image_reference(image_id)
        return f"https://cocodataset.org/#explore?id={info['id']}"

    def annToRLE(self, ann, height, width):
        """Return the compressed run lengths of an annotation, as `pycocotools.mask` takes them."""
        return segmentation_to_rle(ann["segmentation"], height, width)

    def annToMask(self, ann, height, width):
        """Return the mask of an annotation, [height, width] uint8 of 0 and 1."""
        return coco_mask.decode(self.annToRLE(ann, height, width))


def build_coco_results(dataset, image_ids, rois, class_ids, scores, masks):
    """Return detections in COCO's format, a list of dicts ready for JSON.

    Args:
        dataset: the CocoDataset, which knows COCO's ids of the classes.
        image_ids: COCO's ids of the images in which these were found, usually one.
        rois, class_ids, scores: as of `MaskRCNN.detect`, or None.
        masks: [height, width, n], or a list of n compressed COCO run lengths.
    """
    if rois is None:
        return []
    if not isinstance(masks, list):
        masks = coco_mask.encode(np.asfortranarray(masks, np.uint8))
    found = {"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks}
    results = [result for image_id in image_ids for result in as_coco_results(image_id, found)]
    for result in results:
        result["category_id"] = dataset.get_source_class_id(result["category_id"], "coco")
        # JSON has no bytes.
        rle = result["segmentation"]
        result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    return results


def evaluate_coco(model, dataset, coco, eval_type="bbox", limit=0, image_ids=None):
    """Detect in images of COCO, print the figures, and return the CocoStats by type.

    Args:
        model: a MaskRCNN in inference mode.
        dataset, coco: a prepared CocoDataset, and its `load_coco(..., return_coco=True)`.
        eval_type: "bbox", "segm", or "bbox,segm".
        limit: number of images to stop after; 0 for all.
        image_ids: ids in the dataset of the images to evaluate; None for all.
    """
    image_ids = (dataset.image_ids if image_ids is None else image_ids)[: limit or None]
    results = detect_all(model, dataset, image_ids)
    return report(dataset, coco, results, eval_type.split(","), image_ids)


def detect_all(model, dataset, image_ids):
    """Return the `build_coco_results` of a model for images of a CocoDataset."""
    results, classes = [], model.config.NUM_CLASSES
    by_category = classes == CATEGORY_IDS and classes != dataset.num_classes
    for image_id in tqdm(image_ids, unit="image", disable=None):
        r = model.detect([dataset.load_image(image_id)], mask_format="rle")[0]
        r = in_our_classes(dataset, r) if by_category else r
        found = r["rois"], r["class_ids"], r["scores"], r["masks"]
        results += build_coco_results(dataset, [dataset.image_info[image_id]["id"]], *found)
    return results


def in_our_classes(dataset, detected):
    """Return detections, made with `mask_format="rle"`, by the class ids of a CocoDataset.

    Those of categories that it lacks are left out.

    Args:
        detected: dict of `MaskRCNN.detect` whose class ids are COCO's category ids.
    """
    ours = {info["id"]: class_id for class_id, info in enumerate(dataset.class_info) if class_id}
    kept = [i for i, category in enumerate(detected["class_ids"]) if int(category) in ours]
    kept_ids = np.array([ours[int(detected["class_ids"][i])] for i in kept], np.int32)
    rows = {name: np.asarray(detected[name])[kept] for name in ("rois", "scores")}
    return {**rows, "class_ids": kept_ids, "masks": [detected["masks"][i] for i in kept]}


def report(dataset, coco, results, eval_types, image_ids):
    """Print COCO's figures and the AP per class; return the CocoStats by type."""
    ids = [dataset.image_info[image_id]["id"] for image_id in image_ids]
    classes = [info["id"] for info in dataset.class_info if info["source"] == "coco"]
    found = {kind: run_coco_eval(coco, results, kind, ids, classes) for kind in eval_types}
    for kind, stats in found.items():
        name = "Boxes" if kind == "bbox" else "Masks"
        print(f"\n{name}, {len(ids)} images\n{stats}\n\n{stats.class_table()}")
    return found


def read_results(path):
    """Return the results in a JSON file; ValueError where it holds something else."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
        if all(result.keys() >= set(RESULT_KEYS) for result in results):
            return results
    except (ValueError, TypeError, AttributeError):
        pass
    raise ValueError(
        f"{path} holds no COCO results, which are a JSON list of objects with image_id, "
        "category_id, score, and bbox or segmentation."
    )


def load_dataset(args, *subsets, return_coco=False):
    """Return a prepared CocoDataset of subsets, cut to --limit images, and the last COCO object."""
    dataset = CocoDataset()
    how = {"return_coco": return_coco, "auto_download": args.download == "true"}
    for subset in subsets:
        coco = dataset.load_coco(args.dataset, subset, args.year, **how)
    dataset.image_info = dataset.image_info[: args.limit]
    dataset.prepare()
    return dataset, coco


def model_of(args, mode, dataset, **settings):
    """Return the model of a command line, for the classes of a data set.

    A file of torchvision or Detectron2 decides the architecture and, in inference, the classes.
    """
    classes = {"NUM_CLASSES": dataset.num_classes}
    if args.recipe == "paper":
        kinds = PaperCocoConfig, RandomPaperCocoConfig
        published = published_settings(args.weights, mode)
        classes = classes | published if mode == "inference" else published | classes
    else:
        kinds = (SmallCocoConfig,) if args.small else (CocoConfig, RandomCocoConfig)
    model = cli.model_of(args, mode, *kinds, **settings | classes)
    known = model.config.NUM_CLASSES
    if known not in (dataset.num_classes, CATEGORY_IDS):
        raise ValueError(
            f"{args.weights} has {known} classes, the background counted, and the annotations have "
            f"{dataset.num_classes}; give weights of the same classes."
        )
    return model


def published_settings(weights, mode):
    """Return the settings of a file of torchvision or Detectron2, {} for other weights.

    Raises ValueError for a classifier in inference.
    """
    from mrcnn.weights import is_foreign, settings_of

    if not Path(weights).is_file() or not is_foreign(weights):
        return {}
    settings, is_detector = settings_of(weights)
    if mode == "inference" and not is_detector:
        raise ValueError(f"{weights} is an ImageNet classifier, which detects nothing; train it.")
    return settings


def check_recipe(args):
    """End with a message if options contradict --recipe paper."""
    if args.recipe == "paper" and args.small:
        args.error("--small has settings of its own; leave out --recipe paper")
    if args.recipe == "paper" and args.weights == "coco":
        args.error(
            'the weights "coco" are of the recipe matterport; give --recipe paper a file of '
            "torchvision or Detectron2 (docs/weights.md)"
        )


COMMON = "dataset recipe year logs limit download small precision"

main = cli.CommandLine(
    "coco.py",
    "Mask R-CNN on COCO.",
    dataset={"help": "folder of COCO, or of data in its layout", "required": True},
    start=cli.OPTIONS["weights"] | {"required": True},
    recipe={
        "help": "settings and schedule: Matterport's or the paper's",
        **{"choices": ("matterport", "paper"), "default": "matterport"},
    },
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
    from mrcnn.data.imgaug_shim import iaa

    check_recipe(args)
    # The original trains on the rest of "val", beside "minival", too.
    also = ["valminusminival"] if args.year == "2014" else []
    train_set, _ = load_dataset(args, "train", *also)
    val_set, _ = load_dataset(args, VALIDATION[args.year])
    model = model_of(args, "training", train_set)
    rate, total = model.config.LEARNING_RATE, model.config.EPOCHS
    stages = [("heads", rate, total // 4), ("4+", rate, total * 3 // 4), ("all", rate / 10, total)]
    # From random weights there is nothing worth preserving beneath the heads.
    if args.recipe == "paper":
        # The paper's 120 and 160 of 180 epochs. Its first two stages stay as ImageNet taught them.
        ends = total * 2 // 3, total * 8 // 9
        model.config.LEARNING_RATE_DECAY_EPOCHS = tuple(max(1, end) for end in ends)
        is_random = model.config.NAME == RandomPaperCocoConfig.NAME
        stages = [("all" if is_random else "3+", rate, total)]
    elif model.config.TRAIN_BN is None:
        stages = cli.settling(rate, total)
    if args.layers:
        stages = [(args.layers, rate, total)]
    # Images to overfit are always seen as they are.
    augmentation = None if args.small else iaa.Fliplr(0.5)
    cli.train(model, train_set, val_set, stages, augmentation=augmentation)


@main.command(f"weights|results {COMMON} eval subset output")
def run_evaluate(args):
    """Print COCO's figures for a model, or for results in files."""
    check_recipe(args)
    subset = args.subset or VALIDATION[args.year]
    types = args.eval.split(",") if args.eval else list(EVAL_TYPES)
    results = read_results(args.results) if args.results else None
    dataset, coco = load_dataset(args, subset, return_coco=True)
    if args.weights:
        # Every detection counts in an average precision, those with higher scores first.
        lowest = {} if args.recipe == "paper" else {"DETECTION_MIN_CONFIDENCE": 0}
        model = model_of(args, "inference", dataset, **lowest)
        results = detect_all(model, dataset, dataset.image_ids)
        folder = Path(args.output or model.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in types:
            path = folder / f"{kind}_{subset}{args.year}_results.json"
            # COCO's server takes either boxes or masks.
            keys = (*RESULT_KEYS, EVAL_TYPES[kind])
            text = json.dumps([{key: result[key] for key in keys} for result in results])
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            print(f"Results are in {path}.")
    elif not args.eval:
        types = [kind for kind in types if all(EVAL_TYPES[kind] in result for result in results)]
    report(dataset, coco, results, types, dataset.image_ids)


if __name__ == "__main__":
    main()
