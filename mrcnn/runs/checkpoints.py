"""What is kept of a run after each epoch."""

import math
import os
import re
import warnings

import keras


class Checkpoint(keras.callbacks.Callback):
    """Save the weights after every epoch under the historical name.

    A file appears whole or not at all, so an interrupted run leaves the last epoch's.

    Arguments:
        path: with "*epoch*" where the four digits of the epoch go.
        keep: how many are kept, the newest; None for all.
    """

    def __init__(self, path, keep=None):
        super().__init__()
        self.path, self.keep = path, keep

    def on_epoch_end(self, epoch, logs=None):
        folder, name = os.path.split(self.path)
        os.makedirs(folder, exist_ok=True)
        self.model.save_weights(self.path.replace("*epoch*", f"{epoch + 1:04d}"))
        if self.keep is None:
            return
        pattern = re.compile(re.escape(name).replace(re.escape("*epoch*"), r"(\d{4,})"))
        for file in os.listdir(folder):
            match = pattern.fullmatch(file)
            if match and int(match[1]) <= epoch + 1 - self.keep:
                os.remove(os.path.join(folder, file))


class BestCheckpoint(keras.callbacks.Callback):
    """Save the weights of the epoch where a value in its logs was best, under one name.

    Of a name with "loss" the lowest value is the best, of others the highest.

    Arguments:
        path: of the file.
        metric: name of the value.

    Attributes:
        best: the value, None before there is one.
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
                    f"BEST_METRIC is {self.metric!r}, which the logs of an epoch do not have; they "
                    f"have {', '.join(logs or {})}. CocoMetrics adds the AP of a data set.",
                    stacklevel=2,
                )
            return
        if math.isnan(value):
            # No value would ever be better.
            return
        sign = -1 if "loss" in self.metric else 1
        if self.best is None or sign * value > sign * self.best:
            self.best = float(value)
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self.model.save_weights(self.path)


class Remember(keras.callbacks.Callback):
    """Tell the `MaskRCNN` how many epochs are finished, also when training is interrupted."""

    def __init__(self, mask_rcnn):
        super().__init__()
        self.mask_rcnn = mask_rcnn

    def on_epoch_end(self, epoch, logs=None):
        self.mask_rcnn.epoch = epoch + 1
