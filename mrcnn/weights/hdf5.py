"""HDF5 files of unknown origin: nothing is read unasked, and no link leads elsewhere.

HDF5 can make a small file answer for much: links to other files, data kept in other files, shapes
of terabytes, compressed zeros. Here an object is found step by step through plain (hard) links, and
the type, the shape and the storage of a data set are known to be sound before it is read.
"""

import math
import mmap
import os
import zlib
from contextlib import contextmanager
from functools import cached_property

import h5py
import numpy as np
from h5py import h5a, h5d, h5i, h5l, h5o, h5s, h5z

from mrcnn.files import one_line

# Names of layers, weights or objects in one file.
_MAX_NAMES = 100_000
_MAX_NAME_BYTES = 1 << 24
_MAX_CHUNKS = 1 << 14
# Filters whose output has a size that can be checked: compressed chunks are inflated by us first.
_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}


class WeightFileError(ValueError):
    """A file is not a whole and sound weight file. The model is as it was."""


def require_file(path):
    """Raise an error if a path is not that of a regular file; a pipe would never end.

    Raises:
        FileNotFoundError, WeightFileError.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f'The weight file "{path}" does not exist.')
    if not os.path.isfile(path):
        raise WeightFileError(f'"{path}" is a folder, a pipe or a device, not a weight file.')


@contextmanager
def reading(path):
    """Make one `WeightFileError` of all the errors that damaged files cause."""
    try:
        yield
    except WeightFileError:
        raise
    except PermissionError as error:
        raise WeightFileError(f'"{path}" may not be read: permission denied.') from error
    # Depending on the damaged byte, h5py and zipfile raise errors of a dozen kinds.
    except Exception as error:
        reason = one_line(error)
        raise WeightFileError(
            f'"{path}" ({os.path.getsize(path)} bytes) is not a whole HDF5 file: it is empty, cut '
            f"short or of another format. Download or copy it again. ({reason})"
        ) from error


@contextmanager
def opened(path):
    """Yield the open file.

    Raises:
        FileNotFoundError, WeightFileError.
    """
    require_file(path)
    with reading(path):
        file = h5py.File(path, "r")
    with file:
        yield file


def child(path, parent, name):
    """Return the group or data set at a name below a group.

    Raises:
        KeyError: if there is none. A `WeightFileError` if a link leads elsewhere.
    """
    # Not `name in parent`, which would open the target of a link.
    at = name.find("/")
    while at >= 0:
        require_hard_link(path, parent, name[:at])
        at = name.find("/", at + 1)
    require_hard_link(path, parent, name)
    return parent[name]


def require_hard_link(path, group, name):
    """Raise `WeightFileError` if a name in a group is a soft or an external link.

    If the name has several parts, those before the last must have been checked.
    """
    try:
        link = group.id.links.get_info(name.encode())
    except (KeyError, RuntimeError) as error:
        raise KeyError(f"{group.name} lacks {name}") from error
    if link.type != h5l.TYPE_HARD:
        raise WeightFileError(
            f'"{path}": {group.name.rstrip("/")}/{name} is a link to another place or file, which '
            "is not followed. Write the weights themselves into the file."
        )


def texts(path, owner, name):
    """Return the strings of an attribute as a list; [] for an empty one of any type.

    Raises:
        KeyError: if there is none. A `WeightFileError` if it is no text, or too much.
    """
    if not h5a.exists(owner.id, name.encode()):
        raise KeyError(f"{owner.name} lacks the attribute {name}")
    attribute = h5a.open(owner.id, name.encode())
    count = math.prod(attribute.shape) if attribute.shape is not None else 0
    if not count:
        return []
    dtype = attribute.dtype
    kind = h5py.check_string_dtype(dtype)
    size = count * dtype.itemsize
    if kind is not None and kind.length is None and count > 1:
        # The file may have one long text and refer to it a thousand times.
        size = count * _largest_heap(path)
    if kind is None or count > _MAX_NAMES or size > _MAX_NAME_BYTES:
        raise WeightFileError(
            f'"{path}": the attribute {name} of {owner.name} has {count} values of type {dtype}; '
            f"accepted are up to {_MAX_NAMES} texts."
        )
    if kind.length is None:
        values = np.ravel(owner.attrs[name]).tolist()
    else:
        array = np.empty(attribute.shape, dtype)
        attribute.read(array)
        values = array.ravel().tolist()
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def names(path, owner, name):
    """Return the names in an attribute as a list, see `texts`. They may be shown to a user."""
    found = texts(path, owner, name)
    for text in found:
        if not text.isprintable():
            raise WeightFileError(f'"{path}": {text!r} in {name} of {owner.name} is not a name.')
    return found


def _largest_heap(path):
    """Return the size of the largest collection of texts of variable length in a file."""
    largest, size = 0, os.path.getsize(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(b"GCOL\x01")
        while at >= 0:
            length = int.from_bytes(data[at + 8 : at + 16], "little")
            largest = max(largest, length if length <= size else 0)
            at = data.find(b"GCOL\x01", at + 1)
    return largest


class Tensor:
    """A weight in a file that has not been read yet. `np.asarray` reads it.

    The low-level interface of h5py takes half the time of the usual one, which counts in a file of
    700 tensors.

    Args:
        path: of the file, for messages.
        group: an h5py group.
        name: below the group.
        checked: names of subgroups known to be in the group itself, a set that the tensors of a
            layer share.

    Attributes:
        shape: as the file declares it.
    """

    def __init__(self, path, group, name, checked):
        self._path, self._group, self._name, self._checked = path, group, name, checked

    @cached_property
    def _found(self):
        with reading(self._path):
            at = self._name.find("/")
            while at >= 0:
                if self._name[:at] not in self._checked:
                    require_hard_link(self._path, self._group, self._name[:at])
                    self._checked.add(self._name[:at])
                at = self._name.find("/", at + 1)
            require_hard_link(self._path, self._group, self._name)
            found = h5o.open(self._group.id, self._name.encode())
            return found, *check_dataset(self._path, found)

    @property
    def shape(self):
        return self._found[1]

    def __array__(self, dtype=None, copy=None):
        found, shape, stored_as = self._found
        with reading(self._path):
            check_storage(self._path, found, shape, stored_as)
            array = np.empty(shape, stored_as)
            if array.size:
                found.read(h5s.ALL, h5s.ALL, array)
            return np.asarray(array, dtype)


def _name(found):
    return h5i.get_name(found).decode(errors="replace")


def check_dataset(path, found, is_bfloat16=False):
    """Return shape and type of a data set that has numbers, and has them in this file.

    HDF5 knows no bfloat16; Keras writes two bytes without a type, and says so in an attribute.

    Args:
        path: of the file, for messages.
        found: `h5py.h5d.DatasetID`, or the id of another object, which is refused.
        is_bfloat16: whether it is said to hold bfloat16.
    """
    if not isinstance(found, h5d.DatasetID):
        raise WeightFileError(f'"{path}": {_name(found)} is not a data set.')
    # Before the shape, for which HDF5 may open the files of a virtual data set.
    made = found.get_create_plist()
    if made.get_layout() == h5d.VIRTUAL or made.get_external_count():
        raise WeightFileError(
            f'"{path}": {_name(found)} has its values in another file, which is not read. Write '
            "the weights themselves into the file."
        )
    dtype, extent = found.dtype, found.get_space().get_simple_extent_type()
    is_number = dtype == "V2" if is_bfloat16 else dtype.kind in "fiu" and dtype.itemsize <= 8
    if extent == h5s.NULL or not is_number:
        raise WeightFileError(
            f'"{path}": {_name(found)} is of type {dtype}; weights are numbers of type float16, '
            "float32 or float64."
        )
    return found.shape, dtype


def check_storage(path, found, shape, dtype):
    """Raise `WeightFileError` unless the file has all the values that the shape of a data set says.

    HDF5 returns zeros for values that were never written, and inflates a chunk however large it
    becomes. `found` is a `h5py.h5d.DatasetID`.
    """
    total, stored = math.prod(shape) * dtype.itemsize, found.get_storage_size()
    if not total:
        return
    made = found.get_create_plist()
    if made.get_layout() != h5d.CHUNKED:
        if stored < total:
            raise WeightFileError(
                f'"{path}": {_name(found)} should have {total} bytes, and the file has {stored} of '
                "them."
            )
        return
    filters = [made.get_filter(index)[0] for index in range(made.get_nfilters())]
    chunks = made.get_chunk()
    size = math.prod(chunks) * dtype.itemsize
    pairs = list(zip(shape, chunks, strict=True))
    count = math.prod(-(-side // chunk) for side, chunk in pairs)
    known = set(filters) <= _FILTERS and len(set(filters)) == len(filters)
    if not known or count > _MAX_CHUNKS or size > 4 * total + (1 << 20):
        raise WeightFileError(
            f'"{path}": {_name(found)} is stored in {count} pieces of {size} bytes with the '
            f"filters {filters}; accepted are up to {_MAX_CHUNKS} pieces, gzip, shuffle and "
            "Fletcher's checksum. Write the file without compression."
        )
    for index in np.ndindex(*(-(-side // chunk) for side, chunk in pairs)):
        place = tuple(number * chunk for number, chunk in zip(index, chunks, strict=True))
        if _chunk_size(found, place, filters, size) != size:
            raise WeightFileError(
                f'"{path}": the piece {place} of {_name(found)} does not have its {size} bytes.'
            )


def _chunk_size(found, place, filters, size):
    """Return the bytes of a chunk without its filters, and -1 if they are too many."""
    checksum = 4 if h5z.FILTER_FLETCHER32 in filters else 0
    info = found.get_chunk_info_by_coord(place)
    if info.byte_offset is None or info.filter_mask or info.size > 2 * size + 1024:
        return -1
    if h5z.FILTER_DEFLATE not in filters:
        return info.size - checksum
    _, content = found.read_direct_chunk(place)
    inflater = zlib.decompressobj()
    # One byte more than there should be shows that there is more.
    length = len(inflater.decompress(content, size + checksum + 1))
    fletcher = h5z.FILTER_FLETCHER32
    is_inside = checksum and filters.index(fletcher) < filters.index(h5z.FILTER_DEFLATE)
    return length - (checksum if is_inside else 0)
