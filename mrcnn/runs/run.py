"""A training run on disk: its folder, its checkpoints, and the epoch it has reached."""

import contextlib
import datetime
import itertools
import json
import os
import re

from mrcnn.files import check_folder, replacing
from mrcnn.runs.lock import RunLock, RunLockedError

# Such as coco20171029T2315, and coco20171029T2315-2 for the second run of one minute.
_RUN = re.compile(r"(?P<name>.*)(?P<day>\d{8})T(?P<minute>\d{4})(?:-(?P<number>\d+))?")
# Such as mask_rcnn_coco_0001.h5. Names may hold dots and spaces.
_CHECKPOINT = re.compile(r"mask_rcnn_.*?(\d{4,})\.h5")
# Such as state_0003_000120.npz: epoch and step.
STATE = re.compile(r"state_(\d{4,})_(\d{6,})\.npz")

CONFIG_FILE = "config.json"
# Of a `config.json` that is read for the number of its run, and the largest such number.
_MOST_BYTES, _MOST_RUNS = 1 << 20, 1 << 40


class Run:
    """A run: the place of its files, and its progress.

    Args:
        folder: of the run.
        name: `NAME` of the Config, part of the checkpoints' names.
        epoch: finished epochs.
        saved: the `Saved` state to resume from, or None.

    Attributes:
        folder, epoch, saved: the arguments. Training sets `saved` to None when it has started.
        checkpoint_path: path of the checkpoints with "*epoch*" for the number.
        seen: `names_to_resume` before the weights were read from the folder, or None.
        is_new: whether `claim` has yet to make the folder.
    """

    def __init__(self, folder, name, epoch=0, saved=None):
        self.folder, self.epoch, self.saved = os.fspath(folder), epoch, saved
        self.checkpoint_path = os.path.join(self.folder, checkpoint_name(name))
        self._name, self._planned = name, None
        self._lock, self._locks = None, False
        self.seen = None

    @classmethod
    def new(cls, model_dir, name, start=None):
        """Return a run that starts now, or at `start`. `claim` makes its folder.

        Raises:
            TypeError: if `model_dir` is no path.
        """
        if not isinstance(model_dir, str | os.PathLike):
            raise TypeError(f"model_dir is {model_dir!r}; it must be the path of a folder.")
        start = start or datetime.datetime.now()
        run = cls(os.path.join(model_dir, folder_name(name, start)), name)
        run._planned = run.folder
        return run

    @classmethod
    def of_checkpoint(cls, path, name):
        """Return the run that a checkpoint belongs to by its path, or None."""
        folder, file = os.path.split(os.path.abspath(path))
        run, checkpoint = _RUN.fullmatch(os.path.basename(folder)), _CHECKPOINT.fullmatch(file)
        if run is None or checkpoint is None:
            return None
        try:
            # Digits that are not a date, such as a 13th month, are not of a run.
            datetime.datetime.strptime(run["day"] + run["minute"], "%Y%m%d%H%M")
        except ValueError:
            return None
        return cls(folder, name, int(checkpoint[1]))

    @property
    def is_new(self):
        # A folder that a user has set is used as it is.
        return self._planned == self.folder

    @property
    def place(self):
        """Minute and number in the folder's name, such as (201710292315, 1); (0, 0) if none."""
        match = _RUN.fullmatch(os.path.basename(self.folder))
        return _place(match) if match else (0, 0)

    @contextlib.contextmanager
    def locked(self, is_writer=True):
        """Keep other processes from training in the folder during a block.

        The folder of a new run is locked by `claim`.

        Args:
            is_writer: False in a process that writes no files, which needs no lock.

        Raises:
            RunLockedError: names the process that trains in the folder.
            OSError, ValueError: if no files can be written there.
        """
        try:
            if is_writer:
                check_folder(self.folder)
                self._locks = True
                if not self.is_new and os.path.isdir(self.folder):
                    self._enter()
            yield
        finally:
            self._locks = False
            if self.saved is None:
                self.seen = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _enter(self):
        """Lock the folder if this is within `locked` and has not been done."""
        if not self._locks or self._lock is not None:
            return
        saved, self.saved = self.saved, None
        self._lock = RunLock(self.folder)
        if self.seen is not None and self.seen != names_to_resume(self.folder):
            raise RunLockedError(
                f'Another process has trained in "{self.folder}" since this one read its state; '
                "call train(resume=True) again."
            )
        # Else another attempt has to read the state again.
        self.saved = saved

    def claim(self):
        """Make the folder. A new run whose name is taken gets the next free number appended."""
        if not self.is_new:
            os.makedirs(self.folder, exist_ok=True)
            self._enter()
            return
        os.makedirs(os.path.dirname(self.folder) or ".", exist_ok=True)
        minute, _ = self.place
        for number in itertools.count(1):
            self._move(minute, number)
            try:
                # Of several processes that try at the same time, all but one fail.
                os.mkdir(self.folder)
            except FileExistsError:
                continue
            self._planned = None
            self._enter()
            return

    def follow(self, minute, number):
        """Give a new run the folder name of the one that the chief process has claimed."""
        if self.is_new and minute:
            self._move(minute, number)
            self._planned = None

    def _move(self, minute, number):
        start = datetime.datetime.strptime(str(minute), "%Y%m%d%H%M")
        parent, file = os.path.dirname(self.folder), os.path.basename(self.checkpoint_path)
        self.folder = os.path.join(parent, folder_name(self._name, start, number))
        self.checkpoint_path = os.path.join(self.folder, file)

    def write_config(self, facts):
        """Write `config.json`: what `mrcnn.runs.settings.describe` returns, and the run's number.

        The number is above those of the other runs in the same folder, so the run in which training
        began last has the highest.
        """
        path, parent = os.path.join(self.folder, CONFIG_FILE), os.path.dirname(self.folder)
        numbers = [_number(folder) for folder in run_folders(parent) if folder != self.folder]
        number = max(_number(self.folder), 1 + max(numbers, default=0))
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(facts | {"run_number": number}, file, indent=2)
            file.write("\n")


