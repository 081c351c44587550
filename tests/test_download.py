"""Downloads from a server on this machine: good, damaged, refused, cut off, resumed."""

import hashlib
import re
import sys
import time

import pytest
from tqdm import tqdm

from mrcnn import download as module
from mrcnn import limits
from mrcnn.download import DownloadError, download
from tests.local_server import answering, serving

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


def test_no_progress_in_a_log(server, tmp_path, capsys):
    download(f"{server[0]}/good", tmp_path / "weights.h5")
    assert capsys.readouterr() == ("", "")


OTHER = BODY[::-1]


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_changes_in_between_is_fetched_anew(server, tmp_path, monkeypatch, resume):
    server[1].etag, server[1].cuts = '"one"', [3000]
    if resume:
        server[1].cuts = [3000, 0]
        fails(tmp_path / "a", "3000 bytes arrived", f"{server[0]}/good", resume=True)
        left = {entry.name for entry in tmp_path.iterdir()}
        assert left == {"a.part", "a.part.json"}
        server[1].etag, server[1].bodies["good"] = '"two"', OTHER
    else:
        # Between the first answer and the second.
        class Cuts(list):
            def pop(self, index):
                server[1].etag, server[1].bodies["good"] = '"two"', OTHER
                return super().pop(index)

        server[1].cuts = Cuts([3000])
        original = server[1].bodies
        monkeypatch.setattr(server[1], "bodies", dict(original))
    download(f"{server[0]}/good", tmp_path / "a", verbose=0, resume=resume)
    assert (tmp_path / "a").read_bytes() == OTHER
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_the_same_file_is_resumed_by_its_etag(server, tmp_path):
    server[1].etag, server[1].cuts = '"one"', [3000, 0]
    fails(tmp_path / "a", "3000 bytes arrived", f"{server[0]}/good", resume=True)
    download(f"{server[0]}/good", tmp_path / "a", verbose=0, resume=True)
    assert server[1].asked[-1] == "bytes=3000-"
    assert (tmp_path / "a").read_bytes() == BODY


@pytest.mark.parametrize("note", ["{", "[]", "[" * 99999, '{"url": 1, "validator": "\\n"}'])
def test_a_damaged_note_beside_the_part_begins_anew(server, tmp_path, note):
    (tmp_path / "a.part").write_bytes(OTHER[:3000])
    (tmp_path / "a.part.json").write_text(note)
    download(f"{server[0]}/good", tmp_path / "a", verbose=0, resume=True)
    assert (tmp_path / "a").read_bytes() == BODY
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_part_of_another_file_costs_one_more_try(server, tmp_path):
    (tmp_path / "a.part").write_bytes(OTHER[:3000])
    digest = hashlib.sha256(BODY).hexdigest()
    download(f"{server[0]}/good", tmp_path / "a", sha256=digest, verbose=0, resume=True)
    assert (tmp_path / "a").read_bytes() == BODY
    assert server[1].asked == ["bytes=3000-", None]


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,a", "a", "http://[", "http://a\n/b"]
)
def test_other_addresses_are_refused(tmp_path, url):
    refused(tmp_path / "a", "", url)


def reply(head, body=b""):
    """Return a function that sends a status line, headers, and a body."""

    def answer(connection, request):
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)

    return answer


