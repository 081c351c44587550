"""Data sets of command lines: folders of annotated photos, and Python files."""

import importlib.util
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrcnn.commands.classes import rename, with_classes
from mrcnn.files import one_line


@dataclass
class Data:
    """A data set, found by `find_data`.

    Attributes:
        name: of the data set, for runs and files.
        source: path that was given.
        train, val: prepared Datasets; `val` may be None.
        format: of the annotations, such as "VIA".
        notes: sentences on what was assumed.
        config: the Config class of a Python file, or None.
    """

    name: str
    source: str
    train: Any
    val: Any
    format: str
    notes: list = field(default_factory=list)
    config: Any = None


def find_data(path, val=None, seed=0, classes=None):
    """Return the `Data` of a folder in any format of `mrcnn.datasets`, or of a Python file.

    Args:
        path: of a folder; or of a `.py` file with a Config subclass and a function `load_data()`
            that returns a training and a validation Dataset, the second of which may be None.
        val: folder of the validation data; or the share of the images to split off, a number
            between 0 and 1; None for what the data set has, else a fifth.
        seed: of the split.
        classes: names to give the classes, in their order; None for those of the data.

    Raises:
        FileNotFoundError, OSError, ValueError: one sentence on what is missing.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'There is no folder or file "{path}" with annotated photos.')
    if path.is_file() and path.suffix != ".py":
        raise ValueError(
            f'"{path}" is a file; training data are a folder of annotated photos, or a ".py" file '
            "with a Config and load_data()."
        )
    if path.is_file():
        data = _of_program(path)
    else:
        from mrcnn.datasets import open_folder

        found = open_folder(path, None, seed, **({} if val is None else {"fraction": 0}))
        name = safe_name(path.resolve().name)
        data = Data(name, str(path), found.train, found.val, found.format, list(found.notes))
    for part in (data.train, data.val):
        rename(part, classes, data.source)
    if val is not None:
        _choose_validation(data, val, seed, classes)
    for part in filter(None, (data.train, data.val)):
        part.name = data.name
    return data


def safe_name(text):
    """Return a text as the name of runs: letters, digits, and "_" for all others."""
    return re.sub(r"\W+", "_", text).strip("_") or "data"


def _choose_validation(data, val, seed, classes):
    """Replace the validation part of a data set by the one that is asked for."""
    share = _share(val)
    if share is not None:
        if data.val is not None:
            data.notes.append(f"Its validation part is not used: --val {val} splits the other.")
        data.train, data.val = data.train.split(share, seed=seed)
        data.notes.append(
            f"{len(data.val.image_ids)} images, chosen at random (seed {seed}), are for validation."
        )
        return
    if not Path(val).is_dir():
        raise FileNotFoundError(
            f'--val is "{val}"; it must be a folder of annotated photos, or a number between 0 '
            "and 1."
        )
    part = validation_part(val)
    rename(part, classes, val)
    data.val = with_classes(part, data.train.class_names, val)


def validation_part(path):
    """Return the validation part of an annotated folder; all of it if it has no parts."""
    from mrcnn.datasets import open_folder

    found = open_folder(path, fraction=0)
    return found.train if found.val is None else found.val


def _share(text):
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise ValueError(f"--val is {text}; a share of the images is between 0 and 1.")
    return share


def _of_program(path):
    """Return the `Data` of a Python file of the user, which is run."""
    module = _run_file(path)
    config = _config_in(module, path)
    if not callable(getattr(module, "load_data", None)):
        raise ValueError(
            f'"{path}" has no function load_data(); it returns the training and the validation '
            "Dataset, prepared, and the second may be None."
        )
    parts = module.load_data()
    if not isinstance(parts, tuple) or len(parts) != 2 or not hasattr(parts[0], "image_info"):
        raise ValueError(f'load_data() in "{path}" must return two Datasets, train and val.')
    for part in parts:
        if part is not None and len(part.image_ids) == 0:
            part.prepare()
    name = safe_name(str(config.NAME or path.stem))
    return Data(name, str(path), *parts, "Python file", [], config)


def _run_file(path):
    name = f"mrcnn_data_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    # Its neighbours can be imported, as when Python runs the file.
    folder = os.path.dirname(os.path.abspath(path))
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    # A user's program may raise anything.
    except Exception as error:
        del sys.modules[name]
        raise ValueError(
            f'"{path}" cannot be run: {type(error).__name__}: {one_line(error)}.'
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _config_in(module, path):
    """Return the one Config subclass that a file defines, apart from bases of others."""
    from mrcnn.config import Config

    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Config)
        and value.__module__ == module.__name__
    ]
    last = [kind for kind in own if not any(kind in other.__mro__[1:] for other in own)]
    if len(last) != 1:
        found = ", ".join(kind.__name__ for kind in last) or "none"
        raise ValueError(f'"{path}" must have one subclass of mrcnn.config.Config; it has {found}.')
    return last[0]


def evaluated_part(path, part=None):
    """Return the Dataset of an annotated folder or Python file that is evaluated.

    Args:
        path: as of `find_data`.
        part: "train", "val" or "test"; None for the validation part, or all if there is none.
    """
    path = Path(path)
    if path.is_dir() and part:
        from mrcnn.datasets import open_folder

        return open_folder(path, part).train
    if path.is_dir():
        return validation_part(path)
    if part == "test":
        raise ValueError(f'"{path}" has no test part: load_data() returns train and val.')
    data = find_data(path)
    return data.train if part == "train" or data.val is None else data.val
