"""A training in two stages that may be killed at any moment and started again.

    python resumed.py MODEL_DIR OUT [KILLED_AT]

It begins or resumes, and at its end writes the weights to OUT. KILLED_AT is the name of a moment
and how often it has to come before the process kills itself there: "step:3", "validation:1",
"state:2" and "weights:1", which are in the middle of writing such a file.
"""

import os
import signal
import sys

import h5py
import keras
import numpy as np

from mrcnn.model import MaskRCNN
from tests.mini import MiniShapes, mini_config

SAVE_STEPS = 2
HEADS, ALL = 3, 12
STEPS = 4


class Killed:
    """Kills the process at a moment, as nothing else can: without a chance to clean up."""

    def __init__(self, moment):
        self.name, _, count = moment.partition(":")
        self.left = int(count or 0)

    def at(self, name):
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def in_the_middle_of(self, write, name):
        """The function, killed after it has written a part of its file."""

        def writes(*args, **kwargs):
            self.at(name)
            return write(*args, **kwargs)

        return writes


def callbacks(killed):
    """Those of a stage, new ones."""
    return [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=0, min_delta=10),
        keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True),
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: (
                print(f"step {batch}", flush=True),
                killed.at("step"),
            ),
            on_test_begin=lambda logs: killed.at("validation"),
        ),
    ]


def main(model_dir, out, moment=""):
    killed = Killed(moment)
    keras.utils.set_random_seed(1)
    # Arrays are written one after the other, so these have a part of the file behind them.
    np.lib.format.write_array = killed.in_the_middle_of(np.lib.format.write_array, "state")
    h5py.Group.create_dataset = killed.in_the_middle_of(h5py.Group.create_dataset, "weights")
    config = mini_config(
        STEPS_PER_EPOCH=STEPS,
        SAVE_STEPS=SAVE_STEPS,
        TRAIN_BN=None,
        WARMUP_STEPS=6,
        LOADER_WORKERS=2,
        LEARNING_RATE_DECAY_EPOCHS=(1, 3),
        KEEP_CHECKPOINTS=2,
        BEST_METRIC="val_loss",
    )
    model = MaskRCNN("training", config, model_dir)
    for layers, rate, epochs in (("heads", 0.01, HEADS), ("all", 0.005, ALL)):
        model.train(
            MiniShapes(7, empty=[2]),
            MiniShapes(2, seed=5),
            rate,
            epochs,
            layers,
            custom_callbacks=callbacks(killed),
            resume=True,
        )
    np.savez(out, *model.keras_model.get_weights())


if __name__ == "__main__":
    main(*sys.argv[1:])
