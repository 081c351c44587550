"""Cell nuclei: train on micrographs of the 2018 Data Science Bowl, and find each nucleus.

    python nucleus.py train --dataset DIR                       a small network, from nothing
    python nucleus.py train --dataset DIR --weights coco        fine-tune, as the original sample
    python nucleus.py train --dataset DIR --weights last        go on with the newest run
    python nucleus.py evaluate --dataset DIR --weights last     precision on the validation images
    python nucleus.py detect --dataset DIR --subset stage1_test --weights last

`python nucleus.py COMMAND --help` lists the options of a command.
"""

import argparse
import datetime
import math
import os
import sys
from pathlib import Path

import numpy as np

from mrcnn import visualize
from mrcnn.config import Config
from mrcnn.datasets import MaskFolderDataset
from mrcnn.evaluation.instance_precision import instance_precision
from mrcnn.files import replacing

# One image in so many, by the order of their names, is kept for validation.
VALIDATION_SHARE = 10

# Weights that have never seen a nucleus.
UNTRAINED = ("coco", "imagenet", "random")


class NucleusConfig(Config):
    """Learns from random weights within an hour on two CPU cores. See docs/results.md."""

    NAME = "nucleus"
    NUM_CLASSES = 1 + 1
    IMAGES_PER_GPU = 8
    STEPS_PER_EPOCH = 100
    EPOCHS = 22
    VALIDATION_STEPS = 2
    PRECISION = "mixed_bfloat16"

    # Nuclei are 5 to 60 pixels wide: a pyramid from stride 2 on, and small anchors.
    BACKBONE = "small"
    BACKBONE_STRIDES = [2, 4, 8, 16, 32]
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TOP_DOWN_PYRAMID_SIZE = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256

    # Training sees random crops, at the size that the images have.
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 256
    TRAIN_WITH_EMPTY_IMAGES = True
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])

    # Stored statistics say nothing about random weights: those of the batch have to be used.
    TRAIN_BN = None
    LEARNING_RATE = 0.04
    WARMUP_STEPS = 50

    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    TRAIN_ROIS_PER_IMAGE = 128
    MAX_GT_INSTANCES = 200

    # Nuclei are convex: 14 x 14 pixels draw them well, at a quarter of the work.
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    MINI_MASK_SHAPE = (28, 28)

    # Images have up to 400 nuclei.
    POST_NMS_ROIS_INFERENCE = 1500
    DETECTION_MAX_INSTANCES = 400
    DETECTION_MIN_CONFIDENCE = 0.5


class PretrainedNucleusConfig(Config):
    """Settings of the original sample, for weights from COCO or ImageNet and a GPU."""

    NAME = "nucleus"
    NUM_CLASSES = 1 + 1
    IMAGES_PER_GPU = 6
    # An epoch is once over the images.
    STEPS_PER_EPOCH = 83
    VALIDATION_STEPS = 9
    EPOCHS = 40
    BACKBONE = "resnet50"
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 512
    IMAGE_MAX_DIM = 512
    IMAGE_MIN_SCALE = 2.0
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_NMS_THRESHOLD = 0.9
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 2000
    TRAIN_ROIS_PER_IMAGE = 128
    MAX_GT_INSTANCES = 200
    DETECTION_MAX_INSTANCES = 400
    DETECTION_MIN_CONFIDENCE = 0.5
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])


def inference_config(config):
    """A Config of the same network for whole images, one at a time, as `config` is for crops."""
    words = {"IMAGES_PER_GPU": 1, "IMAGE_RESIZE_MODE": "pad64"}
    return type("NucleusInferenceConfig", (type(config),), words)()


class NucleusDataset(MaskFolderDataset):
    """Micrographs, each with a folder of masks; the masks stay in memory as label images."""

    def __init__(self, class_map=None):
        super().__init__(class_map)
        self._labels = {}

    def load_nucleus(self, dataset_dir, subset):
        """Add the images of a subset.

        Args:
            dataset_dir: the folder of "stage1_train", "stage1_test" ..., or one of these itself.
            subset: the name of such a folder; "train" and "val" are the two parts of
                "stage1_train".
        """
        folder = Path(dataset_dir)
        name = "stage1_train" if subset in ("train", "val") else subset
        if (folder / name).is_dir():
            folder = folder / name
        elif folder.name != name or not folder.is_dir():
            raise FileNotFoundError(f"{folder} has no folder {name}, and is none.")
        image_ids = None
        if subset in ("train", "val"):
            names = sorted(path.name for path in folder.iterdir() if path.is_dir())
            val = names[::VALIDATION_SHARE]
            image_ids = val if subset == "val" else sorted(set(names) - set(val))
        self.load_mask_folder(folder, "nucleus", image_ids=image_ids, source="nucleus")

    def repeat_large_images(self, side):
        """Add large images again, so that training takes more crops of them; before `prepare`.

        Args:
            side: of a crop, pixels. An image of n by n crops is there n times.
        """
        for info in list(self.image_info):
            times = round(math.sqrt(info["height"] * info["width"]) / side)
            self.image_info += [info] * (times - 1)

    def load_mask(self, image_id):
        """Masks [height, width, n] bool and class ids [n] int32.

        Images have up to 375 mask files, which take longer to read than a network takes to look at
        the image. Nuclei do not overlap, so one label image a photo keeps them all.
        """
        name = self.image_info[image_id]["id"]
        if name not in self._labels:
            masks, class_ids = super().load_mask(image_id)
            labels = np.zeros(masks.shape[:2], np.uint16)
            for number in range(masks.shape[2]):
                labels[masks[..., number]] = number + 1
            self._labels[name] = labels, class_ids
        labels, class_ids = self._labels[name]
        return labels[..., None] == np.arange(1, len(class_ids) + 1, dtype=np.uint16), class_ids

    def image_reference(self, image_id):
        """The name of the image."""
        return self.image_info[image_id]["id"]