OK = "HTTP/1.1 200 OK"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        (["HTTP/1.1 204 No Content"], b"", "HTTP status 204"),
        (["HTTP/1.1 206 Partial", "Content-Range: bytes 0-1/2"], b"ab", "HTTP status 206"),
        ([OK, "Content-Length: 0"], b"", "it is empty"),
        ([OK], b"", "it is empty"),
        ([OK, "Content-Length: abc"], b"abc", "announces the length 'abc'"),
        ([OK, "Content-Length: -5"], b"abc", "announces the length '-5'"),
        ([OK, "Content-Length: 99999999999999"], b"abc", "99999999999999 bytes there, more than"),
        ([OK, "Content-Encoding: gzip"], b"abc", "arrives in the encoding 'gzip'"),
        ([OK, "Transfer-Encoding: chunked"], b"5\r\nab", "IncompleteRead|more expected"),
        ([OK, "Transfer-Encoding: chunked"], b"zz\r\nab", "IncompleteRead|more expected"),
        ([OK] + [f"X-{n}: 1" for n in range(200)], b"abc", "got more than 100 headers"),
        ([OK, "X: " + "a" * 70000], b"abc", "got more than 65536 bytes"),
        (["nonsense"], b"", "nonsense"),
        (["HTTP/1.1 302 Found", "Location: file:///etc/hostname"], b"", "file"),
        (["HTTP/1.1 302 Found", "Location: ftp://127.0.0.1/a"], b"", "ftp"),
        (["HTTP/1.1 302 Found", "Location: /a"], b"", "redirect"),
    ],
)
def test_misbehaving_servers(tmp_path, monkeypatch, head, body, reason, resume):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering(reply(head, body)) as address:
        fails(tmp_path / "a", reason, f"{address}/a", resume=resume)
    # Only a part that has some bytes is worth keeping.
    is_kept = resume and body == b"5\r\nab"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.part"] * is_kept


def endless(connection, request):
    """Send a body that never ends."""
    connection.sendall(f"{OK}\r\n\r\n".encode())
    while True:
        connection.sendall(bytes(1 << 16))


def test_a_redirection_with_an_endless_body(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def answer(connection, request):
        if b"/b" in request:
            connection.sendall(f"{OK}\r\nContent-Length: 2\r\n\r\nab".encode())
            return
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n")
        while True:
            connection.sendall(bytes(1 << 16))

    start = time.monotonic()
    with answering(answer) as address:
        download(f"{address}/a", tmp_path / "a", verbose=0)
    assert (tmp_path / "a").read_bytes() == b"ab"
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("resume", [False, True])
def test_endless_bodies_end_at_the_limit(tmp_path, monkeypatch, resume):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    written = []
    monkeypatch.setattr(tqdm, "update", lambda self, count: written.append(count))
    with answering(endless) as address:
        url, path = f"{address}/a", tmp_path / "a"
        refused(path, "more bytes arrive than the 1000 expected", url, size=1000, resume=resume)
        assert sum(written) <= 1000
        monkeypatch.setattr(limits, "MAX_DOWNLOAD_BYTES", 200_000)
        refused(path, "than mrcnn.limits.MAX_DOWNLOAD_BYTES = 200000", url, resume=resume)
        assert sum(written) <= 201_000
        refused(path, "more bytes arrive than 7", url, limit=7, resume=resume)


def dripping(head, drop):
    """Return a function that sends a head, and then the same bytes four times a second."""

    def answer(connection, request):
        connection.sendall(head)
        while True:
            time.sleep(0.25)
            connection.sendall(drop)

    return answer


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1"),
    ],
)
def test_servers_that_drip_have_a_deadline(tmp_path, monkeypatch, head, drop):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    start = time.monotonic()
    with answering(dripping(head, drop)) as address:
        refused(tmp_path / "a", "did not go on for 1 seconds", f"{address}/a", timeout=1)
    assert time.monotonic() - start < 5


def test_slow_servers_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "RATE_WINDOW", 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with answering(dripping(head, b"12345678")) as address:
        # About 32 bytes per second: 4 times 8.
        reason = r"[0-9]{1,2} bytes per second arrive, fewer than .*MIN_DOWNLOAD_RATE = 1000"
        refused(tmp_path / "a", reason, f"{address}/a", timeout=5)
    monkeypatch.setattr(limits, "MIN_DOWNLOAD_RATE", 8)
    with answering(dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"12345678")) as address:
        refused(tmp_path / "b", "more bytes arrive than 40", f"{address}/a", limit=40, timeout=5)


def test_a_server_that_always_breaks_after_a_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    asked = []

    def answer(connection, request):
        found = re.search(rb"bytes=(\d+)-", request)
        start = int(found[1]) if found else 0
        asked.append(start)
        status = f"HTTP/1.1 206 P\r\nContent-Range: bytes {start}-9999/10000" if start else OK
        head = f"{status}\r\nContent-Length: {10000 - start}\r\n\r\n"
        connection.sendall(head.encode() + b"x")

    with answering(answer) as address:
        refused(tmp_path / "a", "101 bytes arrived of 10000", f"{address}/a")
    assert asked == list(range(101))
