"""Keras's own `.weights.h5` and `.keras` files.

Keras finds the weights in them by the structure of the model, one after the other, and follows what
it finds. So the whole file is checked before Keras sees it, and a failure restores the model. Of a
`.keras` file only the weights are used: the graph in it, which can name code to run, is not read.
"""

import math
import os
import warnings
import zipfile
from contextlib import contextmanager

import h5py
import keras
import numpy as np

from mrcnn.files import one_line
from mrcnn.weights.finite import describe_non_finite, non_finite_weights
from mrcnn.weights.hdf5 import (
    WeightFileError,
    check_dataset,
    check_storage,
    reading,
    require_file,
    require_hard_link,
    texts,
)

_WEIGHTS = "model.weights.h5"
_MAX_OBJECTS = 50_000
# A file may hold the state of an optimizer beside the weights, several numbers for each, and
# small models need some room.
_TIMES_MODEL, _ROOM = 6, 1 << 26


def load(model, path, skip_mismatch=False, **kwargs):
    """Load a `.weights.h5` or `.keras` file; if that fails, the model is as it was.

    Args:
        model: a Keras model.
        path: of the file.
        skip_mismatch: leave layers whose shapes differ as they are, with a warning.
        **kwargs: for `keras.Model.load_weights`.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightFileError: if it is damaged, refers to other files, does not fit, or has values that
            are not finite.
    """
    require_file(path)
    variables = _variables(model)
    with reading(path), _hdf5_of(path) as file:
        _check(path, file, variables)
    with _unchanged_by_errors(variables):
        try:
            keras.Model.load_weights(model, path, skip_mismatch=skip_mismatch, **kwargs)
        except Exception as error:
            raise WeightFileError(
                f'"{path}" does not fit this model, which is as it was: {one_line(error, 400)}'
            ) from error
        if counts := non_finite_weights(variables):
            raise WeightFileError(
                f'"{path}": {describe_non_finite(counts)}. A training may have diverged; take an '
                "earlier checkpoint."
            )


def _variables(model):
    """Return all variables that Keras may load: of layers, optimizer and metrics."""
    optimizer = getattr(model, "optimizer", None)
    groups = [model.variables, model.metrics_variables, optimizer.variables if optimizer else ()]
    return list({id(variable): variable for group in groups for variable in group}.values())


@contextmanager
def _unchanged_by_errors(variables):
    """Restore the values of variables if the block raises; warnings are shown if it does not."""
    before = [np.array(variable) for variable in variables]
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            yield
    except BaseException:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        raise
    for warning in seen:
        warnings.warn(str(warning.message), warning.category, stacklevel=4)


@contextmanager
def _hdf5_of(path):
    """Yield the open HDF5 file that a weight file is or has inside."""
    if not path.endswith(".keras"):
        with h5py.File(path, "r") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename == _WEIGHTS]
        if len(found) != 1:
            raise WeightFileError(
                f'"{path}" is an archive with {len(found)} files named {_WEIGHTS}; a model saved '
                "by Keras has one."
            )
        (info,) = found
        size = os.path.getsize(path)
        if (
            info.compress_type != zipfile.ZIP_STORED
            or not info.file_size == info.compress_size < size
        ):
            raise WeightFileError(
                f'"{path}": {_WEIGHTS} is compressed or of a wrong size in this archive. Unpack '
                "it and load that file."
            )
        with archive.open(info) as content:
            # To its end, where the checksum is compared. Keras moves about and compares none.
            while content.read(1 << 20):
                pass
        with archive.open(info) as content, h5py.File(content, "r") as file:
            yield file


def _check(path, file, variables):
    """Raise `WeightFileError` if Keras could leave the file or read more than a model needs."""
    sizes = [int(np.prod(variable.shape)) * 8 for variable in variables]
    largest, left = max(*sizes, _ROOM), _TIMES_MODEL * sum(sizes) + _ROOM
    integers = {(tuple(v.shape), v.dtype) for v in variables if "int" in v.dtype}
    seen, waiting = set(), [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            require_hard_link(path, group, name)
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen or len(seen) >= _MAX_OBJECTS:
                raise WeightFileError(
                    f'"{path}": {found.name} is in the file under two names, or one of more than '
                    f"{_MAX_OBJECTS} objects."
                )
            seen.add(address)
            if isinstance(found, h5py.Group):
                waiting.append(found)
                continue
            shape, dtype = _check_dataset(path, found, integers)
            size = math.prod(shape) * dtype.itemsize
            left -= size
            if size > largest or left < 0:
                raise WeightFileError(
                    f'"{path}": {found.name} declares the shape {shape}, which is more than '
                    "belongs to this model."
                )
            check_storage(path, found.id, shape, dtype)


def _check_dataset(path, dataset, integers):
    """Return shape and type of a data set that Keras may read."""
    is_bfloat16 = False
    if isinstance(dataset, h5py.Dataset) and "dtype" in dataset.attrs:
        is_bfloat16 = texts(path, dataset, "dtype") == ["bfloat16"]
    shape, dtype = check_dataset(path, dataset.id, is_bfloat16)
    if dtype.kind == "f" or is_bfloat16:
        return shape, dtype
    parts = dataset.name.split("/")
    is_counter = any(part.startswith(("optimizer", "seed_generator")) for part in parts)
    if not is_counter and (shape, dtype.name) not in integers:
        raise WeightFileError(
            f'"{path}": {dataset.name} has values of type {dtype}; weights are floats.'
        )
    return shape, dtype
