"""What is kept of a run after each epoch."""

import os

import keras


class Checkpoint(keras.callbacks.Callback):
    """Save the weights after every epoch under the historical name.

    A file appears whole or not at all, so an interrupted run leaves the last epoch's.

    Arguments:
        path: with "*epoch*" where the four digits of the epoch go.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.model.save_weights(self.path.replace("*epoch*", f"{epoch + 1:04d}"))


class WarmUp(keras.callbacks.Callback):
    """Let the learning rate rise in a straight line over the first steps of a run.

    Between epochs the rate is the whole one, for callbacks that change it.

    Arguments:
        steps: of the run, those of earlier epochs included.
        steps_per_epoch: to know where in the run an epoch begins.
    """

    def __init__(self, steps, steps_per_epoch):
        super().__init__()
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.rate = None

    def on_epoch_begin(self, epoch, logs=None):
        self.first = epoch * self.steps_per_epoch
        self.rate = float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch, logs=None):
        done = self.first + batch + 1
        if done <= self.steps:
            self.model.optimizer.learning_rate = self.rate * done / self.steps

    def on_epoch_end(self, epoch, logs=None):
        if self.first < self.steps:
            self.model.optimizer.learning_rate = self.rate


class Remember(keras.callbacks.Callback):
    """Tell the `MaskRCNN` how many epochs are finished, also when training is interrupted."""

    def __init__(self, mask_rcnn):
        super().__init__()
        self.mask_rcnn = mask_rcnn

    def on_epoch_end(self, epoch, logs=None):
        self.mask_rcnn.epoch = epoch + 1
