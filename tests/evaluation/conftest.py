"""A small ground truth in COCO's format, and predictions for it."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO


def rectangle(box, shape):
    """A bool mask of `(y1, x1, y2, x2)`."""
    mask = np.zeros(shape, bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    return mask


def coco_of(images, annotations, categories):
    """A COCO object in memory."""
    coco = COCO()
    coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def entry(box, shape, **values):
    """A dict with bbox, segmentation and area of a rectangle."""
    rle = coco_mask.encode(np.asfortranarray(rectangle(box, shape), np.uint8))
    y1, x1, y2, x2 = map(int, box)
    geometry = {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": rle}
    return {**geometry, "area": (y2 - y1) * (x2 - x1), **values}


SHAPE = (200, 240)


@pytest.fixture
def ground_truth():
    """Six images of three classes: 40 rectangles of all sizes, every eighth a crowd."""
    rng = np.random.default_rng(5)
    images = [{"id": i, "height": SHAPE[0], "width": SHAPE[1]} for i in range(6)]
    annotations = []
    for number in range(40):
        y, x = rng.integers(0, 90, 2)
        height, width = rng.integers(8, 110, 2)
        annotations.append(
            entry(
                (y, x, y + height, x + width),
                SHAPE,
                id=number + 1,
                image_id=int(rng.integers(5)),  # nothing in the last image
                category_id=int(rng.integers(1, 3)),  # nothing of the last class
                iscrowd=int(number % 8 == 7),
            )
        )
    categories = [{"id": i, "name": name} for i, name in enumerate(("cell", "cat", "dog"), 1)]
    return coco_of(images, annotations, categories)


@pytest.fixture
def results(ground_truth):
    """Three predictions per object: some near, some far, some of another class; tied scores."""
    rng = np.random.default_rng(6)
    found = []
    for annotation in ground_truth.dataset["annotations"] * 3:
        x, y, width, height = annotation["bbox"]
        shift = rng.normal(0, 0.12, 4) * [height, width, height, width]
        box = np.round(np.array([y, x, y + height, x + width]) + shift)
        box = np.clip(box, 0, [SHAPE[0] - 1, SHAPE[1] - 1, SHAPE[0], SHAPE[1]]).astype(int)
        box[2:] = np.maximum(box[2:], box[:2] + 1)
        found.append(
            {
                **entry(box, SHAPE),
                "image_id": annotation["image_id"],
                "category_id": int(rng.choice([annotation["category_id"], 3], p=[0.9, 0.1])),
                "score": float(np.round(rng.random(), 2)),
            }
        )
    return found
