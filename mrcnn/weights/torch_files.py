"""Files of `torch.save`, without torch: the zip format, and the older row of pickles."""

import struct
import zipfile

from mrcnn.archives import listing_bytes
from mrcnn.weights.pickled_arrays import ADMITTED, collected
from mrcnn.weights.pickles import Admitted, Ignored, Machine
from mrcnn.weights.stored import TYPES, Span, StoredTensor

# The start of the older format: a pickle of a number that torch chose.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
_MAX_LISTING = 1 << 23
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\3\4"
_ENCRYPTED = 1

STORAGES = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "Untyped": "uint8",
}


class _Storage:
    """Numbers in a row, which tensors show parts of.

    Args:
        kind: a key of `TYPES`.
        count: number of values.
        span: where they are in the file; None while that is unknown.
        root: a `_Storage` that this one is a part of, or None.
        first: index of the first value in `root`.
    """

    def __init__(self, kind, count, span=None, root=None, first=0):
        if type(count) is not int or count < 0 or type(first) is not int or first < 0:
            raise ValueError("a storage without a size")
        self.kind, self.count, self.span = kind, count, span
        self.length = count * TYPES[kind].itemsize
        self._root, self._first = root, first

    def content(self):
        """Return the `Span` of the values."""
        if self._root is None:
            if self.span is None:
                raise ValueError("a storage whose content is missing")
            return self.span
        outer, start = self._root.content(), self._first * TYPES[self.kind].itemsize
        if start + self.length > outer.length:
            raise ValueError("a part of a storage that is not within it")
        return Span(outer.source, outer.start + start, self.length)


class _Tensor(Ignored):
    """A tensor as its pickle describes it: a view of a storage. Its attributes do not matter."""

    def __init__(self, storage, offset, shape, strides, kind=None):
        if type(storage) is not _Storage:
            raise TypeError("a tensor without a storage")
        self._storage, self._kind = storage, kind or storage.kind
        self._places = shape, strides, offset

    def stored(self, is_big_endian=False):
        """Return the `StoredTensor`; ValueError or TypeError if it cannot be one."""
        shape, strides, offset = self._places
        if type(shape) is not tuple or type(strides) is not tuple:
            raise TypeError("a tensor without shape or strides")
        content = self._storage.content()
        return StoredTensor(content, shape, self._kind, strides, offset, is_big_endian)


def _tensor(storage, offset, shape, strides, *flags):
    return _Tensor(storage, offset, shape, strides)


def _typed_tensor(storage, offset, shape, strides, grad, hooks, kind, *flags):
    return _Tensor(storage, offset, shape, strides, kind.value)


def _parameter(tensor, *flags):
    return tensor


def _of_class(function, kind, arguments, state):
    """Return a tensor that has attributes or is of another class."""
    return function.call(*arguments)


def _ignored(*arguments):
    return Ignored()


def _admitted():
    """Return `{name: Admitted}` of all names that files of torch may have."""
    functions = {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _typed_tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _of_class,
        "torch.Size": tuple,
        "torch.device": _ignored,
        "torch.Tensor": None,
        "torch.nn.parameter.Parameter": None,
        "torch.nn.parameter.Buffer": None,
    }
    # Old versions wrote storages of a GPU so.
    values = {
        f"{module}.{name}Storage": kind
        for module in ("torch", "torch.cuda")
        for name, kind in STORAGES.items()
    }
    values["torch.storage.UntypedStorage"] = "uint8"
    values.update({f"torch.{kind}": kind for kind in TYPES})
    return {
        **ADMITTED,
        **{name: Admitted(name, function) for name, function in functions.items()},
        **{name: Admitted(name, value=value) for name, value in values.items()},
    }


_ADMITTED = _admitted()


