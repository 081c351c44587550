"""The whole state of a run in one file, to resume training as if it had not stopped."""

import json
import os
import random
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn.files import replacing
from mrcnn.runs.callback_state import array_state, keyed, plain_state, restore
from mrcnn.runs.run import STATE
from mrcnn.runs.saving import saving
from mrcnn.runs.state_file import read_state

_NAME = "state_{:04d}_{:06d}.npz"
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
        """Restore the variables of an optimizer; return False if it is another one."""
        if self.facts["optimizer"] != type(optimizer).__name__:
            return False
        try:
            self._restore("optimizer", optimizer.variables)
        except ValueError:
            return False
        return True

    def _restore(self, group, variables):
        values = self._list(group)
        # bfloat16 has no kind of its own in NumPy.
        shapes = [(value.shape, value.dtype.kind) for value in values]
        kinds = [np.dtype(v.dtype).kind if "float" not in v.dtype else "f" for v in variables]
        ours = [(tuple(v.shape), kind) for v, kind in zip(variables, kinds, strict=True)]
        if shapes != ours:
            raise ValueError(
                f"{self.path} is the state of another model, with {len(values)} variables; this "
                f"one has {len(variables)}, or some of other shapes. Resume with the Config that "
                "the run was started with."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def restore_callbacks(self, callbacks) -> None:
        """Restore what callbacks had counted; see `mrcnn.runs.callback_state`.

        Values that do not fit are left out, with a warning.
        """
        for key, callback in keyed(callbacks):
            plain = self.facts["callbacks"].get(key, {})
            names = self.facts["callback_arrays"].get(key, ())
            arrays = {name: self._list(f"{key}.{name}") for name in names}
            refused = list(restore(callback, plain, arrays))
            if refused:
                warnings.warn(
                    f"{self.path} has values for {', '.join(map(str, refused))} of "
                    f"{type(callback).__name__} that do not fit; they are left as they are.",
                    stacklevel=2,
                )

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
        self._before = list(map(plain_state, callbacks))

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
            facts["callbacks"][key] = plain_state(callback, before)
            weights = array_state(callback)
            facts["callback_arrays"][key] = list(weights)
            for name, values in weights.items():
                arrays |= _numbered(f"{key}.{name}", values)
        facts["arrays"] = sorted(arrays)
        path = self.folder / _NAME.format(epoch, step)
        with saving(path):
            os.makedirs(self.folder, exist_ok=True)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, facts=np.array(json.dumps(facts, default=_as_number)), **arrays)
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


def saved_states(folder) -> Iterator[Saved]:
    """Yield the states of a run that can be read, the newest first; warn of each that cannot."""
    for path in reversed(_states(folder)):
        try:
            saved = Saved(path, *read_state(path, _place(path)))
        # Depending on the damaged byte, zipfile and NumPy raise errors of a dozen kinds.
        except Exception as error:
            warnings.warn(
                f"{path} is damaged ({str(error)[:300]}); the state before it is used, if there "
                "is one.",
                stacklevel=2,
            )
        else:
            yield saved


def remove_leftovers(folder) -> None:
    """Remove the unfinished files of a killed process; the folder need not exist."""
    for path in Path(folder).glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _states(folder):
    """Return the paths of the states in a folder, oldest first."""
    paths = Path(folder).glob("state_*.npz")
    return sorted((path for path in paths if STATE.fullmatch(path.name)), key=_place)


def _place(path):
    return tuple(map(int, STATE.fullmatch(path.name).groups()))


def _numbered(group, values):
    return {f"{group}/{index}": np.asarray(value) for index, value in enumerate(values)}


def _as_number(value):
    """Return a number of NumPy, such as those of its random state, as one of Python."""
    return value.item()
