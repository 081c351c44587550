"""TensorBoard's curves end with a warning where they cannot be written; training goes on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mrcnn.watching.tensorboard import TensorBoard


@pytest.fixture
def fit():
    """Return a function that trains a small model for two epochs with a callback."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer="sgd", loss="mse")
    data = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)

    def fit(callback):
        words = {"validation_data": data, "epochs": 2, "verbose": 0}
        return model.fit(*data, callbacks=[callback], **words).epoch

    return fit


def test_curves_are_written(fit, tmp_path):
    assert fit(TensorBoard(tmp_path, write_graph=False)) == [0, 1]
    for part in ("train", "validation"):
        events = EventAccumulator(str(tmp_path / part)).Reload()
        assert [event.step for event in events.Tensors("epoch_loss")] == [0, 1]


def test_a_file_in_the_way(fit, tmp_path):
    (tmp_path / "train").write_text("")
    with pytest.warns(UserWarning) as caught:
        assert fit(TensorBoard(tmp_path, write_graph=False)) == [0, 1]
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith(f'TensorBoard\'s curves in "{tmp_path}" cannot be written (')
    assert message.lower().count("not a directory") == 1
    assert "{" not in message
    assert "\n" not in message


def test_a_disk_that_becomes_full(fit, tmp_path, monkeypatch):
    def full(epoch, logs):
        raise tf.errors.ResourceExhaustedError(None, None, f"{tmp_path}; No space left on device")

    callback = TensorBoard(tmp_path, write_graph=False)
    with monkeypatch.context() as patch:
        patch.setattr(callback, "_log_epoch_metrics", full)
        with pytest.warns(UserWarning, match="No space left on device") as caught:
            assert fit(callback) == [0, 1]
    assert len(caught) == 1
    # Another stage of training tries again.
    fit(callback)
    events = EventAccumulator(str(tmp_path / "train")).Reload()
    assert [event.step for event in events.Tensors("epoch_loss")] == [0, 1]
