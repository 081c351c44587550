"""`MaskRCNN.from_run`: the same detections without the user's Config; what a resume reads."""

import builtins
import json
import os
import shutil

import h5py
import keras
import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from mrcnn.recipes import matterport
from mrcnn.training import fit
from tests.mini import MiniShapes, mini_backbone, mini_backbone_shapes, mini_config, silent
from tests.runs.interrupted import Interrupt, interrupt, train

FUNCTIONS = {"BACKBONE": mini_backbone, "COMPUTE_BACKBONE_SHAPE": mini_backbone_shapes}


@pytest.fixture(scope="module")
def trained(built_model, tmp_path_factory):
    """A training model with a run of one epoch and its detections in two images."""
    model, _ = built_model
    model.model_dir = str(tmp_path_factory.mktemp("trained") / "logs")
    model.set_log_dir()
    images = [MiniShapes(2).load_image(number) for number in range(2)]
    # So that there are detections of both classes.
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-2.0, 0.1, 0.0])
    silent(model.train, MiniShapes(2), MiniShapes(2), 1e-5, 1, "all")
    lone = os.path.join(os.path.dirname(model.model_dir), "lone.h5")
    model.inference_model().keras_model.save_weights(lone)
    return model, images, model.inference_model().detect(images), lone


@pytest.mark.parametrize("kind", ["model_dir", "run", "checkpoint", "lone file"])
def test_same_detections(trained, kind):
    model, images, expected, lone = trained
    checkpoint = model.checkpoint_path.replace("*epoch*", "0001")
    path, model_dir = {
        "model_dir": (model.model_dir, model.model_dir),
        "run": (model.log_dir, model.model_dir),
        "checkpoint": (checkpoint, model.model_dir),
        "lone file": (lone, os.path.dirname(lone)),
    }[kind]
    found = MaskRCNN.from_run(path, **FUNCTIONS)
    assert found.class_names == ["BG", "square", "disc"]
    assert (found.mode, found.model_dir) == ("inference", model_dir)
    assert (found.epoch, found.log_dir == model.log_dir) == (
        (0, False) if kind == "lone file" else (1, True)
    )
    assert sum(len(result["rois"]) for result in expected) > 0
    for ours, theirs in zip(found.detect(images), expected, strict=True):
        for key, values in theirs.items():
            np.testing.assert_array_equal(ours[key], values)


def test_settings_may_be_changed(trained):
    model, images, expected, _ = trained
    scores = np.concatenate([result["scores"] for result in expected])
    least = float(np.median(scores))
    found = MaskRCNN.from_run(model.log_dir, DETECTION_MIN_CONFIDENCE=least, **FUNCTIONS)
    kept = np.concatenate([result["scores"] for result in found.detect(images)])
    assert 0 < len(kept) < len(scores)
    assert kept.min() >= least


def test_recipe_of_ones_own(trained, tmp_path):
    """Given as a module, it is found again by its name."""
    _, images, expected, lone = trained
    config = mini_config(RECIPE=matterport)
    model = silent(MaskRCNN, "inference", config, str(tmp_path))
    model.load_weights(lone)
    model.keras_model.save_weights(tmp_path / "own.h5")
    found = MaskRCNN.from_run(tmp_path / "own.h5", **FUNCTIONS)
    assert found.config.RECIPE == matterport.__name__
    for ours, theirs in zip(found.detect(images), expected, strict=True):
        np.testing.assert_array_equal(ours["rois"], theirs["rois"])


def test_training_continues(trained, capsys):
    model, *_ = trained
    found = MaskRCNN.from_run(model.log_dir, mode="training", **FUNCTIONS)
    assert (found.log_dir, found.epoch) == (model.log_dir, 1)
    assert f"Resuming {model.log_dir} after epoch 1.\n" in capsys.readouterr().out


