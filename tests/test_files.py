"""replacing(): the file is there whole, or the old one stays. open_regular(): files, no pipes."""

import errno
import os
import signal
import tempfile

import numpy as np
import pytest

from mrcnn import files
from mrcnn.files import check_folder, open_regular, replacing


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


def full_disk():
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error, kind, reason",
    [
        (full_disk(), OSError, "No space left on device"),
        # As `ndarray.tofile` and HDF5 put it.
        (OSError("1000 requested and 24 written"), OSError, "1000 requested and 24 written"),
        (OSError(errno.EFBIG, "Can't write\n (errno = 27,\n ...)"), OSError, "File too large"),
        (PermissionError(errno.EACCES, "?"), PermissionError, "Permission denied"),
    ],
)
def test_errors_name_the_file_and_the_reason(tmp_path, error, kind, reason):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError) as caught, replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert type(caught.value) is kind
    assert str(caught.value) == f'"{path}" cannot be written: {reason}.'
    assert caught.value.errno == error.errno
    assert caught.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing(tmp_path):
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught, replacing(path) as temporary:
        temporary.write_text("new")
    assert str(caught.value) == f'"{path}" cannot be written: No such file or directory.'


def test_a_folder_in_the_place_of_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.mkdir()
    with pytest.raises(IsADirectoryError, match='a.txt" cannot be written: Is a directory.'):
        with replacing(path) as temporary:
            temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "another.txt"),
        TimeoutError("timed out"),
        OSError("photo.png cannot be read as an image"),
    ],
)
def test_errors_of_other_things_stay_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, replacing(tmp_path / "a.txt"):
        raise error
    assert caught.value is error


@pytest.mark.filterwarnings("ignore:Exception ignored in.*ZipFile")
def test_a_file_that_is_too_large_for_the_disk(tmp_path):
    """The limit of a process stands for the end of the disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match='a.npz" cannot be written: File too large.'):
            with replacing(tmp_path / "a.npz") as temporary, open(temporary, "wb") as file:
                np.savez(file, a=np.zeros(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


# Folders


def test_folders_that_can_be_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (
        tmp_path,
        tmp_path / "a" / "b",
        "",
        ".",
        "a",
        "Läufe ∂",
        tmp_path / "link" / "a",
    ):
        check_folder(folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["link"]


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    long = tmp_path / ("x" * 300)
    for folder, kind, reason in [
        (tmp_path / "file", NotADirectoryError, f'"{tmp_path}/file" is a file, not a folder'),
        (tmp_path / "file" / "a", NotADirectoryError, f'"{tmp_path}/file" is a file, not a folder'),
        (tmp_path / "lost", NotADirectoryError, f'"{tmp_path}/lost" is a link to nowhere'),
        (tmp_path / "lost" / "a", NotADirectoryError, f'"{tmp_path}/lost" is a link to nowhere'),
        (tmp_path / "circle", NotADirectoryError, f'"{tmp_path}/circle" is a link to nowhere'),
        (long, OSError, "File name too long"),
    ]:
        with pytest.raises(OSError) as caught:
            check_folder(folder)
        assert type(caught.value) is kind
        shown = f"{str(folder)[:297]}..." if folder == long else folder
        expected = f'No files can be written to the folder "{shown}": {reason}.'
        assert str(caught.value) == expected

    def read_only(dir):
        raise OSError(errno.EROFS, "Read-only file system", dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(OSError, match=f'to the folder "{tmp_path}": Read-only file system.'):
        check_folder(tmp_path)


def test_names_that_are_none():
    with pytest.raises(ValueError, match="has a zero byte in its name"):
        check_folder("a\0b")
    with pytest.raises(ValueError, match="is no Unicode text"):
        check_folder("a\udc80b")


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
