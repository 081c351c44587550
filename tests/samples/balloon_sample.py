"""The balloon sample as a module, and what its tests show to it."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pycocotools.mask import encode

from mrcnn import cli
from mrcnn.utils import extract_bboxes

ROOT = Path(__file__).parents[2]
BLUE, RED = (0, 0, 255), (255, 0, 0)
# 0.0721 * 255 = 18.4
GRAY_OF_BLUE = (18, 18, 18)


def load_sample():
    """The script as a module: samples are no package."""
    spec = importlib.util.spec_from_file_location("balloon", ROOT / "samples/balloon/balloon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class RedFinder:
    """A stand-in for MaskRCNN that detects a red area of 10 pixels or more, if it `finds` any."""

    def __init__(self, finds=True):
        self.finds, self.seen = finds, []
        self.config = SimpleNamespace(BATCH_SIZE=1)

    def detect(self, images, mask_format="full"):
        self.seen += images
        return [self._result(image, mask_format) for image in images]

    def _result(self, image, mask_format):
        red = (image[..., 0] > 128) & (image[..., 2] < 128)
        count = int(self.finds and red.sum() >= 10)
        masks = red[..., None][..., :count]
        return {
            "rois": extract_bboxes(masks),
            "class_ids": np.ones(count, np.int32),
            "scores": np.ones(count, np.float32),
            "masks": masks if mask_format == "full" else encode(np.asfortranarray(masks, np.uint8)),
        }


def scene(shift=0, size=(48, 64)):
    """A red square of 16 pixels on blue: [height, width, 3] uint8, RGB."""
    image = np.full((*size, 3), BLUE, np.uint8)
    image[16:32, 8 + shift : 24 + shift] = RED
    return image


def use_finder(monkeypatch):
    """A RedFinder in place of every model; its `asked` lists what models were asked for."""
    finder = RedFinder()
    finder.asked = []

    def make_model(mode, weights, logs, config, from_random, seed, **settings):
        finder.asked.append((mode, weights, logs, settings))
        return finder

    monkeypatch.setattr(cli, "make_model", make_model)
    return finder