def folder_name(name, start, number=1):
    """Return the folder's name of the `number`-th run that was started in a minute."""
    return f"{name.lower()}{start:%Y%m%dT%H%M}" + (f"-{number}" if number > 1 else "")


def checkpoint_name(name, epoch="*epoch*"):
    """Return the file name of the weights after an epoch, by default with "*epoch*" for it."""
    number = epoch if isinstance(epoch, str) else f"{epoch:04d}"
    return f"mask_rcnn_{name.lower()}_{number}.h5"


def last_checkpoint(model_dir, name):
    """Return the path of the newest checkpoint of the newest run that has one.

    Raises:
        FileNotFoundError: if there is none.
    """
    prefix, runs = name.lower(), run_folders(model_dir, name)
    for paths in filter(None, map(checkpoints, reversed(runs))):
        return paths[0]
    raise FileNotFoundError(
        f'There is no checkpoint of "{name}": "{model_dir}" has {len(runs)} run folders named '
        f"{prefix}<date>, none with a file mask_rcnn_{prefix}_*.h5."
    )


def checkpoints(folder):
    """Return the paths of the checkpoints in the folder of a run, newest first."""
    entries = os.listdir(folder) if os.path.isdir(folder) else []
    found = [match for match in map(_CHECKPOINT.fullmatch, entries) if match]
    found.sort(key=lambda match: int(match[1]), reverse=True)
    return [os.path.join(folder, match[0]) for match in found]


def names_to_resume(folder):
    """Return the names of the checkpoints and states in the folder of a run."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {name for name in names if _CHECKPOINT.fullmatch(name) or STATE.fullmatch(name)}


def run_folders(model_dir, *names):
    """Return the paths of the folders of runs with one of the names, or of all runs.

    The run in which training began last comes last, by the number in its `config.json`, which
    neither a clock nor a copy of the folder changes. Runs without a number, such as the original's,
    stand behind all numbered ones whose folder has an earlier minute in its name, and among
    themselves in the order of the names.
    """
    entries = os.listdir(model_dir or ".") if os.path.isdir(model_dir or ".") else []
    runs = [match for match in map(_RUN.fullmatch, entries) if match]
    if names:
        accepted = {name.lower() for name in names}
        runs = [match for match in runs if match["name"] in accepted]
    places = {match[0]: _place(match) for match in runs}
    numbers = {name: _number(os.path.join(model_dir, name)) for name in places}
    highest, order = 0, {}
    for name in sorted(places, key=lambda name: (places[name], name)):
        highest = max(highest, numbers[name])
        order[name] = (numbers[name] or highest, places[name], name)
    return [os.path.join(model_dir, name) for name in sorted(order, key=order.get)]


def _place(match):
    """Return the minute and the number of a match of `_RUN`, such as (201710292315, 1)."""
    return int(match["day"] + match["minute"]), int(match["number"] or 1)


def _number(folder):
    """Return the number in the `config.json` of a run, or 0 if it has none that can be read."""
    path = os.path.join(folder, CONFIG_FILE)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
            return 0
        with open(path, encoding="utf-8") as file:
            number = json.load(file).get("run_number")
    except (OSError, ValueError, AttributeError, RecursionError):
        return 0
    return number if type(number) is int and 0 < number < _MOST_RUNS else 0


def checkpoints_at(path, name=None):
    """Return the paths of the checkpoints that a path stands for, newest first.

    Args:
        path: a weight file, the folder of a run, or a folder of runs, which stands for the newest
            of them that has a checkpoint.
        name: `NAME` of the runs to look for in a folder of runs; None for any.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = os.fspath(path)
    if os.path.isfile(path):
        return [path]
    names = [] if name is None else [name]
    for paths in filter(None, map(checkpoints, [path, *reversed(run_folders(path, *names))])):
        return paths
    kind = f'a run of "{name}"' if name else "a run"
    raise FileNotFoundError(f'"{path}" is not, and does not contain, {kind} with checkpoints.')
