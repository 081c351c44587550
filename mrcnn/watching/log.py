"""The table of each epoch's values and the loss curves in the folder of a run."""

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

    `log.csv` has one row per epoch: its number, from 1 on, the learning rate, and the numbers in
    the epoch's logs. A resumed run keeps the rows of earlier epochs and replaces those of repeated
    epochs; a value that appears later gets a column. (Keras's `CSVLogger` only appends: it repeats
    epochs, leaves half a row after a crash, and fails on a new column.) A `log.csv` that cannot be
    read is kept under another name. `losses.png` shows all rows.

    An error never stops training: it causes one warning, and another attempt after the next epoch.

    Args:
        folder: of the run; created if missing.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self._rows, self._warned = [], set()

    def on_train_begin(self, logs=None):
        path = self.folder / "log.csv"
        self._rows = []
        try:
            self._rows = _read(path) if path.exists() else []
        except (ValueError, csv.Error) as error:
            self._try("renamed", path, partial(_set_aside, error=error))
        except OSError as error:
            self._warn("read", path, error)

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "learning_rate": rate}
        # Callbacks that change the rate put the one that was used into the logs.
        for name, value in (logs or {}).items():
            # Values that are not numbers have no place in the table.
            with contextlib.suppress(TypeError, ValueError):
                row[name] = float(value)
        # As float32, 0.01 would become 0.009999999776482582.
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
            message = f"{path} cannot be {what} ({type(error).__name__}: {error})"
            # Some errors name the file already.
            message = str(error).rstrip(".") if f'"{path}"' in str(error) else message
            warnings.warn(f"{message}; training continues.", stacklevel=2)

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
            if any(map(math.isfinite, values)):
                # Values that are not finite become gaps, as missing ones.
                curves[name] = [value if math.isfinite(value) else math.nan for value in values]
        if curves:
            plot_losses(curves, first_epoch=first, save_to=path)


def _set_aside(path, error):
    names = (path.with_name(f"log.{number}.csv") for number in itertools.count(1))
    other = next(name for name in names if not name.exists())
    path.rename(other)
    warnings.warn(
        f"{path} is damaged, or another program wrote it ({error}); it was renamed to "
        f"{other.name}, and a new one was started.",
        stacklevel=2,
    )


def _read(path):
    """Return the rows of a table that `RunLog` has written, as dicts.

    Raises:
        ValueError: names the line that is wrong.
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *lines = [*csv.reader(file)] or [[]]
    if header[:1] != ["epoch"] or len(set(header)) < len(header):
        raise ValueError("the first line does not start with a column epoch, or names one twice")
    rows, last = [], 0
    for number, cells in enumerate(lines, start=2):
        try:
            row = {name: float(cell) for name, cell in zip(header, cells, strict=True) if cell}
            row["epoch"] = epoch = int(cells[0])
        except ValueError:
            raise ValueError(f"line {number} does not have one number per column") from None
        if epoch <= last:
            raise ValueError(f"line {number} has epoch {epoch}, which is out of order")
        rows.append(row)
        last = epoch
    return rows
