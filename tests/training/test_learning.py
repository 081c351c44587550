"""A network learns: every loss falls, and inference finds the learned shapes."""

import keras
import numpy as np
import pytest

from mrcnn.constants import LOSS_NAMES
from mrcnn.model import MaskRCNN
from mrcnn.ops.masks import compute_overlaps_masks
from tests.mini import MiniShapes, mini_config, silent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a model after six epochs of twenty steps, and its history."""
    keras.utils.set_random_seed(1)
    config = mini_config(TRAIN_BN=None, IMAGES_PER_GPU=4, STEPS_PER_EPOCH=20)
    model = MaskRCNN("training", config, str(tmp_path_factory.mktemp("logs")))
    history = silent(model.train, MiniShapes(4), MiniShapes(4), 0.02, 6, "all")
    return model, history.history


def test_every_loss_falls(run):
    history = run[1]
    for name in LOSS_NAMES:
        # Means of the first twenty steps, and of the last.
        assert 0 < history[name][-1] < 0.7 * history[name][0], (name, history[name])
    assert history["loss"][-1] < 0.3 * history["loss"][0]


def test_total_is_the_sum_of_losses_and_decay(run):
    history = run[1]
    total = sum(np.array(history[name]) for name in LOSS_NAMES)
    decay = history["loss"] - total
    assert (decay > 0).all() and (decay < 0.01).all()
    np.testing.assert_allclose(
        history["val_loss"], sum(np.array(history[f"val_{n}"]) for n in LOSS_NAMES), rtol=1e-5
    )


def test_shapes_are_found(run, tmp_path, capsys):
    model = run[0]
    inference = MaskRCNN("inference", model.config, str(tmp_path))
    inference.load_weights(model.find_last(), by_name=True)
    dataset = MiniShapes(4)
    results = inference.detect([dataset.load_image(image) for image in dataset.image_ids])
    found = []
    for image, result in zip(dataset.image_ids, results, strict=True):
        masks, class_ids = dataset.load_mask(image)
        overlaps = compute_overlaps_masks(result["masks"], masks)
        if len(overlaps) and result["class_ids"][0] == class_ids[0] and overlaps[0, 0] > 0.6:
            assert result["scores"][0] > 0.3
            found.append(class_ids[0])
    # A square and a disc, and at least one more of the four.
    assert set(found) == {1, 2} and len(found) >= 3
    assert "not in the" not in capsys.readouterr().out
