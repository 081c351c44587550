"""Weight files of other programs: what torch and NumPy wrote is read, and nothing else is.

torch 2.13 wrote the files `tests/golden/torch_*.pth`, with numbers from -1.5 on in steps of 1.
"""

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.tensor_files import read_tensors, recognises
from mrcnn.weights.tensor_writers import write_safetensors

GOLDEN = Path(__file__).parents[1] / "golden"
ARRAYS = {
    "conv": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "long": np.arange(3000.0),
    "turned": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "fortran": np.asfortranarray(np.arange(6, dtype="f2").reshape(2, 3)),
    "scalar": np.float32(3.5),
    "point": np.array(7),
    "empty": np.zeros((0, 3)),
    "flag": np.array([True, False]),
    "big_endian": np.arange(3).astype(">f4"),
    "byte": np.arange(3, dtype="u1"),
}


def counted(*shape):
    """Numbers from -1.5 on, as in the golden files."""
    return (np.arange(np.prod(shape)) - 1.5).reshape(shape)


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


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth"])
def test_files_of_torch(name):
    whole = counted(3, 4).astype("f4")
    expected = {
        "conv.weight": counted(2, 3, 2, 2).astype("f4"),
        "half": counted(3).astype("f2"),
        "brain": counted(3).astype("f4"),
        "double": counted(3),
        "count": np.array(7),
        "byte": np.arange(3, dtype="u1"),
        "flag": np.array([True, False]),
        "whole": whole,
        "row": whole[1],
        "column": whole[:, 2],
        "turned": whole.T,
        "empty": np.zeros((0, 3), "f4"),
    }
    found = read_tensors(GOLDEN / name)
    assert found.format == "torch" and found.metadata == {}
    same(arrays(GOLDEN / name), expected)
    assert {name: tensor.shape for name, tensor in found.tensors.items()} == {
        name: array.shape for name, array in expected.items()
    }
    assert found.tensors["brain"].stored_as == "bfloat16"
    assert found.tensors["brain"].dtype == np.float32


