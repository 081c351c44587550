"""An inference model with random weights, for all tests here."""

import keras
import numpy as np
import pytest

from mrcnn.inference import detect as detection
from mrcnn.model import MaskRCNN
from tests.mini import mini_config


@pytest.fixture(scope="package")
def built_model(tmp_path_factory):
    keras.utils.set_random_seed(3)
    model = MaskRCNN("inference", mini_config(), str(tmp_path_factory.mktemp("logs")))
    # Something is found everywhere: no RoI looks like background.
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    return model


@pytest.fixture
def model(built_model):
    """A MaskRCNN of `mini_config`, which a test may change. Do not change weights."""
    built_model.config = mini_config()
    return built_model


@pytest.fixture
def batches(monkeypatch):
    """Shapes of the batches that go through the graph."""
    seen, call = [], detection.Detector.__call__

    def note(self, molded_images, metas):
        seen.append(molded_images.shape)
        return call(self, molded_images, metas)

    monkeypatch.setattr(detection.Detector, "__call__", note)
    return seen


@pytest.fixture(scope="package")
def photo():
    """A function: an image of coloured rectangles, [height, width, 3] uint8."""

    def make(height, width, seed=0):
        rng = np.random.default_rng(seed)
        image = np.full((height, width, 3), rng.integers(256, size=3), np.uint8)
        for _ in range(4):
            y, x = rng.integers(0, height - 8), rng.integers(0, width - 8)
            image[y : y + rng.integers(8, height), x : x + rng.integers(8, width)] = rng.integers(
                256, size=3
            )
        return image

    return make
