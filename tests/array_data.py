"""Datasets made of arrays, for the tests of the input pipeline."""

import numpy as np
import pytest

from mrcnn.data.dataset import Dataset


class ArrayDataset(Dataset):
    """Dataset of `(image, masks, class_ids)`; an exception in place of an image is raised."""

    def __init__(self, samples, classes=3, source="arrays"):
        super().__init__()
        self.samples = samples
        for class_id in range(1, classes + 1):
            self.add_class(source, class_id, f"class {class_id}")
        for number in range(len(samples)):
            self.add_image(source, number, f"{number}.png")
        self.prepare()

    def load_image(self, image_id):
        image = self.samples[image_id][0]
        if isinstance(image, Exception):
            raise image
        return image

    def load_mask(self, image_id):
        return self.samples[image_id][1:]


@pytest.fixture
def array_dataset():
    """The class ArrayDataset."""
    return ArrayDataset


def rectangle_sample(boxes, class_ids, size=64, value=0):
    """An image of one value, with a filled rectangle per box."""
    masks = np.zeros((size, size, len(boxes)), bool)
    for index, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, index] = True
    return np.full((size, size, 3), value, np.uint8), masks, np.array(class_ids, np.int32)


@pytest.fixture
def write_photo(tmp_path):
    """Function that writes a picture of a given name and size in pixels below `tmp_path`."""
    from PIL import Image

    def write(name, height, width, exif=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(path, **({} if exif is None else {"exif": exif}))
        return path

    return write


@pytest.fixture
def rectangles():
    """The function `rectangle_sample`."""
    return rectangle_sample


@pytest.fixture
def numbered_dataset():
    """Function that makes a dataset of n images whose pixels all have the value of their id.

    `empty` images have no instances, `broken` ones raise OSError.
    """

    def make(count, empty=(), broken=()):
        samples = []
        for number in range(count):
            boxes = [] if number in empty else [(8, 8 + number % 8, 40, 48)]
            sample = rectangle_sample(boxes, [1] * len(boxes), value=number)
            if number in broken:
                sample = (OSError(f"disk error {number}"), *sample[1:])
            samples.append(sample)
        return ArrayDataset(samples)

    return make
