"""Servers that answer with anything: a download is whole and right, or a DownloadError."""

import hashlib
import re
import time

import numpy as np
import pytest

from mrcnn import download as module
from mrcnn import limits
from mrcnn.download import DownloadError, download
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes
from tests.local_server import answering

BODY = bytes(range(256)) * 40
STATUS = [
    *("200 OK", "200 OK", "200 OK", "206 Partial", "204 No", "302 Found", "304 Same", "404 No"),
    *("500 No", "999 x", "100 Continue", "-1 x", "", "200"),
]
LENGTHS = ["10240", "10239", "10241", "0", "-1", "abc", "1e3", "99999999999999999999", "١٠", "1, 2"]
HEADERS = [
    *("Content-Encoding: gzip", "Transfer-Encoding: chunked", "Transfer-Encoding: x"),
    *(
        'ETag: "a"',
        'ETag: W/"a"',
        "ETag: é\x01",
        "Last-Modified: now",
        "Content-Range: bytes 0-1/2",
    ),
    *("Content-Range: bytes 5-10239/10240", "Location: file:///etc/hostname", "Location: //["),
    *("Location: http://127.0.0.1:1/a", "Location: ftp://127.0.0.1/", "Connection: keep-alive"),
    *("no colon", " folded", "X: " + "y" * 70000, "Location: /again"),
]


def draw_answer(rng):
    """Return bytes, and what comes after them: nothing, a silence, a drip, or no end."""
    if rng.random() < 0.3:
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY, "end"
    lines = [f"HTTP/1.1 {rng.choice(STATUS)}"]
    if rng.random() < 0.7:
        lines.append(f"Content-Length: {rng.choice(LENGTHS)}")
    lines += [str(rng.choice(HEADERS)) for _ in range(int(rng.choice([0, 0, 1, 3, 150])))]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", errors="replace")
    body = BODY[: int(rng.choice([0, 1, 100, len(BODY), len(BODY)]))]
    body = b"a\r\n" + body if rng.random() < 0.1 else body
    data = head + body
    if rng.random() < 0.3:
        data = mutate_bytes(data, rng)
    ending = rng.choice(["end", "end", "end", "end", "silence", "drip", "endless"])
    return data, ending


@pytest.mark.parametrize("resume", [False, True])
def test_any_answer(tmp_path, monkeypatch, resume):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "RATE_WINDOW", 0.3)
    monkeypatch.setattr(limits, "MAX_DOWNLOAD_BYTES", 1 << 20)
    rng = np.random.default_rng([SEED, 4, resume])
    plans = []

    def answer(connection, request):
        data, ending = plans.pop(0) if len(plans) > 1 else plans[0]
        connection.sendall(data)
        end = time.monotonic() + 5
        while ending != "end" and time.monotonic() < end:
            if ending != "silence":
                connection.sendall(b"x" if ending == "drip" else bytes(1 << 16))
            if ending != "endless":
                time.sleep(0.05)

    path, done = tmp_path / "a", 0
    with answering(answer) as address:
        # Some wait for time-outs, so there are fewer of them.
        for case in range(max(20, CASES // 25)):
            plans[:] = [draw_answer(rng) for _ in range(int(rng.integers(1, 4)))]
            known = {} if case % 3 else {"sha256": hashlib.sha256(BODY).hexdigest()}
            size = len(BODY) if case % 4 == 0 else None
            with guarded(tmp_path, documented=(DownloadError,)) as errors:
                download(
                    f"{address}/a",
                    path,
                    size=size,
                    timeout=0.3,
                    verbose=0,
                    resume=resume,
                    **known,
                )
            left = {entry.name for entry in tmp_path.iterdir()}
            if errors:
                assert re.search(rf"{address}/a \(.+\).* save as {path}\.$", str(errors[0]))
                assert "\n" not in str(errors[0])
                assert left <= ({"a.part", "a.part.json"} if resume else set())
                assert not any(entry.stat().st_size > 2 << 20 for entry in tmp_path.iterdir())
            else:
                done += 1
                assert left == {"a"}
                content = path.read_bytes()
                assert content and (not size or len(content) == size)
                assert not known or content == BODY
            for entry in tmp_path.iterdir():
                # Some parts stay for the next download, as they would.
                if rng.random() < 0.7 or entry.name == "a":
                    entry.unlink()
    assert done
