"""Checkpoints in the historical layout: one HDF5 group a layer, found by the layer's name.

The layout is the one Keras 2 wrote: the attribute `layer_names` on the root, or on the group
`model_weights` of a saved model; in each layer's group the attribute `weight_names` and the
datasets it names.
"""

import os
import re

import h5py
import numpy as np

from mrcnn.files import replacing
from mrcnn.weights.report import LoadReport

# TensorFlow 2 forks kept the anchors of one image size as a weight; here they are no weight.
NOT_WEIGHTS = ("anchors",)

# HDF5 gives an attribute less than 64 KB.
_ATTRIBUTE_BYTES = 60_000


class WeightFileError(ValueError):
    """A file is not a whole weight file."""


def read(path):
    """The weights of a file: `{layer name: [(weight name, array), ...]}`, in the file's order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, of another format or without weights.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'The weight file "{path}" does not exist.')
    size = os.path.getsize(path)
    try:
        with h5py.File(path, "r") as file:
            root = file["model_weights"] if "model_weights" in file else file
            if "layer_names" not in root.attrs:
                raise WeightFileError(
                    f'"{path}" is an HDF5 file without layer names; accepted are weight files '
                    "written by Keras 2, by Matterport's Mask R-CNN or by this package."
                )
            names = [_text(name) for name in root.attrs["layer_names"]]
            weights = {name: _read_group(root[name]) for name in names}
    # A damaged file may open and then lack what it names.
    except (OSError, KeyError, RuntimeError) as error:
        raise WeightFileError(
            f'"{path}" ({size} bytes) is not a whole HDF5 file: it is empty, cut short or of '
            f"another format. Download or copy it again. ({error})"
        ) from error
    if not any(weights.values()):
        raise WeightFileError(f'"{path}" names {len(names)} layers and holds no weights.')
    return weights


def read_metadata(path):
    """Texts by name that `save` wrote from the `metadata` of a model; none in other files."""
    parts = {}
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            for name in file.attrs:
                match = re.fullmatch(r"(mrcnn_[a-z_]+)(?:\.(\d+))?", name)
                if match:
                    parts[match[1], int(match[2] or 0)] = bytes(file.attrs[name])
    joined = {}
    for name, number in sorted(parts):
        joined[name] = joined.get(name, b"") + parts[name, number]
    return {name: text.decode() for name, text in joined.items()}


def _write_metadata(file, metadata):
    for name, text in metadata.items():
        # Long texts continue in "name.1", "name.2".
        data = text.encode()
        for number, start in enumerate(range(0, len(data), _ATTRIBUTE_BYTES)):
            part = data[start : start + _ATTRIBUTE_BYTES]
            file.attrs[f"{name}.{number}" if number else name] = np.bytes_(part)


def _text(name):
    return name.decode("utf8") if isinstance(name, bytes) else str(name)


def _read_group(group):
    names = [_text(name) for name in group.attrs.get("weight_names", ())]
    return [(name, np.asarray(group[name])) for name in names]


def load(model, path, exclude=None, skip_mismatch=False, verbose=1):
    """Copy the weights of a file into the layers of the same names.

    All shapes are checked before the first weight changes. A first convolution made for another
    number of channels is adapted: its mean over the channels, scaled to keep the sum.

    Arguments:
        model: a Keras model.
        path: of the `.h5` file.
        exclude: names of layers to leave as they are, to train them anew for other classes.
        skip_mismatch: leave layers whose shapes differ as they are, too.
        verbose: 1 prints what was loaded and what was not.

    Returns:
        A `LoadReport`.

    Raises:
        FileNotFoundError, ValueError: see `read`; ValueError also if shapes differ, if `exclude`
            names no layer, or if no layer of the file is one of the model.
    """
    report = LoadReport(os.fspath(path))
    weights = read(path)
    exclude = _checked_exclude(exclude, {*weights, *(layer.name for layer in model.layers)})
    weights = {name: pairs for name, pairs in weights.items() if pairs}
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    assignments = []
    for name, layer in layers.items():
        if name in exclude:
            report.skipped[name] = "excluded"
        elif name not in weights:
            report.missing.append(name)
        else:
            arrays = _in_order(layer, weights[name])
            problem = _mismatch(layer, arrays)
            if problem and name == "conv1" and _is_kernel_of(arrays[0], layer.weights[0]):
                arrays[0] = _adapt_channels(arrays[0], layer.weights[0].shape[2])
                report.adapted.append(name)
                problem = None
            if problem:
                report.mismatched[name] = problem
            else:
                report.loaded.append(name)
                assignments.append((layer, arrays))
    report.unused = [n for n in weights if n not in layers and n not in NOT_WEIGHTS]
    if not assignments and not exclude:
        raise ValueError(
            f'No layer of "{path}" fits this model: the file has {", ".join(list(weights)[:3])}, '
            f"...; the model has {', '.join(list(layers)[:3])}, ..."
        )
    if report.mismatched and not skip_mismatch:
        raise ValueError(report.mismatch_message(_classes(weights), _classes_of(layers)))
    for layer, arrays in assignments:
        layer.set_weights(arrays)
    if verbose:
        print(report)
    return report


def _checked_exclude(exclude, known):
    exclude = [exclude] if isinstance(exclude, str) else list(exclude or [])
    unknown = [name for name in exclude if name not in known]
    if unknown:
        raise ValueError(
            f'exclude names "{unknown[0]}", which is a layer neither of the model nor of the file. '
            'Each layer is a string of its own, as in ["mrcnn_class_logits", "mrcnn_bbox_fc", '
            '"mrcnn_mask"].'
        )
    return set(exclude)


def _key(path):
    """Layer and weight out of a path like `rpn_model/rpn_conv_shared/kernel:0`."""
    return tuple(path.split(":")[0].split("/")[-2:])


def _in_order(layer, pairs):
    """The arrays of a group in the order of the layer's weights.

    Matched by layer and weight name where the file has those of today; else the order in the file
    is that of the layer, as for Keras itself.
    """
    by_key = {_key(name): array for name, array in pairs}
    keys = [_key(weight.path) for weight in layer.weights]
    if len(by_key) == len(pairs) and set(keys) == set(by_key):
        return [by_key[key] for key in keys]
    return [array for _, array in pairs]


def _mismatch(layer, arrays):
    """What differs, as "shapes in the file, shapes in the model", or None."""
    theirs = [tuple(array.shape) for array in arrays]
    ours = [tuple(weight.shape) for weight in layer.weights]
    return None if theirs == ours else (theirs, ours)


def _is_kernel_of(array, kernel):
    """Whether a kernel would fit but for its number of input channels."""
    theirs, ours = tuple(array.shape), tuple(kernel.shape)
    return len(theirs) == 4 and theirs[:2] + theirs[3:] == ours[:2] + ours[3:]


def _adapt_channels(kernel, channels):
    mean = kernel.mean(axis=2, keepdims=True) * kernel.shape[2] / channels
    return np.repeat(mean, channels, axis=2)


def _classes(weights):
    """NUM_CLASSES of the model that a file comes from, None if it has no class logits."""
    for _, array in weights.get("mrcnn_class_logits", ()):
        return array.shape[-1]
    return None


def _classes_of(layers):
    layer = layers.get("mrcnn_class_logits")
    return layer.weights[0].shape[-1] if layer is not None else None


def save(model, path, overwrite=True):
    """Write the weights of a model in the historical layout; the file appears whole or not at all.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
    """
    path = os.fspath(path)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f'"{path}" exists already.')
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = _as_bytes(layer.name for layer in model.layers)
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.1.6"
        _write_metadata(file, getattr(model, "metadata", {}))
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = ["/".join(_key(weight.path)) + ":0" for weight in layer.weights]
            group.attrs["weight_names"] = _as_bytes(names)
            for name, weight in zip(names, layer.weights, strict=True):
                group.create_dataset(name, data=np.asarray(weight))


def _as_bytes(names):
    """An array of fixed length strings, as Keras 2 wrote and the programs that read it expect."""
    return np.array([name.encode() for name in names], "S")
