"""Which files of the model are in the historical layout, and which are Keras's own."""

import json

import h5py
import keras
import numpy as np
import pytest

from mrcnn.graph import build_graph
from mrcnn.weights import matterport
from mrcnn.weights.keras_model import CheckpointModel
from tests.mini import MiniConfig


def small_model(seed):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((4,))
    for name, units in (("hidden", 3), ("output", 2)):
        x = keras.layers.Dense(units, bias_initializer="glorot_normal", name=name)(x)
    return CheckpointModel(inputs, x, name="small")


def assert_equal_weights(model, other):
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["x.h5", "x.hdf5", "model.v2.h5"])
def test_historical_files(tmp_path, name, capsys):
    model, other = small_model(0), small_model(1)
    model.save_weights(str(tmp_path / name))
    with h5py.File(tmp_path / name) as file:
        assert list(file.attrs["layer_names"])[1:] == [b"hidden", b"output"]
        np.testing.assert_array_equal(file["hidden/hidden/kernel:0"], model.get_weights()[0])
    report = other.load_weights(str(tmp_path / name), by_name=True)
    assert report.loaded == ["hidden", "output"]
    assert capsys.readouterr().out == f"{report}\n"
    assert_equal_weights(model, other)


def test_weights_h5_is_keras_own(tmp_path, capsys):
    model, other = small_model(0), small_model(1)
    model.save_weights(tmp_path / "x.weights.h5")
    with h5py.File(tmp_path / "x.weights.h5") as file:
        assert "layer_names" not in file.attrs
    plain = keras.Model(model.inputs, model.outputs)
    assert other.load_weights(tmp_path / "x.weights.h5") is None
    assert_equal_weights(model, other)
    # Keras itself takes the file.
    plain.set_weights([0 * weight for weight in plain.get_weights()])
    plain.load_weights(tmp_path / "x.weights.h5")
    assert_equal_weights(plain, other)
    assert capsys.readouterr().out == ""


def test_excluded_and_skipped_layers(tmp_path, capsys):
    model, other = small_model(0), small_model(1)
    model.save_weights(tmp_path / "x.h5")
    before = other.get_layer("output").get_weights()[0]
    other.load_weights(tmp_path / "x.h5", exclude=["output"])
    np.testing.assert_array_equal(other.get_layer("output").get_weights()[0], before)
    np.testing.assert_array_equal(
        other.get_layer("hidden").get_weights()[0], model.get_weights()[0]
    )
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,))
    x = keras.layers.Dense(5, name="output")(keras.layers.Dense(3, name="hidden")(inputs))
    wider = CheckpointModel(inputs, x)
    report = wider.load_weights(tmp_path / "x.h5", skip_mismatch=True)
    assert list(report.mismatched) == ["output"]
    np.testing.assert_array_equal(wider.get_weights()[0], model.get_weights()[0])
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_training_and_inference_model_share_their_files(tmp_path, capsys):
    keras.utils.set_random_seed(0)
    config = MiniConfig()
    training, inference = build_graph(config, "training"), build_graph(config, "inference")
    training.save_weights(tmp_path / "x.h5")
    report = inference.load_weights(tmp_path / "x.h5")
    assert (report.missing, report.unused, report.mismatched) == ([], [], {})
    theirs = {layer.name: layer for layer in training.layers}
    for name in report.loaded:
        for ours, expected in zip(
            inference.get_layer(name).get_weights(), theirs[name].get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)
    assert len(report.loaded) == len([layer for layer in inference.layers if layer.weights])
    assert "not in the" not in capsys.readouterr().out


def test_metadata_of_any_length_travels_with_the_weights(tmp_path):
    # A Config of 2,000 classes: more than the 64 KB that an HDF5 header can take.
    names = json.dumps({"CLASS_NAMES": [f"class number {n}, Ångström" * 3 for n in range(2000)]})
    assert len(names) > 100_000
    model, other = small_model(0), small_model(1)
    assert model.metadata == {}
    model.metadata = {"config": names, "version": "0.1", "empty": ""}
    model.save_weights(tmp_path / "x.h5")
    assert matterport.read_metadata(tmp_path / "x.h5") == model.metadata
    # Who looks for weights alone finds what was always there.
    report = other.load_weights(tmp_path / "x.h5")
    assert (report.loaded, report.unused) == (["hidden", "output"], [])
    assert_equal_weights(model, other)
    with h5py.File(tmp_path / "x.h5") as file:
        assert set(file) == {layer.name for layer in model.layers}
        assert {"layer_names", "backend", "keras_version"} < set(file.attrs)


def test_file_without_metadata(tmp_path):
    small_model(0).save_weights(tmp_path / "x.h5")
    assert matterport.read_metadata(tmp_path / "x.h5") == {}
    (tmp_path / "x.h5").write_text("cut")
    with pytest.raises(ValueError, match="is not a whole HDF5 file"):
        matterport.read_metadata(tmp_path / "x.h5")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        matterport.read_metadata(tmp_path / "y.h5")


def test_metadata_that_is_no_text_leaves_no_file(tmp_path):
    model = small_model(0)
    model.metadata = {"epoch": 3}
    with pytest.raises(TypeError):
        model.save_weights(tmp_path / "x.h5")
    assert list(tmp_path.iterdir()) == []


def test_model_with_metadata_is_saved_whole_by_keras(tmp_path):
    model = small_model(0)
    model.metadata = {"config": "{}"}
    model.save(tmp_path / "x.keras")
    other = keras.saving.load_model(tmp_path / "x.keras")
    assert isinstance(other, CheckpointModel)
    assert_equal_weights(model, other)
