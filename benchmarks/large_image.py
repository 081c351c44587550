"""Detect 2,000 drawn objects in one image of 8,000 x 8,000 pixels by tiles: memory and recall.

python benchmarks/large_image.py train --weights shapes.h5     half an hour on two cores
python benchmarks/large_image.py tiles --weights shapes.h5     peak memory, found, twice, time
python benchmarks/large_image.py compare --weights shapes.h5   tiles beside the whole image
"""

import argparse
import resource
import sys
import tempfile
import time

import numpy as np

from mrcnn.config import SmallConfig
from mrcnn.data.dataset import Dataset

SHAPES = ("square", "circle", "triangle")
# Half sides in pixels.
SMALLEST, LARGEST = 12, 32
# Side of an image that the network takes whole, and in which objects are four times as dense.
FITS = 2048


class ScatterConfig(SmallConfig):
    """Shapes on images of 256 pixels, at one pixel of the network per pixel of the image."""

    NAME = "scatter"
    NUM_CLASSES = 1 + len(SHAPES)
    IMAGES_PER_GPU = 4
    RPN_ANCHOR_SCALES = (16, 32, 48, 64, 96)
    TRAIN_ROIS_PER_IMAGE = 48
    POST_NMS_ROIS_TRAINING = 300
    MAX_GT_INSTANCES = 12
    LEARNING_RATE = 0.02
    # With the original's "crop", what a RoI samples depends on its place in the image.
    ROI_ALIGN = "align"
    TENSORBOARD_IMAGES = 0


class TileConfig(ScatterConfig):
    """The same network on tiles, which are not resized."""

    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    IMAGE_MIN_DIM = None
    PRE_NMS_LIMIT = 24000
    DETECTION_MAX_INSTANCES = 1000
    POST_NMS_ROIS_INFERENCE = 4000
    DETECTION_MIN_CONFIDENCE = 0.5