def test_a_checkpoint_of_a_training_with_torch():
    found = read_tensors(GOLDEN / "torch_training.pth")
    assert found.metadata == {"epoch": 3}
    assert list(found.tensors)[:3] == ["fc.weight", "fc.bias", "bn.weight"]
    np.testing.assert_array_equal(np.asarray(found.tensors["fc.weight"]), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(np.asarray(found.tensors["fc.bias"]), [5, 6])


def test_tensors_of_newer_types_and_with_attributes():
    same(
        arrays(GOLDEN / "torch_typed.pth"),
        {"u": np.array([65000, 1, 2], "u2"), "noted": counted(2).astype("f4")},
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_arrays(protocol, tmp_path):
    path = tmp_path / "x.pkl"
    top = {"model": ARRAYS, "__author__": "someone", "matching_heuristics": True, "more": [{}, {1}]}
    path.write_bytes(pickle.dumps(top, protocol))
    found = read_tensors(path)
    assert found.format == "pickle"
    assert found.metadata == {"__author__": "someone", "matching_heuristics": True}
    native = {k: np.asarray(v, v.dtype.newbyteorder("=")) for k, v in ARRAYS.items()}
    same(arrays(path), native)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_state_dict_at_the_top_of_a_pickle(protocol, tmp_path):
    path = tmp_path / "x.anything"
    path.write_bytes(pickle.dumps({"a": np.ones(2, "f4"), "note": "no tensor"}, protocol))
    same(arrays(path), {"a": np.ones(2, "f4")})


def test_a_pickle_of_python_2_as_caffe2_wrote_it(tmp_path):
    # The module names of NumPy 1, and all texts in bytes.
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\1(cnumpy\nndarray\nK\0\x85U\1btRq\2"
        b"(K\1K\1K\2\x86cnumpy\ndtype\n(U\2f4K\0K\1tR(K\3U\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        b"\x89T\x08\0\0\0" + np.array([1.5, -2], "<f4").tobytes() + b"tb"
    )
    path = tmp_path / "R-50.pkl"
    path.write_bytes(b"\x80\2}q\0U\5blobs}(U\7conv1_w" + array + b"U\x03n\xe9eh\2us.")
    expected = np.array([[1.5, -2]], "f4")
    same(arrays(path), {"conv1_w": expected, "née": expected})


class Call:
    """Becomes a call of any function in a pickle."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr, np.load, open])
def test_functions_are_not_run(function, protocol, tmp_path):
    made = tmp_path / "made"
    code = {os.system: f"touch {made}", eval: f"open({str(made)!r}, 'w')"}
    code[exec] = code[eval]
    arguments = (code[function],) if function in code else (str(made), "w")
    content = pickle.dumps({"model": {"a": Call(function, *arguments)}}, protocol)
    refused_content(tmp_path, content, f".{function.__name__}'", "nothing in it was run")
    assert not made.exists()
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("archive/data.pkl", content)
    refused(tmp_path / "x.pth", f".{function.__name__}'", "nothing in it was run")


def test_a_whole_model_says_what_to_save():
    refused(GOLDEN / "torch_module.pth", "torch.nn.modules.", "save model.state_dict()")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        # What is admitted may be neither changed nor called unless it is a function.
        (b"cnumpy\nndarray\n}X\1\0\0\0aK\1sb.", ()),
        (b"cnumpy\nndarray\n)R.", ("numpy.ndarray, which is no function",)),
        (b"cnumpy\nndarray\n)\x81.", ("numpy.ndarray, which is no function",)),
        (b"cnumpy.core.multiarray\n_reconstruct\n}X\1\0\0\0aK\1sb.", ()),
        (b"X\1\0\0\0a)R.", ("Admitted",)),
        # `obj`, `inst`, `ext1`, text of protocol 0, an id outside.
        (b"(cos\nsystem\no.", ("os.system",)),
        (b"(ios\nsystem\n.", ("pickle code b'i'",)),
        (b"\x82\1.", ("pickle code",)),
        (b"S'a'\n.", ("pickle code",)),
        (b"K\1Q.", ("outside the pickle",)),
        # Far too long, or with nothing behind it.
        (b"\x8b\xff\xff\xff\x7f.", ()),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", ()),
        (b"X\xff\xff\xff\xff.", ()),
        (b"Nr\xff\xff\xff\xff.", ("holds a single NoneType",)),
        (b"}" * (1 << 20), ("steps to unpickle",)),
        (b")\x85" + b"\x85" * 500_000 + b"K\1\x86}(h\0K\1u.", ()),
        (b"])" + b"\x85" * 200_000 + b"a.", ("a single list",)),
        (b"}()" + b"\x85" * 200_000 + b"K\1u.", ("keys that are no texts",)),
        (b"", ()),
        (b".", ()),
        (b"e.", ()),
        (b"0.", ()),
        (b"K\1.", ("holds a single int",)),
        (b"}.", ("has no tensors", "nothing")),
        (b"}X\5\0\0\0modelK\1s.", ("has no tensors", "model")),
    ],
)
def test_pickles_that_are_no_weights(code, words, tmp_path):
    refused_content(tmp_path, b"\x80\2" + code, *words)


def test_numbers_that_collide_as_keys(tmp_path):
    # Python puts whole numbers with the same rest by 2**61 - 1 into one row.
    keys = b"".join(
        b"\x8a\x10" + (number * (2**61 - 1)).to_bytes(16, "little") + b"N"
        for number in range(20_000)
    )
    refused_content(tmp_path, b"\x80\2}(" + keys + b"u.", "4096 keys")


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{}, eval], object), ("'O8'",)),
        (np.array(["a"]), ("'U1'",)),
        (np.zeros(2, [("a", "f4")]), ("'V4'",)),
        (np.zeros(2, "c8"), ("'c8'",)),
        (np.zeros(2, "M8[s]"), ("'M8'",)),
        (np.ones(2).view(Subclass), ("Subclass",)),
        (np.ma.ones(2), ("numpy.ma",)),
    ],
)
def test_arrays_of_other_things_than_numbers(array, words, tmp_path):
    refused_content(tmp_path, pickle.dumps({"a": array}, 2), *words)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
        (b"K\x02K\x03\x86", b"K\x02J\xff\xff\xff\xff\x86"),
        (b"K\x02K\x03\x86", b"K\x02\x88\x86"),
        (b"K\x02K\x03\x86", b"K\x02}\x86"),
        (b"K\x02K\x03\x86", b"K\x00\x8a\x08" + b"\xff" * 7 + b"\x7f\x86"),
        (b"f4", b"f8"),
        (b"f4", b"O8"),
        (b"f4", b"f9"),
        (b"C\x01b", b"K\x01"),
    ],
)
def test_arrays_with_wrong_parts(old, new, tmp_path):
    content = pickle.dumps({"a": np.zeros((2, 3), "f4")}, 3)
    if old != b"C\x01b":
        assert content.count(old) == 1
        refused_content(tmp_path, content.replace(old, new), "")
    else:
        # Its letter is not looked at.
        path = tmp_path / "x.pkl"
        path.write_bytes(content.replace(old, new))
        same(arrays(path), {"a": np.zeros((2, 3), "f4")})


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


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_order_of_bytes_of_a_file_of_torch(order, tmp_path):
    values = np.arange(4, dtype="<f4" if order == "little" else ">f4")
    torch_zip(
        tmp_path / "x.pth", tensor(), [("data/0", values.tobytes()), ("byteorder", order.encode())]
    )
    same(arrays(tmp_path / "x.pth"), {"a": np.array([0, 1], "f4")})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"offset": b"K\3"}, ('"a"', "more values than the file has")),
        ({"offset": b"J\xff\xff\xff\xff"}, ('"a"', "no whole number")),
        ({"offset": b"\x88"}, ('"a"',)),
        ({"offset": b"G\0\0\0\0\0\0\0\0"}, ('"a"',)),
        ({"strides": b"J\xff\xff\xff\xff\x85"}, ('"a"', "no whole number")),
        ({"strides": b"K\4\x85"}, ('"a"', "more values than the file has")),
        ({"strides": b")"}, ('"a"', "strides")),
        # A billion equal values from one.
        ({"shape": b"J\0\0\0\x40\x85", "strides": b"K\0\x85"}, ("more values than the file has",)),
        ({"shape": b"J\xff\xff\xff\xff\x85"}, ('"a"',)),
        ({"shape": b"(" + b"K\1" * 40 + b"t", "strides": b"(" + b"K\0" * 40 + b"t"}, ("axes",)),
        ({"count": b"K\5"}, ("16 bytes for the storage '0'", "should have 20")),
        ({"count": b"\x8a\x08" + b"\xff" * 7 + b"\x7f"}, ("16 bytes",)),
        ({"kind": b"Double"}, ("should have 32",)),
        ({"kind": b"ComplexFloat"}, ("torch.ComplexFloatStorage",)),
        ({"kind": b"Quint8"}, ("torch.Quint8Storage",)),
    ],
)
def test_tensors_with_wrong_parts(parts, words, tmp_path):
    torch_zip(tmp_path / "x.pth", tensor(**parts), [("data/0", bytes(16))])
    refused(tmp_path / "x.pth", *words)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("contents", "options", "words"),
    [
        ([], {}, ("damaged",)),
        ([("data/0", bytes(16))], {"compression": zipfile.ZIP_DEFLATED}, ("compressed",)),
        ([("data/0", bytes(16)), ("data/0", bytes(16))], {}, ("twice",)),
        ([("data/0", bytes(16)), ("x/data.pkl", b"")], {}, ("one file data.pkl",)),
    ],
)
def test_archives_that_torch_does_not_write(contents, options, words, tmp_path):
    torch_zip(tmp_path / "x.pth", tensor(), contents, **options)
    refused(tmp_path / "x.pth", *words)


def test_an_archive_of_another_program(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    refused(tmp_path / "x.npz", "is an archive, but none of torch.save")


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "x.pkl", "x.safetensors"])
def test_files_that_are_cut_short(name, tmp_path):
    if name == "x.pkl":
        content = pickle.dumps({"a": np.arange(3000.0)}, 4)
    elif name == "x.safetensors":
        write_safetensors(tmp_path / "whole", {"a": np.arange(300.0)})
        content = (tmp_path / "whole").read_bytes()
    else:
        content = (GOLDEN / name).read_bytes()
    for length in (0, 1, 8, 9, 40, len(content) // 2, len(content) - 1):
        (tmp_path / name).write_bytes(content[:length])
        refused(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("is empty",)),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), ("HDF5", "load_weights")),
        (b"<!DOCTYPE html><html>", ("web page",)),
        (bytes(257) + b"ustar" + bytes(250), ("before 0.1.10",)),
        (b"hello, world", ("no known format", "safetensors")),
        (b"\x80\0K\1.", ("protocol 0",)),
        (b"\x80\x09K\1.", ("protocol 9",)),
    ],
)
def test_files_of_other_formats(content, words, tmp_path):
    refused_content(tmp_path, content, *words)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        read_tensors(tmp_path / "nowhere.pth")
    refused(tmp_path, "folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "pipe")
    assert not recognises(tmp_path) and not recognises(tmp_path / "nowhere.pth")


def test_what_begins_like_a_weight_file_is_recognised(tmp_path):
    write_safetensors(tmp_path / "x", {"a": np.ones(2)})
    assert recognises(tmp_path / "x") and recognises(GOLDEN / "torch_legacy.pth")
    (tmp_path / "x").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert not recognises(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"")
    assert not recognises(tmp_path / "x")


def test_a_file_that_changes_after_it_was_opened(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a": np.arange(3000.0)}))
    tensor = read_tensors(path).tensors["a"]
    path.write_bytes(bytes(30_000))
    with pytest.raises(WeightFileError, match="was changed while it was read"):
        np.asarray(tensor)
    path.unlink()
    with pytest.raises(WeightFileError, match=r"x\.pkl.*no such file"):
        np.asarray(tensor)


def safetensors(header, size):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(size))


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_safetensors(tmp_path):
    header = {"__metadata__": {"format": "pt"}, "a": entry("BF16", (1, 2), (0, 4)), "b": entry()}
    header["b"]["data_offsets"] = (4, 12)
    numbers = np.array([1.5, -2, 3.25], "<f4").tobytes()
    content = safetensors(header, 0) + numbers[2:4] + numbers[6:8] + numbers[4:]
    (tmp_path / "x").write_bytes(content)
    found = read_tensors(tmp_path / "x")
    assert found.format == "safetensors" and found.metadata == {"format": "pt"}
    expected = {"a": np.array([[1.5, -2]], "f4"), "b": np.array([-2, 3.25], "f4")}
    same(arrays(tmp_path / "x"), expected)


@pytest.mark.parametrize(
    ("header", "size", "words"),
    [
        ({"a": entry()}, 9, ("should have",)),
        ({"a": entry()}, 7, ("'a'", "outside of the file")),
        ({"a": entry(), "b": entry(offsets=(4, 12))}, 12, ("overlap",)),
        ({"a": entry(), "b": entry(offsets=(9, 17))}, 17, ("gaps",)),
        ({"a": entry(offsets=(0, 9))}, 9, ("'a'", "9 bytes")),
        ({"a": entry(offsets=(8, 0))}, 8, ("'a'",)),
        ({"a": entry(offsets=(-8, 0))}, 8, ("'a'",)),
        ({"a": entry(offsets=(0, 8.0))}, 8, ("'a'",)),
        ({"a": entry(offsets=(0, True))}, 8, ("'a'",)),
        ({"a": entry(shape=(-2,))}, 8, ("'a'",)),
        ({"a": entry(shape=(1 << 70, 0), offsets=(0, 0))}, 0, ("'a'",)),
        ({"a": entry(shape=5)}, 8, ("'a'",)),
        ({"a": entry("F8_E4M3")}, 8, ("'F8_E4M3'", "BF16")),
        ({"a": entry(["F32"])}, 8, ("'a'",)),
        ({"a": {}}, 8, ("'a'",)),
        ({"a": 1}, 8, ("'a'",)),
        ({"a\nb": entry()}, 8, ("name",)),
        ({"__metadata__": {"a": 1}, "a": entry()}, 8, ("metadata",)),
        ({}, 0, ("no tensors",)),
        (b'{"a": 1, "a": 2}', 0, ("twice",)),
        (b"{" * 100_000, 0, ("damaged",)),
        (b'{"a": ' + b"[" * 100_000, 0, ("damaged",)),
        (b"{\xff\xff}", 0, ("damaged",)),
    ],
)
def test_safetensors_with_wrong_parts(header, size, words, tmp_path):
    (tmp_path / "x").write_bytes(safetensors(header, size))
    refused(tmp_path / "x", *words)


def test_names_that_cannot_be_shown(tmp_path):
    for name in ("a\x1b[2J", "a\n", "a" * 2000, 5):
        refused_content(tmp_path, pickle.dumps({name: np.ones(2)}), "name")


def test_only_what_is_asked_for_is_read(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a": np.zeros(1 << 20), "b": np.ones(600)}, 4))
    read_tensors(path)
    tracemalloc.start()
    try:
        tensors = read_tensors(path).tensors
        np.testing.assert_array_equal(np.asarray(tensors["b"]), np.ones(600))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tensors["a"].nbytes == 8 << 20 and peak < 1 << 20
