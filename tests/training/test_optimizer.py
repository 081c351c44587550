"""Optimizers by Config; steps against the formulas of their papers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.training.optimizer import l2_penalty, make_optimizer
from tests.mini import mini_config

KERNEL = np.array([[1.0, -2.0], [3.0, 0.5]])
SLOPES = [
    np.array([[0.3, -0.1], [0.2, 0.0]]),
    np.array([[-0.2, 0.4], [0.1, 0.3]]),
    np.array([[0.5, 0.5], [-0.5, 0.25]]),
]


def config_with(optimizer="SGD", **settings):
    settings = {"GRADIENT_CLIP_NORM": None, "WEIGHT_DECAY": 0.1} | settings
    return mini_config(OPTIMIZER=optimizer, **settings)


def kernel_after(optimizer, slopes=SLOPES):
    """Return the kernel after a step along each of the slopes, from `KERNEL` on."""
    kernel = keras.Variable(KERNEL, name="kernel")
    for slope in slopes:
        optimizer.apply([tf.constant(slope, tf.float32)], [kernel])
    return kernel.numpy()


def adam(slopes, rate, decay=0.0, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Compute Adam (Kingma and Ba, algorithm 1) with the decay of Loshchilov and Hutter."""
    w, m, v = KERNEL.copy(), 0.0, 0.0
    for t, g in enumerate(slopes, start=1):
        w = w - rate * decay * w
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        step = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w = w - step * m / (np.sqrt(v) + epsilon)
    return w


def test_sgd():
    w, velocity = KERNEL.copy(), 0.0
    for slope in SLOPES:
        velocity = 0.8 * velocity - 0.01 * slope
        w = w + velocity
    optimizer = make_optimizer(config_with(), 0.01, 0.8)
    np.testing.assert_allclose(kernel_after(optimizer), w, rtol=1e-6)
    # The momentum may be a whole number.
    expected = KERNEL - 0.01 * sum(SLOPES)
    found = kernel_after(make_optimizer(config_with(), 0.01, 0))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_adam():
    optimizer = make_optimizer(config_with("Adam"), 0.01, 0.8)
    np.testing.assert_allclose(kernel_after(optimizer), adam(SLOPES, 0.01), rtol=1e-5)


def test_adamw():
    optimizer = make_optimizer(config_with("AdamW"), 0.01, 0.8)
    expected = adam(SLOPES, 0.01, decay=0.1)
    assert abs(expected - adam(SLOPES, 0.01)).max() > 0.005
    np.testing.assert_allclose(kernel_after(optimizer), expected, rtol=1e-5)


NAMED = ["SGD", "Adam", "AdamW"]


@pytest.mark.parametrize("kind", [*NAMED, keras.optimizers.RMSprop(0.5)])
def test_gradients_are_clipped_by_their_global_norm(kind):
    optimizer = make_optimizer(config_with(kind, GRADIENT_CLIP_NORM=5.0), 0.01, 0.9)
    assert (optimizer.clipnorm, optimizer.global_clipnorm) == (None, 5.0)
    assert make_optimizer(config_with(kind), 0.01, 0.9).global_clipnorm is None


def test_clipping_over_two_variables():
    # The norm of both together is 13, so each is multiplied by 5/13.
    weights = [keras.Variable([0.0, 0.0]), keras.Variable([0.0])]
    optimizer = make_optimizer(config_with(GRADIENT_CLIP_NORM=5.0), 1.0, 0.0)
    optimizer.apply([tf.constant([3.0, 4.0]), tf.constant([12.0])], weights)
    np.testing.assert_allclose(weights[0].numpy(), [-15 / 13, -20 / 13], rtol=1e-6)
    np.testing.assert_allclose(weights[1].numpy(), [-60 / 13], rtol=1e-6)


def test_instance_that_clips_itself():
    kind = keras.optimizers.SGD(clipvalue=0.25)
    optimizer = make_optimizer(config_with(kind, GRADIENT_CLIP_NORM=5.0), 1.0, 0.0)
    assert optimizer.global_clipnorm is None
    slope = np.array([[1.0, -1.0], [0.125, 0.0]])
    expected = KERNEL - [[0.25, -0.25], [0.125, 0]]
    np.testing.assert_allclose(kernel_after(optimizer, [slope]), expected, rtol=1e-6)


# Weight decay by the optimizer


def decaying_model():
    """Return a model of a layer named like beta and a batch normalization; all weights are 1."""
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2, name="beta")(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization(name="bn")(x))
    for weight in model.trainable_variables:
        weight.assign(tf.ones(weight.shape))
    return model


def after_a_step_without_gradient(model, optimizer):
    weights = model.trainable_variables
    optimizer.apply([tf.zeros(weight.shape) for weight in weights], weights)
    return {weight.path.split("/", 1)[-1]: weight.numpy().flat[0] for weight in weights}


