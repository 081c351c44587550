"""Files for other programs, compared with what torch wrote and with what Python unpickles."""

import json
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mrcnn.weights.tensor_files import read_tensors
from mrcnn.weights.tensor_writers import write_pickle, write_safetensors, write_torch

# torch 2.13 wrote it.
GOLDEN = Path(__file__).parents[1] / "golden" / "torch_plain.pth"
TENSORS = {
    "conv.weight": (np.arange(12, dtype="f4") - 1.5).reshape(2, 3, 2, 1),
    "count": np.array(7),
    "double": np.arange(3) - 1.5,
    "half": (np.arange(3) - 1.5).astype("f2"),
    "byte": np.arange(3, dtype="u1"),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 3), "f4"),
}
# The codes in the reader of torch 2.13 that reads weights alone.
TORCH_CODES = set(
    "APPEND APPENDS BINFLOAT BINGET BININT BININT1 BININT2 BINPERSID BINPUT BINUNICODE BUILD "
    "EMPTY_DICT EMPTY_LIST EMPTY_SET EMPTY_TUPLE GLOBAL LONG1 LONG_BINGET LONG_BINPUT MARK "
    "NEWFALSE NEWOBJ NEWTRUE NONE PROTO REDUCE SETITEM SETITEMS SHORT_BINSTRING STOP TUPLE TUPLE1 "
    "TUPLE2 TUPLE3".split()
)


class Recorder(pickle.Unpickler):
    """Python's own unpickler, with names that make tuples of what they are called with."""

    def find_class(self, module, name):
        if name == "OrderedDict":
            return OrderedDict
        return lambda *arguments: (f"{module}.{name}", *arguments)

    def persistent_load(self, saved):
        word, kind, *rest = saved
        return word, kind(), *rest


def recorded(path):
    """Return the pickle of a file of torch, and the contents of its storages."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        top = archive.namelist()[0].split("/")[0]
        contents = {
            name.removeprefix(f"{top}/data/"): archive.read(name)
            for name in archive.namelist()
            if "/data/" in name
        }
        with archive.open(f"{top}/data.pkl") as file:
            return Recorder(file).load(), contents


def test_a_file_for_torch_says_what_that_of_torch_says(tmp_path):
    path = tmp_path / "x.pth"
    write_torch(path, TENSORS)
    ours, theirs = recorded(path), recorded(GOLDEN)
    assert ours == theirs
    assert type(ours[0]) is OrderedDict and list(ours[0]) == list(TENSORS)


def test_a_file_for_torch_with_values_beside_the_weights(tmp_path):
    path = tmp_path / "x.pth"
    metadata = {"epoch": 3, "rate": 0.1, "more": [None, True, (-(2**40), "é")], "none": {}}
    write_torch(path, TENSORS, metadata)
    assert recorded(path)[0] == {"model": recorded(GOLDEN)[0], **metadata}
    assert read_tensors(path).metadata == {"epoch": 3, "rate": 0.1}
    with zipfile.ZipFile(path) as archive:
        codes = {code.name for code, _, _ in pickletools.genops(archive.read("archive/data.pkl"))}
    assert codes <= TORCH_CODES


def test_storages_begin_where_torch_can_map_them(tmp_path):
    path = tmp_path / "x.pth"
    write_torch(path, TENSORS)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
    for info in infos.values():
        assert info.compress_type == zipfile.ZIP_STORED
        lengths = struct.unpack_from("<HH", content, info.header_offset + 26)
        assert (info.header_offset + 30 + sum(lengths)) % 64 == 0


@pytest.mark.parametrize(
    "array", [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">i4")]
)
def test_the_order_of_values_in_memory_does_not_matter(array, tmp_path):
    for write in (write_torch, write_safetensors):
        write(tmp_path / "x", {"a": array})
        np.testing.assert_array_equal(np.asarray(read_tensors(tmp_path / "x").tensors["a"]), array)
    write_pickle(tmp_path / "x", {"a": array})
    with open(tmp_path / "x", "rb") as file:
        np.testing.assert_array_equal(pickle.load(file)["a"], array)


@pytest.mark.parametrize("write", [write_torch, write_safetensors])
def test_bfloat16(write, tmp_path):
    write(tmp_path / "x", {"a": np.array([1.5, -2, 0.1], ml_dtypes.bfloat16)})
    tensor = read_tensors(tmp_path / "x").tensors["a"]
    assert tensor.stored_as == "bfloat16"
    # 0.1 to eight binary digits: 205 / 2048.
    np.testing.assert_array_equal(np.asarray(tensor), np.array([1.5, -2, 205 / 2048], "f4"))


def test_a_pickle_for_detectron2(tmp_path):
    path = tmp_path / "x.pkl"
    tensors = {**TENSORS, "long": np.arange(3000, dtype="i8")}
    contents = {"model": tensors, "__author__": "someone", "matching_heuristics": False, "n": [1]}
    write_pickle(path, contents)
    with open(path, "rb") as file:
        found = pickle.load(file, encoding="latin1")
    model = found.pop("model")
    assert found == {"__author__": "someone", "matching_heuristics": False, "n": [1]}
    assert list(model) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(model[name], array, strict=True)
    # Names that NumPy 1 knows as well.
    names = {
        text for code, text, _ in pickletools.genops(path.read_bytes()) if code.name == "GLOBAL"
    }
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


def test_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TENSORS, {"format": "pt"})
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert set(header) == set(TENSORS)
    types = {"conv.weight": "F32", "count": "I64", "double": "F64", "half": "F16"}
    types |= {"byte": "U8", "flag": "BOOL", "empty": "F32"}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        array = TENSORS[name]
        assert entry["dtype"] == types[name] and entry["shape"] == list(array.shape)
        assert content[8 + length :][start:stop] == array.tobytes()
        assert start % array.itemsize == 0
    assert len(content) == 8 + length + sum(array.nbytes for array in TENSORS.values())


@pytest.mark.parametrize("write", [write_torch, write_safetensors])
def test_what_was_read_is_written_again(write, tmp_path):
    path = tmp_path / "x"
    write(path, read_tensors(GOLDEN).tensors)
    found = read_tensors(path).tensors
    assert set(found) == set(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(np.asarray(found[name]), array, strict=True)


@pytest.mark.parametrize(
    ("write", "value", "words"),
    [
        (
            write_torch,
            {"a": np.zeros(2, "c8")},
            '"a" is of type complex64; the format has bfloat16, bool, ',
        ),
        (write_torch, {"a": np.zeros(2, "u2")}, "uint16"),
        (write_torch, {"a": np.array([{}])}, "object"),
        (write_torch, {5: np.zeros(2)}, "5 is no name"),
        (write_safetensors, {"a": np.zeros(2, "U3")}, '"a" is of type <U3'),
        (write_safetensors, {"a\n": np.zeros(2)}, "no name"),
        (write_pickle, {"model": {"a": np.array([{}])}}, "ndarray of type object"),
        (write_pickle, {"model": {"a": {1, 2}}}, "cannot hold a set"),
    ],
)
def test_values_that_a_format_lacks(write, value, words, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=words):
        write(path, value)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_metadata_of_safetensors_are_texts(tmp_path):
    with pytest.raises(ValueError, match="are texts"):
        write_safetensors(tmp_path / "x", TENSORS, {"epoch": 3})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_torch, write_pickle, write_safetensors])
def test_a_folder_that_is_not_there(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere/x\" cannot be written"):
        write(tmp_path / "nowhere" / "x", TENSORS)
