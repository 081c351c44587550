"""Weights from other files by rules; every tensor is loaded or reported."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mrcnn.weights.finite import count_non_finite, describe_non_finite
from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.report import LoadReport

# Its last axis is the number of classes.
_CLASS_LOGITS = "mrcnn_class_logits"

# Image channels of a first convolution that is adapted.
_MAX_CHANNELS = 1024


class Rule(NamedTuple):
    """One layer of the model and the tensors that fill it.

    Attributes:
        ours: name of a layer of the model, nested models included.
        theirs: `(layer, tensor)` names in the source, in the order of the layer's weights.
        transform: makes the list of our arrays from theirs.
    """

    ours: str
    theirs: Sequence[tuple[str, str]]
    transform: Callable[[list[np.ndarray]], list[np.ndarray]] = list


def apply(model, path, source, rules, exclude=None, skip_mismatch=False, ignored=(), verbose=1):
    """Fill the layers of a model by rules, after names, shapes and values have been checked.

    A first convolution for another number of image channels is adapted: its mean over the
    channels, scaled to keep the sum.

    Args:
        model: a Keras model.
        path: of the source, for the report.
        source: `{their layer: {tensor name: array}}`. Anything that has a `shape` and becomes an
            array by `np.asarray` will do; only tensors of layers that fit are read.
        rules: a `Rule` for each layer that can be filled.
        exclude: names of layers, ours or theirs, to leave as they are.
        skip_mismatch: also leave layers whose shapes differ as they are.
        ignored: layers of the source that need no mention.
        verbose: 1 prints the report.

    Returns:
        A `LoadReport`.

    Raises:
        ValueError: if shapes differ, if `exclude` names no layer, or if no rule fits.
        WeightFileError: if a value is NaN or infinite.
    """
    report = LoadReport(path)
    exclude = _checked_exclude(exclude, {*source, *(layer.name for layer in model.layers)})
    layers = {layer.name: ours for layer in model.layers if (ours := layer.weights)}
    rules = {rule.ours: rule for rule in rules if rule.ours in layers}
    found = {name: _arrays(rule, source) for name, rule in rules.items()}
    _compare(report, layers, found, exclude)
    used = {tensor for rule in rules.values() for tensor in rule.theirs}
    report.unused = [
        layer
        for layer, tensors in source.items()
        if layer not in ignored and any((layer, name) not in used for name in tensors)
    ]
    _refuse(report, source, layers, found, exclude, skip_mismatch)
    arrays = {name: _read(report, name, layers[name], found[name]) for name in report.loaded}
    if verbose:
        print(report)
    for name in report.loaded:
        for weight, array in zip(layers[name], arrays[name], strict=True):
            weight.assign(array)
    return report


def _compare(report, layers, found, exclude):
    """Sort each layer into the report by its shapes."""
    first = next((name for name, weights in layers.items() if weights[0].ndim == 4), None)
    for name, weights in layers.items():
        ours = [tuple(weight.shape) for weight in weights]
        arrays = found.get(name)
        if name in exclude:
            report.skipped[name] = "excluded"
        elif not arrays:
            report.missing.append(name)
        else:
            theirs = [tuple(array.shape) for array in arrays]
            is_adapted = name == first and _differs_in_channels(theirs[0], ours[0])
            if theirs == ours or (is_adapted and theirs[1:] == ours[1:]):
                report.adapted += [name] if is_adapted else []
                report.loaded.append(name)
            else:
                report.mismatched[name] = (theirs, ours)


def _arrays(rule, source):
    """Return the arrays for a rule's layer; if tensors are missing, the other ones as they are."""
    arrays = [source[layer][name] for layer, name in rule.theirs if name in source.get(layer, ())]
    return rule.transform(arrays) if len(arrays) == len(rule.theirs) else arrays


def _read(report, name, weights, tensors):
    """Return the arrays of a layer in the types of its weights."""
    arrays = []
    for weight, tensor in zip(weights, tensors, strict=True):
        array = np.asarray(tensor)
        dtype = weight.dtype
        if (array.dtype.kind == "f") != ("float" in dtype):
            raise WeightFileError(
                f'"{report.path}": "{weight.path}" has values of type {array.dtype}, and the '
                f"model has {dtype}."
            )
        if name in report.adapted and not arrays:
            array = _adapt_channels(array, weight.shape[2])
        with np.errstate(over="ignore"):
            array = array.astype(dtype, copy=False)
        if count := count_non_finite(array):
            raise WeightFileError(
                f'"{report.path}": {describe_non_finite({weight.path: count})}. A training may '
                "have diverged; take an earlier checkpoint."
            )
        arrays.append(array)
    return arrays


def _refuse(report, source, layers, found, exclude, skip_mismatch):
    """Raise ValueError if no layer fits, or if shapes differ that may not."""
    if not report.loaded and not exclude:
        theirs = [name for name, tensors in source.items() if tensors]
        raise ValueError(
            f'No layer of "{report.path}" fits this model: the file has {", ".join(theirs[:3])}, '
            f"...; the model has {', '.join(list(layers)[:3])}, ..."
        )
    if report.mismatched and not skip_mismatch:
        theirs, ours = found.get(_CLASS_LOGITS), layers.get(_CLASS_LOGITS)
        their_classes = theirs[0].shape[-1] if theirs and theirs[0].shape else None
        our_classes = ours[0].shape[-1] if ours else None
        raise ValueError(report.mismatch_message(their_classes, our_classes))


def _checked_exclude(exclude, known):
    exclude = [exclude] if isinstance(exclude, str) else list(exclude or [])
    unknown = [name for name in exclude if name not in known]
    if unknown:
        raise ValueError(
            f'exclude names "{unknown[0]}", which is a layer neither of the model nor of the file. '
            'Give one string per layer, such as ["mrcnn_class_logits", "mrcnn_mask"].'
        )
    return set(exclude)


def _differs_in_channels(theirs, ours):
    """Return whether a kernel fits except for its number of input channels."""
    if len(theirs) != 4 or theirs == ours or not 0 < theirs[2] <= _MAX_CHANNELS:
        return False
    return theirs[:2] + theirs[3:] == ours[:2] + ours[3:]


def _adapt_channels(kernel, channels):
    mean = kernel.mean(axis=2, keepdims=True) * kernel.shape[2] / channels
    return np.repeat(mean, channels, axis=2)
