"""Checkpoints in the original's layout: one HDF5 group per layer, found by the layer's name.

The layout is that of Keras 2: the attribute `layer_names` on the root, or on the group
`model_weights` of a saved model; in each layer's group the attribute `weight_names` and the
datasets it names. Facts about the model are further attributes of the root, which other readers
ignore.
"""

import io
import os
import re

import h5py
import numpy as np
from h5py import h5a

from mrcnn.files import replacing
from mrcnn.weights.hdf5 import Tensor, WeightFileError, child, names, opened, reading, texts
from mrcnn.weights.transfer import Rule, apply

# Before the names of metadata.
PREFIX = "mrcnn_"

# ResNets by their number of blocks in stage 4, and settings by a kernel and an axis of it.
_RESNETS = {6: "resnet50", 23: "resnet101", 36: "resnet152"}
_SIZES = {
    "NUM_CLASSES": ("mrcnn_class_logits", -1),
    "IMAGE_CHANNEL_COUNT": ("conv1", -2),
    "TOP_DOWN_PYRAMID_SIZE": ("fpn_c5p5", -1),
    "FPN_CLASSIF_FC_LAYERS_SIZE": ("mrcnn_class_conv1", -1),
}


def recognises(path):
    """Return whether a file has this layout, by its name or its contents."""
    name = os.fspath(path)
    if name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5"):
        return True
    try:
        with opened(name) as file, reading(name):
            return _has_names(_root(name, file))
    except WeightFileError:
        return False


def read_metadata(path):
    """Return the `metadata` that `save` wrote, `{name: text}`; {} if there is none.

    Raises:
        FileNotFoundError, WeightFileError: if there is no such file, or it is damaged.
    """
    with opened(path) as file:
        return _metadata(path, file)


def _metadata(path, file):
    with reading(path):
        names = [name for name in file.attrs if name.startswith(PREFIX)]
        return {name.removeprefix(PREFIX): "".join(texts(path, file, name)) for name in names}


def settings_of(path):
    """Return the settings that the layers of a file of the original show, `{name: value}`.

    They are BACKBONE, NUM_CLASSES, IMAGE_CHANNEL_COUNT, TOP_DOWN_PYRAMID_SIZE and
    FPN_CLASSIF_FC_LAYERS_SIZE, those of layers that the file has.

    Raises:
        FileNotFoundError, WeightFileError: if there is no such file, or it is damaged.
    """
    with opened(path) as file:
        found = _find(path, file)
        blocks = [name for name in found if re.fullmatch(r"res4[a-z]+\d*_branch2a", name)]
        settings = {"BACKBONE": _RESNETS.get(len(blocks))}
        for name, (layer, axis) in _SIZES.items():
            kernels = [tensor.shape for tensor in found.get(layer, {}).values()]
            if kernels and len(kernels[0]) >= 2:
                settings[name] = int(kernels[0][axis])
    return {name: value for name, value in settings.items() if value}


def _root(path, file):
    nested = file.id.links.exists(b"model_weights")
    return child(path, file, "model_weights") if nested else file


def _has_names(root):
    return bool(h5a.exists(root.id, b"layer_names"))


def _find(path, file):
    """Return the weights of a file without reading them: `{layer name: {weight name: Tensor}}`.

    Raises:
        WeightFileError: if the file is damaged or has no weights.
    """
    with reading(path):
        root = _root(path, file)
        if not _has_names(root):
            raise WeightFileError(
                f'"{path}" is an HDF5 file without layer names; accepted are weight files '
                "written by Keras 2, by Matterport's Mask R-CNN or by this package. If Keras 3 "
                'wrote it, rename it to end in ".weights.h5".'
            )
        layers = names(path, root, "layer_names")
        found = {name: _tensors(path, child(path, root, name)) for name in layers}
    if not any(found.values()):
        raise WeightFileError(f'"{path}" names {len(layers)} layers and holds no weights.')
    return found


def _tensors(path, group):
    """Return `{weight name: Tensor}` of the group of a layer."""
    if not h5a.exists(group.id, b"weight_names"):
        return {}
    checked = set()
    return {name: Tensor(path, group, name, checked) for name in names(path, group, "weight_names")}


def load(model, path, exclude=None, skip_mismatch=False, verbose=1):
    """Copy the weights of a file into the layers of the same names.

    Args:
        model: a Keras model.
        path: of the `.h5` file.
        exclude, skip_mismatch, verbose: see `transfer.apply`.

    Returns:
        A `LoadReport`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: before any weight has changed; a `WeightFileError` if the file is damaged or
            has values that are not finite, else see `transfer.apply`.
    """
    path = os.fspath(path)
    # TensorFlow 2 forks saved the anchors of one image size as a weight, which has no use here.
    ignored = ("anchors",)
    with opened(path) as file:
        found = _find(path, file)
        rules = [
            Rule(layer.name, [(layer.name, name) for name in _in_order(layer, found[layer.name])])
            for layer in model.layers
            if found.get(layer.name)
        ]
        # Errors come before weights change.
        metadata = _metadata(path, file)
        report = apply(model, path, found, rules, exclude, skip_mismatch, ignored, verbose)
        report.metadata = metadata
        return report


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
        # Released before an error ends the block, which would keep the buffer in use.
        with content.getbuffer() as view:
            temporary.write_bytes(view)


def _as_bytes(names):
    """Return an array of fixed-length strings, which readers of Keras 2 files expect."""
    return np.array([name.encode() for name in names], "S")
