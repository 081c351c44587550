"""Balloons: train on 61 photos, then turn everything but the balloons grey.

    python balloon.py train --dataset DIR --weights coco        fine-tune the COCO weights
    python balloon.py train --dataset DIR --weights random      a small network, random weights
    python balloon.py evaluate --dataset DIR --weights last     average precision, validation photos
    python balloon.py splash --weights last --image FILE_OR_URL
    python balloon.py splash --weights last --video FILE_OR_URL

`python balloon.py COMMAND --help` lists the options.
"""

import datetime
from pathlib import Path

import numpy as np
import skimage.io
from tqdm import tqdm

from mrcnn import cli, utils
from mrcnn.config import Config, SmallConfig
from mrcnn.datasets import ViaDataset, read_image
from mrcnn.files import replacing

# Luminance of sRGB colours, as scikit-image's rgb2gray.
GRAY_WEIGHTS = np.array([0.2125, 0.7154, 0.0721])


class BalloonConfig(Config):
    """Settings of the original sample: ResNet-101 that starts from trained weights."""

    NAME = "balloon"
    NUM_CLASSES = 1 + 1
    STEPS_PER_EPOCH = 100
    # One pass over the 13 validation photos.
    VALIDATION_STEPS = 7
    DETECTION_MIN_CONFIDENCE = 0.9
    EPOCHS = 30


class SmallBalloonConfig(SmallConfig, BalloonConfig):
    """Learns balloons from random weights within half an hour on two CPU cores."""

    EPOCHS = 25
    PRECISION = "mixed_bfloat16"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 320
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    # Balloons are nearly round.
    RPN_ANCHOR_RATIOS = [0.7, 1, 1.4]
    # A balloon has only a few anchors: among many others they would hardly count.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    PRE_NMS_LIMIT = 3000
    POST_NMS_ROIS_TRAINING = 800
    POST_NMS_ROIS_INFERENCE = 200
    TRAIN_ROIS_PER_IMAGE = 96
    MINI_MASK_SHAPE = (28, 28)
    MAX_GT_INSTANCES = 30
    DETECTION_MAX_INSTANCES = 50
    DETECTION_MIN_CONFIDENCE = 0.7
    # Augmentation may move the only balloon of a photo out of it.
    TRAIN_WITH_EMPTY_IMAGES = True
    WARMUP_STEPS = 100


class BalloonDataset(ViaDataset):
    """Photos whose balloons were outlined in the VGG Image Annotator, version 1 or 2."""

    def load_balloon(self, dataset_dir, subset):
        """Add the photos of "train" or "val", a folder with `via_region_data.json`."""
        if subset not in ("train", "val"):
            raise ValueError(f'subset is "{subset}"; accepted are "train" and "val"')
        folder = Path(dataset_dir, subset)
        outlines = folder / "via_region_data.json"
        self.load_via(outlines, folder, class_names=["balloon"], source="balloon")


def load_subset(dataset_dir, subset):
    """Return a prepared BalloonDataset of "train" or "val"."""
    dataset = BalloonDataset()
    dataset.load_balloon(dataset_dir, subset)
    dataset.prepare()
    return dataset


class InMemory(utils.Dataset):
    """The photos of another dataset at the size of the network's input, kept in memory.

    Decoding and shrinking a large photo takes longer than a training step of a small network.
    """

    def __init__(self, dataset, config):
        from mrcnn.model import load_image_gt

        super().__init__()
        self.class_info, self.image_info = dataset.class_info, dataset.image_info
        self.samples = [load_image_gt(dataset, config, i) for i in dataset.image_ids]
        self.prepare()

    def load_image(self, image_id):
        return self.samples[image_id][0]

    def load_mask(self, image_id):
        _, _, class_ids, _, masks = self.samples[image_id]
        return masks, class_ids


def augmenters():
    """Random changes that make many photos of 61: flips, turns, shifts, zoom, colours."""
    from mrcnn.data.imgaug_shim import iaa

    shifts = {"x": (-0.1, 0.1), "y": (-0.1, 0.1)}
    return iaa.Sequential(
        [
            iaa.Fliplr(0.5),
            iaa.Affine(scale=(0.7, 1.4), translate_percent=shifts, rotate=(-15, 15)),
            iaa.AddToHue((-20, 20)),
            iaa.Multiply((0.7, 1.3)),
        ]
    )


def train(model, photos, val):
    """Train the heads of a large network, as the original; all layers of a small, random one."""
    config = model.config
    rate, total = config.LEARNING_RATE, config.EPOCHS
    if config.BACKBONE != "small":
        cli.train(model, photos, val, [("heads", rate, total)])
        return
    photos, val = InMemory(photos, config), InMemory(val, config)
    cli.train(model, photos, val, cli.settling(rate, total), augmentation=augmenters())


