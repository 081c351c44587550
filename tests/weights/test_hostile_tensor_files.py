"""Weight files of other programs that are damaged or made to harm: refused, and nothing runs."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from mrcnn.weights.torch_files import LEGACY_START
from tests.weights.tensor_content import (
    arrays,
    entry,
    refused,
    refused_content,
    safetensors,
    same,
    tensor,
    torch_zip,
)


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
        (b")\x85" + b"\x85" * 100_000 + b"K\1\x86}(h\0K\1u.", ()),
        (b"])" + b"\x85" * 100_000 + b"a.", ("a single list",)),
        (b"}()" + b"\x85" * 100_000 + b"K\1u.", ("keys that are no texts",)),
        (b"cnumpy\ndtype\n(U\2f4K\0K\1tR(K\3)" + b"\x85" * 100_000 + b"tb.", ()),
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


def test_keys_of_storages_that_are_no_texts(tmp_path):
    deep = b")" + b"\x85" * 100_000
    parts = [b"M\xe9\x03", b"}", b"}", b"](" + deep + b"e"]
    refused_content(tmp_path, LEGACY_START + b"".join(b"\x80\2" + part + b"." for part in parts))


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
