"""The face of the model: how it is made, what it checks, and the small helpers it has."""

import os

import keras
import numpy as np
import pytest

from mrcnn import model as modellib
from mrcnn.constants import LOSS_NAMES
from mrcnn.data.pipeline import make_dataset
from mrcnn.graph import build_graph
from mrcnn.training.step import Steps
from mrcnn.weights import start
from tests.mini import MiniShapes, mini_config


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return modellib.MaskRCNN("inference", mini_config(), str(tmp_path_factory.mktemp("logs")))


@pytest.fixture(scope="module")
def training_model(tmp_path_factory):
    return modellib.MaskRCNN("training", mini_config(), str(tmp_path_factory.mktemp("logs")))


class WithoutGraph(modellib.MaskRCNN):
    """As forks do: with another graph."""

    def build(self, mode, config):
        return mode, config.NAME


def test_attributes(tmp_path):
    config = mini_config()
    model = WithoutGraph("training", config, str(tmp_path))
    assert (model.mode, model.config, model.model_dir) == ("training", config, str(tmp_path))
    assert model.keras_model == ("training", "mini")
    assert (model.epoch, model.anchors) == (0, None)
    model = WithoutGraph(mode="inference", config=config, model_dir=str(tmp_path))
    assert model.keras_model[0] == "inference"


@pytest.mark.parametrize("mode", ["train", "Inference", None])
def test_unknown_mode(tmp_path, mode):
    message = f'mode is "{mode}"; accepted are "training" and "inference".'
    with pytest.raises(ValueError) as error:
        WithoutGraph(mode, mini_config(), str(tmp_path))
    assert str(error.value) == message


def test_config_is_checked(tmp_path):
    with pytest.raises(ValueError, match="`IMAGE_PER_GPU` .* did you mean `IMAGES_PER_GPU`"):
        WithoutGraph("inference", mini_config(IMAGE_PER_GPU=2), str(tmp_path))


def test_weight_of_a_loss_that_the_model_lacks(tmp_path):
    config = mini_config(LOSS_WEIGHTS={**dict.fromkeys(LOSS_NAMES, 1.0), "rpn_box_loss": 2.0})
    sentence = f"LOSS_WEIGHTS has 'rpn_box_loss', but .*; its losses are {', '.join(LOSS_NAMES)}."
    with pytest.raises(ValueError, match=sentence):
        modellib.MaskRCNN("training", config, str(tmp_path))


def test_modes_refuse_what_the_other_does(model, training_model):
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(RuntimeError, match=r'detect\(\) .* mode="inference"; .* has "training"'):
        training_model.detect([image])
    with pytest.raises(RuntimeError, match=r"detect_molded\(\) needs"):
        training_model.detect_molded(image[None], np.zeros((1, 15)))
    with pytest.raises(RuntimeError, match=r'train\(\) .* mode="training"; .* has "inference"'):
        model.train(MiniShapes(2), MiniShapes(2), 0.1, 1, "all")


# Names and inputs of the graph


def test_inputs_and_outputs(model, training_model):
    graph = model.keras_model
    assert [x.name for x in graph.inputs] == ["input_image", "input_image_meta", "input_anchors"]
    assert len(graph.outputs) == 7
    graph = training_model.keras_model
    names = "image image_meta rpn_match rpn_bbox gt_class_ids gt_boxes gt_masks".split()
    assert [x.name for x in graph.inputs] == [f"input_{name}" for name in names]
    assert len(graph.outputs) == 14
    for name, output in zip(LOSS_NAMES, graph.outputs[-5:], strict=True):
        assert graph.get_layer(name).output is output


@pytest.fixture
def batch(training_model):
    data = make_dataset(MiniShapes(2), training_model.config, shuffle=False, seed=0)
    return next(iter(data))


def test_training_without_the_rpn():
    """RoIs are then an input, made at random around the objects."""
    keras.utils.set_random_seed(0)
    config = mini_config(USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=100)
    graph = build_graph(config, "training")
    assert graph.inputs[-1].name == "input_roi"
    batch = next(iter(make_dataset(MiniShapes(2), config, shuffle=False, seed=0)))
    losses = Steps(graph, weight_decay=0).losses(batch, training=True)[1]
    assert {name: 0 < float(loss) < 100 for name, loss in losses.items()} == dict.fromkeys(
        LOSS_NAMES, True
    )


def test_validation_losses_are_those_of_training(training_model, batch):
    """With stored statistics throughout, a step and its validation see the same."""
    steps = Steps(training_model.keras_model, weight_decay=0)
    losses, validated = steps.losses(batch, True)[1], steps.losses(batch, False)[1]
    # The RoIs that train the heads are drawn anew each time.
    for name in ("rpn_class_loss", "rpn_bbox_loss"):
        assert float(losses[name]) == pytest.approx(float(validated[name]), rel=1e-5)
        assert float(losses[name]) > 0


