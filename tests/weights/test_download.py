"""Downloads against a server on this machine: good, damaged, refused, interrupted."""

import hashlib
import re
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mrcnn.weights import download as module
from mrcnn.weights.download import DownloadError, download

BODY = bytes(range(256)) * 20_000  # 5 MB: several blocks


class Handler(BaseHTTPRequestHandler):
    """`/good`, `/short` (1000 bytes less than announced), `/unsized`; anything else is a 404."""

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        if name not in ("good", "short", "unsized", module.IMAGENET_URL.rsplit("/", 1)[1]):
            self.send_error(404)
            return
        self.send_response(200)
        if name != "unsized":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        with suppress(ConnectionError):  # the client may have been interrupted
            self.wfile.write(BODY[:-1000] if name == "short" else BODY)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    """The address of the running server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Proxies of the environment would stand between the test and its server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def refused(path, reason, url, **arguments):
    """Download, which must fail for `reason` and leave the folder as it was."""
    before = {entry: entry.read_bytes() for entry in path.parent.iterdir()}
    with pytest.raises(DownloadError) as error:
        download(url, path, verbose=0, **arguments)
    message = str(error.value)
    assert url in message
    assert f"fetch it by hand and save as {path}." in message
    assert re.search(reason, message)
    assert {entry: entry.read_bytes() for entry in path.parent.iterdir()} == before


def test_good_file_with_all_checks(server, tmp_path, capsys):
    path = tmp_path / "new folder" / "weights.h5"
    download(
        f"{server}/good",
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
    download(f"{server}/unsized", tmp_path / "weights.h5", verbose=0)
    assert (tmp_path / "weights.h5").read_bytes() == BODY


def test_truncated_file_says_both_lengths(server, tmp_path):
    refused(tmp_path / "weights.h5", "5119000 bytes arrived of 5120000", f"{server}/short")


def test_other_size_than_known(server, tmp_path):
    refused(tmp_path / "weights.h5", "5120000 bytes arrived of 7", f"{server}/unsized", size=7)


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_wrong_checksum_keeps_the_old_file(server, tmp_path, name):
    path = tmp_path / "weights.h5"
    path.write_text("old")
    found = hashlib.new(name, BODY).hexdigest()
    refused(path, f"its {name} is {found}, not 00ff", f"{server}/good", **{name: "00ff"})
    assert path.read_text() == "old"


def test_http_error(server, tmp_path):
    refused(tmp_path / "weights.h5", "404", f"{server}/nothing")


def test_nobody_answers(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    refused(tmp_path / "weights.h5", "refused", f"http://127.0.0.1:{port}/good")


class Screen:
    """A terminal that keeps what is written, and may interrupt at the first write."""

    def __init__(self, interrupt=False):
        self.text, self.interrupt = "", interrupt

    def isatty(self):
        return True

    def flush(self):
        pass

    def write(self, text):
        self.text += text
        if self.interrupt:
            raise KeyboardInterrupt


def test_interrupted_by_the_user(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Screen(interrupt=True))
    with pytest.raises(KeyboardInterrupt):
        download(f"{server}/good", tmp_path / "weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_progress_on_a_terminal_redraws_one_line(server, tmp_path, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(module._Progress, "INTERVAL", 0)
    download(f"{server}/good", tmp_path / "weights.h5")
    lines = screen.text.split("\r")[1:]
    assert len(lines) == 6  # five blocks of 1 MiB or less, and the last state
    assert lines[0].startswith("weights.h5 1.0 of 5.1 MB (20%), ")
    assert lines[-1].startswith("weights.h5 5.1 of 5.1 MB (100%), ")
    assert screen.text.count("\n") == 1


def test_progress_in_a_log_is_one_line(server, tmp_path, capsys):
    download(f"{server}/unsized", tmp_path / "weights.h5")
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"weights.h5 5.1 MB, \d+.\d MB/s *\n", output.err)


def test_time_to_go():
    progress = module._Progress("a.h5", 200_000_000)
    # 50 MB in 25 s are 2 MB/s; the other 150 MB take 75 s.
    assert progress.line(50_000_000, 25.0) == "a.h5 50.0 of 200.0 MB (25%), 2.0 MB/s, 1:15 to go"


def test_coco_weights_ask_for_the_published_length(monkeypatch, tmp_path, server):
    monkeypatch.setattr(module, "COCO_MODEL_URL", f"{server}/good")
    with pytest.raises(DownloadError, match="5120000 bytes arrived of 257557808"):
        module.download_trained_weights(tmp_path / "mask_rcnn_coco.h5", verbose=0)
    monkeypatch.setattr(module, "COCO_MODEL_SIZE", len(BODY))
    assert module.download_trained_weights(tmp_path / "mask_rcnn_coco.h5", verbose=0) is None
    assert (tmp_path / "mask_rcnn_coco.h5").read_bytes() == BODY


def test_imagenet_weights_are_kept_where_keras_keeps_them(monkeypatch, tmp_path, server):
    name = module.IMAGENET_URL.rsplit("/", 1)[1]
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(module, "IMAGENET_URL", f"{server}/{name}")
    monkeypatch.setattr(module, "IMAGENET_MD5", hashlib.md5(BODY).hexdigest())
    path = tmp_path / "models" / name
    path.parent.mkdir()
    path.write_text("cut off by an earlier crash")
    assert module.imagenet_weights(verbose=0) == str(path)
    assert path.read_bytes() == BODY
    monkeypatch.setattr(module, "IMAGENET_URL", f"http://127.0.0.1:9/{name}")
    assert module.imagenet_weights(verbose=0) == str(path)
