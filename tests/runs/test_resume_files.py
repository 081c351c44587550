"""Files from which a run is resumed where others are damaged or missing."""

import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from tests.mini import mini_config
from tests.runs.interrupted import equal, interrupt, stages, train


def damage(folder, pattern):
    for path in Path(folder).glob(pattern):
        path.write_bytes(path.read_bytes()[:-100])


def test_damaged_state(make_model, tmp_path, whole):
    np.random.seed(7)  # noqa: NPY002
    first = make_model(tmp_path / "logs")
    interrupt(stages, first, ("train_batch_end", 2, 2))
    damage(first.log_dir, "state_0002_000002.npz")
    model = make_model(tmp_path / "logs")
    with pytest.warns(UserWarning, match="state_0002_000002.npz is damaged"):
        stages(model)
    assert equal(model.keras_model.get_weights(), whole[0])


def remove_states(folder):
    for path in Path(folder).glob("state_*"):
        path.unlink()


def test_checkpoints_alone(make_model, tmp_path, capsys):
    first = make_model(tmp_path)
    train(first, epochs=2)
    remove_states(first.log_dir)
    expected = first.keras_model.get_weights()
    model = make_model(tmp_path)
    weights = []

    def note(logs):
        weights.extend(model.keras_model.get_weights())

    begun = keras.callbacks.LambdaCallback(on_train_begin=note)
    assert train(model, begun, epochs=3).epoch == [2]
    assert equal(weights, expected)
    assert "has no state beside it: weights and epoch count are kept" in (capsys.readouterr().out)


def test_damaged_checkpoint(make_model, tmp_path, capsys):
    first = make_model(tmp_path)
    train(first, epochs=3)
    remove_states(first.log_dir)
    damage(first.log_dir, "*_0003.h5")
    # Old scripts are told what is the newest.
    assert first.find_last().endswith("_0003.h5")
    for word in ("resume", "last"):
        model = make_model(tmp_path)
        with pytest.warns(UserWarning, match=r"_0003.h5.*The checkpoint before it is used"):
            if word == "last":
                model.start_from("last")
            # Nothing to train: what counts is where it stands.
            train(model, epochs=1, resume=word == "resume")
        assert model.epoch == 2
    assert "mask_rcnn_mini_0002.h5 has no state" in capsys.readouterr().out


def test_damaged_checkpoint_in_inference_mode(make_model, tmp_path):
    first = make_model(tmp_path)
    train(first, epochs=2)
    expected = h5py.File(f"{first.log_dir}/mask_rcnn_mini_0001.h5")["fpn_p2"]["fpn_p2"]["bias:0"][:]
    model = MaskRCNN("inference", mini_config(), str(tmp_path))
    bias = model.keras_model.get_layer("fpn_p2").bias
    model.start_from("last")
    assert not np.array_equal(bias, expected)
    damage(first.log_dir, "*_0002.h5")
    with pytest.warns(UserWarning, match="_0002.h5"):
        model.start_from("last")
    np.testing.assert_array_equal(bias, expected)
    assert model.epoch == 1
    # With nothing else to take, it is an error.
    damage(first.log_dir, "*_0001.h5")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="_0002.h5.*not a whole HDF5"):
        model.start_from("last")


def test_the_newest_run_counts(make_model, tmp_path):
    """Also where it has no state and an older one has."""
    first = make_model(tmp_path)
    train(first, epochs=2)
    older, newer = tmp_path / "mini20250101T0000", tmp_path / "mini20260101T0000"
    os.rename(first.log_dir, older)
    second = make_model(tmp_path)
    train(second, epochs=1, resume=False)
    os.rename(second.log_dir, newer)
    remove_states(newer)
    # The newest of all has nothing yet.
    (tmp_path / "mini20260102T0000").mkdir()
    model = make_model(tmp_path)
    train(model, epochs=1)
    assert (model.log_dir, model.epoch) == (str(newer), 1)
    for path in newer.glob("mask_rcnn*"):
        path.write_bytes(b"")
    model = make_model(tmp_path)
    with pytest.warns(UserWarning, match="0 bytes"):
        train(model, epochs=1)
    assert (model.log_dir, model.epoch) == (str(older), 2)
