"""The progress of an epoch on the screen, and help if its first batch does not arrive."""

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from time import perf_counter

import keras
from tqdm import tqdm

from mrcnn.drawing.charts import curve_names

# Cells of the bar, where the line has room for them; a shorter one says nothing.
_MOST_CELLS, _FEWEST_CELLS = 20, 5

# Columns of output that has no width: files and notebooks.
_COLUMNS = 80

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
    """Show the loss, the time left, images per second and the share of time spent waiting.

    At the end of an epoch a table has all values, training above validation. Rates and shares are
    those of the epoch so far, without the first step of a run, which compiles the graph. Output
    that is not a terminal or a notebook gets a new line every half minute.

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
        # Names of the steps that have run.
        self._compiled = set()
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

    @contextmanager
    def computing(self, step):
        """Say before the first step of a kind that it compiles, and after it how long it took.

        Args:
            step: "training step" or "validation step".
        """
        if step in self._compiled or not self.verbose:
            yield
            return
        start = perf_counter()
        print(f"Compiling the {step}, once per call of train; it can take a minute.", flush=True)
        yield
        self._compiled.add(step)
        print(f"Compiled in {perf_counter() - start:.0f} s.", flush=True)

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
        if logs and self.verbose:
            print(_table(logs, _columns()), flush=True)

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
        self._draw_over(line)
        if self._ended:
            print(flush=True)

    def _line(self):
        done, total = self._batch + 1, self.params["steps"]
        count = f"{done:>{len(str(total))}}/{total}"
        parts = [f"loss: {_short(self._shown['loss'])}"] if "loss" in self._shown else []
        parts.append(count)
        now = perf_counter()
        seconds = now - self._since
        if self._ended:
            parts.append(tqdm.format_interval(now - self._begin))
        elif self._steps and seconds > 0:
            left = seconds / self._steps * (total - done)
            parts.append(f"ETA {tqdm.format_interval(left)}")
        if self._steps and seconds > 0:
            rate = self._steps * self.images_per_step / seconds
            parts.append(f"{rate:.{1 if rate >= 10 else 2}f} images/s")
            parts.append(f"waiting {self._waited / seconds:.0%}")
        # A line that wraps cannot be drawn over.
        room = _columns() - 1
        cells = min(_MOST_CELLS, room - len(" - ".join(parts)) - len(" []"))
        if cells >= _FEWEST_CELLS:
            full = cells * done // total
            bar = f"{count} [{'=' * full}{'.' * (cells - full)}]"
            parts[parts.index(count)] = bar
        return " - ".join(parts)[:room]


def _columns():
    """Return the width of the terminal; 80 for files and notebooks."""
    return shutil.get_terminal_size(fallback=(_COLUMNS, 24)).columns


def _live():
    """Return whether the output is a terminal or notebook, where a line can be drawn over."""
    isatty = getattr(sys.stdout, "isatty", None)
    return bool(isatty and isatty()) or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


def _table(logs, width):
    """Return the values of an epoch as text: a column per name, training above validation.

    `val_<name>` is in the row "val_" of the column `<name>`, and the columns of losses leave out
    their ending "_loss". What does not fit into the width comes in further lines below.
    """
    names = curve_names(logs)
    labels = {"train": "", "val_": "val_"}
    rows = {
        label: [_short(logs[prefix + name]) if prefix + name in logs else "" for name in names]
        for label, prefix in labels.items()
    }
    heads = [name.removesuffix("_loss") for name in names]
    widths = [max(map(len, cells)) for cells in zip(heads, *rows.values(), strict=True)]
    lines, start = [], 0
    while start < len(names):
        stop, used = start, len("train")
        while stop < len(names) and (stop == start or used + 1 + widths[stop] < width):
            used += 1 + widths[stop]
            stop += 1
        part = slice(start, stop)
        for label, cells in ({"": heads} | rows).items():
            if any(cells[part]):
                padded = map(str.rjust, cells[part], widths[part])
                lines.append(" ".join([label.ljust(len("train")), *padded]).rstrip())
        start = stop
    return "\n".join(lines)


def _short(value):
    """Return three significant digits of a number; the text of anything else."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return str(value)
    if 100 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3g}" if value and abs(value) < 1e-3 else f"{value:#.3g}"