def color_splash(image, mask):
    """Keep the colours of the instances and turn the rest of an image grey, all of it without any.

    Takes [height, width, 3] uint8, RGB, and [height, width, n] bool; returns a new image.
    """
    gray = np.round(image @ GRAY_WEIGHTS).astype(np.uint8)
    return np.where(np.any(mask, axis=-1)[..., None], image, gray[..., None])


def detect_and_color_splash(model, image_path=None, video_path=None, output=None):
    """Write the colour splash of a photo or a video, and return the path of the file.

    Args:
        model: a MaskRCNN in inference mode.
        image_path, video_path: file or web address; one of the two.
        output: file to write, or a folder; by default `splash_<date and time>.png` or `.avi` in
            the current folder. It appears whole or not at all.

    Raises:
        OSError, ValueError: one sentence on what cannot be read or written.
    """
    if (image_path is None) == (video_path is None):
        raise ValueError("color splash needs either an image or a video")
    source, splash = str(image_path or video_path), splash_image if image_path else splash_video
    output, suffixes = Path(output or "."), (".png", ".jpg", ".jpeg") if image_path else (".avi",)
    if output.is_dir():
        output /= f"splash_{datetime.datetime.now():%Y%m%dT%H%M%S}{suffixes[0]}"
    if output.suffix.lower() not in suffixes:
        raise ValueError(f"The output is {output}; its name has to end in {' or '.join(suffixes)}.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.parent} to write {output.name} to.")
    with replacing(output) as temporary:
        summary = splash(model, source, temporary)
    print(f"{summary} Saved to {output}.")
    return output


def splash_image(model, source, output):
    """Write the splash of one photo; return a sentence on the number of balloons."""
    image = read_image(source)
    masks = model.detect([image])[0]["masks"]
    skimage.io.imsave(output, color_splash(image, masks), check_contrast=False)
    count = masks.shape[-1]
    return f"{count} found." if count else "None found, so all of the picture is grey."


def splash_video(model, source, output):
    """Write the splash of a video, frame by frame; return a sentence on the frames."""
    import cv2

    # The errors below say in one sentence what OpenCV would print about a damaged video.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(source)
    announced, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
    more, frame = video.read()
    if not more or not rate > 0:
        raise OSError(f"{source} cannot be read as a video.")
    height, width = frame.shape[:2]
    writer = cv2.VideoWriter(str(output), cv2.VideoWriter_fourcc(*"MJPG"), rate, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write a video of {width}x{height} pixels.")
    counts = []
    try:
        with tqdm(total=max(0, announced) or None, unit="frame", disable=None) as bar:
            while more:
                image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                masks = model.detect([image])[0]["masks"]
                writer.write(cv2.cvtColor(color_splash(image, masks), cv2.COLOR_RGB2BGR))
                counts.append(masks.shape[-1])
                bar.update()
                more, frame = video.read()
    finally:
        writer.release()
    if len(counts) < announced:
        print(f"{source} announces {announced} frames, but only {len(counts)} can be read.")
    return f"{np.count_nonzero(counts)} of {len(counts)} frames show balloons."


CONFIGS = BalloonConfig, SmallBalloonConfig

main = cli.CommandLine(
    "balloon.py",
    "Mask R-CNN finds balloons.",
    dataset={"help": "folder with train/ and val/", "required": True},
    image={"help": "photo, a file or a web address"},
    video={"help": "video, a file or a web address"},
    output={"help": "file to write, or its folder (here, named by the time)"},
)


@main.command("dataset weights logs epochs steps seed", weights="coco")
def run_train(args):
    """Train on the photos in the folders train and val of a data set."""
    photos, val = (load_subset(args.dataset, subset) for subset in ("train", "val"))
    train(cli.model_of(args, "training", *CONFIGS), photos, val)


@main.command("dataset trained logs")
def run_evaluate(args):
    """Print the average precision on the validation photos."""
    dataset = load_subset(args.dataset, "val")
    # Detections with low scores count, too: they decide on the precision at high recalls.
    model = cli.model_of(args, "inference", *CONFIGS, DETECTION_MIN_CONFIDENCE=0.05)
    print(utils.compute_coco_metrics(dataset, model))


@main.command("image|video trained logs output")
def run_splash(args):
    """Turn everything but the balloons of a photo or a video grey."""
    source = args.image or args.video
    # Building the network takes a while, so look for the file before.
    if not (Path(source).is_file() or "://" in source):
        raise FileNotFoundError(f"There is no file {source}.")
    model = cli.model_of(args, "inference", *CONFIGS)
    detect_and_color_splash(model, args.image, args.video, args.output)


if __name__ == "__main__":
    main()
