"""Pickles that name functions and classes of torch and NumPy, written without importing them.

Python's pickler writes only the names of what is there. NumPy's arrays get the names of NumPy 1,
which NumPy 2 knows as well.
"""

import pickle
import struct

import numpy as np

from mrcnn.weights.stored import TYPES

_PLAIN = {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}
# bytes are of protocol 3; torch reads protocol 2.
_ARRAYS_PROTOCOL, _TORCH_PROTOCOL = 3, 2
_MAX_BYTES = (1 << 32) - 1


def little_endian(tensor):
    """Return the values of an array as a row of bytes, lowest first, in the order of C."""
    array = np.asarray(tensor)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8)


def write(file, value):
    """Write a pickle of plain values, containers and arrays.

    Raises:
        ValueError: a value is of another type.
    """
    file.write(pickle.PROTO + bytes([_ARRAYS_PROTOCOL]))
    _value(file.write, value)
    file.write(pickle.STOP)


def torch_pickle(tensors, storages, metadata=None):
    """Return the `data.pkl` of a file of torch, in which tensor number n has the storage "n".

    Args:
        tensors: `{name: array}`.
        storages: `{NumPy's name of a type: torch's name of the storage}`.
        metadata: plain values beside the tensors, or None.
    """
    parts = [pickle.PROTO + bytes([_TORCH_PROTOCOL])]
    write = parts.append
    if metadata is not None:
        write(pickle.EMPTY_DICT + pickle.MARK)
        _value(write, "model")
    _ordered_dict(write)
    write(pickle.MARK)
    for number, (name, tensor) in enumerate(tensors.items()):
        _value(write, name)
        _torch_tensor(write, number, tensor, storages[np.dtype(tensor.dtype).name])
    write(pickle.SETITEMS)
    if metadata is not None:
        for name, value in metadata.items():
            _value(write, name)
            _value(write, value)
        write(pickle.SETITEMS)
    write(pickle.STOP)
    return b"".join(parts)


def _torch_tensor(write, number, tensor, storage):
    shape = tuple(int(side) for side in tensor.shape)
    count = int(np.prod(shape, dtype=object))
    strides = tuple(int(np.prod(shape[axis + 1 :], dtype=object)) for axis in range(len(shape)))
    _name(write, "torch._utils", "_rebuild_tensor_v2")
    write(pickle.MARK + pickle.MARK)
    _value(write, "storage")
    _name(write, "torch", f"{storage}Storage")
    for value in (str(number), "cpu", count):
        _value(write, value)
    write(pickle.TUPLE + pickle.BINPERSID)
    for value in (0, shape, strides, False):
        _value(write, value)
    # Hooks, of which there are none.
    _ordered_dict(write)
    write(pickle.TUPLE + pickle.REDUCE)


def _ordered_dict(write):
    _name(write, "collections", "OrderedDict")
    write(pickle.EMPTY_TUPLE + pickle.REDUCE)


def _name(write, module, name):
    write(pickle.GLOBAL + f"{module}\n{name}\n".encode())


def _value(write, value):
    """Write a value of a type that is known here; a ValueError for others."""
    if value is None or isinstance(value, bool):
        write(_PLAIN[value])
    elif isinstance(value, int):
        content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        write(pickle.LONG1 + bytes([len(content)]) + content)
    elif isinstance(value, float):
        write(pickle.BINFLOAT + struct.pack(">d", value))
    elif isinstance(value, str):
        content = value.encode()
        write(pickle.BINUNICODE + struct.pack("<I", len(content)) + content)
    elif isinstance(value, list | tuple):
        # torch's reader of weights alone does not know the shorter code for a list.
        is_list = isinstance(value, list)
        write(pickle.EMPTY_LIST + pickle.MARK if is_list else pickle.MARK)
        for item in value:
            _value(write, item)
        write(pickle.APPENDS if is_list else pickle.TUPLE)
    elif isinstance(value, dict):
        write(pickle.EMPTY_DICT + pickle.MARK)
        for pair in value.items():
            for item in pair:
                _value(write, item)
        write(pickle.SETITEMS)
    else:
        _array(write, value)


def _array(write, value):
    """Write an array as NumPy does: an empty one, then its state."""
    kind = getattr(getattr(value, "dtype", None), "name", None)
    if kind not in TYPES or kind == "bfloat16":
        raise ValueError(f"A weight file cannot hold a {type(value).__name__} of type {kind}.")
    content = little_endian(value)
    if content.size > _MAX_BYTES:
        raise ValueError(f"An array of {content.size} bytes is too large for a pickle.")
    _name(write, "numpy.core.multiarray", "_reconstruct")
    _name(write, "numpy", "ndarray")
    _value(write, (0,))
    write(pickle.SHORT_BINBYTES + b"\1b" + pickle.TUPLE3 + pickle.REDUCE + pickle.MARK)
    _value(write, 1)
    _value(write, tuple(int(side) for side in value.shape))
    _dtype(write, TYPES[kind])
    _value(write, False)
    write(pickle.BINBYTES + struct.pack("<I", content.size))
    write(content)
    write(pickle.TUPLE + pickle.BUILD)


def _dtype(write, dtype):
    order = "|" if dtype.itemsize == 1 else "<"
    _name(write, "numpy", "dtype")
    _value(write, (dtype.str[1:], False, True))
    write(pickle.REDUCE)
    _value(write, (3, order, None, None, None, -1, -1, 0))
    write(pickle.BUILD)
