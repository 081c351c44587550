"""Trained weights from the internet: whole and checked, or not on the disk at all."""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from mrcnn.files import replacing

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
COCO_MODEL_SIZE = 257_557_808

IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"

BLOCK = 1 << 20


class DownloadError(ConnectionError):
    """A file could not be fetched, or came damaged. The message says how to get it by hand."""


def download_trained_weights(coco_model_path: str | os.PathLike, verbose: int = 1) -> None:
    """Fetch the original's COCO weights, 246 MB, to the file `coco_model_path`.

    Raises DownloadError; no partial file is left then.
    """
    download(COCO_MODEL_URL, coco_model_path, size=COCO_MODEL_SIZE, verbose=verbose)


def imagenet_weights(verbose: int = 1) -> str:
    """Path of Keras' ImageNet weights for ResNet-50 without its top, fetched at the first call.

    The file lies where Keras keeps it, in the folder `models` of `KERAS_HOME` or `~/.keras`.

    Raises DownloadError; no partial file is left then.
    """
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    path = Path(home, "models", IMAGENET_URL.rsplit("/", 1)[1])
    if not (path.is_file() and _digest(path, "md5") == IMAGENET_MD5):
        download(IMAGENET_URL, path, md5=IMAGENET_MD5, verbose=verbose)
    return str(path)


def download(
    url: str,
    path: str | os.PathLike,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    timeout: float = 60,
    verbose: int = 1,
) -> None:
    """Fetch `url` to the file `path`, which appears only when it is complete and checked.

    Args:
        url: what to fetch.
        path: where to; its folder is made if it is missing, an old file is replaced.
        sha256, md5: hexadecimal digests to compare with.
        size: length in bytes; without it, the length that the server announces.
        timeout: seconds to wait for the server each time.
        verbose: 0 for no progress bar on the standard error output.

    Raises:
        DownloadError: nobody answers, the server refuses, or the file is not the one expected.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        with _explained(url, path):
            response = urlopen(url, timeout=timeout)
        with response, open(temporary, "wb") as file:
            size = size or int(response.headers.get("Content-Length") or 0)
            progress = _Progress(path.name, size) if verbose else None
            while True:
                with _explained(url, path):
                    block = response.read(BLOCK)
                if not block:
                    break
                file.write(block)
                if progress:
                    progress.show(file.tell())
            received = file.tell()
            if progress:
                progress.close(received)
        if size and received != size:
            raise _error(url, path, f"{received} bytes arrived of {size}")
        for name, expected in (("sha256", sha256), ("md5", md5)):
            if expected and (digest := _digest(temporary, name)) != expected.lower():
                raise _error(url, path, f"its {name} is {digest}, not {expected}")


def _error(url, path, reason):
    return DownloadError(
        f"Could not download {url} ({reason}): fetch it by hand and save as {path}."
    )


@contextmanager
def _explained(url: str, path: Path) -> Iterator[None]:
    """Turn what the network raises into a DownloadError. Errors of the disk stay as they are."""
    try:
        yield
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the server's answer, with the connection open
        raise _error(url, path, str(error) or type(error).__name__) from error


def _digest(path: Path, name: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.new(name)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


class _Progress:
    """One line on the standard error output: percent, megabytes, speed, time to go."""

    # Seconds between redraws, so that a fast line does not spend its time on the screen.
    INTERVAL = 0.2

    def __init__(self, name: str, size: int):
        self.name, self.size = name, size
        self.start = time.monotonic()
        self.drawn = self.start - self.INTERVAL

    def show(self, done: int) -> None:
        """Redraw for `done` bytes, on a terminal only: a log file would get a line each time."""
        now = time.monotonic()
        if now - self.drawn >= self.INTERVAL and sys.stderr.isatty():
            self.drawn = now
            sys.stderr.write(f"\r{self.line(done, now - self.start):79}")
            sys.stderr.flush()

    def close(self, done: int) -> None:
        """Draw the last state and end the line."""
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}{self.line(done, time.monotonic() - self.start):79}\n")

    def line(self, done: int, seconds: float) -> str:
        """The text for `done` bytes after `seconds`."""
        speed = done / max(seconds, 1e-6)
        text = f"{self.name} {done / 1e6:.1f}"
        if self.size:
            minutes, rest = divmod(round(max(0, self.size - done) / max(speed, 1)), 60)
            text += f" of {self.size / 1e6:.1f} MB ({done / self.size:.0%})"
            return f"{text}, {speed / 1e6:.1f} MB/s, {minutes}:{rest:02} to go"
        return f"{text} MB, {speed / 1e6:.1f} MB/s"
