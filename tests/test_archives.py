"""Unpacking of zip files: good, damaged, and hostile ones."""

import os
import stat
import struct
import sys
import zipfile

import pytest

from mrcnn import archives, limits
from mrcnn.archives import unpack


@pytest.fixture
def archive(tmp_path):
    """A zip file of a folder with two files and a file at the top."""
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train/1.jpg", b"first" * 1000)
        file.writestr("train/2.jpg", b"second" * 1000)
        file.writestr("readme.txt", b"text")
    return path


def files(folder):
    """Contents by the path within a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_unpacked(archive, tmp_path, capsys):
    unpack(archive, tmp_path / "out", verbose=0)
    assert files(tmp_path / "out") == {
        "train/1.jpg": b"first" * 1000,
        "train/2.jpg": b"second" * 1000,
        "readme.txt": b"text",
    }
    assert capsys.readouterr() == ("", "")


def test_inner_folder_is_unpacked_beside_what_is_there(archive, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.jpg").write_text("mine")
    unpack(archive, out, "train", verbose=0)
    assert files(out) == {"1.jpg": b"mine", "2.jpg": b"second" * 1000}
    assert sorted(entry.name for entry in out.iterdir()) == ["1.jpg", "2.jpg"]


def test_no_progress_in_a_log(archive, tmp_path, capsys):
    unpack(archive, tmp_path / "out")
    assert capsys.readouterr() == ("", "")


def test_progress_of_unpacking_counts_what_is_written(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    unpack(archive, tmp_path / "out")
    # 5000 + 6000 + 4 bytes
    assert "Unpacking images.zip: 100%" in (err := capsys.readouterr().err)
    assert "11.0k/11.0k" in err.split("\r")[-1]


def damaged(archive, how):
    """A copy of a zip file with one fault."""
    content = archive.read_bytes()
    if how == "short":
        content = content[: len(content) // 2]
    elif how == "flipped":
        # Within the compressed data of the first file, which begin at byte 30 + 11.
        content = content[:45] + bytes([content[45] ^ 255]) + content[46:]
    else:
        content = b"<html>not found</html>"
    path = archive.with_name("damaged.zip")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("how", ["short", "flipped", "no zip"])
def test_damaged_archives_leave_nothing(archive, tmp_path, how):
    path = damaged(archive, how)
    with pytest.raises(ValueError, match=f"{path} is not a whole zip file .*fetch it again"):
        unpack(path, tmp_path / "out", verbose=0)
    assert list((tmp_path / "out").iterdir()) == []


def test_archive_without_the_folder(archive, tmp_path):
    with pytest.raises(ValueError, match="images.zip has no folder annotations"):
        unpack(archive, tmp_path / "out", "annotations", verbose=0)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("inside", ["/etc", "..", "../other", "train/..", "C:/x", "a\\b", "a\0"])
def test_folders_outside_the_archive(archive, tmp_path, inside):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no folder in .*images.zip; give one without"):
        unpack(archive, tmp_path / "out", inside, verbose=0)
    absolute = str(tmp_path / "other")
    with pytest.raises(ValueError, match="is no folder in .*images.zip; give one without"):
        unpack(archive, tmp_path / "out", absolute, verbose=0)
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"


def entry(name, mode=0, method=zipfile.ZIP_STORED):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, method
    return info


def written(path, entries):
    """A zip file of `(ZipInfo, content)`."""
    with zipfile.ZipFile(path, "w") as file:
        for info, content in entries:
            file.writestr(info, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["/etc/passwd"], "a name that leads elsewhere"),
        (["../a"], "a name that leads elsewhere"),
        (["a/../../b"], "a name that leads elsewhere"),
        (["..\\a"], "a name that leads elsewhere"),
        (["C:/a"], "a name that leads elsewhere"),
        (["a\nb"], "a name that leads elsewhere"),
        (["a" * 300], "a name that leads elsewhere"),
        (["a/" * 40 + "b"], "a name that leads elsewhere"),
        (["a.jpg", "a.jpg"], "'a.jpg' comes twice"),
        (["a.jpg", "A.JPG"], "'A.JPG' comes twice"),
        (["a", "a/b"], "'a' is a file and a folder"),
        (["a/b", "A"], "'a' is a file and a folder"),
        (["a/", "a"], "'a' is a file and a folder"),
    ],
)
def test_names_that_are_refused(tmp_path, names, reason):
    path = written(tmp_path / "odd.zip", [(entry(name), b"") for name in ["good", *names]])
    refuses(path, reason)


def refuses(path, reason):
    """Unpack, which must fail for `reason`, leave nothing, and touch nothing beside."""
    before = set(path.parent.iterdir())
    with pytest.raises(ValueError, match=f"{path} .*{reason}"):
        unpack(path, path.parent / "out", verbose=0)
    assert list((path.parent / "out").iterdir()) == []
    assert set(path.parent.iterdir()) == {*before, path.parent / "out"}


def test_a_name_that_ends_at_a_nul(tmp_path):
    path = written(tmp_path / "odd.zip", [(entry("aXb"), b"")])
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))
    refuses(path, "a name that leads elsewhere")


def test_names_with_dots_and_accents(tmp_path):
    names = ["./a/1.jpg", "a//2.jpg", "./", "b/ü été.jpg", "c 10:30.jpg", "...", "leer/"]
    path = written(tmp_path / "odd.zip", [(entry(name), b"x") for name in names])
    unpack(path, tmp_path / "out", verbose=0)
    assert set(files(tmp_path / "out")) == {
        *("a/1.jpg", "a/2.jpg", "b/ü été.jpg", "c 10:30.jpg", "..."),
    }
    assert (tmp_path / "out" / "leer").is_dir()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(tmp_path, kind):
    path = written(tmp_path / "odd.zip", [(entry("a", kind | 0o644), b"/etc/passwd")])
    refuses(path, "'a' is a link or device")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_bounds(tmp_path, method):
    path = written(tmp_path / "odd.zip", [(entry("a", method=method), b"a" * 99)])
    refuses(path, "'a' is compressed by another method than deflate")


def test_encrypted_entries(archive):
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    archive.write_bytes(data)
    refuses(archive, "'train/1.jpg' is encrypted")


def test_entries_that_share_their_content(archive):
    data = bytearray(archive.read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    # The offset of the second entry becomes that of the first.
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    archive.write_bytes(data)
    refuses(archive, "'train/2.jpg' begins within another one")


def test_more_than_the_limit_and_more_than_the_disk(archive, tmp_path, monkeypatch):
    # 5000 + 6000 + 4 bytes
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 11_003)
    refuses(archive, "unpacks to more than mrcnn.limits.MAX_UNPACKED_BYTES = 11003")
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 11_004)
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=11_003)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="images.zip unpacks to 11004 bytes; .*out has 11003 bytes"):
        unpack(archive, tmp_path / "out", verbose=0)
    assert list((tmp_path / "out").iterdir()) == []


def test_less_content_than_announced(tmp_path):
    path = written(tmp_path / "odd.zip", [(entry("a", method=zipfile.ZIP_DEFLATED), b"a" * 99)])
    data = path.read_bytes()
    # In the local header and in the list.
    path.write_bytes(data.replace(struct.pack("<L", 99), struct.pack("<L", 999)))
    refuses(path, "'a' has 99 bytes of 999|Bad CRC-32")
    path.write_bytes(data.replace(struct.pack("<L", 99), struct.pack("<L", 9)))
    refuses(path, "is not a whole zip file")


def test_more_entries_than_fit_into_memory(tmp_path, monkeypatch):
    path = written(tmp_path / "many.zip", [(entry(str(n)), b"") for n in range(100)])
    monkeypatch.setattr(archives, "_MAX_LISTING", 1000)
    refuses(path, "lists more than the accepted half a million entries")


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "empty.zip").touch()
    (tmp_path / "folder.zip").mkdir()
    for name, reason in (("pipe", "a pipe"), ("empty", "empty"), ("folder", "a folder")):
        with pytest.raises(ValueError, match=f"{name}.zip cannot be unpacked: it is {reason}"):
            unpack(tmp_path / f"{name}.zip", tmp_path / "out", verbose=0)
    with pytest.raises(FileNotFoundError, match="gone.zip cannot be unpacked: there is no such"):
        unpack(tmp_path / "gone.zip", tmp_path / "out", verbose=0)
