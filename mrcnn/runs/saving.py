"""Writing the files from which a run is resumed."""

import contextlib
import os
import signal
import threading
from pathlib import Path

from mrcnn.runs.run import checkpoints


@contextlib.contextmanager
def saving(path):
    """Let a block write a file of a run: Ctrl-C waits for it, and errors say how to resume.

    The first Ctrl-C is held back until the file is whole, so that there is something to resume; a
    second one breaks the block at once. Outside the main thread Python has no say in this.

    Args:
        path: of the file.

    Raises:
        OSError: the block's, with what training can be resumed from.
    """
    try:
        with _held_back(path):
            yield
    except OSError as error:
        found = type(error)(f"{error} Training has stopped; {_advice(os.path.dirname(path))}")
        found.errno = error.errno
        raise found from error


def _advice(folder):
    states = sorted(Path(folder).glob("state_*.npz"), key=lambda path: (len(path.name), path.name))
    for newest in [*states[-1:], *checkpoints(folder)[:1]]:
        name = os.path.basename(newest)
        return (
            f"what it did since {name} is lost. Once files can be written again, "
            "train(resume=True) or --model last resumes from there."
        )
    return "there is no earlier file in this folder to resume from."


@contextlib.contextmanager
def _held_back(path):
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    # It is no function where another program than Python handles the signal.
    if not is_main or not callable(handler):
        yield
        return
    pressed = []

    def note(*signal_and_frame):
        if pressed:
            handler(*signal_and_frame)
        pressed.append(signal_and_frame)
        print(f"\nInterrupted: writing {path} first; Ctrl-C once more stops at once.", flush=True)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        print(f"Wrote {path}; train(resume=True) or --model last resumes the run.", flush=True)
        handler(*pressed[0])
