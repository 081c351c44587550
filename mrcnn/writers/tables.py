"""Tables as CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mrcnn.files import replacing


def write_csv(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows as a CSV file in UTF-8 with a line of names.

    Args:
        path: of the file.
        columns: names, in the order of the columns.
        rows: values by name. Floats are written with up to six significant digits.

    Raises:
        OSError: names the file, if it cannot be written.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(row[name]) for name in columns} for row in rows)


def _text(value):
    return f"{value:.6g}" if isinstance(value, float | np.floating) else value
