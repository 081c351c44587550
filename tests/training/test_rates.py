"""Learning rates of the steps of a run, in a loop of two steps per epoch instead of training."""

import numbers

import keras
import numpy as np
import pytest

from mrcnn.training.optimizer import make_optimizer
from mrcnn.training.rates import current_rate, first_rate, rate_callbacks
from tests.mini import mini_config

STEPS = 2


def config_with(**settings):
    return mini_config(STEPS_PER_EPOCH=STEPS, **settings)


def state(callback):
    """Return the public attributes that are plain numbers.

    Keras turns the sign of `min_delta` when the first epoch of a training ends.
    """
    names = [name for name in vars(callback) if name[0] != "_" and name != "min_delta"]
    values = {name: getattr(callback, name) for name in names}
    return {name: v for name, v in values.items() if isinstance(v, numbers.Number)}


class Run:
    """A stand-in for training, with its use of rates.

    Args:
        config, learning_rate: of the training.
        custom: function that makes a user's callbacks.
        epoch: to start from.
    """

    def __init__(self, config, learning_rate, custom=list, epoch=0):
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        self.optimizer = make_optimizer(config, first_rate(learning_rate, config, epoch), 0.9)
        model.compile(optimizer=self.optimizer)
        self.callbacks = [*rate_callbacks(config, learning_rate, epoch), *custom()]
        self.list = keras.callbacks.CallbackList(self.callbacks, model=model)
        self.rates, self.between, self.saved = [], [], []
        self.list.on_train_begin()

    def save(self, at):
        """Add the rate and the state of the callbacks to `saved`."""
        self.saved.append((at, current_rate(self.optimizer), list(map(state, self.callbacks))))

    def resume(self, saved):
        """Restore what another run has saved; return its position."""
        (epoch, step), rate, states = saved
        if step:
            self.list.on_epoch_begin(epoch)
        for callback, values in zip(self.callbacks, states, strict=True):
            vars(callback).update(values)
        self.optimizer.learning_rate = rate
        return epoch, step

    def train(self, epochs, first=0, done=0):
        """Run to the end of `epochs`; the loss is 1 in each. Returns the rates of the steps.

        `done` steps of the `first` epoch were made before.
        """
        for epoch in range(first, epochs):
            if done == 0:
                self.save((epoch, 0))
                self.list.on_epoch_begin(epoch)
            for step in range(done, STEPS):
                if step:
                    self.save((epoch, step))
                self.list.on_train_batch_begin(step)
                self.rates.append(current_rate(self.optimizer))
                self.list.on_train_batch_end(step)
            self.list.on_epoch_end(epoch, {"loss": 1.0})
            self.between.append(current_rate(self.optimizer))
            done = 0
        return self.rates


def approximately(rates):
    return pytest.approx(rates, rel=1e-6)


def plateau():
    """Return a list with a callback that divides the rate by 10 after every epoch but the first."""
    return [keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1)]


def halves():
    """Return a list with a callback that halves the rate with every epoch."""
    return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)]


def twice(rates):
    return [rate for rate in rates for _ in range(STEPS)]


def test_number():
    assert rate_callbacks(config_with(), 0.1, 0) == []
    for rate in (0.5, np.float32(0.5), 1, 0):
        found = first_rate(rate, config_with(), 0)
        assert (type(found), found) == (float, rate)
    assert Run(config_with(), 0.1).train(2) == approximately([0.1] * 4)


def test_schedule():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    assert first_rate(schedule, config_with(), 3) is schedule
    assert rate_callbacks(config_with(), schedule, 3) == []
    run = Run(config_with(), schedule)
    weight = keras.Variable(0.0)
    for expected in (0.5, 0.25, 0.125):
        assert current_rate(run.optimizer) == expected
        run.optimizer.apply([keras.ops.array(0.0)], [weight])


# Decay

DECAYS = {"LEARNING_RATE_DECAY_EPOCHS": (2, 3), "LEARNING_RATE_DECAY": 0.1}


