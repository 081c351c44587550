"""Writing files whole, under a temporary name first, and opening files that may be anything."""

import os
import stat
import tempfile
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

    Raises:
        OSError: names `path` and the reason, if the disk is full or the file cannot be made. It has
            the class and `errno` of the operating system's error, such as PermissionError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if not _is_about(error, temporary):
            raise
        raise unwritable(path, error) from error
    finally:
        # Where it could not be made, it cannot be removed either.
        try:
            temporary.unlink(missing_ok=True)
        except (OSError, ValueError):
            pass


def _is_about(error, temporary):
    """Return whether an error is of writing the temporary file, not of something else."""
    if error.filename is not None:
        return str(error.filename) == str(temporary)
    if error.errno is None:
        # `ndarray.tofile` gives no number. Other such errors are of what is read meanwhile.
        return str(error).endswith(" written")
    # Errors of a full disk come without a name. Others, such as those of a network, are of
    # subclasses that are not for files.
    files = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
    return type(error) in (OSError, PermissionError, *files)


def unwritable(path: str | os.PathLike, error: OSError) -> OSError:
    """Return an error of the same class that says that `path` cannot be written, and why."""
    # Texts of libraries may be long, and of several lines.
    reason = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
    kind = type(OSError(error.errno, "")) if error.errno else OSError
    found = kind(f'"{path}" cannot be written: {reason}.')
    found.errno = error.errno
    return found


def check_folder(folder: str | os.PathLike) -> None:
    """Check that files can be made in a folder, or the folder itself, without making anything.

    Raises:
        OSError: names the folder and the reason.
        ValueError: if it is no name of a folder.
    """
    text = os.fspath(folder)
    if "\0" in text:
        raise ValueError(f"The folder {text!r} has a zero byte in its name.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"The folder {text!r} has a name that is no Unicode text.") from None
    nearest = Path(os.path.abspath(text))
    try:
        # A link to nowhere does not exist, but is in the way.
        while not _is_there(nearest):
            nearest = nearest.parent
        if not nearest.is_dir():
            what = "is a link to nowhere" if nearest.is_symlink() else "is a file, not a folder"
            raise NotADirectoryError(f'"{nearest}" {what}')
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        text = text if len(text) <= 300 else f"{text[:297]}..."
        found = type(error)(f'No files can be written to the folder "{text}": {reason}.')
        found.errno = error.errno
        raise found from error


def _is_there(path):
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


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


def one_line(error: BaseException, most: int = 300) -> str:
    """Return the text of an error as one line of at most `most` characters, else its type."""
    return " ".join(str(error).split())[:most] or type(error).__name__
