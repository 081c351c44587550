"""Callbacks that save the weights of a run: those of each epoch, and the best."""

import math
import os
import re
import warnings

import keras

from mrcnn.runs.provenance import noted
from mrcnn.runs.saving import saving


class Checkpoint(keras.callbacks.Callback):
    """Save the weights after every epoch under the historical name, and count the epoch.

    Args:
        run: `Run` whose `checkpoint_path` to write, and whose `epoch` to set.
        keep: number of checkpoints to keep, the newest; None for all.
        is_writer: False in a process that only counts.
    """

    def __init__(self, run, keep=None, is_writer=True):
        super().__init__()
        self.run, self.keep, self.is_writer = run, keep, is_writer

    def on_epoch_end(self, epoch, logs=None):
        if self.is_writer:
            _note(self.model, epoch + 1, logs)
            self._save(epoch + 1)
        # Once the file exists, the run can be resumed after this epoch.
        self.run.epoch = epoch + 1

    def _save(self, epoch):
        folder, name = os.path.split(self.run.checkpoint_path)
        path = os.path.join(folder, name.replace("*epoch*", f"{epoch:04d}"))
        with saving(path):
            os.makedirs(folder, exist_ok=True)
            self.model.save_weights(path)
        if self.keep is None:
            return
        pattern = re.compile(re.escape(name).replace(re.escape("*epoch*"), r"(\d{4,})"))
        for file in os.listdir(folder):
            match = pattern.fullmatch(file)
            if match and int(match[1]) <= epoch - self.keep:
                os.remove(os.path.join(folder, file))


class BestCheckpoint(keras.callbacks.Callback):
    """Save the weights of the epoch with the best value of a metric, under one name.

    For names with "loss" the lowest value is the best, for others the highest.

    Args:
        path: of the file.
        metric: name of the value in the logs of an epoch.

    Attributes:
        best: the best value so far, or None.
    """

    def __init__(self, path, metric):
        super().__init__()
        self.path, self.metric, self.best = path, metric, None
        self._is_missed = False

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.metric)
        if value is None:
            if not self._is_missed:
                self._is_missed = True
                warnings.warn(
                    f"BEST_METRIC is {self.metric!r}, which is not in the logs of an epoch; they "
                    f"have {', '.join(logs or {})}. CocoMetrics adds the AP of a data set.",
                    stacklevel=2,
                )
            return
        sign = -1 if "loss" in self.metric else 1
        # No value would ever be better than NaN.
        if not math.isnan(value) and (self.best is None or sign * value > sign * self.best):
            self.best = float(value)
            _note(self.model, epoch + 1, logs)
            with saving(self.path):
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                self.model.save_weights(self.path)


def _note(model, epoch, logs):
    """Let the weight files of a model say the epoch and its metrics."""
    if hasattr(model, "metadata"):
        model.metadata = noted(model.metadata, epoch, logs)