def test_decay():
    # Two epochs are finished before the third.
    run = Run(config_with(**DECAYS), 0.5)
    assert run.train(4) == approximately(twice([0.5, 0.5, 0.05, 0.005]))
    # At the end of an epoch the rate is still the one that was used.
    assert run.between == approximately([0.5, 0.5, 0.05, 0.005])


@pytest.mark.parametrize("epoch", range(5))
def test_decay_of_a_later_stage(epoch):
    expected = [0.5, 0.5, 0.05, 0.005, 0.005][epoch:]
    run = Run(config_with(**DECAYS), 0.5, epoch=epoch)
    assert run.train(5, epoch) == approximately(twice(expected))


def test_decay_on_a_plateau():
    run = Run(config_with(**DECAYS), 1.0, plateau)
    # Plateau and decay reduce the rate independently.
    assert run.train(4) == approximately(twice([1, 1, 0.1 * 0.1, 0.01 * 0.01]))


def test_decay_of_a_scheduler():
    run = Run(config_with(**DECAYS), 1.0, halves)
    assert run.train(4) == approximately(twice([1 / 2, 1 / 4, 0.1 / 8, 0.01 / 16]))


# A function of the epoch


def hyperbola(epoch):
    return 1 / (epoch + 1)


def test_function():
    run = Run(config_with(), hyperbola)
    # No rounding but that of float32.
    assert run.train(4) == [np.float32(rate) for rate in twice([1, 1 / 2, 1 / 3, 1 / 4])]


@pytest.mark.parametrize("kind", [int, np.float64, np.array, keras.ops.array])
def test_kinds_of_numbers_that_a_function_gives(kind):
    found = first_rate(lambda epoch: kind(epoch + 1), config_with(), 2)
    assert (type(found), found) == (float, 3)


def test_function_of_a_later_stage():
    run = Run(config_with(), hyperbola, epoch=2)
    assert run.train(4, 2) == approximately(twice([1 / 3, 1 / 4]))


def test_function_on_a_plateau():
    run = Run(config_with(), hyperbola, plateau)
    assert run.train(4) == approximately(twice([1, 1 / 2, 0.1 / 3, 0.01 / 4]))


def test_function_and_scheduler():
    run = Run(config_with(), hyperbola, halves)
    assert run.train(3) == approximately(twice([1 / 2, 1 / 2 / 4, 1 / 3 / 8]))


def test_scheduler_with_its_own_rates():
    """A scheduler that ignores the current rate decides it."""

    def own():
        return [keras.callbacks.LearningRateScheduler(lambda epoch: 1 + float(epoch))]

    for rate, settings in ((hyperbola, {}), (1.0, DECAYS)):
        assert Run(config_with(**settings), rate, own).train(4) == approximately(
            twice([1, 2, 3, 4])
        )


# Warm-up


def test_warm_up():
    run = Run(config_with(WARMUP_STEPS=5), 0.1)
    assert run.train(4) == approximately([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.1])
    assert run.between == approximately([0.1] * 4)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_warm_up_of_a_later_stage(epoch):
    rates = [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.1]
    run = Run(config_with(WARMUP_STEPS=5), 0.1, epoch=epoch)
    assert run.train(4, epoch) == approximately(rates[epoch * STEPS :])


def test_warm_up_to_a_rate_that_changes():
    run = Run(config_with(WARMUP_STEPS=4), hyperbola)
    assert run.train(3) == approximately([1 / 4, 2 / 4, 3 / 4 / 2, 1 / 2, 1 / 3, 1 / 3])


@pytest.mark.parametrize("before", [False, True])
def test_warm_up_to_the_rate_of_a_scheduler(before):
    """The scheduler may come before the warm-up too."""
    run = Run(config_with(WARMUP_STEPS=4), 1.0, halves)
    if before:
        run.list.callbacks.reverse()
    assert run.train(3) == approximately([1 / 8, 2 / 8, 3 / 16, 4 / 16, 1 / 8, 1 / 8])


