"""Download and unpack files: each appears whole and checked, or not at all.

`pooch` and `keras.utils.get_file` restart a broken download from zero, so that the 19 GB of COCO
might never be complete.
"""

import hashlib
import os
import re
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from mrcnn.files import replacing

BLOCK = 1 << 20


class DownloadError(ConnectionError):
    """A file cannot be fetched or arrived damaged. The message says where to save it by hand."""


def download(url, path, *, sha256=None, md5=None, size=None, timeout=60, verbose=1, resume=False):
    """Fetch `url` to the file `path`, which appears only when it is complete and checked.

    When the connection breaks, the rest is requested, as long as each attempt brings some of it.

    Args:
        url: address of the file.
        path: file to write; its folder is created if missing, an old file is replaced.
        sha256, md5: expected hexadecimal digests.
        size: expected length in bytes; by default the length that the server announces.
        timeout: seconds to wait for the server per request.
        verbose: 1 for a progress bar if standard error is a terminal.
        resume: if the download fails or is interrupted, keep the part that has arrived as
            `<path>.part`, and resume from it the next time.

    Raises:
        DownloadError: the server does not answer or refuses, or the file is not the expected one.
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
                temporary.unlink()  # Resuming would not repair it.
                raise _error(url, path, f"its {name} is {digest}, not {expected}")


@contextmanager
def _kept_part(path):
    """Do as `replacing`, but with a fixed temporary name that is kept after errors."""
    temporary = path.with_name(f"{path.name}.part")
    yield temporary
    os.replace(temporary, path)


def _receive(url, path, temporary, size, timeout, verbose):
    """Request the rest of `temporary` once and append it. `size` is None if unknown."""
    with _explained(url, path):
        response, start, announced = _request(url, _length(temporary), timeout)
    with response, open(temporary, "ab" if start else "wb") as file:
        if size and announced and size != announced:
            raise _error(url, path, f"it has {announced} bytes there, not {size}")
        size = size or announced
        with _progress(path.name, size, verbose, start) as progress:
            while True:
                with _explained(url, path):
                    block = response.read(BLOCK)
                if not block:
                    break
                file.write(block)
                progress.update(len(block))
        received = file.tell()
    if size and received != size:
        if received > size:
            temporary.unlink()
        raise _error(url, path, f"{received} bytes arrived of {size}")


def _request(url, start, timeout):
    """Return the server's response, its first byte, and the length of the file or None.

    The first byte is `start`, or 0 if the server ignores it.
    """
    response = None
    if start:
        try:
            response = urlopen(Request(url, headers={"Range": f"bytes={start}-"}), timeout=timeout)
        except HTTPError as error:
            if error.code != 416:
                raise
            # The file ends before `start`, so the kept part is not a part of it.
            error.close()
    if response and response.status == 206:
        part = re.match(rf"bytes {start}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if part:
            return response, start, int(part[1])
        response.close()
        response = None
    response = response or urlopen(url, timeout=timeout)
    return response, 0, int(response.headers.get("Content-Length") or 0) or None


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _error(url, path, reason):
    return DownloadError(
        f"Could not download {url} ({reason}): fetch it by hand and save as {path}."
    )


@contextmanager
def _explained(url, path):
    """Turn errors of the network, not those of the disk, into a DownloadError."""
    try:
        yield
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # It holds the connection.
        raise _error(url, path, str(error) or type(error).__name__) from error


def file_digest(path, name):
    """Return the hexadecimal digest of a file; `name` is one of `hashlib`, such as "sha256"."""
    digest = hashlib.new(name)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _progress(name, size, verbose, start=0):
    """Return a progress bar of bytes, for terminals only: a file would get each redrawing."""
    disable = None if verbose else True
    return tqdm(desc=name, total=size, initial=start, unit="B", unit_scale=True, disable=disable)


def unpack(archive, folder, inside="", verbose=1):
    """Unpack a zip file. Each entry appears in `folder` whole or not at all.

    Args:
        archive: the zip file.
        folder: target, created if missing. Its existing entries stay as they are.
        inside: folder of the archive whose entries are unpacked; "" for its top.
        verbose: see `download`.

    Raises:
        ValueError: the file is not a zip file, is damaged, or has no folder `inside`.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{archive.stem}.", dir=folder) as temporary:
        try:
            with zipfile.ZipFile(archive) as source:
                members = source.infolist()
                size = sum(member.file_size for member in members)
                with _progress(f"Unpacking {archive.name}", size, verbose) as progress:
                    for member in members:
                        source.extract(member, temporary)
                        progress.update(member.file_size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(
                f"{archive} is not a whole zip file ({error}): delete it and fetch it again."
            ) from error
        source = Path(temporary, inside)
        if not source.is_dir():
            raise ValueError(f"{archive} has no folder {inside}.")
        for entry in source.iterdir():
            if not (folder / entry.name).exists():
                entry.rename(folder / entry.name)
