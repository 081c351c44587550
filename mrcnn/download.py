"""Files from the internet: whole and checked, or not there under their name at all."""

import hashlib
import os
import re
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mrcnn.files import replacing

BLOCK = 1 << 20


class DownloadError(ConnectionError):
    """A file could not be fetched, or came damaged. The message says how to get it by hand."""


def download(
    url: str,
    path: str | os.PathLike,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    timeout: float = 60,
    verbose: int = 1,
    resume: bool = False,
) -> None:
    """Fetch `url` to the file `path`, which appears only when it is complete and checked.

    When the connection breaks, the rest is asked for, as long as every try brings some of it.

    Args:
        url: what to fetch.
        path: where to; its folder is made if it is missing, an old file is replaced.
        sha256, md5: hexadecimal digests to compare with.
        size: length in bytes; without it, the length that the server announces.
        timeout: seconds to wait for the server each time.
        verbose: 0 for no progress bar on the standard error output.
        resume: keep what has arrived, in a file beside `path` with `.part` after its name, when
            the download fails or is interrupted, and go on from there the next time.

    Raises:
        DownloadError: nobody answers, the server refuses, or the file is not the one expected.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _kept_part(path) if resume else replacing(path) as temporary:
        while True:
            before = _length(temporary)
            try:
                if not size or before != size:
                    _receive(url, path, temporary, size, timeout, verbose)
                break
            except DownloadError:
                if _length(temporary) <= before:
                    raise
        for name, expected in (("sha256", sha256), ("md5", md5)):
            if expected and (digest := file_digest(temporary, name)) != expected.lower():
                temporary.unlink()  # no try to come could mend it
                raise _error(url, path, f"its {name} is {digest}, not {expected}")


@contextmanager
def _kept_part(path: Path) -> Iterator[Path]:
    """As `replacing`, but the temporary file has a name to find it by and outlives errors."""
    temporary = path.with_name(f"{path.name}.part")
    yield temporary
    os.replace(temporary, path)


def _receive(url, path, temporary, size, timeout, verbose):
    """Ask once for what `temporary` lacks, and write what comes. `size` is None if unknown."""
    with _explained(url, path):
        response, start, announced = _request(url, _length(temporary), timeout)
    with response, open(temporary, "ab" if start else "wb") as file:
        if size and announced and size != announced:
            raise _error(url, path, f"it has {announced} bytes there, not {size}")
        size = size or announced
        progress = Progress(path.name, size, start) if verbose else None
        try:
            while True:
                with _explained(url, path):
                    block = response.read(BLOCK)
                if not block:
                    break
                file.write(block)
                if progress:
                    progress.show(file.tell())
        finally:
            if progress:
                progress.close(file.tell())
        received = file.tell()
    if size and received != size:
        if received > size:
            temporary.unlink()
        raise _error(url, path, f"{received} bytes arrived of {size}")


def _request(url, start, timeout):
    """The server's answer, the byte that it begins with, and the length of the file or None.

    It begins with byte `start`, or with 0 where the server does not go by that.
    """
    if start:
        try:
            response = urlopen(Request(url, headers={"Range": f"bytes={start}-"}), timeout=timeout)
        except HTTPError as error:
            if error.code != 416:
                raise
            # There is nothing from `start` on, so what has arrived is no part of this file.
            error.close()
        else:
            if response.status != 206:
                return response, 0, _announced(response)
            part = re.match(rf"bytes {start}-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if part:
                return response, start, int(part[1])
            response.close()
    response = urlopen(url, timeout=timeout)
    return response, 0, _announced(response)


def _announced(response):
    return int(response.headers.get("Content-Length") or 0) or None


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


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


def file_digest(path: str | os.PathLike, name: str) -> str:
    """Hexadecimal digest of a file; `name` as `hashlib.new` takes it, such as "sha256"."""
    with open(path, "rb") as file:
        digest = hashlib.new(name)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def unpack(
    archive: str | os.PathLike, folder: str | os.PathLike, inside: str = "", verbose: int = 1
) -> None:
    """Unpack a zip file, so that each file and folder appears in `folder` whole or not at all.

    Args:
        archive: the zip file.
        folder: where to; made if it is missing. Entries that it has already stay as they are.
        inside: the folder of the archive whose entries are meant; "" for its top.
        verbose: 0 for no progress bar on the standard error output.

    Raises:
        ValueError: the file is no zip file, is damaged, or has no folder `inside`.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{archive.stem}.", dir=folder) as temporary:
        try:
            _extract(archive, temporary, verbose)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(
                f"{archive} is no whole zip file ({error}): delete it and fetch it again."
            ) from error
        source = Path(temporary, inside)
        if not source.is_dir():
            raise ValueError(f"{archive} has no folder {inside}.")
        for entry in source.iterdir():
            if not (folder / entry.name).exists():
                entry.rename(folder / entry.name)


def _extract(archive, folder, verbose):
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        size = sum(member.file_size for member in members)
        progress = Progress(f"Unpacking {archive.name}", size) if verbose else None
        done = 0
        for member in members:
            source.extract(member, folder)
            done += member.file_size
            if progress:
                progress.show(done)
        if progress:
            progress.close(done)


class Progress:
    """One line on the standard error output: percent, megabytes, speed, time to go.

    Args:
        name: text in front.
        size: bytes in all; None or 0 if unknown.
        start: bytes that were there before.
    """

    # Seconds between redraws, so that a fast line does not spend its time on the screen.
    INTERVAL = 0.2

    def __init__(self, name: str, size: int | None, start: int = 0):
        self.name, self.size, self.start = name, size, start
        self.began = time.monotonic()
        self.drawn = self.began - self.INTERVAL

    def show(self, done: int) -> None:
        """Redraw for `done` bytes, on a terminal only: a log file would get a line each time."""
        now = time.monotonic()
        if now - self.drawn >= self.INTERVAL and sys.stderr.isatty():
            self.drawn = now
            sys.stderr.write(f"\r{self.line(done, now - self.began):79}")
            sys.stderr.flush()

    def close(self, done: int) -> None:
        """Draw the last state and end the line."""
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}{self.line(done, time.monotonic() - self.began):79}\n")

    def line(self, done: int, seconds: float) -> str:
        """The text for `done` bytes after `seconds`."""
        speed = (done - self.start) / max(seconds, 1e-6)
        text = f"{self.name} {done / 1e6:.1f}"
        if self.size:
            minutes, rest = divmod(round(max(0, self.size - done) / max(speed, 1)), 60)
            hours, minutes = divmod(minutes, 60)
            to_go = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
            text += f" of {self.size / 1e6:.1f} MB ({done / self.size:.0%})"
            return f"{text}, {speed / 1e6:.1f} MB/s, {to_go} to go"
        return f"{text} MB, {speed / 1e6:.1f} MB/s"