def test_plateau_reads_and_changes_the_full_rate():
    run = Run(config_with(WARMUP_STEPS=8), 1.0, plateau)
    # The second epoch is no better than the first, and so on.
    expected = [1 / 8, 2 / 8, 3 / 8, 4 / 8, 0.5 / 8, 0.6 / 8, 0.07 / 8, 0.01]
    assert run.train(4) == approximately(expected)
    assert run.between == approximately([1, 0.1, 0.01, 0.001])


def test_rate_that_changes_after_the_warm_up():
    """It may change in the rest of the last warm-up epoch too."""

    def change(batch, logs):
        if batch == 1:
            run.optimizer.learning_rate = 0.25

    own = keras.callbacks.LambdaCallback(on_train_batch_end=change)
    run = Run(config_with(WARMUP_STEPS=1), 1.0, lambda: [own])
    assert run.train(2) == approximately([1, 1, 0.25, 0.25])


# Resuming


@pytest.mark.parametrize("custom", [list, plateau, halves])
@pytest.mark.parametrize(
    ("rate", "settings"),
    [(0.1, DECAYS), (0.1, DECAYS | {"WARMUP_STEPS": 7}), (hyperbola, {"WARMUP_STEPS": 3})],
)
def test_run_resumes_from_any_step(rate, settings, custom):
    config = config_with(**settings)
    whole = Run(config, rate, custom)
    rates = whole.train(5)
    assert len(whole.saved) == len(rates) == 5 * STEPS
    for number, saved in enumerate(whole.saved):
        epoch, _ = saved[0]
        again = Run(config, rate, custom, epoch)
        assert again.train(5, *again.resume(saved)) == rates[number:], saved[0]


# Errors

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
ERRORS = [
    (SCHEDULE, {"WARMUP_STEPS": 4}, "WARMUP_STEPS is 4 and learning_rate is a schedule"),
    (SCHEDULE, DECAYS, r"LEARNING_RATE_DECAY_EPOCHS is \(2, 3\) and learning_rate is a schedule"),
    (hyperbola, DECAYS, r"LEARNING_RATE_DECAY_EPOCHS is \(2, 3\) and learning_rate is a function"),
    (lambda epoch: 0, {}, "a function that returns 0 for epoch 0; it must return a number above 0"),
    (lambda epoch: -0.5, {}, "returns -0.5 for epoch 0"),
    (lambda epoch: np.nan, {}, "returns nan for epoch 0"),
    (lambda epoch: None, {}, "returns None for epoch 0"),
    (lambda epoch: "0.1", {}, "returns '0.1' for epoch 0"),
    (lambda epoch: [0.1, 0.2], {}, r"returns \[0.1, 0.2\] for epoch 0"),
    ("0.1", {}, "learning_rate is '0.1'; it must be a number, 0 or more, a schedule of keras"),
    (None, {}, "learning_rate is None; it must be a number"),
    ([0.1], {}, r"learning_rate is \[0.1\]; it must be a number"),
    (-0.1, {}, "learning_rate is -0.1; it must be a number, 0 or more"),
    (np.inf, {}, "learning_rate is inf; it must be a number, 0 or more"),
    (np.nan, {}, "learning_rate is nan; it must be a number, 0 or more"),
]


@pytest.mark.parametrize(("rate", "settings", "message"), ERRORS)
def test_rates_that_cannot_be(rate, settings, message):
    config = config_with(**settings)
    with pytest.raises(ValueError, match=message):
        first_rate(rate, config, 0)
    with pytest.raises(ValueError, match=message):
        rate_callbacks(config, rate, 0)


def test_function_that_fails_later():
    run = Run(config_with(), lambda epoch: 1 - epoch / 2)
    with pytest.raises(ValueError, match="returns 0.0 for epoch 2; it must return a number"):
        run.train(3)
