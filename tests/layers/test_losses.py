"""Loss arithmetic, and losses as layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.losses import LossLayer, masked_mean, smooth_l1_loss
from tests.layer_contract import run_layer_test


def test_smooth_l1_by_hand():
    # Half the square below 1, the difference less a half from there: continuous at 1.
    losses = smooth_l1_loss(np.float32([0, 0, 1, 3, -2]), np.float32([0, 0.5, 0, 1, 2]))
    np.testing.assert_allclose(losses, [0, 0.125, 0.5, 1.5, 3.5])


def test_smooth_l1_has_gradients_of_one_at_most():
    x = tf.constant([-5.0, -0.5, 0.0, 0.5, 5.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(smooth_l1_loss(0.0, x))
    assert tape.gradient(total, x).numpy().tolist() == [-1, -0.5, 0, 0.5, 1]


def test_masked_mean():
    values = tf.constant([1.0, 2.0, 6.0])
    assert float(masked_mean(values, [True, False, True])) == 3.5
    assert float(masked_mean(values, [1, 1, 1])) == 3


def test_mean_of_nothing_is_zero_and_so_is_its_gradient():
    values = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        mean = masked_mean(values, [False, False])
    assert float(mean) == 0
    assert tape.gradient(mean, values).numpy().tolist() == [0, 0]


@pytest.fixture
def difference():
    """Register a loss by its name for the time of a test."""

    def mean_difference(a, b):
        return tf.reduce_mean(a - b)

    LossLayer.register(lambda a, b: tf.cast(tf.size(a), tf.float32))(mean_difference)
    yield mean_difference.__name__
    del LossLayer.LOSSES["mean_difference"], LossLayer.COUNTS["mean_difference"]


@pytest.mark.parametrize("weight", [1.0, 0.25, 0.0])
def test_loss_is_added_with_its_weight(difference, weight):
    layer = LossLayer(difference, weight, name="loss")
    result = layer(np.float32([5, 7]), np.float32([1, 1]))
    # The layer returns the loss without its weight.
    assert result.numpy().tolist() == [5]
    assert [float(loss) for loss in layer.losses] == [5 * weight]
    assert float(layer.count(np.float32([5, 7]), np.float32([1, 1]))) == 2


def test_model_learns_from_it(difference):
    # compile() gets no loss function: the only loss is that of the layer.
    x = keras.Input((1,))
    dense = keras.layers.Dense(1, kernel_initializer="zeros")
    loss = LossLayer(difference, 0.5, name="loss")(dense(x), x)
    model = keras.Model(x, loss)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.fit(np.full((4, 1), 2.0), epochs=1, batch_size=4, verbose=0)
    # d loss / d kernel = 0.5 * mean(x) = 1; d loss / d bias = 0.5.
    np.testing.assert_allclose(dense.get_weights()[0], [[-0.1]], rtol=1e-6)
    np.testing.assert_allclose(dense.get_weights()[1], [-0.05], rtol=1e-6)


def test_keras_contract(difference, tmp_path):
    run_layer_test(
        lambda: LossLayer(difference, 0.5, name="loss"),
        (np.float32([[5, 7]]), np.float32([[1, 1]])),
        np.array([5.0]),
        tmp_path,
    )
