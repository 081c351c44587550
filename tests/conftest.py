"""Fixtures shared by all tests. Nothing heavy is imported before a test asks for it."""

import gc
import os

# Before TensorFlow is imported: its notes about the machine are no output of a test.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from mrcnn.config import Config


class TinyConfig(Config):
    """The whole model at the smallest size that still has every part: 64x64, three classes."""

    NAME = "tiny"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 1
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1
    NUM_CLASSES = 1 + 3
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    TOP_DOWN_PYRAMID_SIZE = 32
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    PRE_NMS_LIMIT = 200
    POST_NMS_ROIS_TRAINING = 50
    POST_NMS_ROIS_INFERENCE = 50
    TRAIN_ROIS_PER_IMAGE = 20
    MINI_MASK_SHAPE = (28, 28)
    MAX_GT_INSTANCES = 8
    DETECTION_MAX_INSTANCES = 10
    DETECTION_MIN_CONFIDENCE = 0


@pytest.fixture(scope="module", autouse=True)
def _no_models_of_other_modules():
    """Keras models are cycles of objects, which Python frees late and which take much memory."""
    yield
    gc.collect()


@pytest.fixture
def rng():
    """A seeded NumPy generator, new for every test."""
    return np.random.default_rng(0)


@pytest.fixture
def tiny_config():
    """A new instance of TinyConfig, which a test may change."""
    return TinyConfig()


def draw_shapes(seed, size=64):
    """One to three shapes that do not touch, on a gray ground.

    Returns image [size, size, 3] uint8, masks [size, size, n] bool, class ids [n] int32
    (1 square, 2 circle, 3 triangle).
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size, 3), 60, np.uint8)
    masks, class_ids = [], []
    # One shape a quadrant, at most 11 pixels from a centre that lies 12 or more from its edges.
    for quadrant in rng.permutation(4)[: rng.integers(1, 4)]:
        cy, cx = (size // 4) + (size // 2) * np.array(divmod(quadrant, 2)) + rng.integers(-4, 5, 2)
        radius, class_id = rng.integers(7, 12), rng.integers(1, 4)
        dy, dx = y - cy, x - cx
        square = (abs(dy) <= radius) & (abs(dx) <= radius)
        mask = [square, dy**2 + dx**2 <= radius**2, square & (2 * abs(dx) <= dy + radius)]
        masks.append(mask[class_id - 1])
        class_ids.append(class_id)
        image[masks[-1]] = rng.integers(120, 256, 3)
    return image, np.stack(masks, axis=-1), np.array(class_ids, np.int32)


@pytest.fixture
def tiny_dataset():
    """A prepared Dataset of eight generated 64x64 images, one to three shapes in each."""
    from mrcnn.data.dataset import Dataset

    class TinyShapes(Dataset):
        def load_image(self, image_id):
            return draw_shapes(self.image_info[image_id]["seed"])[0]

        def load_mask(self, image_id):
            return draw_shapes(self.image_info[image_id]["seed"])[1:]

    dataset = TinyShapes()
    for class_id, name in enumerate(["square", "circle", "triangle"], start=1):
        dataset.add_class("shapes", class_id, name)
    for seed in range(8):
        dataset.add_image("shapes", image_id=seed, path=None, seed=seed)
    dataset.prepare()
    return dataset
