"""Models from weight files of other programs, and such files from models."""

import json
import os
import pickle

import numpy as np
import pytest

from mrcnn.config import PaperConfig
from mrcnn.model import MaskRCNN
from mrcnn.runs.imported import classes_of, imported_config, warn_of_settings
from mrcnn.weights.coco_names import class_names
from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.report import LoadReport
from mrcnn.weights.tensor_files import read_tensors
from mrcnn.weights.tensor_writers import write_pickle, write_safetensors, write_torch
from tests.mini import silent
from tests.weights.layouts import R50, detectron2_detector, random_state

CLASS_LAYERS = {"mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"}


@pytest.fixture(scope="module")
def state():
    """Detectron2's weights of a small head on a whole trunk."""
    return random_state(detectron2_detector(norm="BN", classes=3, fpn=8, units=16))


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "my run-1.pkl"
    write_pickle(path, {"model": state, "__author__": "someone"})
    return path


@pytest.fixture(scope="module")
def model(path):
    return silent(MaskRCNN.from_weights, path, DETECTION_MIN_CONFIDENCE=0.3)


def test_settings_and_weights_follow_from_the_file(model, path, state):
    config = model.config
    assert isinstance(config, PaperConfig) and model.mode == "inference"
    assert (config.NAME, config.BACKBONE, config.RESNET_STYLE) == ("my_run_1", "resnet50", "msra")
    assert (config.NUM_CLASSES, config.TOP_DOWN_PYRAMID_SIZE) == (4, 8)
    assert (config.FPN_CLASSIF_FC_LAYERS_SIZE, config.DETECTION_MIN_CONFIDENCE) == (16, 0.3)
    assert model.class_names is None and model.model_dir == str(path.parent)
    theirs = state["backbone.fpn_lateral5.weight"]
    kernel = np.array(model.keras_model.get_layer("fpn_c5p5").kernel)
    np.testing.assert_array_equal(kernel[0, 0], theirs[..., 0, 0].T)


@pytest.mark.parametrize("name", ["x.pkl", "x.pth", "x.safetensors"])
def test_export_is_identical(model, state, tmp_path, name):
    model.export_weights(tmp_path / name, format="detectron2")
    found = read_tensors(tmp_path / name)
    assert set(found.tensors) == set(state)
    for tensor, array in state.items():
        assert found.tensors[tensor].dtype == array.dtype
        np.testing.assert_array_equal(np.asarray(found.tensors[tensor]), array, err_msg=tensor)
    if name == "x.pkl":
        assert "__author__" in found.metadata


@pytest.mark.parametrize("name", ["x.pkl", "x.safetensors"])
def test_class_names_come_back(model, path, tmp_path, name):
    """In files with room for them, and with what is known of the training."""
    names, training = ["BG", "cell", "nucleus", "räder"], {"dataset": "dishes", "epoch": 2}
    model.class_names = names
    model._describe({"training": json.dumps(training)})
    model.export_weights(tmp_path / name, format="detectron2")
    model.class_names = None
    model._describe({})
    model.load_weights(tmp_path / name)
    assert model.class_names == names
    assert json.loads(model.keras_model.metadata["training"]) == training
    assert "config" in model.keras_model.metadata
    assert classes_of(tmp_path / name) == (4, names)
    # A file without them leaves the names of the model as they are.
    model.load_weights(path)
    assert model.class_names == names and "training" not in model.keras_model.metadata
    model.class_names = None


def test_export_that_cannot_be(model, tmp_path):
    with pytest.raises(ValueError, match=r"format is 'caffe'"):
        model.export_weights(tmp_path / "x.pkl", format="caffe")
    with pytest.raises(ValueError, match=r"x\.h5\" must end with \.pkl or \.pth"):
        model.export_weights(tmp_path / "x.h5", format="detectron2")
    with pytest.raises(ValueError, match="torchvision has no model with RESNET_STYLE 'msra'"):
        model.export_weights(tmp_path / "x.pth")
    assert os.listdir(tmp_path) == []


