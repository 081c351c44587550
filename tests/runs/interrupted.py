"""Trainings that are interrupted at a moment, and steps that are played."""

import csv
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from mrcnn.constants import LOSS_NAMES
from mrcnn.model import MaskRCNN
from mrcnn.training import fit
from mrcnn.watching import log as run_log
from tests.mini import MiniShapes

EPOCHS, STEPS, SAVE_STEPS = 4, 4, 2


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    """Raises Interrupted at a moment: the name of a method, and the epoch and step if it has them.

    Args:
        moment: such as ("train_batch_end", 1, 2) or ("test_begin", 0).
    """

    def __init__(self, moment=None):
        super().__init__()
        self._moment, self._epoch = moment, None

    def _at(self, name, *place):
        if (name, self._epoch, *place) == self._moment:
            raise Interrupted

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._at("epoch_begin")

    def on_train_batch_begin(self, batch, logs=None):
        self._at("train_batch_begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self._at("train_batch_end", batch)

    def on_test_begin(self, logs=None):
        self._at("test_begin")

    def on_epoch_end(self, epoch, logs=None):
        self._at("epoch_end")

    def on_train_end(self, logs=None):
        self._at("train_end")


MOMENTS = [
    ("epoch_begin", 0),
    ("train_batch_end", 0, 0),
    # The state is written after it.
    ("train_batch_end", 0, 1),
    ("train_batch_begin", 0, 2),
    ("test_begin", 0),
    ("epoch_end", 1),
    ("epoch_begin", 2),
    ("train_batch_end", 2, 2),
    ("test_begin", 3),
    ("train_end", 3),
]


class Played:
    """Stands for the class `Steps`: one weight that remembers everything that steps depend on.

    Its updates take in the images of a batch, by their ids and their light, the learning rate and
    the number of the step; the losses are made of it.
    """

    accumulate = 1

    def __init__(self, keras_model, weight_decay, strategy, **options):
        self.keras_model, self.strategy = keras_model, strategy
        self.weight = keras_model.get_layer("fpn_p2").bias

    def train(self, batch, number):
        ids = batch["input_image_meta"].numpy()[:, 0]
        rate = float(self.keras_model.optimizer.learning_rate)
        light = batch["input_image"].numpy().mean(axis=(1, 2, 3)) / 255
        change = rate * (1 + number + (ids + light) @ [0.1, 0.01])
        self.weight.assign(0.9 * self.weight + change)
        return self._losses(1.0)

    def evaluate(self, batch, number):
        return self._losses(2.0)

    def _losses(self, factor):
        loss = factor * float(self.weight[0])
        return {"loss": 5 * loss} | dict.fromkeys(LOSS_NAMES, loss)


def playing(monkeypatch, model, config):
    """A function from a folder to a MaskRCNN with the graph of `model`, whose steps are played."""
    monkeypatch.setattr(fit, "Steps", Played)
    # It takes longer than all the rest.
    monkeypatch.setattr(run_log, "plot_losses", lambda curves, **options: None)

    class Copy(MaskRCNN):
        def build(self, mode, config):
            return model.keras_model

    def make(folder):
        again = Copy("training", config, str(folder))
        again.keras_model.get_layer("fpn_p2").bias.assign(np.full(16, 0.5))
        return again

    return make


def train(model, *callbacks, epochs=EPOCHS, rate=0.1, layers="all", resume=True, **words):
    """Train on seven images, of which one is skipped; arguments as in `MaskRCNN.train`."""
    data = MiniShapes(7, empty=[2]), MiniShapes(2, seed=5)
    callbacks = list(callbacks)
    return model.train(
        *data, rate, epochs, layers, custom_callbacks=callbacks, resume=resume, **words
    )


def plateau():
    """Half the rate after every epoch but the first."""
    return keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=0, min_delta=10)


def stages(model, moment=None):
    """Train the heads, then all; returns the History of the second stage."""
    train(model, plateau(), Interrupt(moment), epochs=2, rate=0.2, layers="heads")
    return train(model, plateau(), Interrupt(moment))


def interrupt(function, *args):
    """Call a function that is interrupted."""
    with pytest.raises(Interrupted):
        function(*args)


def table(model):
    """Rows of `log.csv`."""
    path = os.path.join(model.log_dir, "log.csv")
    with open(path, encoding="utf-8") as file:
        return list(csv.reader(file))


def leftovers(folder):
    """Names of hidden files, which those are that were not finished."""
    return [path.name for path in Path(folder).rglob(".*")]


def equal(found, expected):
    """Return whether arrays are the same, bit for bit."""
    return all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
