"""A lock on the folder of a run, so that only one process trains in it."""

import os
import socket
import stat
import warnings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

_LOCKED = PermissionError if fcntl is None else BlockingIOError

LOCK_FILE = "training.lock"

# Of a lock file's text, which names its holder.
_MOST_BYTES = 500


class RunLockedError(RuntimeError):
    """Another process trains in the folder of a run."""


class RunLock:
    """Hold `training.lock` in a folder until `release`, or until the process ends.

    The operating system keeps the lock, so a killed process leaves a file but no lock. Where the
    file system has no locks, a warning says so and training continues without one.

    Args:
        folder: of a run; it exists.

    Raises:
        RunLockedError: names the process that holds the lock and its machine.
        OSError: if the file cannot be made.
    """

    def __init__(self, folder):
        self._path, self._file = os.path.join(folder, LOCK_FILE), None
        while self._file is None:
            # Without following a link out of the folder, and without waiting at a pipe.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            flags |= getattr(os, "O_NONBLOCK", 0)
            file = os.fdopen(os.open(self._path, flags, 0o666), "r+b", buffering=0)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.close()
                raise OSError(f'"{self._path}" is not a regular file; remove it.')
            try:
                _lock(file)
            except _LOCKED as error:
                holder = _holder(file)
                file.close()
                raise RunLockedError(
                    f'"{folder}" is being trained in by {holder}; wait for it or end it, or start '
                    "a new run: train without resume, after set_log_dir()."
                ) from error
            except OSError as error:
                warnings.warn(
                    f'The file system of "{folder}" has no locks ({error}); take care that no '
                    "second process trains in this run.",
                    stacklevel=2,
                )
            if _is_at(file, self._path):
                self._file = file
            else:
                # The holder before has removed the file in between.
                file.close()
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self):
        """Give the lock back and remove its file."""
        if self._file is None:
            return
        try:
            # While it is still locked; on Windows an open file cannot be removed.
            os.unlink(self._path)
        except OSError:
            pass
        self._file.close()
        self._file = None


def _lock(file):
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    # One byte behind the text: others cannot read what is locked.
    file.seek(1 << 20)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def _holder(file):
    """Return the text of a lock file, in which its holder names itself."""
    file.seek(0)
    text = file.read(_MOST_BYTES).decode(errors="replace").strip()
    return text if text.isprintable() and text else "another process"


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
