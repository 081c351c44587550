"""The loop over epochs and steps, with the callbacks of Keras."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.ops.meta import parse_meta
from mrcnn.runs.run import Run, checkpoints
from mrcnn.runs.state import Saved, StateWriter
from mrcnn.training.averages import averaged, finish
from mrcnn.training.strategy import Agreement
from mrcnn.weights.finite import describe_non_finite, non_finite_weights


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""


class NonFiniteWeightsError(FloatingPointError):
    """Weights are NaN or infinite before training has changed any."""


class OutOfMemoryError(MemoryError):
    """A step needs more memory than there is."""


@dataclass
class Plan:
    """Everything that the loop works with.

    Attributes:
        keras_model: for the callbacks; its `stop_training` ends the loop.
        config: `Config`, for the number of steps.
        run: `Run`, for its folder and its finished epochs.
        epochs: total number, with those that the run has finished.
        steps: `Steps`.
        train_batches: endless iterable of batches, a `Batches`.
        val_batches: iterable of batches, the same ones in every iteration; None for no validation.
        callbacks: Keras callbacks.
        progress: `Progress`.
        agreement: `Agreement` of the processes.
        image_name: function from an image id to a text for messages.
        call: facts about this training for its states; None in a process that writes no states.
        saved: the `Saved` state to resume from. Its arrays are dropped once they are restored.
    """

    keras_model: keras.Model
    config: Config
    run: Run
    epochs: int
    steps: Any
    train_batches: Iterable
    val_batches: Iterable | None
    callbacks: list[keras.callbacks.Callback]
    progress: Any
    agreement: Agreement
    image_name: Callable[[int], str]
    call: dict[str, Any] | None
    saved: Saved | None = None


def run_epochs(plan):
    """Train from the epoch of the run to `epochs`.

    `keras.Model.fit` would not do: it cannot name the images of a batch whose loss becomes NaN,
    cannot resume within an epoch, and fails with several worker processes.

    Args:
        plan: `Plan`.

    Returns:
        A `keras.callbacks.History`.

    Raises:
        NonFiniteWeightsError: names weights that are NaN or infinite at the start.
        NonFiniteLossError: names the loss that became NaN or infinite, and the images of the batch.
            The last checkpoint, if there is one, is from before.
        OutOfMemoryError: lists the settings that need less memory.
    """
    model = plan.keras_model
    if counts := non_finite_weights(model.variables):
        raise NonFiniteWeightsError(
            f"The weights of the model are not finite before training: "
            f"{describe_non_finite(counts)}. Load other weights, or make the model anew."
        )
    callbacks = keras.callbacks.CallbackList(
        # Progress comes last, to show the logs that other callbacks have added.
        [*plan.callbacks, plan.progress],
        add_history=True,
        model=model,
        verbose=1,
        epochs=plan.epochs,
        steps=plan.config.STEPS_PER_EPOCH,
    )
    model.stop_training = False
    callbacks.on_train_begin()
    writer = None
    if plan.call is not None:
        last = plan.saved.path if plan.saved else None
        writer = StateWriter(plan.run.folder, model, callbacks.callbacks, plan.call, last)
    first_step, means = _restore(plan, callbacks)
    batches = iter(plan.train_batches)
    for epoch in range(plan.run.epoch, plan.epochs):
        if not first_step:
            means = _Means()
            callbacks.on_epoch_begin(epoch)
        _train_epoch(plan, callbacks, batches, writer, epoch, first_step, means)
        first_step = 0
        with averaged(model):
            logs = dict(means.values)
            if plan.val_batches is not None:
                logs.update(_validate(plan, callbacks))
            callbacks.on_epoch_end(epoch, logs)
        is_last = plan.agreement.any(model.stop_training) or epoch + 1 == plan.epochs
        if is_last:
            finish(model)
            # Before the state is written, because EarlyStopping restores the best weights here.
            callbacks.on_train_end(logs)
        if writer:
            writer.write(epoch + 1, 0, plan.train_batches.position(), _Means().state)
        if is_last:
            break
    # All processes wait here for the chief to write its files. TensorFlow would take one that ends
    # earlier for a crash.
    plan.agreement.any(False)
    return model.history


def _restore(plan, callbacks):
    """Restore the saved state; return the next step of its epoch, and the means so far."""
    if plan.saved is None:
        return 0, _Means()
    step = plan.saved.facts["step"]
    if step:
        callbacks.on_epoch_begin(plan.run.epoch)
    plan.saved.restore_callbacks(callbacks.callbacks)
    if not plan.saved.restore_optimizer(plan.keras_model.optimizer):
        print(f"{plan.saved.path} is of another optimizer, whose state is not used.")
    # The model and its optimizer hold these values now; a second copy would stay in memory.
    plan.saved.arrays.clear()
    return step, _Means(*plan.saved.facts["means"])


def _train_epoch(plan, callbacks, batches, writer, epoch, first_step, means):
    """Run the steps of an epoch from `first_step` on, and add their losses to `means`."""
    steps, save_steps = plan.config.STEPS_PER_EPOCH, plan.config.SAVE_STEPS
    for step in range(first_step, steps):
        callbacks.on_train_batch_begin(step)
        with plan.progress.waiting():
            batch = [next(batches) for _ in range(plan.steps.accumulate)]
        # A step's random numbers follow from the seed and this number, so a resumed run draws the
        # same ones.
        number = epoch * steps + step
        with _explained(batch), plan.progress.computing("training step"):
            losses = _to_floats(plan.steps.train(*batch, number=number))
        _check_finite(losses, batch, epoch, step, plan)
        callbacks.on_train_batch_end(step, means.add(losses))
        if plan.keras_model.stop_training:
            break
        done = step + 1
        is_due = save_steps and done % save_steps == 0 and done < steps
        if writer and is_due:
            writer.write(epoch, done, plan.train_batches.position(), means.state)


def _validate(plan, callbacks):
    """Return the mean losses over the validation batches by name, with the prefix `val_`."""
    callbacks.on_test_begin()
    means = _Means()
    for step, batch in enumerate(itertools.islice(plan.val_batches, plan.config.VALIDATION_STEPS)):
        callbacks.on_test_batch_begin(step)
        with _explained([batch]), plan.progress.computing("validation step"):
            logs = means.add(_to_floats(plan.steps.evaluate(batch, number=step)))
        callbacks.on_test_batch_end(step, logs)
    callbacks.on_test_end(means.values)
    return {f"val_{name}": value for name, value in means.values.items()}


def _to_floats(losses):
    return {name: float(loss) for name, loss in losses.items()}


class _Means:
    """Running means of the losses of an epoch."""

    def __init__(self, count=0, values=()):
        self.count, self.values = count, dict(values)

    @property
    def state(self):
        """Arguments that make equal means."""
        return self.count, self.values

    def add(self, losses):
        """Add the losses of a step; return the means so far by name."""
        self.count += 1
        for name, loss in losses.items():
            mean = self.values.get(name, 0.0)
            self.values[name] = mean + (loss - mean) / self.count
        return dict(self.values)


def _check_finite(losses, batches, epoch, step, plan):
    if all(map(math.isfinite, losses.values())):
        return
    bad = [name for name, loss in losses.items() if name != "loss" and not math.isfinite(loss)]
    names = ", ".join(plan.image_name(image) for image in _image_ids(plan.steps.strategy, batches))
    saved = checkpoints(plan.run.folder)
    before = f"; {saved[0]} is from before" if saved else ""
    raise NonFiniteLossError(
        f"{' and '.join(bad) or 'The weight decay'} became {losses[bad[0]] if bad else 'infinite'} "
        f"in epoch {epoch + 1}, step {step + 1}, with {names}. Training has stopped{before}. Check "
        "the annotations of these images, or lower LEARNING_RATE."
    )


def _image_ids(strategy, batches):
    """Return the ids of the images in this process's part of a step."""
    parts = [
        part
        for batch in batches
        for part in strategy.experimental_local_results(batch["input_image_meta"])
    ]
    ids = [parse_meta(np.asarray(part))["image_id"] for part in parts]
    return np.concatenate(ids).astype(int).tolist()


@contextlib.contextmanager
def _explained(batches):
    """Raise OutOfMemoryError, with advice, for TensorFlow's error."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemoryError(
            "A step needs more memory than there is. Settings that help, the most effective first: "
            "a smaller IMAGES_PER_GPU, with ACCUMULATE_BATCHES to keep the size of the step, "
            'GRADIENT_CHECKPOINTING = True, PRECISION = "mixed_bfloat16", USE_MINI_MASK = True, '
            'layers="heads", a smaller IMAGE_MAX_DIM, BACKBONE = "resnet50" or "small", a smaller '
            "TRAIN_ROIS_PER_IMAGE. docs/memory.md has figures. "
            f"({str(error).splitlines()[0]})"
        ) from error
