"""Download files: each appears whole and checked, or not at all.

`pooch` and `keras.utils.get_file` restart a broken download from zero, so that the 19 GB of COCO
might never be complete.
"""

import hashlib
import json
import re
import time
from contextlib import contextmanager
from pathlib import Path

from mrcnn import limits
from mrcnn.archives import bytes_bar, unpack
from mrcnn.connection import Answer, NetworkError, is_validator
from mrcnn.files import replacing

__all__ = ["BLOCK", "DownloadError", "download", "file_digest", "unpack"]

BLOCK = 1 << 20
# Bytes asked for at a time: few, so that the rate is known while they drip.
_PIECE = 1 << 16
# Seconds over which `limits.MIN_DOWNLOAD_RATE` is measured.
RATE_WINDOW = 60
# Requests that bring less than BLOCK before a download is given up.
_MEAGRE_TRIES = 100


class DownloadError(ConnectionError):
    """A file cannot be fetched or arrived damaged. The message says where to save it by hand.

    Attributes:
        reason: the part of the message that says what happened.
    """

    reason = ""


class _Hopeless(Exception):
    """A reason not to ask for the rest."""


def download(
    url,
    path,
    *,
    sha256=None,
    md5=None,
    size=None,
    limit=None,
    timeout=60,
    verbose=1,
    resume=False,
):
    """Fetch `url` to the file `path`, which appears only when it is complete and checked.

    When the connection breaks, the rest is requested, as long as each attempt brings some of it and
    the server's file is the same one by its ETag or date.

    Args:
        url: address of the file, http or https.
        path: file to write; its folder is created if missing, an old file is replaced.
        sha256, md5: expected hexadecimal digests, or their first digits.
        size: expected length in bytes; by default the length that the server announces.
        limit: most bytes to accept where `size` is not given; `limits.MAX_DOWNLOAD_BYTES` by
            default.
        timeout: seconds to wait for the server per request.
        verbose: 1 for a progress bar if standard error is a terminal.
        resume: if the download fails or is interrupted, keep the part that has arrived as
            `<path>.part`, and resume from it the next time. `<path>.part.json` keeps its ETag.

    Raises:
        DownloadError: the server does not answer or refuses, is slower than
            `limits.MIN_DOWNLOAD_RATE`, or the file is not the expected one.
        OSError: the file cannot be written.
    """
    url, path = str(url), Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _kept_part(path) if resume else replacing(path) as temporary:
        source = _Source(url, path, temporary, size, limit, timeout, verbose)
        if resume:
            source.remember_in(_note_of(path))
        begun = _length(temporary) > 0
        source.fetch()
        for name, expected in (("sha256", sha256), ("md5", md5)):
            if not expected or file_digest(temporary, name).startswith(expected.lower()):
                continue
            if begun:  # The part that was there may be of another file.
                source.forget()
                source.fetch()
            digest = file_digest(temporary, name)
            if not digest.startswith(expected.lower()):
                source.forget()  # Resuming would not repair it.
                raise _error(url, path, f"its {name} is {digest}, not {expected}")
        source.finish()


