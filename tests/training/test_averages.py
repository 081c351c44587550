"""Running means of weights, computed by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.training.averages import averaged, finish
from mrcnn.training.optimizer import make_optimizer
from tests.mini import mini_config

# Weights after steps of rate 1 along the gradients 1, 2 and 4 are -1, -3 and -7. The mean starts
# with the first, and then takes a half of the weights: -1, -2, -4.5.
GRADIENTS, RAW, MEAN = (1.0, 2.0, 4.0), -7.0, -4.5


def trained(gradients=GRADIENTS, ema=0.5, dtype="float32", start=0.0):
    """Return a model with a weight and a frozen weight after some steps."""
    inputs = keras.Input((1,))
    frozen = keras.layers.Dense(1, use_bias=False, name="frozen", trainable=False)(inputs)
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="learning")
    model = keras.Model(inputs, layer(frozen))
    layer.kernel.assign([[start]])
    config = mini_config(GRADIENT_CLIP_NORM=None, EMA_MOMENTUM=ema)
    model.compile(optimizer=make_optimizer(config, 1.0, 0.0, dtype))
    model.optimizer.build(model.trainable_variables)
    for gradient in gradients:
        scaled = model.optimizer.scale_loss(tf.constant([[gradient]]))
        model.optimizer.apply([scaled], model.trainable_variables)
    return model


def weight_of(model):
    return float(model.get_layer("learning").kernel.numpy()[0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_means_within_and_weights_afterwards(dtype):
    model = trained(dtype=dtype)
    frozen = model.get_layer("frozen").kernel.numpy()
    assert weight_of(model) == RAW
    with averaged(model):
        assert weight_of(model) == MEAN
        np.testing.assert_array_equal(model.get_layer("frozen").kernel.numpy(), frozen)
    assert weight_of(model) == RAW


def test_weights_are_restored_exactly():
    """Keras's own callback would round a small weight with a large mean."""
    model = trained((-1e6, 999_999.9, -0.3))
    before = weight_of(model)
    assert 0 < before < 1
    for _ in range(3):
        with averaged(model):
            assert weight_of(model) > 1e5
        assert weight_of(model) == before
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    swap.on_test_end()
    assert weight_of(model) != before


def test_weights_are_restored_after_an_error():
    model = trained()
    with pytest.raises(KeyboardInterrupt), averaged(model):
        raise KeyboardInterrupt
    assert weight_of(model) == RAW


def test_nested_contexts():
    model = trained()
    with averaged(model):
        with averaged(model):
            assert weight_of(model) == MEAN
        assert weight_of(model) == MEAN
    assert weight_of(model) == RAW


def test_means_within_keras_own_callback():
    """The callback swaps weights and means, and swaps them back."""
    model = trained()
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    with averaged(model):
        swap.on_test_begin()
        assert weight_of(model) == MEAN
        swap.on_test_end()
        assert weight_of(model) == MEAN
    assert weight_of(model) == RAW


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_finish(dtype):
    model = trained(dtype=dtype)
    finish(model)
    assert weight_of(model) == MEAN


@pytest.mark.parametrize(
    "model",
    [
        lambda: trained((5.0,), ema=0),
        # There is no mean yet.
        lambda: trained((), start=-5.0),
        # The only step has changed nothing.
        lambda: trained((np.inf,), dtype="float16", start=-5.0),
    ],
)
def test_nothing_to_average(model):
    model = model()
    with averaged(model):
        assert weight_of(model) == -5
    finish(model)
    assert weight_of(model) == -5


def test_model_without_an_optimizer():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    before = model.get_weights()
    with averaged(model):
        finish(model)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
