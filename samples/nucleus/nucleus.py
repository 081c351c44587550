"""Cell nuclei: train on micrographs of the 2018 Data Science Bowl, and find each nucleus.

    python nucleus.py train --dataset DIR                       a small network, random weights
    python nucleus.py train --dataset DIR --weights coco        fine-tune, as the original sample
    python nucleus.py evaluate --dataset DIR --weights last     precision on the validation images
    python nucleus.py detect --dataset DIR --subset stage1_test --weights last

`python nucleus.py COMMAND --help` lists the options.
"""

import datetime
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mrcnn import cli, visualize
from mrcnn.config import Config, SmallConfig
from mrcnn.datasets import MaskFolderDataset
from mrcnn.evaluation.instance_precision import instance_precision
from mrcnn.files import replacing


class CellConfig(Config):
    """Settings of both networks: those of the data, and training on crops."""

    NAME = "nucleus"
    NUM_CLASSES = 1 + 1
    IMAGE_RESIZE_MODE = "crop"
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 128
    # Images have up to 400 nuclei, crops fewer.
    MAX_GT_INSTANCES = 200
    DETECTION_MAX_INSTANCES = 400
    DETECTION_MIN_CONFIDENCE = 0.5


class NucleusConfig(SmallConfig, CellConfig):
    """Learns from random weights within an hour on two CPU cores. See docs/results.md."""

    EPOCHS = 22
    PRECISION = "mixed_bfloat16"
    # Nuclei are 5 to 60 pixels wide, in crops at the size that the images have.
    BACKBONE_STRIDES = [2, 4, 8, 16, 32]
    TRAIN_WITH_EMPTY_IMAGES = True
    # Nuclei are convex: 14 x 14 pixels draw them well.
    MINI_MASK_SHAPE = (28, 28)
    POST_NMS_ROIS_INFERENCE = 1500


class PretrainedNucleusConfig(CellConfig):
    """Settings of the original sample, for weights from COCO or ImageNet and a GPU."""

    IMAGES_PER_GPU = 6
    # An epoch is one pass over the images.
    STEPS_PER_EPOCH = 83
    VALIDATION_STEPS = 9
    EPOCHS = 40
    BACKBONE = "resnet50"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 512
    IMAGE_MIN_SCALE = 2.0
    RPN_NMS_THRESHOLD = 0.9
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 2000


class NucleusDataset(MaskFolderDataset):
    """Micrographs, each with a folder of masks; the masks stay in memory as label images."""

    def __init__(self, class_map=None):
        super().__init__(class_map)
        self._labels = {}

    def load_nucleus(self, dataset_dir, subset):
        """Add the images of a subset.

        Args:
            dataset_dir: the folder of "stage1_train", "stage1_test" ..., or one of these itself.
            subset: the name of such a folder, or "train" or "val", the parts of "stage1_train".
        """
        folder, image_ids = Path(dataset_dir), None
        name = "stage1_train" if subset in ("train", "val") else subset
        if (folder / name).is_dir():
            folder = folder / name
        elif folder.name != name or not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not, and does not contain, a folder {name}.")
        if subset in ("train", "val"):
            names = sorted(path.name for path in folder.iterdir() if path.is_dir())
            # One image in ten, in the order of their names, is kept for validation.
            val = names[::10]
            image_ids = val if subset == "val" else sorted(set(names) - set(val))
        self.load_mask_folder(folder, "nucleus", image_ids=image_ids, source="nucleus")

    def load_mask(self, image_id):
        """Return masks [height, width, n] bool and class ids [n] int32.

        Images have up to 375 mask files, and reading them takes longer than detection. Nuclei do
        not overlap, so one label image per photo keeps them all.
        """
        name = self.image_info[image_id]["id"]
        if name not in self._labels:
            masks, class_ids = super().load_mask(image_id)
            numbers = np.arange(1, len(class_ids) + 1, dtype=np.uint16)
            labels = np.zeros(masks.shape[:2], np.uint16)
            for number in numbers:
                labels[masks[..., number - 1]] = number
            self._labels[name] = labels, numbers, class_ids
        labels, numbers, class_ids = self._labels[name]
        return labels[..., None] == numbers, class_ids

    def image_reference(self, image_id):
        """Return the name of the image."""
        return self.image_info[image_id]["id"]


def load_dataset(dataset_dir, subset, crop=None):
    """Return a prepared NucleusDataset, for training on crops of `crop` pixels if that is given.

    An image as large as n by n crops is there n times, so that training takes more crops of it.
    """
    dataset = NucleusDataset()
    dataset.load_nucleus(dataset_dir, subset)
    for info in list(dataset.image_info) if crop else ():
        times = round(math.sqrt(info["height"] * info["width"]) / crop)
        dataset.image_info += [info] * (times - 1)
    dataset.prepare()
    return dataset


def rle_encode(mask):
    """Return a mask [height, width] as the competition wants it, "start length start length ...".

    Pixels count from 1, down the columns; an empty mask gives "".
    """
    padded = np.pad(np.asarray(mask, bool).T.reshape(-1), 1)
    starts, ends = np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2).T + 1
    return " ".join(f"{start} {end - start}" for start, end in zip(starts, ends, strict=True))


