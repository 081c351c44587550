"""Tensors in a file of another program, read when they are asked for.

A file is opened for each reading and closed again, so that nothing stays open. It must be the file
that was looked at before: what was checked then need not be checked again.
"""

import math
import os
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from mrcnn.files import one_line, open_regular
from mrcnn.weights.hdf5 import WeightFileError, require_file

# bfloat16 is the upper half of a float32; NumPy has no such type.
TYPES = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "bool")},
    **{name: np.dtype(name) for name in ("int64", "int32", "int16", "int8")},
    **{name: np.dtype(name) for name in ("uint64", "uint32", "uint16", "uint8")},
    "bfloat16": np.dtype("uint16"),
}
_MAX_REASON = 500
_MAX_AXES, _MAX_SIDE, _MAX_PLACE = 32, 1 << 31, 1 << 58


@contextmanager
def reading(path):
    """Make one `WeightFileError` of all the errors that damaged files cause."""
    try:
        yield
    except WeightFileError:
        raise
    # An error of the operating system tells the path itself, one of `open_regular` does not.
    except OSError as error:
        raise WeightFileError(f'"{path}" cannot be read: {one_line(error)}.') from error
    # zipfile and struct raise a dozen kinds.
    except Exception as error:
        raise WeightFileError(
            f'"{path}" is damaged or cut short: download or copy it again. ({one_line(error)})'
        ) from error


class SourceFile:
    """A file on disk.

    Args:
        path: of a regular file.

    Attributes:
        path: the same.
        size: bytes.

    Raises:
        FileNotFoundError, WeightFileError.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        require_file(self.path)
        with reading(self.path), open_regular(self.path) as file:
            self._identity = self._look(file)
        self.size = self._identity[0]

    @contextmanager
    def opened(self):
        """Yield the open file; errors become a `WeightFileError` that names it."""
        with reading(self.path), open_regular(self.path) as file:
            if self._look(file) != self._identity:
                raise self.error("was changed while it was read; load it again")
            yield file

    def error(self, reason):
        """Return a `WeightFileError` of a reason that follows the path: "is cut short"."""
        return WeightFileError(f'"{self.path}" {reason[:_MAX_REASON]}.')

    @staticmethod
    def _look(file):
        found = os.fstat(file.fileno())
        return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


class Span(NamedTuple):
    """Bytes of a file that have not been read.

    Attributes:
        source: a `SourceFile`.
        start: place in it, in bytes.
        length: bytes.
        is_text: the bytes are UTF-8 text whose characters stand for one byte each, as Python 3
            writes bytes in the pickle protocol of Python 2.
    """

    source: SourceFile
    start: int
    length: int
    is_text: bool = False

    def read(self, start, length):
        """Return `length` bytes from `start` on, as an array of uint8 that owns them."""
        with self.source.opened() as file:
            if self.is_text:
                file.seek(self.start)
                content = file.read(self.length).decode().encode("latin-1")
                found = np.frombuffer(content, np.uint8)[start : start + length].copy()
            else:
                found = np.empty(length, np.uint8)
                file.seek(self.start + start)
                found = found[: file.readinto(memoryview(found))]
            if found.size != length:
                raise self.source.error("is cut short within a tensor")
            return found


def strides_of(shape, order="C"):
    """Return the steps along the axes in values, of an array in the order of "C" or "F".

    Raises:
        ValueError: it is no shape.
    """
    if not all(type(side) is int and 0 <= side <= _MAX_SIDE for side in shape[: _MAX_AXES + 1]):
        raise ValueError("the sides of a tensor are no whole numbers, or too long")
    # NumPy makes no empty arrays with sides that are longer together, either.
    if len(shape) > _MAX_AXES or math.prod(side or 1 for side in shape) > _MAX_PLACE:
        raise ValueError(f"a tensor has {len(shape)} axes, or too many values")
    axes = range(len(shape))
    return [math.prod(shape[:axis] if order == "F" else shape[axis + 1 :]) for axis in axes]


class StoredTensor:
    """A tensor in a file that has not been read yet. `np.asarray` reads it.

    Args:
        span: a `Span`, or the bytes themselves.
        shape: tuple of ints.
        kind: a key of `TYPES`.
        strides: steps along the axes in values; None for the order of C.
        offset: of the first value in the span, in values.
        is_big_endian: the order of the bytes of a value.

    Attributes:
        shape: as the file declares it.
        dtype: of the array that is read: that of the file, float32 for bfloat16.
        stored_as: name of the type in the file, such as "bfloat16".
        nbytes: of all values in the file's type.

    Raises:
        ValueError: the span has fewer values, or the numbers are none of a tensor.
    """

    def __init__(self, span, shape, kind, strides=None, offset=0, is_big_endian=False):
        natural = strides_of(shape)
        strides = natural if strides is None else strides
        places = [offset, *shape, *strides]
        if len(shape) != len(strides):
            raise ValueError(f"a tensor of {len(shape)} axes has {len(strides)} strides")
        if not all(type(place) is int and 0 <= place < _MAX_PLACE for place in places):
            raise ValueError("a shape, stride or offset of a tensor is no whole number")
        self.shape, self.stored_as = tuple(shape), kind
        self.dtype = np.dtype("float32") if kind == "bfloat16" else TYPES[kind]
        self._span, self._strides, self._offset = span, tuple(strides), offset
        self._stored = TYPES[kind].newbyteorder(">" if is_big_endian else "<")
        self._count = math.prod(shape)
        self.nbytes = self._count * self._stored.itemsize
        reach = sum((side - 1) * step for side, step in zip(shape, strides, strict=True)) + 1
        self._reach = reach if self._count else 0
        length = span.length if isinstance(span, Span) else len(span)
        # The second: views that repeat values could be of any size in a small file.
        if max(offset + self._reach, self._count) * self._stored.itemsize > length:
            raise ValueError(
                f"a tensor of shape {self.shape} and type {kind} has more values than the file has "
                "for it"
            )

    def __repr__(self):
        return f"StoredTensor(shape={self.shape}, dtype={self.stored_as})"

    def __array__(self, dtype=None, copy=None):
        size = self._stored.itemsize
        start, length = self._offset * size, self._reach * size
        if isinstance(self._span, Span):
            content = self._span.read(start, length)
        else:
            content = np.frombuffer(self._span, np.uint8)[start : start + length].copy()
        array = content.view(self._stored)
        strides = [step * size for step in self._strides]
        if not self._count:
            array = np.empty(self.shape, self._stored)
        else:
            # `reading` checked that the strides stay within the content.
            array = np.lib.stride_tricks.as_strided(array, self.shape, strides)
        if self.stored_as == "bfloat16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        elif self.stored_as == "bool":
            array = array.view(np.uint8) != 0
        return np.ascontiguousarray(array, dtype or self.dtype).reshape(self.shape)
