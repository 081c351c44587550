"""A network that has learned something, for notebooks that look into one.

No weights can be had for drawn images, so a small network learns them in minutes, once: its weights
are kept in a file that the next notebook finds.
"""

from pathlib import Path

import shapes

# At most this many, so that the loss curves have a few points.
STEPS_PER_EPOCH = 50


class SmallConfig(shapes.DemoConfig):
    """Learns more in a few hundred steps than the demo's network does."""

    BACKBONE = "small"
    COMPUTE_BACKBONE_SHAPE = None
    ROI_POSITIVE_RATIO = 0.25
    DETECTION_MIN_CONFIDENCE = 0.6


def small_config(name, steps, **words):
    """A SmallConfig for some data.

    Args:
        name: `Config.NAME`.
        steps: training steps in all.
        words: further Config words, such as NUM_CLASSES.
    """
    epoch = min(STEPS_PER_EPOCH, steps)
    own = {"NAME": name, "STEPS_PER_EPOCH": epoch, "VALIDATION_STEPS": 2, "EPOCHS": steps // epoch}
    return type("Config", (SmallConfig,), {**own, **words})()


def trained_model(config, train, val, logs, weights=None):
    """A MaskRCNN in inference mode that knows a data set.

    Args:
        config: of `small_config`.
        train, val: prepared data sets.
        logs: folder of checkpoints. The weights of a finished training are kept there, under the
            name of the Config and the number of steps, and are used again.
        weights: a file to load in place of training.
    """
    if weights is None:
        steps = config.EPOCHS * config.STEPS_PER_EPOCH
        weights = Path(logs) / f"{config.NAME}_{steps}_steps.h5"
        if not weights.exists():
            train_small(config, train, val, logs).keras_model.save_weights(weights)
    if config.IMAGE_RESIZE_MODE == "crop":
        # Crops are for training; whole images come in any size.
        config = type("WholeImages", (type(config),), {"IMAGE_RESIZE_MODE": "pad64"})()
    return shapes.make_model("inference", config, logs, weights)


def train_small(config, train, val, logs):
    """Train from random weights, the learning rate rising shortly and falling to zero.

    Returns the MaskRCNN.
    """
    import keras

    keras.utils.set_random_seed(0)
    model = shapes.make_model("training", config, logs)
    steps = config.EPOCHS * config.STEPS_PER_EPOCH
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=steps - steps // 10,
        warmup_target=config.LEARNING_RATE,
        warmup_steps=max(1, steps // 10),
    )
    model.train(train, val, learning_rate=rate, epochs=config.EPOCHS, layers="all")
    return model
