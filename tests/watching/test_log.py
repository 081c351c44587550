"""log.csv and losses.png; the epochs are played."""

import csv
import math
import os

import keras
import numpy as np
import pytest

from mrcnn.constants import LOSS_NAMES
from mrcnn.watching import log as module
from mrcnn.watching.log import RunLog


@pytest.fixture(scope="module")
def keras_model():
    return keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])


@pytest.fixture
def log(keras_model, tmp_path):
    """A function: a new RunLog for the folder, as at the start of a run, with a learning rate."""

    def make(rate=0.5, optimizer=None):
        keras_model.compile(optimizer or keras.optimizers.SGD(rate))
        callback = RunLog(tmp_path / "run")
        callback.set_model(keras_model)
        callback.on_train_begin()
        return callback

    return make


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of all drawings; nothing is drawn."""
    calls = []

    def plot(curves, first_epoch, save_to):
        calls.append((curves, first_epoch, save_to))

    monkeypatch.setattr(module, "plot_losses", plot)
    return calls


def table(folder, name="log.csv"):
    return list(csv.reader((folder / "run" / name).read_text(encoding="utf-8").splitlines()))


def test_a_row_an_epoch(log, tmp_path, drawn):
    callback = log(0.5)
    callback.on_epoch_end(0, {"loss": np.float32(3.25), "val_loss": 0.1, "note": "not a number"})
    callback.model.optimizer.learning_rate = 0.01
    callback.on_epoch_end(1, {"loss": 2.0, "val_loss": 1e-12})
    # Who has changed the rate for the next epoch says what it was.
    callback.on_epoch_end(2, {"loss": math.nan, "val_loss": 1.0, "learning_rate": 0.125})
    assert table(tmp_path) == [
        ["epoch", "learning_rate", "loss", "val_loss"],
        ["1", "0.5", "3.25", "0.1"],
        ["2", "0.01", "2.0", "1e-12"],
        ["3", "0.125", "nan", "1.0"],
    ]


def test_rate_of_a_schedule_and_through_loss_scaling(log, tmp_path, drawn):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.5, 0.25])
    inner = keras.optimizers.SGD(schedule)
    callback = log(optimizer=keras.optimizers.LossScaleOptimizer(inner))
    callback.on_epoch_end(0, {})
    inner.iterations.assign(11)
    callback.on_epoch_end(1, {})
    assert [row[1] for row in table(tmp_path)] == ["learning_rate", "0.5", "0.25"]


def test_resumed_run(log, tmp_path, drawn):
    first = log()
    for epoch in range(4):
        first.on_epoch_end(epoch, {"loss": float(epoch)})
    # From the checkpoint of the second epoch, with a value that was not there before.
    second = log()
    second.on_epoch_end(2, {"loss": 20.0, "val_mAP": 0.5})
    assert table(tmp_path) == [
        ["epoch", "learning_rate", "loss", "val_mAP"],
        ["1", "0.5", "0.0", ""],
        ["2", "0.5", "1.0", ""],
        ["3", "0.5", "20.0", "0.5"],
    ]
    third = log()
    third.on_epoch_end(3, {"loss": 30.0})
    assert table(tmp_path)[3:] == [["3", "0.5", "20.0", "0.5"], ["4", "0.5", "30.0", ""]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not start with a column epoch"),
        (b"step,loss\n1,2\n", "not start with a column epoch"),
        (b"epoch,loss,loss\n1,2,3\n", "names one twice"),
        (b"epoch,loss\n1,2.0\n2,2.\x00\n", "line"),
        (b"epoch,loss\n1,2.0\n2\n", "line 3"),
        (b"epoch,loss\n1,2.0\n\n", "line 3"),
        (b"epoch,loss\n1,2.0,3.0\n", "line 2"),
        (b"epoch,loss\n1,good\n", "line 2"),
        (b"epoch,loss\n2,1.0\n1,1.0\n", "line 3 has epoch 1"),
        # What keras.callbacks.CSVLogger writes.
        (b"epoch,loss\n0,1.0\n", "line 2 has epoch 0"),
        (b"\x89PNG\xff\xfe", "decode"),
    ],
)
def test_log_of_somebody_else_is_kept(log, tmp_path, drawn, content, reason):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.csv").write_bytes(content)
    (folder / "log.1.csv").write_text("older")
    with pytest.warns(UserWarning) as warned:
        callback = log()
    (warning,) = warned
    assert reason in str(warning.message)
    assert "it was renamed to log.2.csv, and a new one was started." in str(warning.message)
    assert (folder / "log.2.csv").read_bytes() == content
    assert (folder / "log.1.csv").read_text() == "older"
    callback.on_epoch_end(0, {"loss": 1.0})
    assert table(tmp_path) == [["epoch", "learning_rate", "loss"], ["1", "0.5", "1.0"]]


def test_curves(log, tmp_path, drawn):
    callback = log()
    callback.on_epoch_end(4, {"loss": 3.0, "mrcnn_mask_loss": 1.0, "val_mAP": 0.5})
    callback.on_epoch_end(5, {"loss": math.inf, "val_loss": 4.0, "val_rpn_bbox_loss": math.nan})
    (first, epoch, path), (second, *_) = drawn
    assert (first, epoch, path) == (
        {"loss": [3.0], "mrcnn_mask_loss": [1.0]},
        5,
        tmp_path / "run" / "losses.png",
    )
    np.testing.assert_equal(
        second,
        {"loss": [3, math.nan], "val_loss": [math.nan, 4], "mrcnn_mask_loss": [1, math.nan]},
    )


def test_epochs_without_a_row_are_gaps(log, tmp_path, drawn):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.csv").write_text("epoch,loss\n2,5.0\n4,3.0\n")
    log().on_epoch_end(4, {"loss": 2.0})
    ((curves, epoch, _),) = drawn
    np.testing.assert_equal(curves, {"loss": [5, math.nan, 3, 2]})
    assert epoch == 2


def test_nothing_to_draw(log, tmp_path, drawn):
    log().on_epoch_end(0, {"loss": math.nan})
    assert drawn == []


def test_picture(log, tmp_path):
    import matplotlib
    import matplotlib.pyplot as plt
    from PIL import Image

    backend, figures = matplotlib.get_backend(), plt.get_fignums()
    callback = log()
    names = [f"{part}{name}" for part in ("", "val_") for name in ("loss", *LOSS_NAMES)]
    for epoch in range(3):
        callback.on_epoch_end(epoch, {name: 4.0 - epoch for name in names})
    with Image.open(tmp_path / "run" / "losses.png") as picture:
        # Six charts, three in a row.
        assert picture.size == (1080, 520)
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # Lines of training and validation, in Matplotlib's blue and orange; the later cover the first.
    assert (pixels == [0xFF, 0x7F, 0x0E]).all(axis=1).sum() > 1000
    assert (matplotlib.get_backend(), plt.get_fignums()) == (backend, figures)
    assert sorted(os.listdir(tmp_path / "run")) == ["log.csv", "losses.png"]


def test_failure_to_draw_is_said_once(log, tmp_path, monkeypatch):
    def fail(curves, **options):
        raise MemoryError("too large")

    monkeypatch.setattr(module, "plot_losses", fail)
    callback = log()
    with pytest.warns(UserWarning, match=r"losses.png cannot be drawn \(MemoryError: too large\)"):
        callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_epoch_end(1, {"loss": 1.0})
    assert len(table(tmp_path)) == 3


def test_failure_to_write_loses_no_row(log, tmp_path, monkeypatch, drawn):
    callback = log()
    callback.on_epoch_end(0, {"loss": 1.0})
    with monkeypatch.context() as patch:

        def full(path):
            raise OSError("no space left")

        patch.setattr(module, "replacing", full)
        with pytest.warns(UserWarning, match="log.csv cannot be written .OSError: no space left"):
            callback.on_epoch_end(1, {"loss": 2.0})
        callback.on_epoch_end(2, {"loss": 3.0})
    assert len(table(tmp_path)) == 2
    callback.on_epoch_end(3, {"loss": 4.0})
    assert [row[-1] for row in table(tmp_path)] == ["loss", "1.0", "2.0", "3.0", "4.0"]