def test_damaged_checkpoint(trained, tmp_path):
    """The one before it counts, with the settings of the run; a file alone is refused."""
    run = tmp_path / os.path.basename(trained[0].log_dir)
    shutil.copytree(trained[0].log_dir, run)
    whole = (run / "mask_rcnn_mini_0001.h5").read_bytes()
    (run / "mask_rcnn_mini_0002.h5").write_bytes(whole[:-100])
    with pytest.warns(UserWarning, match="_0002.h5.*The checkpoint before it is used"):
        found = MaskRCNN.from_run(run, **FUNCTIONS)
    assert (found.epoch, found.log_dir) == (1, str(run))
    lone = tmp_path / "lone.h5"
    lone.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="not a whole HDF5 file"):
        MaskRCNN.from_run(lone, **FUNCTIONS)


def test_nothing_to_make_a_model_of(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not contain, a run of "mini" with'):
        MaskRCNN.from_run(tmp_path, name="mini")


def test_config_of_a_run(make_model, tmp_path):
    model = make_model(tmp_path)
    train(model, epochs=1)
    with open(os.path.join(model.log_dir, "config.json"), encoding="utf-8") as file:
        facts = json.load(file)
    assert facts["class_names"] == ["BG", "square", "disc"]
    assert facts["config"]["STEPS_PER_EPOCH"] == 4
    with h5py.File(f"{model.log_dir}/mask_rcnn_mini_best.h5") as file:
        assert json.loads(file.attrs["mrcnn_config"]) == facts["config"]


# What is read and shared


@pytest.fixture
def opened(monkeypatch):
    """Names of the states and weight files that are opened to be read."""
    names, open_file, open_hdf5 = [], builtins.open, h5py.File

    def note(path, mode):
        name = os.path.basename(path) if isinstance(path, str | os.PathLike) else ""
        if name.endswith((".npz", ".h5")) and "r" in mode:
            names.append(name)

    def opens(path, mode="r", *args, **kwargs):
        note(path, mode)
        return open_file(path, mode, *args, **kwargs)

    def opens_hdf5(path, mode="r", *args, **kwargs):
        note(path, mode)
        return open_hdf5(path, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", opens)
    monkeypatch.setattr(h5py, "File", opens_hdf5)
    return names


@pytest.mark.parametrize("word", ["last", "resume"])
def test_state_is_read_once(make_model, tmp_path, opened, word):
    """Also where the first stages are finished already."""
    interrupt(train, make_model(tmp_path), Interrupt(("train_batch_end", 2, 2)))
    model = make_model(tmp_path)
    opened.clear()
    if word == "last":
        model.start_from("last")
    for epochs in (1, 2, 4):
        train(model, epochs=epochs, resume=word == "resume")
    # The second call of train that has something to do would be another resume.
    assert opened == ["state_0002_000002.npz"]
    assert model.epoch == 4


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_checkpoint_is_read_once(make_model, tmp_path, opened, mode):
    first = make_model(tmp_path)
    train(first, epochs=1)
    for name in os.listdir(first.log_dir):
        if name.startswith("state_"):
            os.remove(os.path.join(first.log_dir, name))
    model = make_model(tmp_path)
    model.mode = mode
    opened.clear()
    model.start_from("last")
    if mode == "training":
        train(model, epochs=1, resume=False)
    assert (opened, model.epoch) == (["mask_rcnn_mini_0001.h5"], 1)


def test_interrupted_call_is_resumed_after_start_from_last(make_model, tmp_path):
    """As in a notebook, where a cell with `train` runs again without `resume`."""
    train(make_model(tmp_path), epochs=1)
    model = make_model(tmp_path)
    model.start_from("last")
    interrupt(train, model, Interrupt(("train_batch_end", 1, 2)))
    seen = []
    note = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda b, logs: seen.append(b))
    train(model, note, epochs=2, resume=False)
    assert seen == [2, 3]


def test_training_never_sees_a_mask_rcnn(model, scripted, monkeypatch):
    scripted()
    seen, original = [], fit.train

    def spy(*args, **options):
        seen.extend([*args, *options.values()])
        return original(*args, **options)

    monkeypatch.setattr(fit, "train", spy)
    model.train(MiniShapes(2), None, 0.1, 1, "all")
    assert model.keras_model in seen
    for value in seen:
        assert not isinstance(value, MaskRCNN)
        assert not any(
            isinstance(part, MaskRCNN) for part in getattr(value, "__dict__", {}).values()
        )
