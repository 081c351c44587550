"""Learning rates: by epoch, by a schedule, and their rise over the first steps."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mrcnn.config import Config


def first_rate(learning_rate: Any, config: Config, epoch: int) -> Any:
    """The learning rate that an optimizer is made with when training starts at `epoch`.

    Args:
        learning_rate: a number, which falls after `LEARNING_RATE_DECAY_EPOCHS`; a Keras schedule, a
            function of the optimizer's steps; or a function of the epoch, 0 for the first of the
            run.
        epoch: finished epochs.

    Returns:
        The schedule, or the rate of that epoch, a float.

    Raises:
        ValueError: for a learning rate of another kind, a function that gives no positive number,
            and settings that a schedule or a function leaves no room for.
    """
    rule = _rule(learning_rate, config)
    return learning_rate if rule is None else rule(epoch)


def rate_callbacks(
    config: Config, learning_rate: Any, epoch: int
) -> list[keras.callbacks.Callback]:
    """Callbacks that change the rate during training, in their order.

    They belong before those of users, which then see the whole rate of an epoch and may change it.
    There are the same ones whatever the epoch. Arguments and errors are those of `first_rate`.
    """
    rule = _rule(learning_rate, config)
    callbacks = []
    if rule is None:
        return callbacks
    if callable(learning_rate) or len(config.LEARNING_RATE_DECAY_EPOCHS):
        # A function that gives no rate raises here, before anything has changed.
        rule(epoch)
        callbacks.append(EpochRate(rule))
    if config.WARMUP_STEPS:
        callbacks.append(WarmUp(config.WARMUP_STEPS, config.STEPS_PER_EPOCH))
    return callbacks


def current_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate of the next step, also where every replica has a copy of it."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


class EpochRate(keras.callbacks.Callback):
    """Give every epoch its learning rate.

    The optimizer has the rate of the first epoch already. A factor that other callbacks have put on
    the rate, such as a tenth when there was no progress, stays on the rates that follow.

    Args:
        function: from an epoch, 0 for the first of the run, to its rate.
    """

    def __init__(self, function: Callable[[int], float]):
        super().__init__()
        # The rate of the last epoch that has begun, None before the first.
        self.function, self.rate = function, None

    def on_epoch_begin(self, epoch, logs=None):
        rate = self.function(epoch)
        if self.rate is None:
            self.rate = rate
        if rate != self.rate:
            optimizer = self.model.optimizer
            # As the optimizer has rounded it: this is 1 where nobody has changed the rate.
            rounded = float(np.asarray(self.rate, keras.config.floatx()))
            optimizer.learning_rate = rate * (current_rate(optimizer) / rounded)
            self.rate = rate


class WarmUp(keras.callbacks.Callback):
    """Let the learning rate rise in a straight line over the first steps of a run.

    Between epochs the rate is the whole one, for callbacks that look at it or change it.

    Args:
        steps: of the run, those of earlier epochs included.
        steps_per_epoch: to know where in the run an epoch begins.
    """

    def __init__(self, steps: int, steps_per_epoch: int):
        super().__init__()
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        # Steps before the epoch, and the rate to rise to, 0 while it is not known.
        self.first, self.rate = 0, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.first, self.rate = epoch * self.steps_per_epoch, 0.0

    def on_train_batch_begin(self, batch, logs=None):
        step = self.first + batch + 1
        if step > self.steps:
            return
        optimizer = self.model.optimizer
        # Not at the beginning of the epoch, when others may still change it.
        whole = self.rate or current_rate(optimizer)
        optimizer.learning_rate = whole * step / self.steps
        self.rate = whole if step < self.steps else 0.0

    def on_epoch_end(self, epoch, logs=None):
        if self.rate:
            self.model.optimizer.learning_rate = self.rate


def _rule(learning_rate, config):
    """The function from an epoch to its rate, None for a Keras schedule."""
    decays, warm_up = config.LEARNING_RATE_DECAY_EPOCHS, config.WARMUP_STEPS
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        if warm_up:
            raise ValueError(
                f"WARMUP_STEPS is {warm_up} and learning_rate is a schedule; give the schedule a "
                "warm-up of its own (keras.optimizers.schedules.CosineDecay has one), or a number "
                "as learning_rate."
            )
        if len(decays):
            raise ValueError(
                f"LEARNING_RATE_DECAY_EPOCHS is {decays} and learning_rate is a schedule, which "
                "decays by itself; give one of the two."
            )
        return None
    if callable(learning_rate):
        if len(decays):
            raise ValueError(
                f"LEARNING_RATE_DECAY_EPOCHS is {decays} and learning_rate is a function of the "
                "epoch; give one of the two."
            )
        return lambda epoch: _rate_by(learning_rate, epoch)
    if not isinstance(learning_rate, numbers.Real) or not 0 <= learning_rate < math.inf:
        raise ValueError(
            f"learning_rate is {learning_rate!r}; it must be a number, 0 or more, a schedule of "
            "keras.optimizers.schedules, or a function from an epoch to a number."
        )
    factor = config.LEARNING_RATE_DECAY
    return lambda epoch: float(learning_rate) * factor ** sum(epoch >= end for end in decays)


def _rate_by(function, epoch):
    rate = function(epoch)
    try:
        number = math.nan if isinstance(rate, str) else float(rate)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(
            f"learning_rate is a function that gives {rate!r} for epoch {epoch}; it must give a "
            "number above 0."
        )
    return number