# Anchors


def test_anchors_are_kept(model):
    anchors = model.get_anchors((64, 128, 3))
    # 16x32 cells of P2, then a quarter each: 512 + 128 + 32 + 8 + 2 cells, three anchors each.
    assert anchors.shape == (3 * 682, 4) and anchors.dtype == np.float32
    np.testing.assert_allclose(
        anchors, (model.anchors - [0, 0, 1, 1]) / [63, 127, 63, 127], atol=1e-6
    )
    assert model.get_anchors(np.array([64, 128, 3])) is anchors
    other = model.get_anchors((64, 64, 3))
    assert len(other) == len(model.anchors) == 3 * 341
    assert model.get_anchors((64, 128, 3)) is anchors
    # The pixel anchors are those of the last call.
    assert len(model.anchors) == 3 * 682


# Weights


def test_layers_left_random_are_warned_of(model, training_model, tmp_path, capsys):
    path = str(tmp_path / "w.h5")
    training_model.keras_model.save_weights(path)
    model.load_weights(path, by_name=True)
    heads = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    # Warnings are errors in tests.
    with pytest.raises(UserWarning) as warning:
        model.load_weights(path, by_name=True, exclude=heads)
    message = str(warning.value)
    assert message.startswith(
        "3 layers keep their random weights, so detections will be meaningless"
    )
    assert all(name in message for name in ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"))
    # Training is meant to begin there.
    training_model.load_weights(path, by_name=True, exclude=heads)
    assert "skipped, excluded                 3 layers" in capsys.readouterr().out


def test_keras_files(model, tmp_path, capsys):
    model.keras_model.save_weights(tmp_path / "x.weights.h5")
    weights = model.keras_model.get_weights()
    model.keras_model.set_weights([weight + 1 for weight in weights])
    model.load_weights(str(tmp_path / "x.weights.h5"), by_name=True)
    for ours, theirs in zip(model.keras_model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert capsys.readouterr().out == ""


def test_whole_model_in_a_keras_file(model, tmp_path):
    model.keras_model.save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    image = MiniShapes(1).load_image(0)
    molded, metas, _ = model.mold_inputs([image])
    inputs = [molded, metas, model.get_anchors(molded.shape[1:])[None]]
    for ours, theirs in zip(
        loaded.predict(inputs, verbose=0), model.keras_model.predict(inputs, verbose=0), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


# Helpers


def test_log(capsys):
    modellib.log("hello")
    modellib.log("boxes", np.array([[1, 2], [3, 40]], np.int32))
    modellib.log("nothing", np.zeros((0, 4), np.float32))
    modellib.log("list", [0.5])
    assert capsys.readouterr().out.splitlines() == [
        "hello",
        "boxes                     shape: (2, 2)               min:    1.00000  max:   40.00000  "
        "int32",
        "nothing                   shape: (0, 4)               empty  float32",
        "list                      shape: (1,)                 min:    0.50000  max:    0.50000  "
        "float64",
    ]


# Where training starts from


class Recorder(modellib.MaskRCNN):
    """Notes what would be loaded."""

    def __init__(self, model_dir, num_classes=2):
        self.config, self.model_dir = mini_config(NUM_CLASSES=num_classes), str(model_dir)
        self.loaded, self.mode = [], "inference"

    def load_weights(self, filepath, by_name=False, exclude=None):
        self.loaded.append((os.path.basename(filepath), exclude))

    def find_last(self):
        return "logs/the_last.h5"


HEADS_BY_CLASS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]


@pytest.mark.parametrize(
    "weights, num_classes, loaded",
    [
        ("random", 2, []),
        ("last", 2, [("the_last.h5", None)]),
        ("imagenet", 2, [("imagenet.h5", None)]),
        ("my.h5", 2, [("my.h5", None)]),
        ("coco", 2, [("mask_rcnn_coco.h5", HEADS_BY_CLASS)]),
        ("coco", 81, [("mask_rcnn_coco.h5", None)]),
    ],
)
def test_start_from(tmp_path, monkeypatch, weights, num_classes, loaded):
    fetched = []
    monkeypatch.setattr(start, "download_trained_weights", fetched.append)
    monkeypatch.setattr(start, "imagenet_weights", lambda backbone, style: "models/imagenet.h5")
    model = Recorder(tmp_path, num_classes)
    model.start_from(weights)
    assert model.loaded == loaded
    assert fetched == [str(tmp_path / "mask_rcnn_coco.h5")] * (weights == "coco")


def test_start_from_coco_weights_that_are_there(tmp_path, monkeypatch):
    (tmp_path / "mask_rcnn_coco.h5").touch()
    monkeypatch.setattr(start, "download_trained_weights", lambda path: pytest.fail("fetched"))
    model = Recorder(tmp_path)
    model.start_from("coco")
    assert model.loaded == [("mask_rcnn_coco.h5", HEADS_BY_CLASS)]
