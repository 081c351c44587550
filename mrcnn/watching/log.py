"""A table and the curves of the losses in the folder of a run."""

import contextlib
import csv
import itertools
import math
import warnings
from functools import partial
from pathlib import Path

import keras

from mrcnn.constants import LOSS_NAMES
from mrcnn.drawing.charts import plot_losses
from mrcnn.files import replacing

# In the order of the charts.
_DRAWN = ("loss", *LOSS_NAMES)


class RunLog(keras.callbacks.Callback):
    """Write `log.csv` and `losses.png` after every epoch.

    `log.csv` has one row per epoch: its number, from 1 on, the learning rate, and all values of the
    epoch's logs. A resumed run keeps the rows of earlier epochs and replaces those of repeated
    ones; a value that appears later gets a column. (Keras's `CSVLogger` only appends, and fails on
    a new column.) A `log.csv` that cannot be read is kept under another name. `losses.png` shows
    all rows.

    An error ends no run: there is one warning, and another attempt after the next epoch.

    Args:
        folder: of the run; made where it is missing.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self._rows, self._warned = [], set()

    def on_train_begin(self, logs=None):
        path = self.folder / "log.csv"
        self._rows = []
        try:
            if path.exists():
                self._rows = _read(path)
        except (ValueError, csv.Error) as error:
            self._try("renamed", path, partial(_set_aside, error=error))
        except OSError as error:
            self._warn("read", path, error)

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "learning_rate": rate}
        # Callbacks that change the rate put the one that was used into the logs.
        for name, value in (logs or {}).items():
            # Only numbers belong into the table.
            with contextlib.suppress(TypeError, ValueError):
                row[name] = float(value)
        # It is float32: 0.01 would become 0.009999999776482582.
        row["learning_rate"] = float(f"{row['learning_rate']:.7g}")
        self._rows = [old for old in self._rows if old["epoch"] < row["epoch"]] + [row]
        self._try("written", self.folder / "log.csv", self._write)
        self._try("drawn", self.folder / "losses.png", self._draw)

    def _try(self, what, path, action):
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            action(path)
        except Exception as error:
            self._warn(what, path, error)

    def _warn(self, what, path, error):
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(
                f"{path} cannot be {what} ({type(error).__name__}: {error}); training continues.",
                stacklevel=2,
            )

    def _write(self, path):
        with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
            # One column per key, in the order in which they appeared.
            columns = list(dict.fromkeys(itertools.chain(*self._rows)))
            writer = csv.DictWriter(f, columns)
            writer.writeheader()
            writer.writerows(self._rows)

    def _draw(self, path):
        first, last = self._rows[0]["epoch"], self._rows[-1]["epoch"]
        by_epoch = {row["epoch"]: row for row in self._rows}
        rows = [by_epoch.get(epoch, {}) for epoch in range(first, last + 1)]
        curves = {}
        for name in (f"{prefix}{loss}" for loss in _DRAWN for prefix in ("", "val_")):
            values = [row.get(name, math.nan) for row in rows]
            # Gaps for what is missing or not finite.
            values = [value if math.isfinite(value) else math.nan for value in values]
            if not all(map(math.isnan, values)):
                curves[name] = values
        if curves:
            plot_losses(curves, first_epoch=first, save_to=path)


def _set_aside(path, error):
    names = (path.with_name(f"log.{number}.csv") for number in itertools.count(1))
    other = next(name for name in names if not name.exists())
    path.rename(other)
    warnings.warn(
        f"{path} is damaged or another program's ({error}); it was renamed to {other.name}, and "
        "a new one was started.",
        stacklevel=2,
    )


def _read(path):
    """Rows of a table that `RunLog` has written, as dicts.

    Raises:
        ValueError: names the line that is wrong.
    """
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    header = lines[0] if lines else []
    if header[:1] != ["epoch"] or len(set(header)) < len(header):
        raise ValueError("the first line has no column epoch at its start, or one twice")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        try:
            named = zip(header[1:], cells[1:], strict=True)
            row = {"epoch": int(cells[0]), **{name: float(cell) for name, cell in named if cell}}
        except (ValueError, IndexError):
            raise ValueError(f"line {number} is not a number a column") from None
        if row["epoch"] <= (rows[-1]["epoch"] if rows else 0):
            raise ValueError(f"line {number} has epoch {row['epoch']}, which is out of order")
        rows.append(row)
    return rows
