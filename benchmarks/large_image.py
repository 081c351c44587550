"""Detect 2,000 drawn objects in one image of 8,000 x 8,000 pixels by tiles: memory and recall.

python benchmarks/large_image.py train --weights shapes.h5     a few minutes on two cores
python benchmarks/large_image.py tiles --weights shapes.h5     peak memory, found, twice, time
python benchmarks/large_image.py compare --weights shapes.h5   tiles beside the whole image
"""

import argparse
import tempfile
import time

import numpy as np
from common import peak_memory

from mrcnn.config import SmallConfig
from mrcnn.data.dataset import Dataset

SHAPES = ("square", "circle", "triangle")
# Half sides in pixels.
SMALLEST, LARGEST = 8, 18


class ScatterConfig(SmallConfig):
    """Small shapes on images of 128 pixels, at one pixel of the network per pixel of the image."""

    NAME = "scatter"
    NUM_CLASSES = 1 + len(SHAPES)
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (16, 24, 32, 48, 64)
    TRAIN_ROIS_PER_IMAGE = 64
    POST_NMS_ROIS_TRAINING = 200
    MAX_GT_INSTANCES = 12
    STEPS_PER_EPOCH = 50
    VALIDATION_STEPS = 2
    TENSORBOARD_IMAGES = 0


class TileConfig(ScatterConfig):
    """The same network on tiles, which are not resized."""

    BATCH_SIZE = IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    IMAGE_MIN_DIM = None
    PRE_NMS_LIMIT = 6000
    POST_NMS_ROIS_INFERENCE = 1000
    DETECTION_MAX_INSTANCES = 300
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
    """Images of one to seven small shapes."""

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
        return draw(self.side, self.side, int(rng.integers(1, 8)), rng)

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


COMMANDS = {"train": train}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--weights", required=True, help="an .h5 file, which train writes")
    parser.add_argument("--epochs", type=int, default=30, help="of training, 50 steps each")
    args = parser.parse_args()
    COMMANDS[args.command](args)


if __name__ == "__main__":
    main()
