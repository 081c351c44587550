"""Running means of the weights (EMA), which the optimizer keeps."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def averaged(keras_model: keras.Model) -> Iterator[None]:
    """Make the trainable weights their running means within this context.

    Afterwards they have exactly the values from before. Nothing changes where the optimizer keeps
    no means, or has made no step yet.
    """
    if not _has_means(keras_model):
        yield
        return
    # keras.callbacks.SwapEMAWeights swaps by adding and subtracting. That rounds, so validation
    # would change the training.
    weights = keras_model.trainable_variables
    raw = [keras.ops.convert_to_numpy(weight) for weight in weights]
    try:
        finish(keras_model)
        yield
    finally:
        for weight, value in zip(weights, raw, strict=True):
            weight.assign(value)


def finish(keras_model: keras.Model) -> None:
    """Replace the trainable weights by their running means, if the optimizer keeps any."""
    if _has_means(keras_model):
        keras_model.optimizer.finalize_variable_values(keras_model.trainable_variables)


def _has_means(keras_model):
    optimizer = getattr(keras_model, "optimizer", None)
    if optimizer is None:
        return False
    # An optimizer that scales losses leaves the means to the one inside it.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    # Before the first step the means are zeros.
    return bool(inner.use_ema and keras.ops.convert_to_numpy(optimizer.iterations))
