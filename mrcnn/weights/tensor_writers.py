"""Weight files for other programs, written without them: torch's, Detectron2's and safetensors.

Each file appears whole or not at all, and the same tensors give the same bytes.
"""

import json
import struct
import zipfile

import numpy as np

from mrcnn.files import replacing
from mrcnn.weights import pickle_writer
from mrcnn.weights.safetensors_files import CODES
from mrcnn.weights.torch_files import STORAGES

# As torch does, which can map storages that begin at such places into memory.
_ALIGNMENT = 64
_LOCAL_HEADER, _EXTRA_HEADER = 30, struct.Struct("<HH")
# Space for the sizes in entries of more than 2 GiB.
_LARGE, _LARGE_HEADER = (1 << 31) - 1, 20
_PADDING_ID = 0x4246
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def write_torch(path, tensors, metadata=None):
    """Write a file that `torch.load(path, weights_only=True)` reads, as of torch 1.6.

    Args:
        path: of the file; an existing one is replaced.
        tensors: `{name: array}`, a state dict.
        metadata: plain values beside the state dict, which is then "model" in a dict. None writes
            the state dict at the top, as torchvision publishes its weights.

    Raises:
        ValueError: a name is no text, or an array is of a type that torch lacks.
        OSError: names `path`, if it cannot be written.
    """
    kinds = {kind: name for name, kind in STORAGES.items() if name != "Untyped"}
    _check(tensors, kinds)
    content = pickle_writer.torch_pickle(tensors, kinds, metadata)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, "data.pkl", content)
        _add(archive, "byteorder", b"little")
        for number, tensor in enumerate(tensors.values()):
            _add(archive, f"data/{number}", _content(tensor))
        _add(archive, "version", b"3\n")


def _add(archive, name, content):
    """Add an entry whose content begins at a multiple of 64 bytes."""
    entry = zipfile.ZipInfo(f"archive/{name}", _FIRST_DATE)
    content = memoryview(content).cast("B") if len(content) else b""
    size = len(content)
    header = _LOCAL_HEADER + len(entry.filename) + _EXTRA_HEADER.size
    header += _LARGE_HEADER if size > _LARGE else 0
    padding = -(archive.fp.tell() + header) % _ALIGNMENT
    entry.extra = _EXTRA_HEADER.pack(_PADDING_ID, padding) + bytes(padding)
    entry.file_size = size
    with archive.open(entry, "w", force_zip64=size > _LARGE) as file:
        file.write(content)


def write_pickle(path, contents):
    """Write a pickle of plain values and arrays, such as Detectron2's checkpointer reads.

    Args:
        path: of the file; an existing one is replaced. Detectron2 wants the suffix ".pkl".
        contents: a dict such as `{"model": {name: array}, "__author__": "..."}`; texts, numbers,
            None, lists, tuples, dicts and arrays may be in it. NumPy 1 reads the arrays as well.

    Raises:
        ValueError: a value is of another type.
        OSError: names `path`, if it cannot be written.
    """
    with replacing(path) as temporary, open(temporary, "xb") as file:
        pickle_writer.write(file, contents)


def write_safetensors(path, tensors, metadata=None):
    """Write a file in the safetensors format.

    Args:
        path: of the file; an existing one is replaced.
        tensors: `{name: array}`.
        metadata: `{name: text}`, or None.

    Raises:
        ValueError: a name or a value of `metadata` is no text, or an array is of a type that the
            format lacks.
        OSError: names `path`, if it cannot be written.
    """
    codes = {kind: code for code, kind in CODES.items()}
    _check(tensors, codes)
    header, end = {}, 0
    if metadata:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise ValueError("The metadata of a safetensors file are texts; make texts of them.")
        header["__metadata__"] = dict(metadata)
    # Long types first, so that each value begins at a multiple of its size.
    names = sorted(tensors, key=lambda name: -np.dtype(tensors[name].dtype).itemsize)
    for name in names:
        tensor = tensors[name]
        dtype, shape = np.dtype(tensor.dtype), [int(side) for side in tensor.shape]
        start, end = end, end + int(np.prod(shape, dtype=object)) * dtype.itemsize
        header[name] = {"dtype": codes[dtype.name], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(_content(tensors[name]))


def _check(tensors, kinds):
    """Raise ValueError unless names are texts, and types have a name in a format."""
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not name.isprintable():
            raise ValueError(f"{name!r} is no name for a tensor; give a text without line breaks.")
        if np.dtype(tensor.dtype).name not in kinds:
            raise ValueError(
                f'"{name}" is of type {tensor.dtype}; the format has {", ".join(sorted(kinds))}.'
            )


def _content(tensor):
    """Return the bytes of a tensor, lowest first."""
    return pickle_writer.little_endian(tensor)