def read_zip(source):
    """Return the tensors of a file in the zip format and what else it says, see `collected`."""
    with source.opened() as file:
        entries = _entries(source, file)
        start, is_big_endian = _pickle_of(source, file, entries)
        storages = {}

        def persistent(saved):
            word, kind, key, _, count = saved
            if word != "storage" or type(key) is not str:
                raise ValueError("a persistent id that is none of a storage")
            storage = _known(storages, kind, key, count)
            storage.span = entries[f"{start}data/{key}"]
            if storage.span.length != storage.length:
                raise source.error(
                    f"has {storage.span.length} bytes for the storage {key[:50]!r}, which should "
                    f"have {storage.length}"
                )
            return storage

        place = entries[f"{start}data.pkl"]
        end = place.start + place.length
        top = Machine(source, file, place.start, end, _ADMITTED, persistent).load()
        return collected(source, top, is_big_endian)


def _known(storages, kind, key, count):
    """Return the storage of a key, made at its first use."""
    if type(kind) is not Admitted or kind.value is None:
        raise ValueError("a storage without a type")
    storage = storages.setdefault(key, _Storage(kind.value, count))
    if (storage.kind, storage.count) != (kind.value, count):
        raise ValueError("a storage of two types or sizes")
    return storage


def _entries(source, file):
    """Return `{name: Span}` of an archive whose files are stored as they are, one after another."""
    if listing_bytes(file) > _MAX_LISTING:
        raise source.error("lists too many files for an archive of torch")
    with zipfile.ZipFile(file) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    entries, end = {}, 0
    for info in infos:
        name = info.orig_filename
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise source.error(
                f"has {name[:100]!r} compressed or encrypted, as torch.save never writes it: it is "
                "a program of torch.jit.save, of another program, or was packed again"
            )
        file.seek(info.header_offset)
        magic, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + sum(lengths)
        is_whole = info.file_size == info.compress_size <= source.size - start
        if magic != _LOCAL_MAGIC or not is_whole or info.header_offset < end or name in entries:
            raise source.error(f"has {name[:100]!r} twice, cut short or within another entry")
        end = start + info.file_size
        entries[name] = Span(source, start, info.file_size)
    return entries


def _pickle_of(source, file, entries):
    """Return the folder of the archive with the pickle, "archive/", and the order of bytes."""
    folders = [name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise source.error(
            "is an archive, but none of torch.save: that has one file data.pkl within a folder"
        )
    order = entries.get(f"{folders[0]}byteorder")
    if order is None:
        return folders[0], False
    file.seek(order.start)
    return folders[0], file.read(min(order.length, 10)) == b"big"


def read_legacy(source):
    """Return the tensors of a file of torch before 1.6 and what else it says, see `collected`."""
    storages, views = {}, {}

    def persistent(saved):
        word, kind, key, _, count, view = saved
        if word != "storage" or type(key) is not str:
            raise ValueError("a persistent id that is none of a storage")
        root = _known(storages, kind, key, count)
        if view is None:
            return root
        name, first, size = view
        if type(name) is not str:
            raise ValueError("a part of a storage without a name")
        return views.setdefault((key, name), _Storage(root.kind, size, None, root, first))

    with source.opened() as file:
        at, parts = 0, []
        # A magic number, the version, facts of the machine, the object, the keys of the storages.
        for number in range(5):
            machine = Machine(
                source, file, at, source.size, _ADMITTED, persistent if number == 3 else None
            )
            parts.append(machine.load())
            at = machine.at
        _, version, _, top, keys = parts
        if version != _LEGACY_PROTOCOL:
            raise source.error("is of a version of torch's old format that is not known")
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise source.error("has no list of its storages")
        for key in keys:
            storage = storages[key]
            file.seek(at)
            (count,) = struct.unpack("<q", file.read(8))
            storage.span, at = Span(source, at + 8, storage.length), at + 8 + storage.length
            if count != storage.count or at > source.size:
                raise source.error(f"is cut short in the storage {key[:50]!r}")
    return collected(source, top)
