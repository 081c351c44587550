"""The bounds within which a program reads a hostile file: time, memory, errors, and places."""

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

SECONDS = 10
MEMORY = 2 << 30

# Mutations per format. `make fuzz` sets more.
CASES = int(os.environ.get("MRCNN_FUZZ_CASES", "500"))
SEED = int(os.environ.get("MRCNN_FUZZ_SEED", "0"))


class Hang(BaseException):
    """Reading took too long. No `except Exception` of the code under test swallows it."""


_watched = []


def _audit(event, arguments):
    """Record the files that Python opens for writing, renames and removes."""
    if not _watched:
        return
    paths = ()
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _, mode, flags = arguments
        writes = any(letter in (mode or "") for letter in "wax+")
        if writes or (mode is None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            paths = arguments[:1]
    elif event in ("os.remove", "os.rmdir") and arguments[1] != -1:
        # A name within an open folder.
        paths = (f"{os.readlink(f'/proc/self/fd/{arguments[1]}')}/{os.fsdecode(arguments[0])}",)
    elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree"):
        paths = arguments[:1]
    elif event in ("os.rename", "os.link", "os.symlink", "shutil.move"):
        paths = arguments[:2]
    _watched[-1].extend(os.fsdecode(path) for path in paths if not isinstance(path, int))


sys.addaudithook(_audit)


def _on_alarm(number, frame):
    raise Hang(f"still running after {SECONDS} s")


@contextlib.contextmanager
def guarded(folder, documented=(ValueError, OSError)):
    """Run a block that reads a hostile file within the bounds.

    The block may succeed or raise an error of the `documented` types with a message of one
    sentence; the guard swallows that error and yields a list that it is appended to.

    Args:
        folder: the only folder in which the block may write, rename or remove.
        documented: types of errors that the function under test documents.

    Raises:
        AssertionError: if the block hung, ran out of memory, raised anything else or an empty
            message, or wrote outside.
    """
    folder = Path(folder).resolve()
    errors, touched = [], []
    # Linux counts the address space, of which TensorFlow reserves much before the block starts.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _on_alarm)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.alarm(SECONDS)
    _watched.append(touched)
    try:
        yield errors
    except documented as error:
        assert str(error).strip(), f"{type(error).__name__} without a message"
        errors.append(error)
    except (Exception, Hang) as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    finally:
        signal.alarm(0)
        _watched.pop()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)
    outside = [path for path in touched if not Path(path).resolve().is_relative_to(folder)]
    outside = [path for path in outside if path != os.devnull]
    assert not outside, f"touched {outside}"