# Run-length encoding, as the competition wants it


def rle_encode(mask):
    """A mask [height, width] as "start length start length ...".

    Pixels count from 1, down the columns; an empty mask gives "".
    """
    padded = np.pad(np.asarray(mask, bool).T.reshape(-1), 1)
    starts, ends = np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2).T + 1
    return " ".join(f"{start} {end - start}" for start, end in zip(starts, ends, strict=True))


def rle_decode(rle, shape):
    """The mask of `shape`, [height, width] bool, that `rle_encode` made the text of."""
    numbers = np.array(rle.split(), int).reshape(-1, 2)
    mask = np.zeros(shape[0] * shape[1], bool)
    for start, length in numbers:
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(shape[1], shape[0]).T


def remove_overlaps(masks, scores):
    """Give each pixel to the best of the masks that have it; masks left without pixels go.

    Args:
        masks: [height, width, n] bool.
        scores: [n].

    Returns:
        [height, width, m] bool, best first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    labels = np.zeros(masks.shape[:2], np.int32)
    for rank in range(len(order), 0, -1):
        labels[masks[..., order[rank - 1]]] = rank
    return labels[..., None] == np.setdiff1d(labels, 0)


def mask_to_rle(image_id, mask, scores):
    """Rows "image id,run lengths" of the submission file, one a nucleus; best first."""
    masks = remove_overlaps(mask, scores)
    if masks.shape[2] == 0:
        return f"{image_id},"
    return "\n".join(f"{image_id},{rle_encode(masks[..., i])}" for i in range(masks.shape[2]))


# Training, evaluation, detection


def load_dataset(dataset_dir, subset, crop=None):
    """A prepared NucleusDataset; for training on crops of a side in pixels, if that is given."""
    dataset = NucleusDataset()
    dataset.load_nucleus(dataset_dir, subset)
    if crop:
        dataset.repeat_large_images(crop)
    dataset.prepare()
    return dataset


def augmentation():
    """What changes training images: turns, flips, a little zoom, and brightness."""
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


def train(model, dataset_dir, subset="train", epochs=None):
    """Train all layers; the learning rate falls to zero as half a wave of the cosine.

    From trained weights the heads begin alone, for the first half of the epochs. Of a run that goes
    on, the finished epochs count.
    """
    config = model.config
    # The side of a crop in pixels of the micrograph.
    crop = config.IMAGE_MIN_DIM / max(1, config.IMAGE_MIN_SCALE)
    train_set, val_set = load_dataset(dataset_dir, subset, crop), load_dataset(dataset_dir, "val")
    epochs = epochs or config.EPOCHS
    stages = [("all", epochs)]
    if config.BACKBONE != "small":
        stages.insert(0, ("heads", epochs // 2))

    def rate(epoch):
        return config.LEARNING_RATE * (1 + math.cos(math.pi * (epoch + 0.5) / epochs)) / 2

    if model.epoch >= epochs:
        print(f"{model.epoch} epochs are finished; a larger number of --epochs goes on.")
    for layers, last in stages:
        if model.epoch < last:
            model.train(
                train_set,
                val_set,
                learning_rate=rate,
                epochs=last,
                layers=layers,
                augmentation=augmentation(),
            )


def progress(ids):
    """Go through image ids with a progress bar."""
    import keras

    bar = keras.utils.Progbar(len(ids), unit_name="image")
    for done, image_id in enumerate(ids, start=1):
        yield image_id
        bar.update(done)


def evaluate(model, dataset):
    """Precision of each image, TP / (TP + FP + FN) at mask IoU 0.5: float array."""
    precisions = []
    for image_id in progress(dataset.image_ids):
        r = model.detect([dataset.load_image(image_id)])[0]
        found = remove_overlaps(r["masks"], r["scores"])
        counts = instance_precision(dataset.load_mask(image_id)[0], found)
        precisions.append(counts[0] / sum(counts) if sum(counts) else 1.0)
    return np.array(precisions)


def detect(model, dataset_dir, subset, output):
    """Write the submission file of a subset and a picture of each image to a new folder.

    Returns the folder.
    """
    dataset = load_dataset(dataset_dir, subset)
    folder = Path(output) / f"submit_{datetime.datetime.now():%Y%m%dT%H%M%S}"
    folder.mkdir(parents=True)
    rows = ["ImageId,EncodedPixels"]
    for image_id in progress(dataset.image_ids):
        image = dataset.load_image(image_id)
        r = model.detect([image])[0]
        name = dataset.image_info[image_id]["id"]
        rows.append(mask_to_rle(name, r["masks"], r["scores"]))
        visualize.display_instances(
            image,
            r["rois"],
            r["masks"],
            r["class_ids"],
            dataset.class_names,
            show_bbox=False,
            title=f"{len(r['rois'])} nuclei",
            save_to=folder / f"{name}.png",
        )
    with replacing(folder / "submit.csv") as temporary:
        Path(temporary).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def make_model(mode, weights, logs, **words):
    """A MaskRCNN with its weights.

    Args:
        mode: "training" or "inference".
        weights: "random" for the small network without any, "coco" or "imagenet" for the original's
            large one, "last" of the logs or a file, which tells the network by itself.
        logs: folder of the runs.
        words: words of the Config to change.
    """
    if mode == "inference" and weights in UNTRAINED:
        raise ValueError(f'Weights "{weights}" know no nuclei; give "last" or a file.')
    # TensorFlow takes seconds to load, and `--help` needs none of it.
    from mrcnn import model as modellib
    from mrcnn.runs.run import last_checkpoint

    # The run of "last" has more than its weights to go on with, so `start_from` gets the word.
    path = last_checkpoint(str(logs), NucleusConfig.NAME) if weights == "last" else weights
    large = path in ("coco", "imagenet") or (path != "random" and is_large(path))
    config = PretrainedNucleusConfig() if large else NucleusConfig()
    if mode == "inference":
        config = inference_config(config)
    for name, value in words.items():
        setattr(config, name, value)
    model = modellib.MaskRCNN(mode=mode, config=config, model_dir=str(logs))
    model.start_from(weights)
    return model


def is_large(weights):
    """Whether the layers in a file of weights are those of a ResNet-50."""
    import h5py

    try:
        with h5py.File(weights) as file:
            return "res2a_branch2c" in file
    except OSError as error:
        raise OSError(f"{weights} cannot be read as a file of weights: {error}") from error


def run_train(args):
    """Train on the images of a data set, but for those kept for validation."""
    import keras

    keras.utils.set_random_seed(args.seed)
    words = {"STEPS_PER_EPOCH": args.steps} if args.steps else {}
    model = make_model("training", args.weights, args.logs, **words)
    train(model, args.dataset, args.subset, args.epochs)
    print(f"Checkpoints and loss curves are in {model.log_dir}.")


def run_evaluate(args):
    """Print the mean precision at IoU 0.5, TP / (TP + FP + FN), on the validation images."""
    dataset = load_dataset(args.dataset, args.subset)
    model = make_model("inference", args.weights, args.logs)
    precisions = evaluate(model, dataset)
    print(f"Precision at IoU 0.5: {precisions.mean():.3f} on {len(precisions)} images.")


def run_detect(args):
    """Write a submission file and pictures of the nuclei found."""
    folder = detect(
        make_model("inference", args.weights, args.logs), args.dataset, args.subset, args.output
    )
    print(f"The submission file submit.csv and the pictures are in {folder}.")


def positive(text):
    """The type, for argparse, of whole numbers from 1 on."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description="Mask R-CNN finds the nuclei of cells.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    trained = '"last" of the logs, or a file'

    def command(name, run, subset, weights, help_):
        sub = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        sub.add_argument("--dataset", required=True, help="folder with stage1_train and so on")
        parts = '"train", "val", or a folder of --dataset (%(default)s)'
        sub.add_argument("--subset", default=subset, help=parts)
        sub.add_argument("--weights", default=weights, help=f"{help_} (%(default)s)")
        sub.add_argument("--logs", default="logs", help="folder of checkpoints (%(default)s)")
        sub.set_defaults(run=run)
        return sub

    starts = '"random", "coco", "imagenet", a file, or "last": the newest run of the logs goes on'
    sub = command("train", run_train, "train", "random", starts)
    sub.add_argument("--epochs", type=positive, help="in all, other than the Config's")
    sub.add_argument("--steps", type=positive, help="steps an epoch, other than the Config's")
    sub.add_argument("--seed", type=int, default=0, help="of random numbers (%(default)s)")
    command("evaluate", run_evaluate, "val", "last", trained)
    sub = command("detect", run_detect, "stage1_test", "last", trained)
    sub.add_argument("--output", default="results/nucleus", help="folder of results (%(default)s)")
    return parser


def main(argv=None):
    """Run a command line; what is wrong with files becomes one sentence and exit status 1."""
    args = make_parser().parse_args(argv)
    # Pages of notes by TensorFlow's compiler would bury the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        args.run(args)
    except (OSError, ValueError) as error:
        sys.exit(f"nucleus.py: {error}")


if __name__ == "__main__":
    main()