def test_fine_tuning_for_other_classes(path, state, tmp_path):
    model = silent(
        MaskRCNN.from_weights, path, mode="training", model_dir=str(tmp_path), NUM_CLASSES=3
    )
    assert set(model.load_report.untrained) == CLASS_LAYERS
    assert model.config.RPN_STRIDES_FITTED is False
    # The same, by name, into a model of one's own.
    model.keras_model.get_layer("fpn_c5p5").set_weights([np.zeros((1, 1, 2048, 8)), np.zeros(8)])
    silent(model.start_from, path)
    assert set(model.load_report.untrained) == CLASS_LAYERS
    bias = state["backbone.fpn_lateral5.bias"]
    np.testing.assert_array_equal(model.keras_model.get_layer("fpn_c5p5").bias, bias)
    with pytest.raises(ValueError, match="has 4 classes and the Config has 3"):
        model.load_weights(path)


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("name", ["x.pkl", "x.pth", "x"])
def test_a_file_with_code(tmp_path, monkeypatch, model, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps({"model": {"conv1": Harm()}}, protocol=2))
    for load in (MaskRCNN.from_weights, model.load_weights, model.start_from):
        with pytest.raises(WeightFileError, match=r"mkdir.* nothing in it was run"):
            load(str(tmp_path / name))
    assert os.listdir(tmp_path) == [name]


def test_a_classifier_for_a_detector(tmp_path):
    path = tmp_path / "resnet50-0676ba61.pth"
    write_torch(path, {"layer1.0.conv1.weight": np.zeros((64, 64, 1, 1), np.float32)})
    with pytest.raises(ValueError, match="is an ImageNet classifier, .* start_from"):
        MaskRCNN.from_weights(path)


def test_a_backbone_that_does_not_exist_here(tmp_path):
    path = tmp_path / "wide.safetensors"
    shapes = {"backbone.body.layer1.0.conv2.weight": (128, 128, 3, 3)}
    shapes["roi_heads.box_predictor.cls_score.weight"] = (91, 4)
    write_safetensors(path, {name: np.zeros(shape, "f4") for name, shape in shapes.items()})
    with pytest.raises(ValueError, match="does not show BACKBONE: tensors are missing"):
        imported_config(path, "inference")
    assert imported_config(path, "inference", BACKBONE="resnet50").NUM_CLASSES == 91


def test_sizes_that_the_file_does_not_have(tmp_path):
    path = tmp_path / "x.safetensors"
    shapes = {
        "backbone.body.layer1.0.conv2.weight": (64, 64, 3, 3),
        "backbone.fpn.inner_blocks.0.0.weight": (8192, 1),
        "roi_heads.box_predictor.cls_score.weight": (91, 4),
    }
    for stage, blocks in enumerate(R50, start=1):
        shapes[f"backbone.body.layer{stage}.{blocks - 1}.bn1.bias"] = (4,)
    write_safetensors(path, {name: np.zeros(shape, "f4") for name, shape in shapes.items()})
    with pytest.raises(ValueError, match="ask for heads with 11 GB of weights, but the file has 0"):
        imported_config(path, "inference")


def test_a_file_of_another_program(tmp_path):
    write_safetensors(tmp_path / "x.safetensors", {"encoder.weight": np.zeros(3, np.float32)})
    with pytest.raises(WeightFileError, match="no weights of a Mask R-CNN or ResNet"):
        MaskRCNN.from_weights(tmp_path / "x.safetensors")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        MaskRCNN.from_weights(tmp_path / "x.pth")


def test_weights_for_other_images():
    report = LoadReport("x", settings={"STD_PIXEL": (1.0,) * 3, "RESNET_STYLE": "torchvision"})
    with pytest.warns(UserWarning, match=r"STD_PIXEL \(1\.0, 1\.0, 1\.0\) \(the Config has \(58"):
        warn_of_settings(PaperConfig(), "x", report)
    report.settings["STD_PIXEL"] = (58.4, 57.12, 57.375)
    warn_of_settings(PaperConfig(), "x", report)


def test_names_of_cocos_classes():
    by_id, names = class_names(91), class_names(81)
    # Numbers of COCO's categories.
    assert (by_id[1], by_id[18], by_id[44], by_id[90]) == ("person", "dog", "bottle", "toothbrush")
    assert by_id.count("N/A") == 10
    assert (names[0], names[1], names[17], names[80]) == ("BG", "person", "dog", "toothbrush")
    assert len(names) == 81 and class_names(4) is None
