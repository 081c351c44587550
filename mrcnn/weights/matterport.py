"""Checkpoints in the original's layout: one HDF5 group per layer, found by the layer's name.

The layout is that of Keras 2: the attribute `layer_names` on the root, or on the group
`model_weights` of a saved model; in each layer's group the attribute `weight_names` and the
datasets it names. Facts about the model are further attributes of the root, which other readers
ignore.
"""

import io
import os
from contextlib import contextmanager

import h5py
import numpy as np

from mrcnn.files import replacing
from mrcnn.weights.transfer import Rule, apply

# Before the names of metadata.
PREFIX = "mrcnn_"


class WeightFileError(ValueError):
    """A file is not a whole weight file."""


def recognises(path):
    """Return whether a file has this layout, by its name or its contents."""
    name = os.fspath(path)
    if name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5"):
        return True
    if not h5py.is_hdf5(name):
        return False
    with h5py.File(name, "r") as file:
        return "layer_names" in _root(file).attrs


def read(path):
    """Return the weights of a file, `{layer name: {weight name: array}}`, in the file's order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, of another format or without weights.
    """
    with _opened(path) as file:
        root = _root(file)
        if "layer_names" not in root.attrs:
            raise WeightFileError(
                f'"{path}" is an HDF5 file without layer names; accepted are weight files '
                "written by Keras 2, by Matterport's Mask R-CNN or by this package. If Keras 3 "
                'wrote it, rename it to end in ".weights.h5".'
            )
        names = [_text(name) for name in root.attrs["layer_names"]]
        weights = {name: _arrays(root[name]) for name in names}
    if not any(weights.values()):
        raise WeightFileError(f'"{path}" names {len(names)} layers and holds no weights.')
    return weights


def read_metadata(path):
    """Return the `metadata` that `save` wrote, `{name: text}`; {} if there is none.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
    """
    with _opened(path) as file:
        facts = {name: text for name, text in file.attrs.items() if name.startswith(PREFIX)}
    return {name.removeprefix(PREFIX): text for name, text in facts.items()}


@contextmanager
def _opened(path):
    """Yield the open file; errors inside the block become a `WeightFileError`."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f'The weight file "{path}" does not exist.')
    try:
        with h5py.File(path, "r") as file:
            yield file
    # A damaged file may open and then lack some of its groups.
    except (OSError, KeyError, RuntimeError) as error:
        raise WeightFileError(
            f'"{path}" ({os.path.getsize(path)} bytes) is not a whole HDF5 file: it is empty, cut '
            f"short or of another format. Download or copy it again. ({error})"
        ) from error


def _root(file):
    return file["model_weights"] if "model_weights" in file else file


def _text(name):
    return name.decode("utf8") if isinstance(name, bytes) else str(name)


def _arrays(group):
    names = [_text(name) for name in group.attrs.get("weight_names", ())]
    return {name: np.asarray(group[name]) for name in names}


def load(model, path, exclude=None, skip_mismatch=False, verbose=1):
    """Copy the weights of a file into the layers of the same names.

    Args:
        model: a Keras model.
        path: of the `.h5` file.
        exclude, skip_mismatch, verbose: see `transfer.apply`.

    Returns:
        A `LoadReport`.

    Raises:
        FileNotFoundError, ValueError: see `read` and `transfer.apply`.
    """
    weights = read(path)
    rules = [
        Rule(layer.name, [(layer.name, name) for name in _in_order(layer, weights[layer.name])])
        for layer in model.layers
        if weights.get(layer.name)
    ]
    # TensorFlow 2 forks saved the anchors of one image size as a weight, which has no use here.
    ignored = ("anchors",)
    return apply(model, os.fspath(path), weights, rules, exclude, skip_mismatch, ignored, verbose)


def _key(path):
    """Return layer and weight of a path like `rpn_model/rpn_conv_shared/kernel:0`."""
    return tuple(path.split(":")[0].split("/")[-2:])


def _in_order(layer, names):
    """Return the weight names of a group in the order of the layer's weights.

    They are matched by name if the file has the present names; else, as in Keras, the order in the
    file is that of the layer.
    """
    by_key = {_key(name): name for name in names}
    keys = [_key(weight.path) for weight in layer.weights]
    if len(by_key) == len(names) and set(keys) == set(by_key):
        return [by_key[key] for key in keys]
    return list(names)


def save(model, path, overwrite=True, metadata=None):
    """Write the weights of a model in this layout; the file appears whole or not at all.

    Args:
        model: a Keras model.
        path: of the `.h5` file.
        overwrite: replace an old file.
        metadata: `{name: text}`, of any length, written as attributes of the root.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        TypeError: if a value in `metadata` is not a string.
    """
    path = os.fspath(path)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f'"{path}" exists already.')
    # HDF5 ends the process where the disk is full, so it writes to memory.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["layer_names"] = _as_bytes(layer.name for layer in model.layers)
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.1.6"
        for name, text in (metadata or {}).items():
            # Strings of variable length: HDF5 keeps them outside the 64 KB of a header.
            file.attrs.create(PREFIX + name, text, dtype=h5py.string_dtype())
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = ["/".join(_key(weight.path)) + ":0" for weight in layer.weights]
            group.attrs["weight_names"] = _as_bytes(names)
            for name, weight in zip(names, layer.weights, strict=True):
                group.create_dataset(name, data=np.asarray(weight))
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _as_bytes(names):
    """Return an array of fixed-length strings, which readers of Keras 2 files expect."""
    return np.array([name.encode() for name in names], "S")
