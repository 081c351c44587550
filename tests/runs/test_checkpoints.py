"""Any Keras callback works in `train`; the steps are played."""

import csv
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import LOSS_NAMES
from mrcnn.runs.checkpoints import BestCheckpoint, Checkpoint
from mrcnn.runs.run import Run
from mrcnn.training.loop import NonFiniteLossError
from tests.mini import MiniShapes


@pytest.fixture
def train(model):
    """A function: trains `epochs` epochs of 2 steps with validation and callbacks."""

    def run(*callbacks, epochs=5):
        callbacks = list(callbacks)
        return model.train(
            MiniShapes(2), MiniShapes(2), 0.1, epochs, "all", custom_callbacks=callbacks
        )

    return run


def test_early_stopping(train, model, scripted):
    # From the third epoch on it gets worse.
    scripted(val=lambda step: [5.0, 4.0, 4.5, 5.0, 6.0][step - 1])
    weight = model.keras_model.get_layer("fpn_p2").bias

    def mark(epoch, logs):
        weight.assign(np.full(weight.shape, epoch))

    history = train(
        keras.callbacks.LambdaCallback(on_epoch_begin=mark),
        keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        epochs=9,
    )
    assert history.epoch == [0, 1, 2, 3]
    assert model.epoch == 4
    # The best epoch was the second.
    assert set(weight.numpy()) == {1.0}


def test_training_continues_after_it_was_stopped(train, model, scripted):
    scripted()
    stop = keras.callbacks.EarlyStopping("loss", patience=1)
    assert train(stop, epochs=5).epoch == [0, 1]
    assert train(epochs=4).epoch == [2, 3]


def test_model_checkpoint(train, model, scripted, tmp_path):
    scripted(val=lambda step: [2.0, 1.0, 3.0][step - 1])
    path = str(tmp_path / "{epoch:02d}-{val_mrcnn_mask_loss:.1f}.weights.h5")
    best = keras.callbacks.ModelCheckpoint(
        path, "val_mrcnn_mask_loss", mode="min", save_best_only=True, save_weights_only=True
    )
    train(best, epochs=3)
    assert sorted(f.name for f in tmp_path.glob("*.h5")) == [
        "01-2.0.weights.h5",
        "02-1.0.weights.h5",
    ]
    expected = model.keras_model.get_weights()
    model.keras_model.set_weights([weight + 1 for weight in expected])
    model.load_weights(str(tmp_path / "02-1.0.weights.h5"))
    for ours, theirs in zip(model.keras_model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_learning_rate_scheduler(train, scripted):
    scripted()
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    history = train(halve, epochs=3).history
    assert history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


def test_reduce_on_plateau(train, model, scripted):
    scripted()
    reduce = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.1, patience=1, min_lr=1e-4)
    history = train(reduce, epochs=4).history
    # The rate that was used; it falls after each epoch without a better loss but the first.
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert float(model.keras_model.optimizer.learning_rate) == pytest.approx(1e-4)


def test_csv_logger(train, scripted, tmp_path):
    scripted(train=lambda step: float(step))
    train(keras.callbacks.CSVLogger(tmp_path / "log.csv"), epochs=2)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert [float(row["rpn_bbox_loss"]) for row in rows] == [1.5, 3.5]
    assert [float(row["val_loss"]) for row in rows] == [10, 10]
    names = {f"{v}{name}" for v in ("", "val_") for name in (*LOSS_NAMES, "loss")}
    assert set(rows[0]) == {"epoch", *names}


def test_tensorboard_files(train, model, scripted, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scripted(train=lambda step: float(step))
    train(keras.callbacks.TensorBoard(tmp_path / "own"), epochs=2)
    # The one that is always there, and the user's.
    for folder in (model.log_dir, tmp_path / "own"):
        for part, values in (("train", [1.5, 3.5]), ("validation", [2, 2])):
            events = EventAccumulator(os.path.join(folder, part)).Reload()
            found = events.Tensors("epoch_mrcnn_mask_loss")
            assert [event.step for event in found] == [0, 1]
            assert [tf.make_ndarray(event.tensor_proto) for event in found] == values


def test_lambda_callback_sees_running_means(train, scripted):
    scripted(train=lambda step: float(step))
    seen = []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((batch, logs["mrcnn_class_loss"]))
    )
    train(keep, epochs=2)
    assert seen == [(0, 1.0), (1, 1.5), (0, 3.0), (1, 3.5)]


