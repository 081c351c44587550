"""Random numbers of a batch that is processed in parts, on several devices or in turn."""

import contextlib
import threading

import keras
import tensorflow as tf

# Of the thread: tf.distribute runs each replica in one of its own.
_current = threading.local()


@contextlib.contextmanager
def batch_part(seed, index, count):
    """Make layers take their tensors for part `index` of a batch in `count` parts.

    `draw_noise` then gives the same numbers whether a batch is processed in one part or in many.

    Args:
        seed: int `[2]`, for the whole batch.
        index: whole number or scalar tensor.
        count: whole number.
    """
    before = getattr(_current, "part", None)
    _current.part = seed, index, count
    try:
        yield
    finally:
        _current.part = before


def draw_noise(shape, seed_generator):
    """Draw numbers from 0 to 1 of `shape` `[images, ...]`, float32.

    From the seed of the `batch_part`; outside of any, from Keras's `seed_generator`.
    """
    part = getattr(_current, "part", None)
    if part is None:
        return keras.random.uniform(shape, seed=seed_generator)
    seed, index, count = part
    rows = shape[0]
    whole = tf.concat([[rows * count], shape[1:]], axis=0)
    noise = tf.random.stateless_uniform(whole, seed)
    return noise[index * rows : (index + 1) * rows]
