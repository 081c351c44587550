"""`find_last()` as the path of this package and as the pair of version 2.0."""

import os
from pathlib import Path

import h5py
import pytest

from mrcnn.legacy.checkpoint_path import CheckpointPath

PLAIN = os.path.join("logs", "shapes20180101T0000", "mask_rcnn_shapes_0003.h5")


def test_items_are_the_old_pair():
    path = CheckpointPath(PLAIN)
    assert path[0] == os.path.join("logs", "shapes20180101T0000")
    assert path[1] == PLAIN and type(path[1]) is str


def test_everything_else_is_the_string():
    path = CheckpointPath(PLAIN)
    assert path == PLAIN and hash(path) == hash(PLAIN) and len(path) == len(PLAIN)
    assert (path[2], path[-1], path[:4], path[::-1]) == ("g", "5", "logs", PLAIN[::-1])
    assert list(path) == list(PLAIN) and "0003" in path and f"{path}!" == PLAIN + "!"
    assert os.fspath(path) == PLAIN and str(path) == PLAIN and type(str(path)) is str
    assert os.path.split(path) == os.path.split(PLAIN) and Path(path) == Path(PLAIN)
    assert os.path.join("root", path) == os.path.join("root", PLAIN)
    with pytest.raises(IndexError):
        path[1000]


def test_files_are_opened_by_it(tmp_path):
    path = CheckpointPath(tmp_path / "weights.h5")
    with h5py.File(path, "w") as file:
        file["x"] = 3
    with h5py.File(path[1]) as file:
        assert file["x"][()] == 3
    with open(path, "rb") as file:
        assert file.read(4) == b"\x89HDF"
