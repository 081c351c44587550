"""Trainings that need a separate Python process, for several devices or processes.

    python worker.py devices '{"folder": ...}'
    python worker.py process '{"folder": ..., "model_dir": ...}'

The arguments are those of the functions here as JSON. A training writes its results to `folder`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mrcnn.constants import LOSS_NAMES
from mrcnn.layers.losses import LossLayer
from mrcnn.model import BatchNorm, MaskRCNN
from mrcnn.training.step import Steps
from mrcnn.training.strategy import Agreement, choose_strategy, is_chief, process_count
from tests.mini import MiniShapes, mini_backbone, mini_config

IMAGES, STEPS = 4, 5


class Square(layers.Layer):
    """A layer that adds the mean square of its input to the loss."""

    def call(self, x):
        self.add_loss(tf.reduce_mean(tf.square(x)))
        return x


def adding_backbone(image, stage5=True, train_bn=None):
    """Return stages whose layers add two losses, of the images and of the weights."""
    *stages, last = mini_backbone(image, stage5, train_bn)
    regularizer = keras.regularizers.L2(0.01)
    last = layers.Conv2D(24, 1, name="res5b", kernel_regularizer=regularizer)(last)
    return [*stages, Square(name="square")(last)]


class Dies(keras.callbacks.Callback):
    """A callback that ends the process within an epoch, as a crash would."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.steps:
            os.kill(os.getpid(), signal.SIGKILL)


def train(model_dir, strategy=None, images=IMAGES, seed=0, callbacks=(), resume=False, **settings):
    """Train for one epoch; return the weights by path before and after, and the history."""
    keras.utils.set_random_seed(seed)
    settings = {
        "BACKBONE": staticmethod(adding_backbone),
        "IMAGES_PER_GPU": images,
        "STEPS_PER_EPOCH": STEPS,
        "TRAIN_BN": False,
        "TRAIN_WITH_EMPTY_IMAGES": True,
        # The RoIs are given: with proposals of an RPN, rounding could choose others.
        "USE_RPN_ROIS": False,
        "LOSS_WEIGHTS": dict(zip(LOSS_NAMES, (2.0, 0.5, 3.0, 0.25, 4.0), strict=True)),
        # Gradients are longer.
        "GRADIENT_CLIP_NORM": 1.0,
        **settings,
    }
    model = MaskRCNN("training", mini_config(**settings), str(model_dir), strategy=strategy)
    before = values(model)
    # 11 images do not fill whole steps, and the empty ones give replicas different numbers of
    # positives.
    data = MiniShapes(11, empty=[2, 5, 6, 9]), MiniShapes(4, empty=[3], seed=9)
    history = model.train(*data, 0.05, 1, "all", custom_callbacks=list(callbacks), resume=resume)
    return before, values(model), history.history


def values(model):
    return {variable.path: variable.numpy() for variable in model.keras_model.trainable_variables}


def keep(folder, name, before, after, history, **facts):
    """Write the results of a training."""
    facts = json.dumps({"history": history, **facts})
    weights = {path: np.stack([before[path], after[path]]) for path in before}
    np.savez(Path(folder) / f"{name}.npz", facts=facts, **weights)


def two_devices():
    """Return a strategy of two devices, halves of the processor."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def devices(folder):
    """Keep the same steps on one device and on two."""
    model_dir, two = Path(folder) / "devices", two_devices()
    keep(folder, "one device", *train(model_dir))
    keep(folder, "two devices", *train(model_dir, two, IMAGES // 2))
    Path(folder, "statistics.json").write_text(json.dumps(moving_means(two)))


def halves(folder):
    """Keep the steps on two devices with half the images at a time."""
    two = two_devices()
    ended = train(Path(folder) / "halves", two, IMAGES // 4, ACCUMULATE_BATCHES=2)
    keep(folder, "two devices, two batches", *ended)


@LossLayer.register(count=lambda x: tf.cast(tf.size(x), tf.float32))
def mean_loss(x):
    return tf.reduce_mean(x)


def moving_means(two):
    """Return the moving mean on each of two devices after a step with 1 on one, 3 on the other."""
    with two.scope():
        x = keras.Input((1,), name="x")
        model = keras.Model([x], LossLayer("mean_loss")(BatchNorm(momentum=0.5, name="bn")(x)))
        model.compile(optimizer=keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensor_slices({"x": [[1.0], [3.0]]}).batch(2)
    batch = next(iter(two.experimental_distribute_dataset(data)))
    Steps(model, weight_decay=0, strategy=two).train(batch)
    mean = model.get_layer("bn").moving_mean.value
    return [value.numpy().tolist() for value in two.experimental_local_results(mean)]


def process(folder, model_dir, dies_after=None, resume=False, **settings):
    """Train in a process, which is one of several if TF_CONFIG says so.

    Args:
        dies_after: a number of steps, or None.
    """
    strategy = choose_strategy(1)
    resolver = strategy.cluster_resolver
    index, agreement = resolver.task_id if resolver else 0, Agreement(strategy)
    facts = {
        "is_chief": is_chief(strategy),
        "process_count": process_count(strategy),
        "any": [agreement.any(flag) for flag in (index == 0, index == 1, False, True)],
        "of_chief": agreement.of_chief(2**62 + 1 + index),
    }
    callbacks = [keras.callbacks.CSVLogger(f"{model_dir}/own.csv")]
    if dies_after:
        callbacks.append(Dies(dies_after))
    # The seed differs per process; training takes that of the chief.
    images = IMAGES // facts["process_count"]
    ended = train(model_dir, None, images, index, callbacks, resume, **settings)
    keep(folder, f"process {index}", *ended, **facts)


if __name__ == "__main__":
    {"devices": devices, "halves": halves, "process": process}[sys.argv[1]](
        **json.loads(sys.argv[2])
    )
