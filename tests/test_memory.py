"""Memory does not grow, however many images are detected in and however long training lasts."""

import gc
from pathlib import Path
from resource import getpagesize

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.model import MaskRCNN
from tests.mini import MiniShapes, mini_config, silent

STATM = Path("/proc/self/statm")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATM.exists(), reason="reads Linux's account of a process"),
]


def resident():
    """Memory of this process in MiB."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * getpagesize() / 2**20


def growth(values):
    """Growth over `values`, by the slope of a straight line through them."""
    return np.polyfit(np.arange(len(values)), values, 1)[0] * (len(values) - 1)


def test_growth_by_hand():
    assert growth([3.0, 5.0, 7.0, 9.0]) == pytest.approx(6.0)
    assert growth([5.0, 4.0, 4.0, 5.0]) == pytest.approx(0.0, abs=1e-9)


def test_what_is_kept_is_seen():
    values, kept = [], []
    for _ in range(10):
        kept.append(np.ones(5 * 2**17))
        values.append(resident())
    assert growth(values) == pytest.approx(9 * 5, rel=0.2)


def test_detection(tmp_path):
    model = MaskRCNN("inference", mini_config(), str(tmp_path))
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    rng = np.random.default_rng(0)
    values = []
    for number in range(500):
        # Many sizes: 0.1 to 1 MB of pixels, and up to 3.6 MB of masks.
        height, width = rng.integers(200, 600, 2)
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        assert len(model.detect([image])[0]["rois"]) > 0
        if number >= 100 and number % 10 == 9:
            values.append(resident())
    assert len(values) == 40
    assert growth(values) < 20


def test_training(tmp_path):
    model = MaskRCNN("training", mini_config(STEPS_PER_EPOCH=10), str(tmp_path))
    values = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: values.append(resident())
    )
    datasets = MiniShapes(8), MiniShapes(4)
    silent(model.train, *datasets, 0.001, 25, "all", custom_callbacks=[note])
    # The first five epochs fill caches.
    assert len(values) == 25
    assert growth(values[5:]) < 20


@pytest.mark.parametrize(
    "settings",
    [{}, {"GRADIENT_CHECKPOINTING": True}, {"ACCUMULATE_BATCHES": 2}],
    ids=["plain", "checkpointing", "accumulating"],
)
def test_many_calls_of_train(tmp_path, settings):
    """A notebook may call `train` once per epoch. A kept graph would be 45 MiB per call."""
    model = MaskRCNN("training", mini_config(**settings), str(tmp_path))
    values, graphs = [], []
    for epoch in range(25):
        silent(model.train, MiniShapes(4), MiniShapes(2), 0.001, epoch + 1, "all")
        values.append(resident())
        graphs.append(sum(isinstance(thing, tf.Graph) for thing in gc.get_objects()))
    # The first five calls fill caches.
    assert graphs[5:] == graphs[5:6] * 20
    # Kept graphs would be 900 MiB; the allocator alone makes some 50 to 100 of difference.
    assert growth(values[5:]) < 150