def draw(height, width, count, rng):
    """Draw shapes that do not touch.

    Returns:
        image `[height, width, 3]` uint8, and a list of `(class_id, y, x, half side)`.
    """
    ground = rng.integers(256, size=3)
    image = np.empty((height, width, 3), np.uint8)
    # In blocks of rows: the random numbers take eight times the memory.
    for top in range(0, height, 256):
        block = image[top : top + 256]
        block[:] = (ground + rng.integers(-8, 9, block.shape, np.int16)).clip(0, 255)
    taken = np.zeros((-(-height // 4), -(-width // 4)), bool)
    shapes = []
    for _ in range(100 * count):
        if len(shapes) == count:
            break
        half = int(rng.integers(SMALLEST, LARGEST + 1))
        y, x = (int(rng.integers(half + 2, side - half - 2)) for side in (height, width))
        around = tuple(slice((v - half - 2) // 4, (v + half + 3) // 4 + 1) for v in (y, x))
        if taken[around].any():
            continue
        taken[around] = True
        color = rng.integers(256, size=3)
        while abs(color - ground).max() < 60:
            color = rng.integers(256, size=3)
        class_id = int(rng.integers(len(SHAPES)))
        box = slice(y - half, y + half + 1), slice(x - half, x + half + 1)
        image[box][shape_mask(SHAPES[class_id], half)] = color
        shapes.append((1 + class_id, y, x, half))
    return image, shapes


def shape_mask(shape, half):
    """Return a shape in its box, `[side, side]` bool with a side of 2 * half + 1 pixels."""
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    if shape == "square":
        return np.ones_like(dy, bool)
    if shape == "circle":
        return dy**2 + dx**2 <= half**2
    return abs(dx) <= (dy + half + 1) / 2


class Scatter(Dataset):
    """Images of one to eleven shapes."""

    def __init__(self, count, config, seed):
        super().__init__()
        self.side, self.seed = config.IMAGE_MAX_DIM, seed
        for class_id, name in enumerate(SHAPES, start=1):
            self.add_class("scatter", class_id, name)
        for number in range(count):
            self.add_image("scatter", number, None)
        self.prepare()

    def _draw(self, image_id):
        rng = np.random.default_rng([self.seed, image_id])
        return draw(self.side, self.side, int(rng.integers(1, 12)), rng)

    def load_image(self, image_id):
        return self._draw(image_id)[0]

    def load_mask(self, image_id):
        shapes = self._draw(image_id)[1]
        masks = np.zeros((self.side, self.side, len(shapes)), bool)
        for index, (class_id, y, x, half) in enumerate(shapes):
            part = masks[y - half : y + half + 1, x - half : x + half + 1, index]
            part[:] = shape_mask(SHAPES[class_id - 1], half)
        return masks, np.array([shape[0] for shape in shapes], np.int32)


def train(args):
    """Train from random weights, and write them."""
    from mrcnn.model import MaskRCNN

    config = ScatterConfig()
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("training", config, folder)
        sets = Scatter(2000, config, 0), Scatter(50, config, 1)
        steps = config.STEPS_PER_EPOCH

        def rate(epoch):
            return config.LEARNING_RATE * min(1.0, 2 * (1 - epoch / args.epochs))

        start = time.perf_counter()
        model.train(*sets, learning_rate=rate, epochs=args.epochs, layers="all")
        seconds = time.perf_counter() - start
        model.keras_model.save_weights(args.weights)
    print(f"{args.epochs * steps} steps of {config.BATCH_SIZE} images in {seconds:.0f} s")


def memory():
    """Return the largest resident size of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def load(weights):
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", TileConfig(), tempfile.gettempdir())
    model.load_weights(weights)
    return model


def truth(shapes, size):
    """Return the class ids and RLEs of drawn shapes."""
    from mrcnn.ops.rle import encode_mask
    from mrcnn.ops.runs import move_runs, rle_to_runs, runs_to_rle

    rles = []
    for class_id, y, x, half in shapes:
        runs = rle_to_runs(encode_mask(shape_mask(SHAPES[class_id - 1], half)))
        rles.append(runs_to_rle(move_runs(runs, y - half, x - half), *size))
    return np.array([shape[0] for shape in shapes]), rles


def overlaps(class_ids, rles, result):
    """Return the IoU of each expected instance with each detection, 0 for another class."""
    from pycocotools import mask as coco_mask

    iou = coco_mask.iou(result["masks"], rles, [0] * len(rles)).T
    return iou * (class_ids[:, None] == result["class_ids"])


def tiles(args):
    """Detect in one large image."""
    image, shapes = draw(args.size, args.size, args.objects, np.random.default_rng(2))
    expected = truth(shapes, image.shape[:2])
    model = load(args.weights)
    before, start = memory(), time.perf_counter()
    (result,) = model.detect([image], tile=args.tile, overlap=args.overlap, verbose=0)
    seconds = time.perf_counter() - start
    iou = overlaps(*expected, result)
    found = (iou >= 0.5).sum(axis=1)
    false = (iou < 0.5).all(axis=0).sum()
    print(
        f"{args.size}x{args.size} pixels, {len(shapes)} objects, tiles of {args.tile}, overlap "
        f"{args.overlap}: {seconds:.0f} s\n"
        f"found once {np.mean(found == 1):.2%}, never {np.sum(found == 0)}, "
        f"more than once {np.sum(found > 1)}; other detections {false}; "
        f"median IoU {np.median(iou.max(axis=1)):.3f}\n"
        f"peak memory {memory():.2f} GB; before detection {before:.2f} GB, of which the image is "
        f"{image.nbytes / 1e9:.2f} GB"
    )


def compare(args):
    """Detect in images that fit, by tiles and whole."""
    model, rng = load(args.weights), np.random.default_rng(3)
    equal = total = extra = 0
    for _ in range(args.images):
        image, _ = draw(FITS, FITS, args.objects * FITS**2 // args.size**2 * 4, rng)
        (whole,) = model.detect([image], mask_format="rle")
        (tiled,) = model.detect([image], tile=args.tile, overlap=args.overlap)
        iou = overlaps(whole["class_ids"], whole["masks"], tiled)
        equal += ((iou > 0.9).sum(axis=1) == 1).sum()
        total, extra = total + len(whole), extra + (iou <= 0.9).all(axis=0).sum()
    print(
        f"{args.images} images of {FITS}x{FITS} pixels, tiles of {args.tile}, overlap "
        f"{args.overlap}: {equal} of {total} instances equal ({equal / total:.2%}), {extra} "
        "others by tiles"
    )


COMMANDS = {"train": train, "tiles": tiles, "compare": compare}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--weights", required=True, help="an .h5 file, which train writes")
    parser.add_argument("--epochs", type=int, default=12, help="of training, 100 steps each")
    parser.add_argument("--size", type=int, default=8000, help="side of the large image")
    parser.add_argument("--objects", type=int, default=2000, help="number of them in it")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--images", type=int, default=1, help="of compare")
    args = parser.parse_args()
    COMMANDS[args.command](args)


if __name__ == "__main__":
    main()