@contextmanager
def _kept_part(path):
    """Do as `replacing`, but with a fixed temporary name that is kept after errors."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        if temporary.exists() and not _length(temporary):
            temporary.unlink()
            _note_of(path).unlink(missing_ok=True)


def _note_of(path):
    """Return the name of the file that tells which file a kept part belongs to."""
    return path.with_name(f"{path.name}.part.json")


class _Source:
    """A file of a server, and the part of it that has arrived.

    Attributes:
        validator: ETag or date of the file that the part belongs to, None if unknown.
    """

    def __init__(self, url, path, part, size, limit, timeout, verbose):
        self.url, self.path, self.part = url, path, part
        self.size, self.timeout, self.verbose = size, timeout, verbose
        self.limit = limits.MAX_DOWNLOAD_BYTES if limit is None else limit
        self.validator, self._note = None, None

    def remember_in(self, note):
        """Keep the validator in a file, and take it from there."""
        self._note = note
        try:
            kept = json.loads(note.read_text(encoding="utf-8"))
            if kept["url"] == self.url and is_validator(kept["validator"]):
                self.validator = kept["validator"]
            else:
                self.forget()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self.forget()

    def forget(self):
        """Remove the part, and what is known of its source."""
        self.validator = None
        self.part.unlink(missing_ok=True)
        self.finish()

    def finish(self):
        """Remove the note on the source."""
        if self._note:
            self._note.unlink(missing_ok=True)

    def _begin(self, validator):
        """Note the validator. The part must be empty, so that it never has another's."""
        self.validator = validator
        if self._note and validator:
            with replacing(self._note) as file:
                text = json.dumps({"url": self.url, "validator": validator})
                file.write_text(text, encoding="utf-8")
        else:
            self.finish()

    def fetch(self):
        """Request the file until it is complete."""
        rate, meagre = _Rate(), 0
        while not self.size or _length(self.part) != self.size:
            before = _length(self.part)
            try:
                self._receive(rate)
                return
            except _Hopeless as error:
                raise _error(self.url, self.path, str(error)) from None
            except NetworkError as error:
                brought = _length(self.part) - before
                meagre += brought < BLOCK
                if brought <= 0 or meagre > _MEAGRE_TRIES:
                    raise _error(self.url, self.path, str(error)) from error

    def _receive(self, rate):
        """Request the rest of the part once and append it."""
        answer, start, announced = self._request()
        with answer:
            most = self._most(announced)
            with _naming(self.path), open(self.part, "ab" if start else "wb") as file:
                if not start:
                    self._begin(answer.validator)
                received = self._append(answer, file, start, announced, most, rate)
        expected = self.size or announced
        if expected and received != expected:
            raise NetworkError(f"{received} bytes arrived of {expected}")
        if not received:
            self.forget()
            raise _Hopeless("it is empty")

    def _append(self, answer, file, received, announced, most, rate):
        """Write what arrives, at most `most` bytes; return the length of the part."""
        with bytes_bar(self.path.name, self.size or announced, self.verbose, received) as bar:
            while received != announced:
                # One byte more than expected is enough to know.
                block = answer.read(min(_PIECE, most - received + 1))
                if not block:
                    break
                received += len(block)
                if received > most:
                    file.close()
                    self.forget()
                    raise _Hopeless(f"more bytes arrive than {self._bound()}")
                file.write(block)
                bar.update(len(block))
                rate.add(len(block))
        return received

    def _most(self, announced):
        """Return the number of bytes to accept."""
        if self.size and announced and self.size != announced:
            raise _Hopeless(f"it has {announced} bytes there, not {self.size}")
        if not self.size and announced and announced > self.limit:
            raise _Hopeless(f"it has {announced} bytes there, more than {self._bound()}")
        return self.size or self.limit

    def _bound(self):
        """Return the number of bytes to accept in words."""
        if self.size:
            return f"the {self.size} expected ones"
        name = "mrcnn.limits.MAX_DOWNLOAD_BYTES = " * (self.limit == limits.MAX_DOWNLOAD_BYTES)
        return f"{name}{self.limit}"

    def _request(self):
        """Return the server's answer, its first byte, and the length of the file or None.

        The first byte is the length of the part, or 0 if the part cannot be resumed.
        """
        start = _length(self.part)
        if start:
            headers = {"Range": f"bytes={start}-"}
            if self.validator:
                headers["If-Range"] = self.validator
            try:
                answer = Answer(self.url, self.timeout, headers)
            except NetworkError as error:
                # The file ends before `start`, so the part is not a part of it.
                if error.status != 416:
                    raise
            else:
                if answer.status == 200:
                    return answer, 0, answer.length
                given = answer.headers.get("Content-Range", "")
                part = re.fullmatch(rf"bytes {start}-[0-9]+/([0-9]{{1,18}})", given.strip())
                if part and self.validator in (None, answer.validator):
                    return answer, start, int(part[1])
                answer.close()
        answer = Answer(self.url, self.timeout)
        if answer.status != 200:
            answer.close()
            raise _Hopeless(f"the server answers with HTTP status {answer.status}")
        return answer, 0, answer.length


class _Rate:
    """Watch over `limits.MIN_DOWNLOAD_RATE`."""

    def __init__(self):
        self._since, self._bytes = time.monotonic(), 0

    def add(self, count):
        """Count bytes; raises `_Hopeless` where they come too slowly."""
        self._bytes += count
        seconds = time.monotonic() - self._since
        if seconds < RATE_WINDOW:
            return
        if self._bytes < limits.MIN_DOWNLOAD_RATE * seconds:
            raise _Hopeless(
                f"{self._bytes / seconds:.0f} bytes per second arrive, fewer than "
                f"mrcnn.limits.MIN_DOWNLOAD_RATE = {limits.MIN_DOWNLOAD_RATE}"
            )
        self.__init__()


@contextmanager
def _naming(path):
    """Name the file in errors of the disk."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be written: {error.strerror}") from error


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _error(url, path, reason):
    message = f"Could not download {url} ({reason}): fetch it by hand and save as {path}."
    error = DownloadError(message)
    error.reason = reason
    return error


def file_digest(path, name):
    """Return the hexadecimal digest of a file; `name` is one of `hashlib`, such as "sha256"."""
    digest = hashlib.new(name)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
