"""Helpers of the tests of losses."""

import tensorflow as tf


def gradient(loss, predicted):
    """The value of a loss and its gradient in what is predicted: a float and an array."""
    predicted = tf.constant(predicted, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        value = loss(predicted)
    return float(value), tape.gradient(value, predicted).numpy()
