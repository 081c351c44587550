"""The loop around the steps. What Keras has for it is Keras's: callbacks and progress."""

import itertools
import math

import keras
import numpy as np


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""


def run_epochs(
    keras_model,
    steps,
    train_batches,
    val_batches,
    *,
    epochs,
    initial_epoch,
    steps_per_epoch,
    validation_steps,
    callbacks,
    image_name,
):
    """Train from epoch `initial_epoch` to `epochs`.

    `keras.Model.fit` cannot tell which images a batch had when a loss becomes NaN.

    Arguments:
        keras_model: for the callbacks; its `stop_training` ends the loop.
        steps: `Steps`.
        train_batches: endless iterable of batches.
        val_batches: iterable of batches that starts anew whenever it is iterated over, or None.
        callbacks: Keras callbacks.
        image_name: function from an image id to a text for messages.

    Returns:
        A `keras.callbacks.History`.

    Raises:
        NonFiniteLossError: names the loss and the images of the batch. The weights of the last
            checkpoint are those before.
    """
    callbacks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=True,
        model=keras_model,
        verbose=1,
        epochs=epochs,
        steps=steps_per_epoch,
    )
    keras_model.stop_training = False
    callbacks.on_train_begin()
    logs = None
    batches = iter(train_batches)
    for epoch in range(initial_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
        means = _Means()
        for step in range(steps_per_epoch):
            callbacks.on_train_batch_begin(step)
            batch = next(batches)
            losses = _to_floats(steps.train(batch))
            _check_finite(losses, batch, epoch, step, image_name)
            logs = means.add(losses)
            callbacks.on_train_batch_end(step, logs)
            if keras_model.stop_training:
                break
        logs = dict(means.values)
        if val_batches is not None and validation_steps:
            logs.update(_validate(steps, val_batches, validation_steps, callbacks))
        callbacks.on_epoch_end(epoch, logs)
        if keras_model.stop_training:
            break
    callbacks.on_train_end(logs)
    return keras_model.history


def _validate(steps, batches, count, callbacks):
    """Mean losses over `count` batches, under their names with `val_` before."""
    callbacks.on_test_begin()
    means = _Means()
    for step, batch in enumerate(itertools.islice(batches, count)):
        callbacks.on_test_batch_begin(step)
        logs = means.add(_to_floats(steps.evaluate(batch)))
        callbacks.on_test_batch_end(step, logs)
    callbacks.on_test_end(means.values)
    return {f"val_{name}": value for name, value in means.values.items()}


def _to_floats(losses):
    return {name: float(loss) for name, loss in losses.items()}


class _Means:
    """Running means of the losses of an epoch."""

    def __init__(self):
        self.count, self.values = 0, {}

    def add(self, losses):
        """Take in the losses of a step; returns a dict of the means so far."""
        self.count += 1
        for name, loss in losses.items():
            mean = self.values.get(name, 0.0)
            self.values[name] = mean + (loss - mean) / self.count
        return dict(self.values)


def _check_finite(losses, batch, epoch, step, image_name):
    if math.isfinite(losses["loss"]):
        return
    bad = [name for name, loss in losses.items() if name != "loss" and not math.isfinite(loss)]
    # The first entry of the meta vector is the id of the image.
    images = np.asarray(batch["input_image_meta"])[:, 0].astype(int)
    names = ", ".join(image_name(image) for image in images)
    raise NonFiniteLossError(
        f"{' and '.join(bad) or 'The weight decay'} became {losses[bad[0]] if bad else 'infinite'} "
        f"in epoch {epoch + 1}, step {step + 1}, with {names}. Training has stopped; the "
        "checkpoint of the last epoch is whole. Look at the annotations of these images, or lower "
        "LEARNING_RATE."
    )
