"""Rules between our layers and the tensors of PyTorch programs, for import and export.

A table of such a program has one `Line` for each layer. It serves both ways: every step of a line
is a permutation, and undone exactly.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Leaves of PyTorch's names by the last part of ours.
_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

# Of a stage, in a ResNet-152.
_MAX_BLOCKS = 36

# Count of training batches, which every batch normalization of PyTorch stores and none uses.
BATCH_COUNT = "num_batches_tracked"


class Line(NamedTuple):
    """One layer of ours, and the module that has its weights in another program.

    Attributes:
        modules: name of the module, and after it older names of the same.
        is_dense: whether their kernel is a matrix `[out, in * height * width]`, ours may be a
            convolution.
        rows: function from the number of our outputs to the index of each among theirs, -1 for
            those that they lack, which become 0. None for the same order.
        flips_colours: whether their images are BGR. Ours are RGB.
    """

    modules: tuple[str, ...]
    is_dense: bool = False
    rows: Callable[[int], np.ndarray] | None = None
    flips_colours: bool = False


def line(*modules, **options):
    """Return a `Line` for a module by its name now and its older names."""
    return Line(modules, **options)


def dense(*modules, **options):
    """Return a `Line` for a fully connected layer of theirs."""
    return Line(modules, is_dense=True, **options)


def delta_rows(count):
    """Return the order of our deltas (dy, dx, dh, dw) among theirs (dx, dy, dw, dh)."""
    return np.arange(count).reshape(-1, 4)[:, [1, 0, 3, 2]].ravel()


def blocks():
    """Yield name, stage and number of the blocks of the largest ResNet: ("2a", 2, 0), ..."""
    # Here, because this package can be imported without TensorFlow.
    from mrcnn.backbones.resnet import block_letters

    for stage in (2, 3, 4, 5):
        for number in range(_MAX_BLOCKS):
            yield f"{stage}{block_letters(number)}", stage, number


def to_ours(array, shape, line):
    """Return one of their tensors as ours.

    Args:
        array: their tensor.
        shape: of our weight. It matters where their kernel is a matrix and ours is not.
        line: the `Line` of the layer.
    """
    array = np.asarray(array)
    if line.rows:
        rows = line.rows(shape[-1])
        is_known = (rows >= 0).reshape(-1, *[1] * (array.ndim - 1))
        array = np.where(is_known, array[rows], array.dtype.type(0))
    if len(shape) == 4 and array.ndim == 2:
        array = array.reshape(shape[3], shape[2], *shape[:2])
    if array.ndim == 4:
        # From [out, in, height, width]; of transposed convolutions out and in change places in
        # both programs.
        array = array.transpose(2, 3, 1, 0)
    elif array.ndim == 2:
        array = array.T
    return array[:, :, ::-1] if line.flips_colours else array


def to_theirs(array, line):
    """Return one of our weights as theirs, the inverse of `to_ours`."""
    array = np.asarray(array)
    if line.flips_colours:
        array = array[:, :, ::-1]
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
        array = array.reshape(len(array), -1) if line.is_dense else array
    elif array.ndim == 2:
        array = array.T
    if line.rows:
        rows = line.rows(len(array))
        theirs = np.empty((np.count_nonzero(rows >= 0), *array.shape[1:]), array.dtype)
        theirs[rows[rows >= 0]] = array[rows >= 0]
        array = theirs
    return np.ascontiguousarray(array)


def their_shape(shape, line):
    """Return the shape of their tensor for the shape of one of our weights."""
    if len(shape) == 4:
        height, width, channels, out = shape
        last = (channels * height * width,) if line.is_dense else (channels, height, width)
        shape = (out, *last)
    elif len(shape) == 2:
        shape = shape[::-1]
    if line.rows:
        shape = (int(np.count_nonzero(line.rows(shape[0]) >= 0)), *shape[1:])
    return tuple(shape)


class Entry(NamedTuple):
    """One weight of a layer of ours, and their tensor for it.

    Attributes:
        weight: of the layer.
        names: of their tensor, and after it older names of the same.
        line: the `Line` of the layer.
    """

    weight: object
    names: tuple[str, ...]
    line: Line

    @property
    def shape(self):
        """Shape of their tensor."""
        return their_shape(tuple(self.weight.shape), self.line)

    def name_in(self, names):
        """Return the name of their tensor among `names`, or the present one if it is in none."""
        return next((name for name in self.names if name in names), self.names[0])


def entries(model, table):
    """Match the weights of a model with the lines of a table.

    Args:
        model: a Keras model.
        table: `{our layer name: Line}`.

    Returns:
        `{layer name: [Entry, ...]}` in the order of the layer's weights, a nested model counted as
        one layer; and the names of the layers with a weight that has no line.
    """
    found, foreign = {}, []
    for layer in model.layers:
        matched = [_entry(weight, table) for weight in layer.weights]
        if not all(matched):
            foreign.append(layer.name)
        elif matched:
            found[layer.name] = matched
    return found, foreign


def _entry(weight, table):
    owner, name = weight.path.split("/")[-2:]
    if owner not in table or name not in _LEAVES:
        return None
    names = tuple(f"{module}.{_LEAVES[name]}" for module in table[owner].modules)
    return Entry(weight, names, table[owner])


def layout(model, table):
    """Return `{name: shape}` of their state dict of a model, without counts of batches."""
    found, _ = entries(model, table)
    return {entry.names[0]: entry.shape for layer in found.values() for entry in layer}
