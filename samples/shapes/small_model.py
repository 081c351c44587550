"""A small network for the notebooks, trained in minutes and kept in a file that others find."""

from pathlib import Path

import shapes

from mrcnn import cli


class NotebookConfig(shapes.DemoConfig):
    """Learns more in a few hundred steps than the demo's network does."""

    BACKBONE = "small"
    COMPUTE_BACKBONE_SHAPE = None
    ROI_POSITIVE_RATIO = 0.25
    DETECTION_MIN_CONFIDENCE = 0.6
    VALIDATION_STEPS = 2


def small_config(name, steps, **settings):
    """Return a NotebookConfig with a NAME, for so many steps of training, and other settings."""
    # Short epochs give the loss curves a few points.
    epoch = min(50, steps)
    own = {"NAME": name, "STEPS_PER_EPOCH": epoch, "EPOCHS": steps // epoch}
    return type("Config", (NotebookConfig,), own | settings)()


def trained_model(config, train, val, logs, weights=None):
    """Return a MaskRCNN in inference mode: of a file `weights`, or else trained if it has to be.

    Trained weights are kept in `logs` under the name of the `small_config` and its steps.
    """
    if weights is None:
        steps = config.EPOCHS * config.STEPS_PER_EPOCH
        weights = Path(logs) / f"{config.NAME}_{steps}_steps.h5"
        if not weights.exists():
            from keras.optimizers.schedules import CosineDecay

            warmup = {"warmup_target": config.LEARNING_RATE, "warmup_steps": max(1, steps // 10)}
            rate = CosineDecay(0.0, decay_steps=steps - steps // 10, **warmup)
            model = cli.make_model("training", "random", logs, config)
            model.train(train, val, learning_rate=rate, epochs=config.EPOCHS, layers="all")
            model.keras_model.save_weights(weights)
    return cli.make_model("inference", weights, logs, config)