def rle_decode(rle, shape):
    """Return the mask of `shape`, [height, width] bool, from the text of `rle_encode`."""
    mask = np.zeros(shape[0] * shape[1], bool)
    for start, length in np.array(rle.split(), int).reshape(-1, 2):
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(shape[1], shape[0]).T


def remove_overlaps(masks, scores):
    """Give each pixel to the best of its masks; drop masks that are left without pixels.

    Takes masks [height, width, n] and scores [n]; returns [height, width, m] bool, best first.
    """
    labels = np.zeros(masks.shape[:2], np.int32)
    order = np.argsort(-np.asarray(scores), kind="stable")
    for rank in range(len(order), 0, -1):
        labels[masks[..., order[rank - 1]]] = rank
    return labels[..., None] == np.setdiff1d(labels, 0)


def mask_to_rle(image_id, mask, scores):
    """Return rows "image id,run lengths" of the submission file, one per nucleus, best first."""
    masks = np.moveaxis(remove_overlaps(mask, scores), -1, 0)
    return "\n".join(f"{image_id},{rle_encode(mask)}" for mask in masks) or f"{image_id},"


def augmentation():
    """Random changes of training images: turns, flips, a little zoom, and brightness."""
    from mrcnn.data.imgaug_shim import iaa

    return iaa.Sequential(
        [
            iaa.Fliplr(0.5),
            iaa.Flipud(0.5),
            iaa.Sometimes(0.5, iaa.Rot90(1)),
            iaa.Sometimes(0.3, iaa.Affine(scale=(0.75, 1.5))),
            iaa.Sometimes(0.7, iaa.Multiply((0.5, 1.6), per_channel=0.3)),
        ]
    )


def train(model, dataset_dir, subset="train"):
    """Train all layers; the learning rate falls to zero along half a cosine wave.

    From trained weights, only the heads train for the first half of the epochs.
    """
    config = model.config
    # The side of a crop in pixels of the micrograph.
    crop = config.IMAGE_MIN_DIM / max(1, config.IMAGE_MIN_SCALE)
    train_set, val_set = load_dataset(dataset_dir, subset, crop), load_dataset(dataset_dir, "val")

    def rate(epoch):
        return config.LEARNING_RATE * (1 + math.cos(math.pi * (epoch + 0.5) / config.EPOCHS)) / 2

    stages = [("all", rate, config.EPOCHS)]
    if config.BACKBONE != "small":
        stages.insert(0, ("heads", rate, config.EPOCHS // 2))
    cli.train(model, train_set, val_set, stages, augmentation=augmentation())


def evaluate(model, dataset):
    """Return the precision of each image, TP / (TP + FP + FN) at mask IoU 0.5: float array."""
    precisions = []
    for image_id in tqdm(dataset.image_ids, unit="image", disable=None):
        r = model.detect([dataset.load_image(image_id)])[0]
        found = remove_overlaps(r["masks"], r["scores"])
        counts = instance_precision(dataset.load_mask(image_id)[0], found)
        precisions.append(counts[0] / sum(counts) if sum(counts) else 1.0)
    return np.array(precisions)


def detect(model, dataset_dir, subset, output):
    """Write the submission file and a picture per image to a new folder in `output`; return it."""
    dataset = load_dataset(dataset_dir, subset)
    folder = Path(output) / f"submit_{datetime.datetime.now():%Y%m%dT%H%M%S}"
    folder.mkdir(parents=True)
    rows = ["ImageId,EncodedPixels"]
    for image_id in tqdm(dataset.image_ids, unit="image", disable=None):
        image, name = dataset.load_image(image_id), dataset.image_reference(image_id)
        r = model.detect([image])[0]
        rows.append(mask_to_rle(name, r["masks"], r["scores"]))
        found = r["rois"], r["masks"], r["class_ids"], dataset.class_names
        own = {"title": f"{len(r['rois'])} nuclei", "save_to": folder / f"{name}.png"}
        visualize.display_instances(image, *found, show_bbox=False, **own)
    with replacing(folder / "submit.csv") as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


CONFIGS = PretrainedNucleusConfig, NucleusConfig

main = cli.CommandLine(
    "nucleus.py",
    "Mask R-CNN finds the nuclei of cells.",
    dataset={"help": "folder with stage1_train and so on", "required": True},
    subset={"help": '"train", "val", or a folder of --dataset'},
)


@main.command("dataset subset weights logs epochs steps seed", subset="train", weights="random")
def run_train(args):
    """Train on the images of a data set, but for those kept for validation."""
    train(cli.model_of(args, "training", *CONFIGS), args.dataset, args.subset)


@main.command("dataset subset trained logs", subset="val")
def run_evaluate(args):
    """Print the mean precision at IoU 0.5, TP / (TP + FP + FN), on the validation images."""
    dataset = load_dataset(args.dataset, args.subset)
    precisions = evaluate(cli.model_of(args, "inference", *CONFIGS), dataset)
    print(f"Precision at IoU 0.5: {precisions.mean():.3f} on {len(precisions)} images.")


@main.command("dataset subset trained logs output", subset="stage1_test", output="results/nucleus")
def run_detect(args):
    """Write a submission file and pictures of the detected nuclei."""
    model = cli.model_of(args, "inference", *CONFIGS)
    folder = detect(model, args.dataset, args.subset, args.output)
    print(f"The submission file submit.csv and the pictures are in {folder}.")


if __name__ == "__main__":
    main()
