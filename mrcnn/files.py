"""Writing files whole, under a temporary name first, and opening files that may be anything."""

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside `path`; that file replaces `path` when the block ends.

    If the block raises, KeyboardInterrupt included, the temporary file is removed and `path` stays
    as it was. The temporary name keeps the suffix, by which some writers choose their format, and
    is a name only: the block creates the file, so it gets the usual permissions.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file to read its bytes, but no folder, pipe or device, whose reading may never end.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be opened, is no regular file, or is empty, as those of `/proc` seem.
            The message is the reason alone, without the path.
    """
    try:
        # The look before the opening: to open a device may do something already.
        _check_regular(os.stat(path))
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        # Should a pipe have taken its place since, opening it does not wait.
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise FileNotFoundError("there is no such file") from None
    # A NUL in the name, and letters that the file system cannot write.
    except ValueError as error:
        raise FileNotFoundError(f"no file can have this name: {error}") from None
    except OSError as error:
        raise OSError(error.strerror or str(error)) from None
    try:
        _check_regular(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(found):
    """Raise OSError if an `os.stat` result is not that of a regular file with content."""
    if stat.S_ISDIR(found.st_mode):
        raise OSError("it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is a pipe, socket or device, not a file")
    if not found.st_size:
        raise OSError("it is empty")
