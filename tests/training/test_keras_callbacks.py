"""All callbacks of Keras together in one training: each does its work."""

import csv
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.model import MaskRCNN
from tests.local_server import serving
from tests.mini import MiniShapes, mini_config, silent

# The highest is that of the second epoch; two without progress end the training after the fourth.
SCORES = [1.0, 3.0, 2.0, 2.0]
EPOCHS = len(SCORES) + 2
STEPS = 2

LEFT_OUT = {
    "Callback": "does nothing",
    "CallbackList": "is what train keeps the others in",
    "OrbaxCheckpoint": "needs the package orbax-checkpoint, which is no requirement",
    "TerminateOnNaN": "is told nothing: train raises first, see test_callbacks.py",
}


def weight_of(keras_model):
    return keras_model.get_layer("fpn_p2").kernel.numpy()


class Notes(keras.callbacks.Callback):
    """A callback that records a weight after each step and after the other callbacks."""

    def __init__(self):
        super().__init__()
        self.raw, self.tested, self.after, self.ends = [], [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.raw.append(weight_of(self.model))

    def on_test_batch_end(self, batch, logs=None):
        self.tested.append(weight_of(self.model))

    def on_epoch_begin(self, epoch, logs=None):
        self.after.append(weight_of(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(weight_of(self.model))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train with all callbacks; return the records of the training."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("run")
    config = mini_config(STEPS_PER_EPOCH=STEPS, EMA_MOMENTUM=0.5, LEARNING_MOMENTUM=0)
    model = MaskRCNN("training", config, str(folder / "logs"))
    notes, rates, batches = Notes(), [], []

    def note(epoch, logs):
        rates.append(float(model.keras_model.optimizer.learning_rate))
        logs["score"] = SCORES[epoch]

    c = keras.callbacks
    callbacks = {
        "LambdaCallback": c.LambdaCallback(
            on_epoch_end=note,
            on_train_batch_end=lambda batch, logs: batches.append((batch, dict(logs))),
        ),
        "BackupAndRestore": c.BackupAndRestore(folder / "backup", delete_checkpoint=False),
        "CSVLogger": c.CSVLogger(folder / "log.csv"),
        "EarlyStopping": c.EarlyStopping(
            "score", mode="max", patience=2, restore_best_weights=True
        ),
        "LearningRateScheduler": c.LearningRateScheduler(
            lambda epoch, rate: rate / 8 if epoch == 1 else rate
        ),
        "ModelCheckpoint": c.ModelCheckpoint(
            folder / "best.weights.h5",
            "score",
            mode="max",
            save_best_only=True,
            save_weights_only=True,
        ),
        "ModelCheckpoint of models": c.ModelCheckpoint(folder / "epoch{epoch}.keras"),
        "ProgbarLogger": c.ProgbarLogger(),
        "ReduceLROnPlateau": c.ReduceLROnPlateau("score", mode="max", factor=0.5, patience=1),
        "SwapEMAWeights": c.SwapEMAWeights(),
        "TensorBoard": c.TensorBoard(folder / "board"),
        # After the callbacks that add logs.
        "History": c.History(),
    }
    with serving({}) as (address, behaviour):
        callbacks["RemoteMonitor"] = c.RemoteMonitor(address, send_as_json=True)
        custom, data = [*callbacks.values(), notes], MiniShapes(4)
        history = silent(model.train, data, data, 0.125, EPOCHS, "all", custom_callbacks=custom)
    return SimpleNamespace(
        folder=folder,
        keras_model=model.keras_model,
        final=model.keras_model.get_weights(),
        history=history,
        callbacks=callbacks,
        posted=behaviour.posted,
        notes=notes,
        rates=rates,
        batches=batches,
    )


def means(run):
    """Return the running mean of a weight after each epoch, from the weights of the steps."""
    mean, found = run.notes.raw[0], []
    for step, weight in enumerate(run.notes.raw):
        mean = 0.5 * mean + 0.5 * weight
        if step % STEPS == STEPS - 1:
            found.append(mean)
    return found


def check_lambda(run):
    assert [batch for batch, _ in run.batches] == [0, 1] * len(SCORES)
    # The logs have running means: the second step's is that of the epoch.
    losses = [logs["loss"] for batch, logs in run.batches if batch == 1]
    assert losses == run.history.history["loss"]


def check_backup(run):
    metadata = json.loads((run.folder / "backup" / "training_metadata.json").read_text())
    assert metadata["epoch"] == len(SCORES)
    run.keras_model.set_weights([0 * weight for weight in run.final])
    run.callbacks["BackupAndRestore"].on_train_begin()
    np.testing.assert_array_equal(weight_of(run.keras_model), run.notes.ends[-1])
    run.keras_model.set_weights(run.final)


def check_csv(run):
    rows = list(csv.DictReader((run.folder / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    for name in ("loss", "mrcnn_mask_loss", "val_loss", "score"):
        assert [float(row[name]) for row in rows] == run.history.history[name]


def check_early_stopping(run):
    assert run.callbacks["EarlyStopping"].stopped_epoch == len(SCORES) - 1
    # The weights are those of the second epoch again.
    np.testing.assert_array_equal(weight_of(run.keras_model), run.notes.ends[1])
    assert not np.array_equal(run.notes.ends[1], run.notes.ends[-1])


def check_history(run):
    assert run.history is run.callbacks["History"] is run.keras_model.history
    assert run.history.epoch == [0, 1, 2, 3]
    assert run.history.history["score"] == SCORES
    assert len(set(run.history.history["val_loss"])) == len(SCORES)


def check_learning_rate_scheduler(run):
    assert run.rates[:2] == [0.125, 0.125 / 8]


def check_reduce_on_plateau(run):
    # The third epoch is no better than the second, and the fourth begins with a half.
    assert run.rates[2:] == [0.125 / 8, 0.125 / 16]
    assert run.history.history["learning_rate"] == run.rates


def check_weights(run):
    run.keras_model.load_weights(str(run.folder / "best.weights.h5"))
    np.testing.assert_array_equal(weight_of(run.keras_model), run.notes.ends[1])
    run.keras_model.set_weights(run.final)


def check_models(run):
    assert len(list(run.folder.glob("epoch*.keras"))) == len(SCORES)
    saved = keras.models.load_model(run.folder / "epoch3.keras", compile=False)
    np.testing.assert_array_equal(weight_of(saved), run.notes.ends[2])
    assert saved.output_names == run.keras_model.output_names


def check_bar(run):
    bar = run.callbacks["ProgbarLogger"]
    assert (bar.epochs, bar.target, bar.seen) == (EPOCHS, STEPS, STEPS)


def check_remote(run):
    sent = [json.loads(body) for _, body in run.posted]
    assert {path for path, _ in run.posted} == {"/publish/epoch/end/"}
    assert [logs["epoch"] for logs in sent] == [0, 1, 2, 3]
    assert [logs["val_loss"] for logs in sent] == run.history.history["val_loss"]


def check_swap(run):
    assert len(run.notes.tested) == len(SCORES)
    for tested, mean in zip(run.notes.tested, means(run), strict=True):
        np.testing.assert_allclose(tested, mean, rtol=1e-4, atol=1e-6)
    # The next epoch continues with the weights themselves.
    for after, raw in zip(run.notes.after[1:], run.notes.raw[STEPS - 1 :: STEPS], strict=False):
        np.testing.assert_allclose(after, raw, rtol=1e-4, atol=1e-6)
    assert abs(run.notes.tested[0] - run.notes.raw[1]).max() > 1e-4


def check_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for part, name, values in (
        ("train", "epoch_score", SCORES),
        ("validation", "epoch_mrcnn_mask_loss", run.history.history["val_mrcnn_mask_loss"]),
    ):
        found = EventAccumulator(str(run.folder / "board" / part)).Reload().Tensors(name)
        assert [event.step for event in found] == [0, 1, 2, 3]
        tensors = [tf.make_ndarray(event.tensor_proto) for event in found]
        np.testing.assert_allclose(tensors, values, rtol=1e-6)


CHECKS = {
    "BackupAndRestore": check_backup,
    "CSVLogger": check_csv,
    "EarlyStopping": check_early_stopping,
    "History": check_history,
    "LambdaCallback": check_lambda,
    "LearningRateScheduler": check_learning_rate_scheduler,
    "ModelCheckpoint": check_weights,
    "ModelCheckpoint of models": check_models,
    "ProgbarLogger": check_bar,
    "ReduceLROnPlateau": check_reduce_on_plateau,
    "RemoteMonitor": check_remote,
    "SwapEMAWeights": check_swap,
    "TensorBoard": check_tensorboard,
}


@pytest.mark.parametrize("name", CHECKS)
def test_callback_does_its_work(run, name):
    assert type(run.callbacks[name]).__name__ == name.split()[0]
    CHECKS[name](run)


def test_no_callback_is_forgotten():
    shipped = {
        name
        for name, kind in vars(keras.callbacks).items()
        if isinstance(kind, type) and issubclass(kind, keras.callbacks.Callback)
    }
    assert len(shipped) > 10
    assert shipped <= CHECKS.keys() | LEFT_OUT.keys()
    assert not CHECKS.keys() & LEFT_OUT.keys()
