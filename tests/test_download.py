"""Downloads from a server on this machine: good, damaged, refused, cut off, resumed."""

import hashlib
import re
import sys
import zipfile

import pytest
from tqdm import tqdm

from mrcnn.download import DownloadError, download, unpack
from tests.local_server import serving

BODY = bytes(range(256)) * 20_000  # 5 MB: several blocks


@pytest.fixture
def server(monkeypatch):
    """Address and behaviour of a running server, which has BODY as `good`."""
    # Proxies of the environment would stand between the test and its server.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving({"good": BODY}) as running:
        yield running


def refused(path, reason, url, **arguments):
    """Download, which must fail for `reason` and leave the folder as it was."""
    before = {entry: entry.read_bytes() for entry in path.parent.iterdir()}
    fails(path, reason, url, **arguments)
    assert {entry: entry.read_bytes() for entry in path.parent.iterdir()} == before


def fails(path, reason, url, **arguments):
    with pytest.raises(DownloadError) as error:
        download(url, path, verbose=0, **arguments)
    message = str(error.value)
    assert url in message
    assert f"fetch it by hand and save as {path}." in message
    assert re.search(reason, message)


def test_good_file_with_all_checks(server, tmp_path, capsys):
    path = tmp_path / "new folder" / "weights.h5"
    download(
        f"{server[0]}/good",
        path,
        sha256=hashlib.sha256(BODY).hexdigest(),
        md5=hashlib.md5(BODY).hexdigest().upper(),
        size=len(BODY),
        verbose=0,
    )
    assert path.read_bytes() == BODY
    assert [entry.name for entry in path.parent.iterdir()] == ["weights.h5"]
    assert capsys.readouterr() == ("", "")


def test_without_an_announced_length(server, tmp_path):
    server[1].announce = False
    download(f"{server[0]}/good", tmp_path / "weights.h5", verbose=0)
    assert (tmp_path / "weights.h5").read_bytes() == BODY


def test_other_size_than_announced(server, tmp_path):
    url = f"{server[0]}/good"
    refused(tmp_path / "weights.h5", "it has 5120000 bytes there, not 7", url, size=7)


def test_more_than_the_known_size(server, tmp_path):
    server[1].announce = False
    for resume in (False, True):
        url = f"{server[0]}/good"
        refused(tmp_path / "a", "more bytes arrive than the 7 expected", url, size=7, resume=resume)


@pytest.mark.parametrize("name", ["sha256", "md5"])
@pytest.mark.parametrize("resume", [False, True])
def test_wrong_checksum_keeps_the_old_file(server, tmp_path, name, resume):
    path = tmp_path / "weights.h5"
    path.write_text("old")
    reason = f"its {name} is {hashlib.new(name, BODY).hexdigest()}, not 00ff"
    refused(path, reason, f"{server[0]}/good", resume=resume, **{name: "00ff"})
    assert path.read_text() == "old"


@pytest.mark.parametrize("resume", [False, True])
def test_http_error(server, tmp_path, resume):
    refused(tmp_path / "weights.h5", "404", f"{server[0]}/nothing", resume=resume)


@pytest.mark.parametrize("resume", [False, True])
def test_nobody_answers(tmp_path, resume):
    with serving({}) as (address, _):
        pass
    refused(tmp_path / "weights.h5", "refused", f"{address}/good", resume=resume)


def test_rest_is_asked_for_when_the_connection_breaks(server, tmp_path):
    server[1].cuts = [1000, 2000]
    download(f"{server[0]}/good", tmp_path / "a", verbose=0)
    assert server[1].asked == [None, "bytes=1000-", "bytes=3000-"]
    assert (tmp_path / "a").read_bytes() == BODY


@pytest.mark.parametrize("resume", [False, True])
def test_a_try_that_brings_nothing_is_the_last(server, tmp_path, resume):
    server[1].cuts = [1000, 500, 0]
    path = tmp_path / "a"
    fails(path, "1500 bytes arrived of 5120000", f"{server[0]}/good", resume=resume)
    assert server[1].asked == [None, "bytes=1000-", "bytes=1500-"]
    left = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    assert left == ({"a.part": BODY[:1500]} if resume else {})


def test_next_download_resumes_from_the_part(server, tmp_path):
    path = tmp_path / "a"
    server[1].cuts = [3000, 0]
    fails(path, "3000 bytes arrived", f"{server[0]}/good", resume=True)
    assert not path.exists()
    digest = hashlib.sha256(BODY).hexdigest()
    download(f"{server[0]}/good", path, sha256=digest, verbose=0, resume=True)
    assert server[1].asked[2:] == ["bytes=3000-"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == BODY


def test_whole_part_of_known_size_needs_no_server(tmp_path):
    (tmp_path / "a.part").write_bytes(BODY)
    download("http://127.0.0.1:9/a", tmp_path / "a", size=len(BODY), verbose=0, resume=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("ranges", "part"),
    [
        ("ignored", BODY[:5000]),  # the server sends all, and all of it is written
        ("wrong", BODY[:5000]),  # it sends other bytes than asked for
        ("right", b"x" * len(BODY)),  # it has nothing to add to this part: 416
        ("right", b"x" * (len(BODY) + 9)),
    ],
)
def test_part_that_cannot_be_resumed(server, tmp_path, ranges, part):
    server[1].ranges = ranges
    (tmp_path / "a.part").write_bytes(part)
    download(f"{server[0]}/good", tmp_path / "a", verbose=0, resume=True)
    assert (tmp_path / "a").read_bytes() == BODY
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_server_without_ranges_that_always_breaks(server, tmp_path):
    server[1].ranges, server[1].cuts = "ignored", [1000] * 9
    fails(tmp_path / "a", "1000 bytes arrived of 5120000", f"{server[0]}/good", resume=True)
    assert server[1].asked == [None, "bytes=1000-"]


@pytest.mark.parametrize("resume", [False, True])
def test_interrupted_by_the_user(server, tmp_path, monkeypatch, resume):
    def update(self, count):
        raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "update", update)
    with pytest.raises(KeyboardInterrupt):
        download(f"{server[0]}/good", tmp_path / "a", resume=resume)
    left = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    assert list(left) == (["a.part"] if resume else [])
    # As many bytes as had arrived when the bar was drawn.
    assert all(part and BODY.startswith(part) for part in left.values())


@pytest.mark.parametrize("announce", [True, False])
def test_progress_on_a_terminal_counts_the_kept_part_too(
    server, tmp_path, monkeypatch, capsys, announce
):
    server[1].announce = announce
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (tmp_path / "a.part").write_bytes(BODY[:1_024_000])
    download(f"{server[0]}/good", tmp_path / "a", resume=True)
    lines = capsys.readouterr().err.split("\r")[1:]
    # A fifth was there before.
    assert re.match(r"a:  20%.*\| 1\.02M/5\.12M \[", lines[0])
    assert re.match(r"a: 100%.*\| 5\.12M/5\.12M \[", lines[-1])


def test_no_progress_in_a_log(server, archive, tmp_path, capsys):
    download(f"{server[0]}/good", tmp_path / "weights.h5")
    unpack(archive, tmp_path / "out")
    assert capsys.readouterr() == ("", "")


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
