"""Weight files of other programs that are made by hand, and what is read of them."""

import json
import struct
import zipfile

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.tensor_files import read_tensors


def arrays(path):
    return {name: np.asarray(tensor) for name, tensor in read_tensors(path).tensors.items()}


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True, err_msg=name)


def refused(path, *words):
    with pytest.raises(WeightFileError) as caught:
        for tensor in read_tensors(path).tensors.values():
            np.asarray(tensor)
    for word in (str(path), *words):
        assert word in str(caught.value)


def refused_content(folder, content, *words):
    path = folder / "x.pkl"
    path.write_bytes(content)
    refused(path, *words)


def torch_zip(path, pickled, contents=(), **options):
    """Write an archive like that of torch."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", b"\x80\2" + pickled)
        for name, content in contents:
            archive.writestr(f"archive/{name}", content)


def tensor(offset=b"K\0", shape=b"K\2\x85", strides=b"K\1\x85", count=b"K\4", kind=b"Float"):
    """Return a state dict with a tensor of the storage "0"."""
    storage = b"(X\7\0\0\0storagectorch\n%bStorage\nX\1\0\0\x000X\3\0\0\0cpu%btQ" % (kind, count)
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return b"}X\1\0\0\0a%b(%b%b%b%b\x89}tRs." % (function, storage, offset, shape, strides)


def safetensors(header, size):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(size))


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}
