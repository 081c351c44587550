"""What a command hands back: a document for programs, and the exit status."""

import json
import math
import os
from dataclasses import dataclass, field

import numpy as np

# Errors in files, values, machines and installations, whose text is for the user. Others are
# mistakes in this package, and show where.
ERRORS = (OSError, ValueError, RuntimeError, FloatingPointError, MemoryError, ImportError)


@dataclass
class Outcome:
    """The end of a command.

    Attributes:
        document: what `--json` writes, a dict of plain values, NumPy's numbers and arrays, and
            paths.
        status: exit status of the program, 0 if all is well.
    """

    document: dict = field(default_factory=dict)
    status: int = 0


def as_json(document):
    """Return a document as one line of JSON, where numbers that are not finite are null."""
    return json.dumps(_plain(document), allow_nan=False, ensure_ascii=False)


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
