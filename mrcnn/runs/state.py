"""The whole state of a run in one file, to resume training as if it had not stopped."""

import collections
import copy
import json
import os
import random
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn.files import replacing
from mrcnn.runs.saving import saving

_NAME = "state_{:04d}_{:06d}.npz"
_STATE = re.compile(r"state_(\d{4,})_(\d{6,})\.npz")
# Names that `mrcnn.files.replacing` gives to unfinished files.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.(npz|h5|csv|png|json)")


class Saved(NamedTuple):
    """A state file: `facts` are what JSON can hold, `arrays` the variables."""

    path: Path
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def is_finished(self) -> bool:
        """Return whether the call of `train` that wrote it had reached its last epoch."""
        return self.facts["epoch"] >= self.facts["call"]["epochs"]

    def restore_model(self, keras_model) -> None:
        """Restore the weights of a model and the random states of its layers.

        Raises:
            ValueError: before anything has changed, if the model has other variables.
        """
        self._restore("model", keras_model.variables)

    def restore_optimizer(self, optimizer) -> bool:
        """Restore the variables of an optimizer; return False if it is of another kind."""
        if self.facts["optimizer"] != type(optimizer).__name__:
            return False
        try:
            self._restore("optimizer", optimizer.variables)
        except ValueError:
            return False
        return True

    def _restore(self, group, variables):
        values = self._list(group)
        shapes = [value.shape for value in values]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise ValueError(
                f"{self.path} is the state of another model, with {len(values)} variables; this "
                f"one has {len(variables)}, or some of other shapes. Resume with the Config that "
                "the run was started with."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def restore_callbacks(self, callbacks) -> None:
        """Restore the attributes of callbacks that had changed since training started."""
        for key, callback in keyed(callbacks):
            for name, value in self.facts["callbacks"].get(key, {}).items():
                # A resumed EarlyStopping has not stopped.
                if name != "stopped_epoch":
                    setattr(callback, name, copy.deepcopy(value))
            for name in self.facts["callback_arrays"].get(key, ()):
                setattr(callback, name, self._list(f"{key}.{name}"))

    def restore_random(self) -> None:
        """Restore the global random states of NumPy and Python."""
        facts = self.facts["random"]
        kind, _, *rest = facts["numpy"]
        np.random.set_state((kind, self.arrays["numpy_random"], *rest))  # noqa: NPY002
        version, internal, gauss = facts["python"]
        random.setstate((version, tuple(internal), gauss))

    def _list(self, group):
        count = sum(name.startswith(f"{group}/") for name in self.arrays)
        return [self.arrays[f"{group}/{index}"] for index in range(count)]


class StateWriter:
    """Writes the states of a run and keeps the last two, in case the newest is damaged.

    Args:
        folder: of the run.
        keras_model: compiled.
        callbacks: list of Keras callbacks, after their `on_train_begin`.
        call: facts about this call of `train`, among them "epochs".
        last: path of the state that training resumes from, or None.
    """

    def __init__(self, folder, keras_model, callbacks, call, last=None):
        self.folder, self.keras_model, self.call = Path(folder), keras_model, call
        self._callbacks, self._last = callbacks, last
        self._before = list(map(_plain_attributes, callbacks))

    def write(self, epoch, step, place, means):
        """Write the state.

        Args:
            epoch: finished epochs.
            step: finished steps of the next one.
            place: `TrainingData.position`.
            means: `(count, {name: mean})` of the losses of the epoch so far.
        """
        optimizer = self.keras_model.optimizer
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002
        version, internal, gauss = random.getstate()
        facts = {
            "epoch": epoch,
            "step": step,
            "place": place,
            "means": means,
            "call": self.call,
            "optimizer": type(optimizer).__name__,
            "random": {"numpy": [kind, None, *rest], "python": [version, internal, gauss]},
            "callbacks": {},
            "callback_arrays": {},
        }
        arrays = {"numpy_random": keys}
        arrays |= _numbered("model", self.keras_model.variables)
        arrays |= _numbered("optimizer", optimizer.variables)
        for (key, callback), before in zip(keyed(self._callbacks), self._before, strict=True):
            facts["callbacks"][key] = {
                name: value
                for name, value in _plain_attributes(callback).items()
                if name not in before or before[name] != value
            }
            weights = {name: value for name, value in vars(callback).items() if _is_arrays(value)}
            facts["callback_arrays"][key] = list(weights)
            for name, values in weights.items():
                arrays |= _numbered(f"{key}.{name}", values)
        facts["arrays"] = sorted(arrays)
        path = self.folder / _NAME.format(epoch, step)
        with saving(path):
            os.makedirs(self.folder, exist_ok=True)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, facts=np.array(json.dumps(facts, default=_to_python)), **arrays)
                file.flush()
                # Else a power failure could leave the file's name without its content.
                os.fsync(file.fileno())
            self._drop_others(path)

    def _drop_others(self, path):
        states = _states(self.folder)
        before = [state for state in states if _place(state) < _place(path)]
        # Later states are of a run that was abandoned for this one.
        kept = {path, self._last or (before or [path])[-1]}
        for state in set(states) - kept:
            state.unlink(missing_ok=True)
        self._last = path


