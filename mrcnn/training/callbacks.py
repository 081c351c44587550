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


class Remember(keras.callbacks.Callback):
    """Tell the `MaskRCNN` how many epochs are finished, also when training is interrupted."""

    def __init__(self, mask_rcnn):
        super().__init__()
        self.mask_rcnn = mask_rcnn

    def on_epoch_end(self, epoch, logs=None):
        self.mask_rcnn.epoch = epoch + 1