@pytest.mark.parametrize("kind", ["AdamW", keras.optimizers.SGD(weight_decay=0.1)])
def test_decay_leaves_batch_normalization_alone(kind):
    model = decaying_model()
    found = after_a_step_without_gradient(model, make_optimizer(config_with(kind), 0.5, 0.9))
    assert found.pop("gamma") == found.pop("beta") == 1.0
    # The other weights lose a tenth of the rate.
    assert list(found.values()) == pytest.approx([0.95, 0.95])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("SGD", 0.1),
        ("Adam", 0.1),
        ("AdamW", 0),
        (keras.optimizers.RMSprop(), 0.1),
        (keras.optimizers.RMSprop(weight_decay=0.5), 0),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), 0.1),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(weight_decay=0.5)), 0),
    ],
)
def test_no_weight_decays_twice(kind, expected):
    assert l2_penalty(config_with(kind)) == expected


# Instances


def test_instance_is_copied():
    kind = keras.optimizers.Adam(0.5, beta_1=0.5, beta_2=0.75, epsilon=0.125)
    kernel_after(kind)
    optimizers = [make_optimizer(config_with(kind), rate, 0.9) for rate in (0.01, 0.001)]
    for optimizer, rate in zip(optimizers, (0.01, 0.001), strict=True):
        assert type(optimizer) is keras.optimizers.Adam
        expected = adam(SLOPES, rate, beta_1=0.5, beta_2=0.75, epsilon=0.125)
        np.testing.assert_allclose(kernel_after(optimizer), expected, rtol=1e-5)
    assert float(kind.learning_rate) == 0.5


def test_instance_with_a_schedule_of_its_own():
    kind = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5))
    optimizer = make_optimizer(config_with(kind), 0.25, 0.9)
    assert float(optimizer.learning_rate) == 0.25


def test_schedule():
    # 1, then 1/2, then 1/4.
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    for kind in ("SGD", keras.optimizers.SGD(0.125)):
        found = kernel_after(make_optimizer(config_with(kind), schedule, 0.0))
        expected = KERNEL - SLOPES[0] - SLOPES[1] / 2 - SLOPES[2] / 4
        np.testing.assert_allclose(found, expected, rtol=1e-6)


class Own(keras.optimizers.SGD):
    """An optimizer whose get_config lacks an argument of its __init__."""

    def __init__(self, secret, **kwargs):
        super().__init__(**kwargs)


def test_instances_that_cannot_be_used():
    with pytest.raises(ValueError, match="OPTIMIZER is a Own that cannot be copied from its"):
        make_optimizer(config_with(Own(secret=1)), 0.1, 0.9)


class Many(keras.optimizers.SGD):
    """An optimizer without a rate of its own, like one that hands variables to others."""

    learning_rate = property()


def test_optimizer_of_many():
    with pytest.raises(ValueError, match="OPTIMIZER is a Many, which has no learning_rate that"):
        make_optimizer(config_with(Many()), 0.1, 0.9)


# Running means


@pytest.mark.parametrize("kind", [*NAMED, keras.optimizers.Lion()])
def test_running_means(kind):
    optimizer = make_optimizer(config_with(kind, EMA_MOMENTUM=0.75), 0.1, 0.9)
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.75)
    assert not make_optimizer(config_with(kind), 0.1, 0.9).use_ema


def test_instance_that_averages_itself():
    kind = keras.optimizers.SGD(use_ema=True, ema_momentum=0.25)
    for momentum in (0, 0.75):
        optimizer = make_optimizer(config_with(kind, EMA_MOMENTUM=momentum), 0.1, 0.9)
        assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.25)


# Loss scaling


@pytest.mark.parametrize("kind", ["SGD", keras.optimizers.SGD()])
def test_losses_are_scaled_in_float16(kind):
    for dtype in ("float32", "bfloat16"):
        assert isinstance(make_optimizer(config_with(kind), 1.0, 0.0, dtype), keras.optimizers.SGD)
    settings = {"GRADIENT_CLIP_NORM": 5.0, "EMA_MOMENTUM": 0.5}
    optimizer = make_optimizer(config_with(kind, **settings), 1.0, 0.0, "float16")
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    weight = keras.Variable([0.0, 0.0])
    optimizer.build([weight])
    scale = float(optimizer.scale_loss(1.0))
    assert scale >= 1024
    optimizer.apply([scale * tf.constant([30.0, 40.0])], [weight])
    # The norm of 50 is that of the gradients without the scale.
    np.testing.assert_allclose(weight.numpy(), [-3, -4], rtol=1e-6)
    optimizer.apply([tf.constant([np.inf, 0.0])], [weight])
    # No step, and half the scale.
    np.testing.assert_allclose(weight.numpy(), [-3, -4], rtol=1e-6)
    assert float(optimizer.scale_loss(1.0)) == scale / 2
    # After one step the mean equals the weights.
    optimizer.finalize_variable_values([weight])
    np.testing.assert_allclose(weight.numpy(), [-3, -4], rtol=1e-6)


def test_instance_that_scales_losses_itself():
    inner = keras.optimizers.SGD(0.5, momentum=0.25)
    kind = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=7)
    for dtype in ("float32", "float16"):
        optimizer = make_optimizer(config_with(kind), 0.1, 0.9, dtype)
        assert optimizer is not kind
        assert optimizer.inner_optimizer is not inner
        assert float(optimizer.scale_loss(1.0)) == 8
        assert optimizer.dynamic_growth_steps == 7
        assert optimizer.inner_optimizer.momentum == 0.25
        assert float(optimizer.learning_rate) == pytest.approx(0.1)