def last_state(folder) -> Saved | None:
    """Return the newest state of a run that can be read, or None; warn of each that cannot."""
    for path in reversed(_states(folder)):
        try:
            # np.load does not close a file that it cannot read.
            with open(path, "rb") as opened, np.load(opened) as file:
                # With a damaged header, NumPy may read part of an array and check no checksum.
                broken = file.zip.testzip()
                if broken:
                    raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(str(arrays.pop("facts")))
            if sorted(arrays) != facts["arrays"]:
                raise ValueError("it does not have all its arrays")
            return Saved(path, facts, arrays)
        # Depending on the damaged byte, zipfile and NumPy raise errors of a dozen kinds.
        except Exception as error:
            warnings.warn(
                f"{path} is damaged ({error}); the state before it is used, if there is one.",
                stacklevel=2,
            )
    return None


def remove_leftovers(folder) -> None:
    """Remove the unfinished files of a killed process; the folder need not exist."""
    for path in Path(folder).glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _states(folder):
    """Return the paths of the states in a folder, oldest first."""
    paths = Path(folder).glob("state_*.npz")
    return sorted((path for path in paths if _STATE.fullmatch(path.name)), key=_place)


def _place(path):
    return tuple(map(int, _STATE.fullmatch(path.name).groups()))


def _numbered(group, values):
    return {f"{group}/{index}": np.asarray(value) for index, value in enumerate(values)}


def keyed(callbacks):
    """Yield callbacks with a key: the name of their class, and their number within it."""
    seen = collections.Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        seen[kind] += 1
        yield f"{kind}{seen[kind]}", callback


def _plain_attributes(callback):
    """Return copies of the public attributes of a callback that JSON can hold."""
    return {
        name: json.loads(json.dumps(value, default=_to_python))
        for name, value in vars(callback).items()
        # Keras's callbacks flip the sign of `min_delta` whenever training starts.
        if not name.startswith("_") and name not in ("params", "min_delta") and _is_plain(value)
    }


def _is_plain(value):
    """Return whether JSON returns a value as it was; it turns tuples, for example, into lists."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    number = isinstance(value, np.integer | np.floating | np.bool_)
    return number or value is None or type(value) in (bool, int, float, str)


def _is_arrays(value):
    """Return whether a value is a list of arrays, such as EarlyStopping's best weights."""
    # NumPy would pickle objects, and refuse to read them.
    return (
        isinstance(value, list)
        and value
        and all(isinstance(item, np.ndarray) and not item.dtype.hasobject for item in value)
    )


def _to_python(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not plain")
