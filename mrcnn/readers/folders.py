"""Folders of data sets: the parts that their names say, and the pictures in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mrcnn.readers.mask_files import PHOTO_SUFFIXES

SUBSETS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def subset_of(name: str) -> str | None:
    """Return "train", "val" or "test" for a name that says so, such as "train2017"; else None."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {subset for subset, known in SUBSETS.items() if set(known) & set(words)}
    return found.pop() if len(found) == 1 else None


def visible(folder: Path, suffixes: set[str] | None = None) -> Iterator[Path]:
    """Yield the folders in a folder, or its files of some suffixes; hidden ones are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if suffixes is None:
            if entry.is_dir():
                yield Path(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in suffixes and entry.is_file():
            yield Path(entry.path)


def has_photos(folder: Path) -> bool:
    """Return True if a folder itself holds pictures."""
    return next(visible(folder, PHOTO_SUFFIXES), None) is not None


def photo_folder(*candidates: Path) -> Path | None:
    """Return the first folder that holds pictures."""
    return next((folder for folder in candidates if has_photos(folder)), None)
