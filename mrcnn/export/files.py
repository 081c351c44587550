"""Formats by name and suffix, and writing their files whole or not at all."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from mrcnn.files import check_folder, unwritable

# Formats with the suffix of their files; a SavedModel is a folder.
SUFFIXES = {"saved_model": "", "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}

# Files that make a folder a SavedModel.
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")


def choose_format(path, format=None):
    """Return the name of the format: `format`, or that of the suffix of a path.

    Raises:
        ValueError: lists the formats, for another one and for another suffix.
    """
    suffix = Path(path).suffix.lower()
    if format is None:
        for name, ours in SUFFIXES.items():
            if suffix == ours:
                return name
        listed = ", ".join(f'"{ours}" ({name})' for name, ours in SUFFIXES.items() if ours)
        raise ValueError(
            f'The path "{path}" has the suffix "{suffix}"; accepted are {listed}, and none for the '
            "folder of a SavedModel."
        )
    if format not in SUFFIXES:
        accepted = ", ".join(f'"{name}"' for name in SUFFIXES)
        raise ValueError(f'The export format is "{format}"; accepted are {accepted}.')
    if SUFFIXES[format] and suffix != SUFFIXES[format]:
        raise ValueError(
            f'The export format "{format}" writes a file with the suffix "{SUFFIXES[format]}"; the '
            f'path is "{path}".'
        )
    return format


def targets(path, format):
    """Return all that an export writes: a folder, a file, or the two files of OpenVINO."""
    path = Path(path)
    return [path, path.with_suffix(".bin")] if format == "openvino" else [path]


def check_target(path, format, overwrite):
    """Check that an export may be written.

    Raises:
        FileExistsError: if something is there, and `overwrite` is False.
        ValueError: if `overwrite` would remove a folder that is no SavedModel, or a folder for a
            file.
        OSError: if nothing can be written there.
    """
    for target in targets(path, format):
        if os.path.lexists(target) and not overwrite:
            raise FileExistsError(f'"{target}" exists; export(..., overwrite=True) replaces it.')
        if target.is_dir():
            is_model = any((target / name).is_file() for name in _SAVED_MODEL)
            if format != "saved_model" or not (is_model or not any(target.iterdir())):
                raise ValueError(
                    f'"{target}" is a folder that is no SavedModel; export() does not replace it.'
                )
        elif os.path.lexists(target) and format == "saved_model":
            raise ValueError(f'"{target}" is a file; a SavedModel is a folder.')
    check_folder(Path(path).parent)


@contextmanager
def placing(path, format, overwrite):
    """Yield a path of the same name in a new folder; what is made there moves to `path` at the end.

    If the block raises, nothing is left, and what was at `path` stays.
    """
    check_target(path, format, overwrite)
    parent = Path(path).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export", dir=parent) as folder:
            made = Path(folder) / Path(path).name
            yield made
            check_target(path, format, overwrite)
            for new, target in zip(targets(made, format), targets(path, format), strict=True):
                if os.path.lexists(target):
                    # Renamed first, as no folder with files in it can be replaced.
                    os.rename(target, Path(folder) / f"old {target.name}")
                os.rename(new, target)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno is None:
            raise
        raise unwritable(path, error) from error


def size_of(path, format):
    """Return the number of bytes of all files of an export."""
    files = []
    for target in targets(path, format):
        files += target.rglob("*") if target.is_dir() else [target]
    return sum(file.stat().st_size for file in files if file.is_file())
