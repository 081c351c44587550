"""The numbers that layers compute with."""

import functools

import keras


def in_precision(build):
    """Let `build(config, mode)` make its layers in `config.PRECISION`.

    Layers take Keras's policy at the time when they are made; it is as before afterwards.
    """

    @functools.wraps(build)
    def built(config, mode):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.PRECISION or before)
        try:
            return build(config, mode)
        finally:
            keras.config.set_dtype_policy(before)

    return built
