"""Weight files of other programs: what torch and NumPy wrote is read, and nothing else is.

torch 2.13 wrote the files `tests/golden/torch_*.pth`, with numbers from -1.5 on in steps of 1.
"""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.tensor_files import read_tensors, recognises
from mrcnn.weights.tensor_writers import write_safetensors
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


def test_a_whole_model_says_what_to_save():
    refused(GOLDEN / "torch_module.pth", "torch.nn.modules.", "save model.state_dict()")


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_order_of_bytes_of_a_file_of_torch(order, tmp_path):
    values = np.arange(4, dtype="<f4" if order == "little" else ">f4")
    torch_zip(
        tmp_path / "x.pth", tensor(), [("data/0", values.tobytes()), ("byteorder", order.encode())]
    )
    same(arrays(tmp_path / "x.pth"), {"a": np.array([0, 1], "f4")})


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
