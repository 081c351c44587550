"""The number type that layers compute with."""

import contextlib

import keras


@contextlib.contextmanager
def precision(policy):
    """Make layers in a Keras dtype policy within this context; None keeps the global one.

    Layers take the policy that is set when they are made.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
