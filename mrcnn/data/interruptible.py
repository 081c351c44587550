"""Drawing from an iterator whose `next` blocks in C++, where Python sees no Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

# Seconds. Windows cannot interrupt a wait without an end.
_POLL = 0.5


def interruptible(iterator: Iterator) -> Iterator[Any]:
    """Yield the items of an iterator, which a thread of its own draws when they are asked for.

    The waiting is done in Python, so that KeyboardInterrupt ends it, whatever the thread does. It
    draws nothing ahead.
    """
    asked, drawn = queue.SimpleQueue(), queue.SimpleQueue()

    def draw():
        while asked.get():
            try:
                drawn.put((next(iterator), None))
            except BaseException as error:
                drawn.put((None, error))

    # A daemon, because the end of Python must not wait for it either.
    thread = threading.Thread(target=draw, name="batches", daemon=True)
    thread.start()
    is_drawing = False
    try:
        while True:
            asked.put(is_drawing := True)
            item, error = _wait(drawn)
            is_drawing = False
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        asked.put(False)
        if not is_drawing:
            # Else it could be the one to free the iterator, and TensorFlow aborts the process if
            # Python ends meanwhile.
            thread.join(_POLL)


def _wait(source):
    """Return the next entry of a queue."""
    while True:
        try:
            return source.get(timeout=_POLL)
        except queue.Empty:
            continue
