"""Learning rates: per epoch, by a schedule, and the warm-up over the first steps."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mrcnn.config import Config


def first_rate(learning_rate: Any, config: Config, epoch: int) -> Any:
    """Return the learning rate for the optimizer of a training that starts at `epoch`.

    Args:
        learning_rate: a number, which decays after `LEARNING_RATE_DECAY_EPOCHS`; a Keras schedule,
            which is a function of the optimizer's steps; or a function of the epoch, 0 for the
            first of the run.
        config: `Config`.
        epoch: finished epochs.

    Returns:
        The schedule, or the rate of that epoch, a float.

    Raises:
        ValueError: for a learning rate of another type, a function that returns no positive number,
            and settings that contradict a schedule or a function.
    """
    rule = _rule(learning_rate, config)
    return learning_rate if rule is None else rule(epoch)


def rate_callbacks(
    config: Config, learning_rate: Any, epoch: int
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that change the rate during training, in their order.

    They belong before the user's callbacks, which then see an epoch's full rate and may change it.
    The list is the same for every epoch. Arguments and errors are those of `first_rate`.
    """
    rule = _rule(learning_rate, config)
    callbacks = []
    if rule is None:
        return callbacks
    if callable(learning_rate) or len(config.LEARNING_RATE_DECAY_EPOCHS):
        # A function that returns no rate raises here, before training has changed anything.
        rule(epoch)
        callbacks.append(EpochRate(rule))
    if config.WARMUP_STEPS:
        callbacks.append(WarmUp(config.WARMUP_STEPS, config.STEPS_PER_EPOCH))
    return callbacks


def current_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the learning rate of the next step, with one replica or several."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


class EpochRate(keras.callbacks.Callback):
    """A callback that sets the learning rate of every epoch.

    The optimizer has the rate of the first epoch already. If another callback has multiplied the
    rate, such as by 0.1 on a plateau, all later rates are multiplied likewise.

    Args:
        function: from an epoch, 0 for the first of the run, to its rate.
    """

    def __init__(self, function: Callable[[int], float]):
        super().__init__()
        # The rate of the last epoch that has begun, None before the first.
        self.function, self.rate = function, None

    def state_dict(self):
        return {"rate": self.rate}

    def load_state_dict(self, state):
        self.rate = None if state["rate"] is None else _checked_rate(state["rate"])

    def on_epoch_begin(self, epoch, logs=None):
        rate = self.function(epoch)
        if self.rate is None:
            self.rate = rate
        if rate != self.rate:
            optimizer = self.model.optimizer
            # Rounded as the optimizer has it, so that the quotient is 1 if nobody changed the rate.
            rounded = float(np.asarray(self.rate, keras.config.floatx()))
            factor = current_rate(optimizer) / rounded if rounded else 1.0
            optimizer.learning_rate = rate * factor
            self.rate = rate


class WarmUp(keras.callbacks.Callback):
    """A callback that raises the learning rate linearly over the first steps of a run.

    Between epochs the optimizer has the full rate, for callbacks that read or change it.

    Args:
        steps: of the warm-up, counted from the start of the run.
        steps_per_epoch: to know where in the run an epoch begins.
    """

    def __init__(self, steps: int, steps_per_epoch: int):
        super().__init__()
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        # Steps before the epoch; and the full rate, 0 while it is unknown.
        self.first, self.rate = 0, 0.0

    def state_dict(self):
        return {"first": self.first, "rate": self.rate}

    def load_state_dict(self, state):
        self.first, self.rate = int(state["first"]), _checked_rate(state["rate"])

    def on_epoch_begin(self, epoch, logs=None):
        self.first, self.rate = epoch * self.steps_per_epoch, 0.0

    def on_train_batch_begin(self, batch, logs=None):
        step = self.first + batch + 1
        if step > self.steps:
            return
        optimizer = self.model.optimizer
        # Read at the first step: other callbacks may change the rate when the epoch begins.
        full = self.rate or current_rate(optimizer)
        optimizer.learning_rate = full * step / self.steps
        self.rate = full if step < self.steps else 0.0

    def on_epoch_end(self, epoch, logs=None):
        if self.rate:
            self.model.optimizer.learning_rate = self.rate


def _checked_rate(rate):
    """Return the rate in a state; an error if it is none."""
    if not 0 <= rate < math.inf:
        raise ValueError(f"{rate!r} is not a learning rate")
    return float(rate)


def _rule(learning_rate, config):
    """Return the function from an epoch to its rate, or None for a Keras schedule."""
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
            f"learning_rate is a function that returns {rate!r} for epoch {epoch}; it must return "
            "a number above 0."
        )
    return number
