"""replacing(): the file is there whole, or the old one stays. open_regular(): files, no pipes."""

import os

import pytest

from mrcnn import files
from mrcnn.files import open_regular, replacing


def test_takes_the_place_of_the_old_file(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".gz"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_keeps_the_old_file_and_leaves_nothing_on_failure(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_opens_files_and_links_to_them(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    for name in "ab":
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"abc"


def test_a_pipe_that_takes_the_place_of_a_file_does_not_block(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    before = os.stat(tmp_path / "a")
    monkeypatch.setattr(files.os, "stat", lambda path: before)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"^it is a pipe, socket or device, not a file$"):
        open_regular(tmp_path / "pipe")
    assert len(os.listdir("/proc/self/fd")) == descriptors
