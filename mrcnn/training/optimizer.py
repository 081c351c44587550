"""Optimizers: the rule that turns gradients into new weights."""

from typing import Any

import keras

from mrcnn.config import Config

_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")

# Parts of the names of variables that weight decay leaves alone. Those of the second and later
# replicas end with their number.
_NOT_DECAYED = ("/gamma:", "/gamma/replica_", "/beta:", "/beta/replica_")


def make_optimizer(
    config: Config, learning_rate: Any, momentum: float, compute_dtype: str = "float32"
) -> keras.optimizers.Optimizer:
    """A new optimizer as `OPTIMIZER` says.

    Gradients are clipped by `GRADIENT_CLIP_NORM`, as the norm of all of them together, and the
    running means of `EMA_MOMENTUM` are kept. Of an instance in the Config a fresh one is made, with
    another learning rate; where it clips gradients or averages weights itself, it does so its own
    way. Weight decay by the optimizer leaves gamma and beta of batch normalization alone.

    Args:
        learning_rate: a float or a Keras schedule, see `mrcnn.training.rates.first_rate`.
        momentum: of SGD; the others have their own.
        compute_dtype: numbers that the model computes with. The losses of "float16" are scaled,
            by the optimizer's `scale_loss`, so that small gradients do not become zero.

    Raises:
        ValueError: if the instance has no learning rate, or cannot be made anew.
    """
    options = {"learning_rate": learning_rate, "global_clipnorm": config.GRADIENT_CLIP_NORM or None}
    if config.EMA_MOMENTUM:
        options |= {"use_ema": True, "ema_momentum": config.EMA_MOMENTUM}
    kind, scaling = config.OPTIMIZER, {}
    if isinstance(kind, str):
        # Keras would number each new optimizer, and TensorFlow keeps every new name of a variable.
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
        optimizer = _anew(_unwrapped(kind), options)
    if optimizer.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if scaling or compute_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, **scaling)
    return optimizer


def l2_penalty(config: Config) -> float:
    """Factor of the L2 penalty in the loss: `WEIGHT_DECAY`, or 0 where the optimizer decays."""
    optimizer = config.OPTIMIZER
    if isinstance(optimizer, str):
        decays = optimizer == "AdamW"
    else:
        decays = _unwrapped(optimizer).weight_decay is not None
    return 0.0 if decays else config.WEIGHT_DECAY


def _unwrapped(optimizer):
    """The optimizer within one that scales losses."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _anew(instance, options):
    """A fresh optimizer like `instance`, whose slots may belong to other layers."""
    name = type(instance).__name__
    # A MultiOptimizer has as many as it has optimizers.
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
            f"OPTIMIZER is a {name} that cannot be made anew from its get_config() ({error}); its "
            "__init__ must take what get_config gives, and pass the rest to Keras."
        ) from error
