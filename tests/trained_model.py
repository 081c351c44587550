"""A training model for all tests here; each gets it as it was built."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import LOSS_NAMES
from mrcnn.data.pipeline import make_dataset
from mrcnn.model import MaskRCNN
from mrcnn.training import fit
from tests.mini import MiniShapes, mini_config, quietly
from tests.runs import interrupted


@pytest.fixture(scope="package")
def built_model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    config = mini_config(TRAIN_BN=None)
    model = MaskRCNN("training", config, str(tmp_path_factory.mktemp("logs")))
    # No bias and no mean is a plain 0.
    rng = np.random.default_rng(0)
    weights = [
        w if w.ndim > 1 else w + rng.uniform(0.01, 0.05, w.shape).astype(w.dtype)
        for w in model.keras_model.get_weights()
    ]
    return model, weights


@pytest.fixture
def model(built_model, tmp_path):
    """A MaskRCNN of `mini_config` at epoch 0, all layers trainable, with an own log folder."""
    model, weights = built_model
    model.keras_model.set_weights(weights)
    model.set_trainable(".*", verbose=0)
    model.config = mini_config(TRAIN_BN=None)
    model.model_dir = str(tmp_path / "logs")
    model.set_log_dir()
    return model


@pytest.fixture(scope="package")
def batch():
    """A batch of two images, a square and a disc."""
    data = make_dataset(MiniShapes(2), mini_config(), shuffle=False, seed=0)
    return next(iter(data))


class ScriptedSteps:
    """Stands for the class `Steps`: notes the batches and computes nothing.

    Args:
        train, val: functions from the number of a step, 1 for the first of the run, to the losses:
            a number for all five, or a dict of the five.
    """

    def __init__(self, train=lambda step: 1.0, val=lambda step: 2.0):
        self.of_train, self.of_val = train, val
        self.trained, self.evaluated = [], []
        self.accumulate, self.strategy = 1, tf.distribute.get_strategy()

    def __call__(self, keras_model, weight_decay, strategy, **options):
        return self

    def train(self, batch, number):
        self.trained.append(batch)
        return self._losses(self.of_train(len(self.trained)))

    def evaluate(self, batch, number):
        self.evaluated.append(batch)
        return self._losses(self.of_val(len(self.evaluated)))

    @staticmethod
    def _losses(value):
        losses = value if isinstance(value, dict) else dict.fromkeys(LOSS_NAMES, value)
        return {"loss": sum(losses.values()), **losses}

    def image_ids(self, batches=None):
        """Ids of the images of each step."""
        batches = self.trained if batches is None else batches
        return [batch["input_image_meta"].numpy()[:, 0].astype(int).tolist() for batch in batches]


@pytest.fixture
def scripted(monkeypatch):
    """A function: makes ScriptedSteps and has `train` take them."""

    def make(**losses):
        steps = ScriptedSteps(**losses)
        monkeypatch.setattr(fit, "Steps", steps)
        return steps

    return make


@pytest.fixture(autouse=True)
def quiet(request):
    """Training shows its progress; tests without capsys do not look at it."""
    with quietly(request):
        yield


@pytest.fixture
def make_model(monkeypatch, model):
    """A function from a folder to a MaskRCNN for `stages` and `train` of `interrupted`."""
    config = mini_config(
        STEPS_PER_EPOCH=interrupted.STEPS,
        SAVE_STEPS=interrupted.SAVE_STEPS,
        WARMUP_STEPS=6,
        LEARNING_RATE_DECAY_EPOCHS=(1, 3),
        BEST_METRIC="val_loss",
    )
    return interrupted.playing(monkeypatch, model, config)


@pytest.fixture
def make_growing(monkeypatch, model):
    """As `make_model`; the rate does not fall, and so the losses grow from epoch to epoch."""
    return interrupted.playing(
        monkeypatch,
        model,
        mini_config(STEPS_PER_EPOCH=interrupted.STEPS, SAVE_STEPS=interrupted.SAVE_STEPS),
    )


@pytest.fixture
def whole(make_model, tmp_path):
    """A run of two stages without interruption: weights, History as two dicts, log.csv."""
    np.random.seed(7)  # noqa: NPY002
    model = make_model(tmp_path / "whole")
    history = interrupted.stages(model)
    return model.keras_model.get_weights(), history.history, history.epoch, interrupted.table(model)
