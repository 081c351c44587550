"""Precision: the number type that layers compute with."""

import contextlib

import keras


@contextlib.contextmanager
def precision(policy):
    """Set the Keras dtype policy for layers made within this context; None keeps the global one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
