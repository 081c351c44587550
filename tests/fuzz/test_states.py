"""States whose content is odd: a state is restored whole, or skipped with its name."""

import io
import json
import random
import warnings
import zipfile

import keras
import numpy as np
import pytest

from mrcnn.runs.resume import is_same_call, is_stopped, resume
from mrcnn.runs.run import Run
from mrcnn.runs.state import StateWriter
from mrcnn.training.rates import EpochRate, WarmUp
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes, mutate_tree
from tests.mini import silent

RUN = "x20250101T0000"
CALL = {"epochs": 9, "layers": "all", "learning_rate": 0.1, "seed": 3}


class Counter(keras.callbacks.Callback):
    """A user's callback: settings, which belong to the program, and counts."""

    def __init__(self, path, keep=2):
        super().__init__()
        self.path, self.keep, self.note = path, keep, "mine"
        self.seen, self.best, self.rows = 0, None, []


def make_callbacks(folder):
    k = keras.callbacks
    return [
        k.EarlyStopping("loss", patience=3, restore_best_weights=True),
        k.ReduceLROnPlateau("loss"),
        k.ModelCheckpoint(folder / "best.weights.h5", "loss", save_weights_only=True),
        k.History(),
        Counter("here"),
        EpochRate(lambda epoch: 0.1),
        WarmUp(4, 2),
    ]


def make_model():
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2), keras.layers.Dropout(0.5)]
    model = keras.Sequential(layers)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    return model


def begin(callbacks, model):
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a model, and the names and the contents of two states of a run."""
    keras.utils.set_random_seed(SEED)
    folder, model = tmp_path_factory.mktemp("states"), make_model()
    callbacks = make_callbacks(folder)
    begin(callbacks, model)
    writer = StateWriter(folder, model, callbacks, CALL)
    for epoch in range(2):
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"loss": 1.0 + epoch})
        callbacks[4].seen, callbacks[4].best, callbacks[4].rows = 3, 0.5, [[1, 2.5]]
        writer.write(epoch, 1, 7, (1, {"loss": 0.5}))
    return model, {path.name: path.read_bytes() for path in sorted(folder.glob("state_*"))}


def packed(arrays, **options):
    file = io.BytesIO()
    np.savez(file, **arrays) if not options else np.savez_compressed(file, **arrays)
    return file.getvalue()


def changed(content, rng):
    """Return a sound archive of odd facts and arrays."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    facts = json.loads(str(arrays.pop("facts")))
    kind = int(rng.integers(9))
    if kind < 4:
        facts = mutate_tree(facts, rng)
    name = sorted(arrays)[rng.integers(len(arrays))]
    array = arrays[name]
    if kind == 4:
        odd = [np.complex64, bool, np.int64, np.float64, "U3", "S3", np.uint32, np.float16]
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(odd[rng.integers(len(odd))])
    elif kind == 5 and array.dtype.kind == "f":
        arrays[name] = np.where(
            rng.random(array.shape) < 0.5, array, [np.nan, np.inf][rng.integers(2)]
        )
    elif kind == 6:
        arrays[name] = [array[..., None], array.ravel()[:-1], array * 0 - 1][rng.integers(3)]
    elif kind == 7:
        del arrays[name]
        facts["arrays"] = sorted(arrays)
    elif kind == 8:
        arrays["model/9" if rng.random() < 0.5 else "../../x"] = array
        facts["arrays"] = sorted(arrays)
    if isinstance(facts, dict) and rng.random() < 0.1:
        deep = json.dumps(facts)[:-1] + ', "deep": ' + "[" * 5000 + "]" * 5000 + "}"
    else:
        deep = json.dumps(facts)
    return packed({"facts": np.array(deep), **arrays}, **({"z": 1} if rng.random() < 0.05 else {}))


def header_of(content, rng):
    """Return a state in which one array says that it has another type or shape."""
    headers = [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 6), }",
        b"{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (), }",
        b"{'descr': '<U0', 'fortran_order': False, 'shape': (1099511627776,), }",
        b"(" * 5000,
    ]
    header = headers[rng.integers(len(headers))]
    header += b" " * 50 + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        odd = names[rng.integers(len(names))]
        for name in names:
            new.writestr(name, array if name == odd else old.read(name))
    return file.getvalue()


def restore(folder, model):
    """Resume as `train` does; return the run and the callbacks."""
    callbacks = make_callbacks(folder)
    begin(callbacks, model)
    run = silent(resume, Run.new(folder, "x"), folder, "x", model)
    if run is None or run.saved is None:
        return run, callbacks
    saved = run.saved
    saved.restore_random()
    silent(is_same_call, saved, {"epochs": 9, "layers": "all", "learning_rate": 0.1})
    is_stopped(saved, callbacks)
    saved.restore_callbacks(callbacks)
    saved.restore_optimizer(model.optimizer)
    for callback in callbacks:
        # A checkpoint is written if it counts as the best.
        callback.on_epoch_begin(run.epoch)
        callback.on_epoch_end(run.epoch, {"loss": 5.0})
    return run, callbacks


@pytest.mark.parametrize("way", [mutate_bytes, changed, header_of])
def test_states(whole, tmp_path, way):
    model, (contents) = whole[0], whole[1]
    older, newer = contents
    rng = np.random.default_rng([SEED, len(way.__name__)])
    folder = tmp_path / RUN
    folder.mkdir()
    (folder / older).write_bytes(contents[older])
    used = {older: 0, newer: 0}
    for number in range(CASES // 3):
        (folder / newer).write_bytes(way(contents[newer], rng))
        try:
            with warnings.catch_warnings(record=True) as seen, guarded(tmp_path, ()):
                warnings.simplefilter("always")
                run, callbacks = restore(tmp_path, model)
            used[run.saved.path.name] += 1
            if run.saved.path.name == older:
                assert any(str(folder / newer) in str(warning.message) for warning in seen)
            own = callbacks[4]
            assert (own.path, own.keep, own.note) == ("here", 2, "mine")
            assert callbacks[2].filepath == str(tmp_path / "best.weights.h5")
            assert type(own.seen) in (int, float) or own.seen is None
            variables = [*model.variables, *model.optimizer.variables]
            assert all(np.isfinite(np.asarray(variable)).all() for variable in variables)
            assert 0 <= random.random() < 1
        except Exception as error:
            raise AssertionError(f"case {number} of {way.__name__}: {error!r}") from error
    assert used[older] > 0