def test_terminate_on_nan(train, scripted):
    """Ours is told first, and names the images."""
    scripted(train=lambda step: np.nan)
    with pytest.raises(NonFiniteLossError, match="step 1"):
        train(keras.callbacks.TerminateOnNaN())


def test_stop_within_an_epoch(train, model, scripted):
    steps = scripted()

    def stop(batch, logs):
        model.keras_model.stop_training = True

    history = train(keras.callbacks.LambdaCallback(on_train_batch_end=stop))
    # What was trained is validated and kept.
    assert (len(steps.trained), len(steps.evaluated), history.epoch) == (1, 1, [0])
    assert model.find_last().endswith("mask_rcnn_mini_0001.h5")


class OldCallback(keras.callbacks.Callback):
    """As scripts write them: it looks at self.model and self.params, and saves weights."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.calls, self.rates = folder, [], []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            self.calls.append(name)
        return super().__getattribute__(name)

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.model.optimizer.learning_rate = 0.5
        self.model.save_weights(os.path.join(self.folder, f"own_{epoch}.h5"))
        self.epochs = self.params["epochs"]
        logs["val_map"] = 0.25


def test_own_callback(train, model, scripted, tmp_path):
    scripted()
    callback = OldCallback(str(tmp_path))
    history = train(callback, epochs=2).history
    assert callback.model is model.keras_model
    assert callback.rates == pytest.approx([0.1, 0.5])
    assert callback.epochs == 2
    assert sorted(path.name for path in tmp_path.glob("own*")) == ["own_0.h5", "own_1.h5"]
    # What it adds to the logs, callbacks after it see.
    assert history["val_map"] == [0.25, 0.25]
    batch = ["on_train_batch_begin", "on_train_batch_end"]
    test = ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"]
    epoch = ["on_epoch_begin", *batch, *batch, *test, "on_epoch_end"]
    called = [name for name in callback.calls if name in {*epoch, "on_train_begin", "on_train_end"}]
    assert called == ["on_train_begin", *epoch, *epoch, "on_train_end"]


def test_callback_of_early_stopping_on_what_another_adds(train, scripted, tmp_path):
    scripted()
    stop = keras.callbacks.EarlyStopping("val_map", mode="max", patience=1)
    assert train(OldCallback(str(tmp_path)), stop, epochs=9).epoch == [0, 1]


def make_checkpoint(path, keep=None):
    """A Checkpoint of a run that writes to `path`."""
    run = Run(path.parent, "w")
    run.checkpoint_path = str(path)
    return Checkpoint(run, keep)


def test_checkpoint_makes_its_folder(model, tmp_path):
    callback = make_checkpoint(tmp_path / "a" / "b" / "w_*epoch*.h5")
    callback.set_model(model.keras_model)
    callback.on_epoch_end(41)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["w_0042.h5"]


def with_marks(callback):
    """The callback with a model whose weights are the number of times that they were saved."""
    saved = []

    def save_weights(path):
        saved.append(path)
        Path(path).write_text(str(len(saved)))

    callback.set_model(SimpleNamespace(save_weights=save_weights))
    return callback


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("keep", "kept"), [(None, ["1", "2", "3", "4"]), (1, ["4"]), (2, ["3", "4"]), (9, list("1234"))]
)
def test_newest_checkpoints_are_kept(tmp_path, keep, kept):
    callback = with_marks(make_checkpoint(tmp_path / "w_*epoch*.h5", keep))
    for epoch in range(4):
        callback.on_epoch_end(epoch)
        if keep:
            assert len(names(tmp_path)) == min(keep, epoch + 1)
    assert names(tmp_path) == [f"w_000{epoch}.h5" for epoch in kept]


def test_what_is_kept_beside_the_newest_checkpoints(tmp_path):
    """Files of other names, and epochs that lie ahead of a run that was begun anew."""
    others = ["w_best.h5", "w_0001.weights.h5", "v_0001.h5", "w_001.h5", "w_0001.h5.old"]
    # A dot in a name is a dot.
    others += ["w.x_0001.h5", "w_0009.h5"]
    for name in [*others, "w_0001.h5", "w_0002.h5"]:
        (tmp_path / name).touch()
    with_marks(make_checkpoint(tmp_path / "w_*epoch*.h5", 1)).on_epoch_end(2)
    assert names(tmp_path) == sorted([*others, "w_0003.h5"])
    with_marks(make_checkpoint(tmp_path / "w.x_*epoch*.h5", 1)).on_epoch_end(1)
    assert names(tmp_path) == sorted({*others, "w_0003.h5", "w.x_0002.h5"} - {"w.x_0001.h5"})


def test_nothing_is_removed_where_saving_fails(tmp_path):
    def fails(path):
        raise OSError("No space left on device")

    (tmp_path / "w_0001.h5").touch()
    callback = make_checkpoint(tmp_path / "w_*epoch*.h5", 1)
    callback.set_model(SimpleNamespace(save_weights=fails))
    with pytest.raises(OSError, match="No space left"):
        callback.on_epoch_end(1)
    assert names(tmp_path) == ["w_0001.h5"]


@pytest.mark.parametrize(
    ("metric", "values", "saved"),
    [
        # After which epochs, of the values in this order.
        ("val_loss", [3.0, 2.0, 2.0, 2.5, 1.0], [0, 1, 4]),
        ("mrcnn_mask_loss", [1.0, 0.5, 0.75], [0, 1]),
        ("val_mask_mAP", [0.1, 0.3, 0.3, 0.2, 0.4], [0, 1, 4]),
        ("val_mAP", [-1.0, 0.0], [0, 1]),
        ("val_loss", [float("nan"), 2.0, float("nan"), 1.0], [1, 3]),
        ("val_mAP", [float("nan"), 0.5], [1]),
    ],
)
def test_best_checkpoint(tmp_path, metric, values, saved):
    path = tmp_path / "run" / "w_best.h5"
    callback = with_marks(BestCheckpoint(str(path), metric))
    found, count = [], "0"
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"loss": 0.0, metric: value})
        now = path.read_text() if path.exists() else "0"
        if now != count:
            found.append(epoch)
        count = now
    assert found == saved
    assert callback.best == values[saved[-1]]


def test_best_checkpoint_without_its_metric(tmp_path):
    callback = with_marks(BestCheckpoint(str(tmp_path / "w_best.h5"), "val_mAP"))
    with pytest.warns(UserWarning) as seen:
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    assert str(seen[0].message) == (
        "BEST_METRIC is 'val_mAP', which is not in the logs of an epoch; they have loss, "
        "val_loss. CocoMetrics adds the AP of a data set."
    )
    # Once is enough. It may come later.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_epoch_end(1, {"loss": 1.0})
        callback.on_epoch_end(2, {"val_mAP": 0.5})
    assert (names(tmp_path), callback.best) == (["w_best.h5"], 0.5)


def test_checkpoints_of_a_run(train, model, scripted):
    """KEEP_CHECKPOINTS and BEST_METRIC; the best epoch is not among the last."""
    scripted(val=lambda step: [2.0, 1.0, 3.0, 4.0][step - 1])
    model.config.KEEP_CHECKPOINTS, model.config.BEST_METRIC = 2, "val_loss"
    bias = model.keras_model.get_layer("fpn_p2").bias

    def mark(epoch, logs):
        bias.assign(np.full(bias.shape, epoch))

    train(keras.callbacks.LambdaCallback(on_epoch_begin=mark), epochs=4)
    found = [name for name in os.listdir(model.log_dir) if name.endswith(".h5")]
    assert sorted(found) == [f"mask_rcnn_mini_{name}.h5" for name in ("0003", "0004", "best")]
    model.keras_model.load_weights(os.path.join(model.log_dir, "mask_rcnn_mini_best.h5"))
    assert set(bias.numpy()) == {1.0}
    # The best weights are not a checkpoint to resume from.
    assert model.find_last().endswith("_0004.h5")
