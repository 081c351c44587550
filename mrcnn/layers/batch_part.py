"""Random numbers of a batch that is processed in parts, on several devices or one by one."""

import contextlib
import threading

import keras
import tensorflow as tf

# Thread-local, because tf.distribute runs each replica in a thread of its own.
_current = threading.local()


@contextlib.contextmanager
def batch_part(seed, index, count):
    """Make `draw_noise` draw the numbers of one part of a batch within this context.

    A batch gets the same numbers whether it is processed in one part or in many.

    Args:
        seed: int `[2]`, the seed of the training and the number of the step.
        index: whole number or scalar tensor, the place of the part in the batch.
        count: whole number, of the parts.
    """
    before = getattr(_current, "part", None)
    _current.part = seed, index, count
    try:
        yield
    finally:
        _current.part = before


def draw_noise(shape, seed_generator):
    """Draw uniform random numbers from 0 to 1, float32, of `shape`, which is `[images, ...]`.

    Within a `batch_part` its seed decides them; outside, Keras's `seed_generator` does.
    """
    part = getattr(_current, "part", None)
    if part is None:
        return keras.random.uniform(shape, seed=seed_generator)
    # Draw for the whole batch and take the rows of this part: a stateless generator gives every
    # device and both passes of an accumulated step the same numbers.
    seed, index, count = part
    rows = shape[0]
    whole = tf.concat([[rows * count], shape[1:]], axis=0)
    noise = tf.random.stateless_uniform(whole, seed)
    return noise[index * rows : (index + 1) * rows]
