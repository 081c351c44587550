"""Memory does not grow, however many images are detected in and however long training lasts."""

import gc

import keras
import numpy as np
import psutil
import pytest

from mrcnn.model import MaskRCNN
from tests.mini import MiniShapes, mini_config, silent

MIB = 2**20

pytestmark = pytest.mark.slow


def resident():
    """Memory of this process in MiB."""
    gc.collect()
    return psutil.Process().memory_info().rss / MIB


def growth(values):
    """Growth over `values`, by the slope of a straight line through them."""
    return np.polyfit(np.arange(len(values)), values, 1)[0] * (len(values) - 1)


def test_growth_by_hand():
    assert growth([3.0, 5.0, 7.0, 9.0]) == pytest.approx(6.0)
    assert growth([5.0, 4.0, 4.0, 5.0]) == pytest.approx(0.0, abs=1e-9)


def test_detection(tmp_path):
    model = MaskRCNN("inference", mini_config(), str(tmp_path))
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    rng = np.random.default_rng(0)
    values = []
    for number in range(500):
        # 300 kB of pixels and up to 4 MB of masks each, in many sizes.
        height, width = rng.integers(200, 600, 2)
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        assert len(model.detect([image])[0]["rois"]) > 0
        if number >= 100:
            values.append(resident())
    assert growth(values) < 20, f"{growth(values):.1f} MiB in 400 calls"
    print(f"detect: {growth(values):.2f} MiB", values[0], values[-1])


def test_training(tmp_path):
    model = MaskRCNN("training", mini_config(STEPS_PER_EPOCH=10), str(tmp_path))
    values = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: values.append(resident()))
    datasets = MiniShapes(8), MiniShapes(4)
    silent(model.train, *datasets, 0.001, 25, "all", custom_callbacks=[note])
    print("train:", growth(values[5:]), values)
    assert len(values[5:]) == 20
    assert growth(values[5:]) < 20, f"{growth(values[5:]):.1f} MiB in 20 epochs"


def test_x(tmp_path):
    model = MaskRCNN("training", mini_config(STEPS_PER_EPOCH=1), str(tmp_path))
    values = []
    datasets = MiniShapes(8), MiniShapes(4)
    for n in range(8):
        silent(model.train, *datasets, 0.001, n+1, "all")
        values.append(resident())
    print("stages:", values)
