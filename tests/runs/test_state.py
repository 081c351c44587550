"""States of a run in a folder: what they hold, which are kept, what becomes of damaged ones."""

import io
import random
import warnings
import zipfile

import keras
import numpy as np
import pytest

from mrcnn.files import replacing
from mrcnn.runs.state import StateWriter, remove_leftovers, saved_states


def last_state(folder):
    """The newest state that can be read, or None."""
    return next(saved_states(folder), None)


def make_model(units=2, optimizer="adam"):
    keras.utils.set_random_seed(units)
    model = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    model.compile(optimizer)
    model.optimizer.build(model.trainable_variables)
    return model


def step(model, gradient):
    weights = model.trainable_variables
    model.optimizer.apply([keras.ops.full(weight.shape, gradient) for weight in weights], weights)


def values(variables):
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def write(folder, *places, model=None, callbacks=(), call=None):
    """States at places (epoch, step), of one call; `place` is 10 epochs + steps."""
    writer = StateWriter(folder, model or make_model(), list(callbacks), call or {"epochs": 9})
    for epoch, number in places:
        writer.write(epoch, number, 10 * epoch + number, (0, {}))
    return writer


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def two_states(tmp_path_factory):
    """Contents of two states of one run by name, the newer last."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, (0, 3), (1, 0))
    return {name: (folder / name).read_bytes() for name in names(folder)}


@pytest.fixture
def states(two_states, tmp_path):
    """A folder with the two states; paths, the newer last."""
    for name, content in two_states.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in two_states]


# What a state holds


def test_weights_optimizer_and_random_numbers(tmp_path):
    model = make_model()
    step(model, 0.5)
    model(np.ones((1, 3)), training=True)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    np.random.randn()  # noqa: NPY002
    write(tmp_path, (2, 5), model=model)
    # The second number of a pair of normal ones is part of the state.
    expected = np.random.randn(4), random.random()  # noqa: NPY002
    weights, slots = values(model.variables), values(model.optimizer.variables)
    step(model, 0.25)
    after = values(model.variables)
    other = make_model()
    step(other, -3.0)
    saved = last_state(tmp_path)
    assert (saved.facts["epoch"], saved.facts["step"], saved.facts["place"]) == (2, 5, 25)
    saved.restore_model(other)
    assert saved.restore_optimizer(other.optimizer)
    saved.restore_random()
    assert_same(values(other.variables), weights)
    assert_same(values(other.optimizer.variables), slots)
    assert_same(np.random.randn(4), expected[0])  # noqa: NPY002
    assert random.random() == expected[1]
    step(other, 0.25)
    assert_same(values(other.variables), after)
    # Of these, the weights are two, the optimizer's are 2 + 2 * 2, and one is dropout's.
    assert (len(weights), len(slots)) == (3, 6)


def test_learning_rate_belongs_to_the_optimizer(tmp_path):
    model = make_model()
    model.optimizer.learning_rate = 0.125
    write(tmp_path, (1, 0), model=model)
    other = make_model()
    last_state(tmp_path).restore_optimizer(other.optimizer)
    assert float(other.optimizer.learning_rate) == 0.125


def test_another_model_stays_as_it_is(tmp_path):
    write(tmp_path, (1, 0))
    other = make_model(units=5)
    before = values(other.variables)
    with pytest.raises(ValueError) as error:
        last_state(tmp_path).restore_model(other)
    assert str(error.value) == (
        f"{tmp_path / 'state_0001_000000.npz'} is the state of another model, with 3 variables; "
        "this one has 3, or some of other shapes. Resume with the Config that the run was started "
        "with."
    )
    assert_same(values(other.variables), before)


@pytest.mark.parametrize("optimizer", ["sgd", keras.optimizers.Adam(use_ema=True)])
def test_another_optimizer_stays_as_it_is(tmp_path, optimizer):
    """Another kind, or one that has more variables."""
    write(tmp_path, (1, 0))
    other = make_model(optimizer=optimizer)
    before = values(other.optimizer.variables)
    assert not last_state(tmp_path).restore_optimizer(other.optimizer)
    assert_same(values(other.optimizer.variables), before)


# Callbacks


class Own(keras.callbacks.Callback):
    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)


def resumed(folder, before, after, now):
    """Attributes of a callback made with `now`, after the one of the state went from `before` to
    `after`."""
    first, second = Own(**before), Own(**now)
    writer = StateWriter(folder, make_model(), [first], {"epochs": 9})
    vars(first).update(after)
    writer.write(1, 0, 10, (0, {}))
    last_state(folder).restore_callbacks([second])
    return {name: getattr(second, name) for name in {**before, **after, **now}}


@pytest.mark.parametrize(
    ("before", "value"),
    [
        (7, None),
        (False, True),
        (None, True),
        (3, 7),
        (None, 7),
        (0, 0.1),
        (0.5, 7),
        (0.0, float("inf")),
        ([], [1, 2.5, None]),
        ({}, {"loss": [0.1, 0.2], "deep": {"a": [[]]}}),
        (None, {"loss": [0.1]}),
        (np.float32(1), np.float32(0.1)),
        (0, np.int64(5)),
    ],
)
def test_plain_attributes(tmp_path, before, value):
    found = resumed(tmp_path, {"x": before}, {"x": value}, {"x": before})["x"]
    assert found == value


@pytest.mark.parametrize("value", ["text", ["text"], {"a": "text"}], ids=str)
def test_texts_are_no_part_of_a_state(tmp_path, value):
    """They may be paths, and a state may come from elsewhere."""
    assert resumed(tmp_path, {"x": None}, {"x": value}, {"x": "now"}) == {"x": "now"}


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        [(1, 2)],
        {1: "a"},
        {"a": {1: "a"}},
        {"a": (1,)},
        {1, 2},
        print,
        np.ones(2),
        [np.array(["an object"], object)],
        b"bytes",
        1j,
    ],
    ids=str,
)
def test_what_a_state_cannot_hold_stays_as_it_is(tmp_path, value):
    """JSON would make other values of some of them, without an error."""
    assert resumed(tmp_path, {"x": None}, {"x": value}, {"x": "now"}) == {"x": "now"}


def test_arguments_may_be_changed(tmp_path):
    """Attributes that the callback did not change in training are those of the new one."""
    found = resumed(
        tmp_path,
        {"patience": 3, "wait": 0, "best": []},
        {"wait": 2, "best": [5]},
        {"patience": 8, "wait": 0, "best": []},
    )
    assert found == {"patience": 8, "wait": 2, "best": [5]}


def test_a_list_is_no_part_of_the_state(tmp_path):
    """A resumed callback that appends to a list must not change what is read from the file."""
    first, second = Own(seen=[]), Own(seen=[])
    writer = StateWriter(tmp_path, make_model(), [first], {"epochs": 9})
    first.seen.append(1)
    writer.write(1, 0, 10, (0, {}))
    saved = last_state(tmp_path)
    saved.restore_callbacks([second])
    second.seen.append(2)
    assert saved.facts["callbacks"]["Own1"]["seen"] == [1]


def test_callbacks_of_one_class_by_their_order(tmp_path):
    callbacks = [Own(x=0), keras.callbacks.History(), Own(x=0)]
    writer = StateWriter(tmp_path, make_model(), callbacks, {"epochs": 9})
    callbacks[0].x, callbacks[2].x = 1, 2
    writer.write(1, 0, 10, (0, {}))
    others = [keras.callbacks.History(), Own(x=0), Own(x=0), Own(x=0)]
    last_state(tmp_path).restore_callbacks(others)
    # A third was not there.
    assert [callback.x for callback in others[1:]] == [1, 2, 0]


class Keeping(keras.callbacks.Callback):
    """A callback with settings, a count, and a path."""

    def __init__(self, keep, path=""):
        super().__init__()
        self.keep, self.path, self.count = keep, path, 0


def test_settings_are_no_part_of_the_state(tmp_path):
    first, second = Keeping(1, "a"), Keeping(2, "b")
    writer = StateWriter(tmp_path, make_model(), [first], {"epochs": 9})
    first.keep, first.path, first.count = 0, "/etc", 5
    writer.write(1, 0, 10, (0, {}))
    saved = last_state(tmp_path)
    assert saved.facts["callbacks"] == {"Keeping1": {"count": 5}}
    # Whoever writes more into the file gets no further.
    saved.facts["callbacks"]["Keeping1"] |= {"keep": 0, "path": "/etc", "_model": 3, "other": 1}
    saved.restore_callbacks([second])
    assert (second.keep, second.path, second.count) == (2, "b", 5)
    assert not hasattr(second, "other")
    saved.facts["callbacks"]["Keeping1"] = {"count": "7"}
    with pytest.warns(UserWarning, match="state_0001_000000.npz has values for count of Keeping"):
        saved.restore_callbacks([second])
    assert second.count == 5


def test_own_protocol(tmp_path):
    class Drawing(keras.callbacks.Callback):
        colors = ("red",)

        def state_dict(self):
            return {"colors": list(self.colors)}

        def load_state_dict(self, state):
            self.colors = tuple(state["colors"])

    first, second = Drawing(), Drawing()
    first.colors = ("blue", "green")
    write(tmp_path, (1, 0), callbacks=[first])
    saved = last_state(tmp_path)
    saved.restore_callbacks([second])
    assert second.colors == ("blue", "green")
    saved.facts["callbacks"]["Drawing1"] = {"odd": 1}
    with pytest.warns(UserWarning, match="load_state_dict .'colors'. of Drawing that do not fit"):
        saved.restore_callbacks([second])


def test_state_that_is_not_finite_is_skipped(states):
    with np.load(states[1]) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["model/0"] = np.full_like(arrays["model/0"], np.nan)
    np.savez(states[1], **arrays)
    with pytest.warns(UserWarning, match="model/0 has 6 values that are NaN or infinite"):
        assert last_state(states[0].parent).path == states[0]


def test_best_weights_of_early_stopping(tmp_path):
    def make():
        callback = keras.callbacks.EarlyStopping("loss", patience=3, restore_best_weights=True)
        callback.set_model(model)
        callback.on_train_begin()
        return callback

    model = make_model()
    callback = make()
    writer = StateWriter(tmp_path, model, [callback], {"epochs": 9})
    best = model.get_weights()
    callback.on_epoch_end(0, {"loss": 1.0})
    model.set_weights([weight + 1 for weight in best])
    callback.on_epoch_end(1, {"loss": 2.0})
    writer.write(2, 0, 20, (0, {}))
    other = make()
    last_state(tmp_path).restore_callbacks([other])
    assert (other.best, other.wait, other.patience) == (1.0, 1, 3)
    assert_same(other.best_weights, best)


# Which states are kept


def test_two_states_are_kept(tmp_path):
    writer = write(tmp_path, (0, 2))
    assert names(tmp_path) == ["state_0000_000002.npz"]
    writer.write(0, 4, 4, (0, {}))
    writer.write(1, 0, 10, (0, {}))
    assert names(tmp_path) == ["state_0000_000004.npz", "state_0001_000000.npz"]
    assert last_state(tmp_path).facts["place"] == 10


def test_other_files_are_left_alone(tmp_path):
    others = ["mask_rcnn_x_0001.h5", "state.npz", "state_1_2.npz", "state_0001_000000.npz.old"]
    for name in others:
        (tmp_path / name).touch()
    write(tmp_path, (0, 1), (0, 2), (0, 3))
    states = ["state_0000_000002.npz", "state_0000_000003.npz"]
    assert names(tmp_path) == sorted(others + states)


def test_another_call_keeps_the_state_before_its_first(tmp_path):
    write(tmp_path, (1, 0), (2, 0))
    write(tmp_path, (3, 0))
    assert names(tmp_path) == ["state_0002_000000.npz", "state_0003_000000.npz"]


def test_states_ahead_belong_to_a_run_that_was_given_up(tmp_path):
    write(tmp_path, (2, 0), (5, 0))
    # Begun anew from the checkpoint of the second epoch.
    write(tmp_path, (2, 4))
    assert names(tmp_path) == ["state_0002_000000.npz", "state_0002_000004.npz"]
    assert last_state(tmp_path).facts["step"] == 4


def test_the_state_that_was_read_is_kept_rather_than_a_damaged_one(states):
    folder = states[0].parent
    states[1].write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"):
        saved = last_state(folder)
    StateWriter(folder, make_model(), [], {"epochs": 9}, saved.path).write(1, 4, 14, (0, {}))
    assert names(folder) == [states[0].name, "state_0001_000004.npz"]


def test_numbers_and_not_names_are_in_order(tmp_path):
    write(tmp_path, (9999, 999999), (9999, 1000000))
    assert last_state(tmp_path).facts["step"] == 1000000
    write(tmp_path, (10000, 0))
    assert last_state(tmp_path).facts["epoch"] == 10000


# Damage


def foreign_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return file.getvalue()


def foreign_arrays():
    file = io.BytesIO()
    np.savez(file, weights=np.ones(3))
    return file.getvalue()


DAMAGES = {
    "empty": lambda content: b"",
    "cut short by a byte": lambda content: content[:-1],
    "cut in half": lambda content: content[: len(content) // 2],
    "zeros at the end, as after a loss of power": lambda content: (
        content[:2000] + bytes(len(content) - 2000)
    ),
    "text": lambda content: b"<html>",
    "zip": lambda content: foreign_zip(),
    "arrays": lambda content: foreign_arrays(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_state_before_a_damaged_one(states, damage):
    states[1].write_bytes(DAMAGES[damage](states[1].read_bytes()))
    with pytest.warns(UserWarning) as seen:
        saved = last_state(states[0].parent)
    assert [str(warning.message)[: len(str(states[1])) + 12] for warning in seen] == [
        f"{states[1]} is damaged "
    ]
    assert (saved.path, saved.facts["step"]) == (states[0], 3)


def test_no_flipped_bit_goes_unseen(states):
    """Everywhere in the file, and at every byte of the archive's directory at its end."""
    whole = last_state(states[0].parent)
    content = states[1].read_bytes()
    found = set()
    for place in [*range(0, len(content), 151), *range(len(content) - 300, len(content))]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        states[1].write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = last_state(states[0].parent)
        found.add(saved.path)
        if saved.path == states[1]:
            # Times and attributes of the archive's files mean nothing.
            assert saved.facts == whole.facts
            for name, array in whole.arrays.items():
                np.testing.assert_array_equal(saved.arrays[name], array)
    assert found == set(states)


def test_both_states_damaged(states):
    for path in states:
        path.write_bytes(b"x")
    with pytest.warns(UserWarning) as seen:
        assert last_state(states[0].parent) is None
    assert len(seen) == 2


def test_folder_without_states(tmp_path):
    assert last_state(tmp_path) is None


def test_nothing_is_left_where_a_state_cannot_be_written(tmp_path, monkeypatch):
    writer = write(tmp_path, (1, 0))

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(2, 0, 20, (0, {}))
    assert names(tmp_path) == ["state_0001_000000.npz"]


def test_leftovers_of_a_killed_process(tmp_path):
    written = ["state_0001_000000.npz", "mask_rcnn_x_best.h5", "log.csv", "losses.png", "own.h5"]
    # As a killed process has it, none of the blocks ends.
    blocks = [replacing(tmp_path / name) for name in written]
    for block in blocks:
        block.__enter__().touch()
    left = names(tmp_path)
    kept = [*written, ".hidden.npz", ".state_0001_000000.npz", f".{'0' * 32}"]
    for name in kept:
        (tmp_path / name).touch()
    assert len(left) == len(written)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)
