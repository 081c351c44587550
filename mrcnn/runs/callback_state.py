"""The part of a state that belongs to callbacks: what they have counted, and nothing else.

A state may come from elsewhere, so it decides no paths, no number of files to keep, and no other
setting. Of a callback it holds, in this order:

- what its method `state_dict()` returns, a dict that JSON can hold, and `load_state_dict` takes;
- for Keras's own classes, the attributes listed here;
- for other classes, the public attributes that changed in training and are numbers, None, or lists
  and dicts of these; or lists of arrays. Texts are never among them, nor are attributes with the
  names of arguments of `__init__`, which are settings.
"""

import collections
import inspect
import json
import math

import keras
import numpy as np

from mrcnn.runs.state_file import is_count


def _is_number(value):
    return type(value) in (int, float) and not math.isnan(value)


def _is_best(value):
    return value is None or _is_number(value)


def _is_epochs(value):
    return type(value) is list and all(map(is_count, value))


def _is_history(value):
    return type(value) is dict and all(type(item) is list for item in value.values())


# The state of Keras's callbacks: attributes and their rules.
_KERAS = {
    keras.callbacks.EarlyStopping: {
        "wait": is_count,
        "best": _is_best,
        "best_epoch": is_count,
        # Only noted: a resumed callback has not stopped.
        "stopped_epoch": is_count,
    },
    keras.callbacks.ReduceLROnPlateau: {
        "wait": is_count,
        "best": _is_best,
        "cooldown_counter": is_count,
    },
    keras.callbacks.ModelCheckpoint: {"best": _is_best, "epochs_since_last_save": is_count},
    keras.callbacks.History: {"epoch": _is_epochs, "history": _is_history},
}
_KERAS_ARRAYS = {keras.callbacks.EarlyStopping: {"best_weights"}}


def keyed(callbacks):
    """Yield callbacks with a key: the name of their class, and their number within it."""
    seen = collections.Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        seen[kind] += 1
        yield f"{kind}{seen[kind]}", callback


def plain_state(callback, before=None):
    """Return the state of a callback as JSON can hold it.

    Args:
        callback: a Keras callback.
        before: what this function returned when training started. Attributes that have not changed
            since then, or are new, are left out.

    Raises:
        TypeError: if `state_dict` returns something else.
    """
    if _has_protocol(callback):
        state = callback.state_dict()
        if type(state) is not dict or not _is_plain(state, (bool, int, float, str)):
            raise TypeError(
                f"{type(callback).__name__}.state_dict() returned {state!r}; a state is a dict of "
                "numbers, texts, None, and lists and dicts of these."
            )
        return state
    rules = _rules(callback)
    values = {
        name: json.loads(json.dumps(value, default=_to_python))
        for name, value in vars(callback).items()
        if (name in rules or _is_open(callback, name)) and _is_plain(value)
    }
    if before is None:
        return values
    return {name: value for name, value in values.items() if before.get(name, value) != value}


def array_state(callback):
    """Return the attributes of a callback that are lists of arrays, such as its best weights."""
    if _has_protocol(callback):
        return {}
    names = [name for name in vars(callback) if _may_be_arrays(callback, name)]
    found = {name: getattr(callback, name) for name in names}
    return {name: values for name, values in found.items() if _is_arrays(values)}


def restore(callback, plain, arrays):
    """Give a callback its state; yield the names of attributes whose values are refused.

    Args:
        callback: a new Keras callback, after its `on_train_begin`.
        plain: dict, see `plain_state`.
        arrays: `{name: list of arrays}`, see `array_state`.
    """
    if _has_protocol(callback):
        if plain:
            try:
                callback.load_state_dict(plain)
            # Whatever the state made of the user's code.
            except Exception as error:
                yield f"load_state_dict ({error})"
        return
    rules, own = _rules(callback), vars(callback)
    for name, value in plain.items():
        if name == "stopped_epoch" and isinstance(callback, keras.callbacks.EarlyStopping):
            continue
        if name in rules:
            fits = rules[name](value)
        elif name in own and _is_open(callback, name):
            fits = _is_like(own[name], value)
        else:
            continue
        if fits:
            setattr(callback, name, json.loads(json.dumps(value)))
        else:
            yield name
    for name, values in arrays.items():
        if name not in own or not _may_be_arrays(callback, name):
            continue
        if own[name] is not None and type(own[name]) is not list:
            yield name
        elif name == "best_weights" and not _is_weights(callback.model, values):
            yield name
        else:
            setattr(callback, name, [np.array(value) for value in values])


def _has_protocol(callback):
    return hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict")


def _rules(callback):
    """Return the rules for the attributes of Keras's classes among those of a callback."""
    found = {}
    for kind, rules in _KERAS.items():
        if isinstance(callback, kind):
            found |= rules
    return found


def _is_open(callback, name):
    """Return whether a public attribute of a user's or our own class is no setting."""
    kind = type(callback)
    if name.startswith("_") or name == "params" or kind.__module__.split(".")[0] == "keras":
        return False
    inits = [base.__init__ for base in kind.__mro__ if "__init__" in vars(base)]
    return not any(name in inspect.signature(init).parameters for init in inits)


def _may_be_arrays(callback, name):
    kinds = _KERAS_ARRAYS.items()
    known = any(name in names for kind, names in kinds if isinstance(callback, kind))
    return known or _is_open(callback, name)


def _is_plain(value, scalars=(bool, int, float)):
    """Return whether JSON returns a value as it was; it turns tuples, for example, into lists."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item, scalars) for key, item in value.items())
    if type(value) is list:
        return all(_is_plain(item, scalars) for item in value)
    number = isinstance(value, np.integer | np.floating | np.bool_)
    return number or value is None or type(value) in scalars


def _is_like(old, new):
    """Return whether a value may replace another one: None and numbers, lists, dicts, truths."""
    if not _is_plain(new) or not _is_plain(old):
        return False
    old = old.item() if isinstance(old, np.generic) else old
    if old is None or new is None:
        return True
    numbers = int, float
    return type(old) is type(new) or (type(old) in numbers and type(new) in numbers)


def _is_arrays(value):
    """Return whether a value is a list of arrays of numbers."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, np.ndarray) and item.dtype.kind in "biufc" for item in value)
    )


def _is_weights(model, values):
    """Return whether arrays could be the weights of a model."""
    ours = [(tuple(weight.shape), np.dtype(weight.dtype).kind) for weight in model.weights]
    theirs = [(value.shape, value.dtype.kind) for value in values]
    return ours == theirs and all(np.isfinite(value).all() for value in values)


def _to_python(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not plain")
