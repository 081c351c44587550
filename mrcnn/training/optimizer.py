"""Optimizers: the rule that turns gradients into new weights."""

from typing import Any

import keras

from mrcnn.config import Config

_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")

# Parts of the names of variables without weight decay. Copies on the second and later replicas have
# the number of the replica at the end.
_NOT_DECAYED = ("/gamma:", "/gamma/replica_", "/beta:", "/beta/replica_")


def make_optimizer(
    config: Config, learning_rate: Any, momentum: float, compute_dtype: str = "float32"
) -> keras.optimizers.Optimizer:
    """Make a new optimizer, as set by `OPTIMIZER`.

    It clips gradients to the global norm `GRADIENT_CLIP_NORM`, and keeps the running means of
    `EMA_MOMENTUM`. If the setting is an instance, the result is a fresh copy with another learning
    rate; clipping and averaging of the instance itself take precedence. Weight decay by the
    optimizer skips gamma and beta of batch normalization.

    Args:
        config: `Config`.
        learning_rate: a float or a Keras schedule, see `mrcnn.training.rates.first_rate`.
        momentum: of SGD; the others have their own.
        compute_dtype: number type of the model's layers. For "float16" the optimizer scales the
            losses by its `scale_loss`, so that small gradients do not become zero.

    Raises:
        ValueError: if the instance has no learning rate, or cannot be copied.
    """
    options = {"learning_rate": learning_rate, "global_clipnorm": config.GRADIENT_CLIP_NORM or None}
    if config.EMA_MOMENTUM:
        options |= {"use_ema": True, "ema_momentum": config.EMA_MOMENTUM}
    kind, scaling = config.OPTIMIZER, {}
    if isinstance(kind, str):
        # Keras would number each new optimizer, and TensorFlow never forgets a variable name.
        options["name"] = kind.lower()
    if kind == "SGD":
        optimizer = keras.optimizers.SGD(momentum=float(momentum), **options)
    elif kind == "Adam":
        optimizer = keras.optimizers.Adam(**options)
    elif kind == "AdamW":
        optimizer = keras.optimizers.AdamW(weight_decay=config.WEIGHT_DECAY, **options)
    else:
        if isinstance(kind, keras.optimizers.LossScaleOptimizer):
            scaling = {
                "initial_scale": kind.initial_scale,
                "dynamic_growth_steps": kind.dynamic_growth_steps,
            }
        optimizer = _fresh_copy(_unwrapped(kind), options)
    if optimizer.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if scaling or compute_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, **scaling)
    return optimizer


def l2_penalty(config: Config) -> float:
    """Return the factor of the L2 penalty: `WEIGHT_DECAY`, or 0 if the optimizer decays weights."""
    optimizer = config.OPTIMIZER
    if isinstance(optimizer, str):
        decays = optimizer == "AdamW"
    else:
        decays = _unwrapped(optimizer).weight_decay is not None
    return 0.0 if decays else config.WEIGHT_DECAY


def _unwrapped(optimizer):
    """Return the optimizer inside one that scales losses."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _fresh_copy(instance, options):
    """Copy an optimizer without its slots, which may belong to the weights of another model."""
    name = type(instance).__name__
    # A MultiOptimizer has one rate per optimizer.
    if not hasattr(instance, "learning_rate"):
        raise ValueError(
            f"OPTIMIZER is a {name}, which has no learning_rate that train could set; give an "
            "optimizer that has one."
        )
    settings, options = instance.get_config(), dict(options)
    if any(settings.get(name) is not None for name in _CLIPPING):
        del options["global_clipnorm"]
    if settings.get("use_ema"):
        options.pop("ema_momentum", None)
    try:
        return type(instance).from_config(settings | options)
    except TypeError as error:
        raise ValueError(
            f"OPTIMIZER is a {name} that cannot be copied from its get_config() ({error}); its "
            "__init__ must accept every entry of get_config(), and pass Keras's own on to Keras."
        ) from error
