"""The progress of an epoch on the screen, and help if its first batch does not arrive."""

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from time import perf_counter

import keras
from tqdm import tqdm

_BAR_CELLS = 20

# Seconds between drawings: on a terminal, where a line is drawn over, and in a file.
_LIVE_INTERVAL, _FILE_INTERVAL = 0.1, 30.0

_NO_BATCH = """
No training batch after {seconds:g} s; still waiting. Things to check:
  - Call dataset.load_image(0) and dataset.load_mask(0) by hand. Are they slow, or do they hang?
  - If they fail in several threads (open HDF5 files, database connections), set
    LOADER_WORKERS = 1.
  - Are the images on a slow or a network disk? Copy them to a local one.
  - Training in several processes: have the other workers started?
"""


class Progress(keras.callbacks.Callback):
    """Show a bar, the time left, images per second, the share of time spent waiting, and losses.

    Rates and shares are those of the epoch so far, without the first step of a run, which compiles
    the graph. Output that is not a terminal or a notebook gets a new line every half minute.

    (`keras.utils.Progbar` and `tqdm` measure from the start of an epoch, also where it is resumed
    in its middle or its first step compiles, and write a file as one line of carriage returns.)

    Args:
        images_per_step: of all replicas.
        first_batch_seconds: time to wait for the first batch before a message says what to check.
        verbose: 0 shows nothing but that message.
    """

    def __init__(self, images_per_step, first_batch_seconds=60, verbose=1):
        super().__init__()
        self.images_per_step, self.first_batch_seconds = images_per_step, first_batch_seconds
        self.verbose = verbose
        # False until the run has had its first batch, and finished its first step.
        self._has_batch = self._has_step = False
        self._start_counting()

    @contextmanager
    def waiting(self):
        """Count the time within this context as waiting for data."""
        start = perf_counter()
        message = _NO_BATCH.format(seconds=self.first_batch_seconds)
        timer = threading.Timer(self.first_batch_seconds, print, [message], {"flush": True})
        timer.daemon = True
        if not self._has_batch:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if not self._has_batch:
                timer.join()
            self._has_batch = True
            self._waited += perf_counter() - start

    def _start_counting(self):
        self._since, self._steps, self._waited = perf_counter(), 0, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._start_counting()
        self._begin = self._last_drawn = self._since
        self._batch, self._shown, self._ended = -1, {}, False
        self._draw_over = tqdm.status_printer(sys.stdout)
        if self.verbose:
            print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)

    def on_train_batch_end(self, batch, logs=None):
        self._batch, self._shown = batch, dict(logs or {})
        if self._has_step:
            self._steps += 1
        else:
            self._has_step = True
            self._start_counting()
        if batch + 1 == self.params["steps"]:
            self._end_line()
        elif perf_counter() - self._last_drawn >= (_LIVE_INTERVAL if _live() else _FILE_INTERVAL):
            self._draw(self._line())

    def on_test_begin(self, logs=None):
        self._end_line()

    def on_epoch_end(self, epoch, logs=None):
        self._end_line()
        later = {name: value for name, value in (logs or {}).items() if name not in self._shown}
        if later and self.verbose:
            print(_values(later), flush=True)

    def _end_line(self):
        """Write the last line of the bar; output of others follows below it."""
        if not self._ended:
            self._ended = True
            self._draw(self._line())

    def _draw(self, line):
        if not self.verbose:
            return
        self._last_drawn = perf_counter()
        if not _live():
            print(line, flush=True)
            return
        if not self._ended:
            # A line that wraps cannot be drawn over. Notebooks have no width.
            line = line[: shutil.get_terminal_size(fallback=(1000, 24)).columns - 1]
        self._draw_over(line)
        if self._ended:
            print(flush=True)

    def _line(self):
        done, total = self._batch + 1, self.params["steps"]
        cells = _BAR_CELLS * done // total
        bar = f"{done:>{len(str(total))}}/{total} [{'=' * cells}{'.' * (_BAR_CELLS - cells)}]"
        now = perf_counter()
        parts = [tqdm.format_interval(now - self._begin)] if self._ended else []
        seconds = now - self._since
        if self._steps and seconds > 0:
            if not self._ended:
                left = seconds / self._steps * (total - done)
                parts = [f"ETA {tqdm.format_interval(left)}"]
            rate = self._steps * self.images_per_step / seconds
            parts.append(f"{rate:.{1 if rate >= 10 else 2}f} images/s")
            parts.append(f"waiting {self._waited / seconds:.0%}")
        if self._shown:
            parts.append(_values(self._shown))
        return f"{bar} {' - '.join(parts)}"


def _live():
    """Return whether the output is a terminal or notebook, where a line can be drawn over."""
    isatty = getattr(sys.stdout, "isatty", None)
    return bool(isatty and isatty()) or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


def _values(logs):
    return " - ".join(f"{name}: {_short(value)}" for name, value in logs.items())


def _short(value):
    try:
        value = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"
