"""Which kind of file a weight file is, and what is said of others."""

import numpy as np
import pytest

from mrcnn import weights
from tests.weights.test_keras_model import assert_equal_weights, small_model


@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.keras"])
def test_files_of_all_kinds(tmp_path, name):
    model, other = small_model(0), small_model(1)
    if name == "x.keras":
        model.save(tmp_path / name)
    else:
        model.save_weights(tmp_path / name)
    report = weights.load(other, tmp_path / name, verbose=0)
    assert (report is not None) == (name == "x.h5")
    assert_equal_weights(model, other)


@pytest.mark.parametrize("name", ["x.weights.h5", "mask_rcnn_coco"])
def test_historical_layout_is_known_by_its_contents(tmp_path, name):
    model, other = small_model(0), small_model(1)
    model.save_weights(tmp_path / "x.h5")
    (tmp_path / "x.h5").rename(tmp_path / name)
    assert weights.load(other, tmp_path / name, verbose=0).loaded == ["hidden", "output"]
    assert_equal_weights(model, other)


def test_keras_file_with_the_name_of_the_other_layout(tmp_path):
    model = small_model(0)
    model.save_weights(tmp_path / "x.weights.h5")
    (tmp_path / "x.weights.h5").rename(tmp_path / "x.h5")
    with pytest.raises(ValueError, match='rename it to end in "\\.weights\\.h5"'):
        weights.load(model, tmp_path / "x.h5")


def test_excluding_layers_of_a_keras_file(tmp_path):
    model, other = small_model(0), small_model(1)
    model.save_weights(tmp_path / "x.weights.h5")
    before = other.get_weights()
    with pytest.raises(ValueError, match="is a file of Keras, which has no layer names"):
        other.load_weights(tmp_path / "x.weights.h5", exclude=["output"])
    for ours, old in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, old)


@pytest.mark.parametrize("name", ["x.npz", "weights", "x.txt"])
def test_files_of_unknown_kinds(tmp_path, name):
    (tmp_path / name).write_text("PK")
    with pytest.raises(ValueError, match='is not a weight file; accepted are "\\.h5"') as error:
        weights.load(small_model(0), tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_file_of_torch_by_its_name_alone(tmp_path):
    (tmp_path / "x.pth").write_text("PK")
    with pytest.raises(ValueError, match="x.pth.* is of no known format; accepted are files of to"):
        weights.load(small_model(0), tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.keras", "x"])
def test_missing_files(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f'{name}" does not exist'):
        weights.load(small_model(0), tmp_path / name)
