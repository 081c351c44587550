"""Reading of JSON files, whose values may be of any type in any place."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mrcnn import limits

# Layout: the method that reads it.
_READERS = {
    "COCO JSON": "CocoJsonDataset.load_coco_json()",
    "VIA JSON": "ViaDataset.load_via()",
    "LabelMe JSON": "LabelMeDataset.load_labelme()",
    "Label Studio JSON": "LabelStudioDataset.load_label_studio()",
}
_LARGEST_ID = 1 << 63
_PLAIN = {int, float}


def read_json(path: str | os.PathLike, layout: str) -> Any:
    """Read a JSON file of one layout, such as "COCO JSON".

    The text may be UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read.
        ValueError: if it is not JSON, is larger than `limits.MAX_JSON_BYTES`, or has another
            layout.
        All name the path.
    """
    text = read_bytes(path)
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError(f"{path} is not usable: its JSON is nested too deeply.") from None
    except MemoryError:
        raise ValueError(f"{path} has {len(text)} bytes, too many for this memory.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None
    found = _layout(data)
    if found != layout:
        hint = f" {_READERS[found]} reads it." if found in _READERS else ""
        raise ValueError(
            f"{path} holds {found or 'JSON of an unknown layout'}, not {layout}, which "
            f"{_READERS[layout]} takes.{hint}"
        )
    return data


def json_layout(path: str | os.PathLike) -> str | None:
    """Return the name of the layout of a JSON file; None if it has none of those that are read."""
    try:
        found = _layout(json.loads(read_bytes(path)))
    except (OSError, ValueError, RecursionError, MemoryError):
        return None
    return found if found in _READERS else None


def read_bytes(path: str | os.PathLike) -> bytes:
    """Return the content of an annotation file, a regular one: reading others might never end.

    Raises:
        FileNotFoundError, OSError: if there is none, or if it cannot be read.
        ValueError: if it is no file, or larger than `limits.MAX_JSON_BYTES`.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is not a regular file.")
        if found.st_size > limits.MAX_JSON_BYTES:
            raise ValueError(
                f"{path} has {found.st_size} bytes, more than mrcnn.limits.MAX_JSON_BYTES = "
                f"{limits.MAX_JSON_BYTES}; raise that to read it."
            )
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no annotation file {path}.") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}.") from error


def _layout(data):
    """Return the name of the layout of annotations; None if it is unknown."""
    if isinstance(data, list):
        tasks = (isinstance(e, dict) and {"data", "annotations"} <= set(e) for e in data)
        return "Label Studio JSON" if any(tasks) else None
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("images"), list):
        return "COCO JSON"
    if isinstance(data.get("shapes"), list):
        return "LabelMe JSON"
    if {"project", "file", "view"} <= set(data):
        return "a VIA 3 project"
    via_1 = (isinstance(e, dict) and {"filename", "regions"} <= set(e) for e in data.values())
    return "VIA JSON" if isinstance(data.get("_via_img_metadata"), dict) or any(via_1) else None


def as_id(value: Any) -> int | str | None:
    """Return an id: a text, or a whole number of 64 bits, from 3.0 too; None for all else."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        return value if -_LARGEST_ID <= value < _LARGEST_ID else None
    return value if is_text(value) else None


def as_name(value: Any) -> str | None:
    """Return the name of a class: a text, or that of a number; None for all else, and for ""."""
    if type(value) in (int, float) and are_numbers([value]):
        return str(value)
    return value if value and is_text(value) else None


def is_text(value: Any) -> bool:
    """Return True for a str that can be written to a file; JSON may hold halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def are_numbers(values: Sequence[Any]) -> bool:
    """Return True if all values are finite numbers; True, "3" and 10**400 are not."""
    kinds = set(map(type, values))
    # NumPy's are numbers, too.
    if not kinds <= _PLAIN and any(kind is bool or not issubclass(kind, Real) for kind in kinds):
        return False
    try:
        return math.isfinite(sum(values))
    except OverflowError:
        return False
