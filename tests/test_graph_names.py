"""Names and shapes of the whole graph, which scripts, notebooks and checkpoints rely on."""

import gc
import json
import re

import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.constants import LOSS_NAMES
from mrcnn.graph import build_graph
from mrcnn.training.selection import trainable_layers
from tests.golden_weights import GOLDEN, golden_layout


class CocoConfig(Config):
    NAME = "coco"
    BACKBONE = "resnet50"
    NUM_CLASSES = 81


class Resnet101Config(CocoConfig):
    BACKBONE = "resnet101"
    NUM_CLASSES = 21


@pytest.fixture(scope="module")
def coco():
    """The graphs of both modes at full size; none of them runs."""
    yield {mode: build_graph(CocoConfig(), mode) for mode in ("inference", "training")}
    keras.utils.clear_session()
    gc.collect()


def frozen(name):
    return (GOLDEN / name).read_text().split("\n")[:-1]


# Scripts, notebooks and checkpoints know the names. Whoever adds or renames a layer changes these
# files, and says so in the changelog.


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_layer_names_are_frozen(coco, mode):
    assert sorted(layer.name for layer in coco[mode].layers) == frozen(f"layer_names_{mode}.txt")


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_weights_are_frozen(coco, mode):
    found = [
        f"{layer.name}/{weight.name} {'x'.join(map(str, weight.shape))}"
        for layer in trainable_layers(coco[mode])
        for weight in layer.weights
    ]
    assert sorted(found) == frozen("layer_names.txt")


def test_frozen_weights_are_those_of_the_original():
    layout = golden_layout("resnet50")
    expected = [
        f"{layer}/{name} {'x'.join(map(str, shape))}"
        for layer, weights in layout.items()
        for name, shape in weights.items()
    ]
    assert frozen("layer_names.txt") == sorted(expected)


def test_names_of_the_original_are_there():
    # All but those that it got from Keras, such as activation_40.
    groups = json.loads((GOLDEN / "matterport_resnet50_layout.json").read_text())
    names = {name for name, _ in groups}
    automatic = {name for name in names if re.search(r"(_\d+|activation|lambda)$", name)}
    assert len(names - automatic) > 150
    assert names - automatic <= set(frozen("layer_names_inference.txt"))


def count(layout):
    return sum(int(np.prod(s)) for weights in layout.values() for s in weights.values())


def test_number_of_parameters(coco):
    expected = count(golden_layout("resnet50"))
    assert [coco[mode].count_params() for mode in coco] == [expected] * 2


def test_number_of_parameters_of_resnet101():
    model = build_graph(Resnet101Config(), "inference")
    assert model.count_params() == count(golden_layout("resnet101"))


def test_statistics_never_learn(coco):
    frozen_kinds = {w.path.split("/")[-1] for w in coco["training"].non_trainable_weights}
    # The state of the random choice of RoIs is no weight.
    assert frozen_kinds == {"moving_mean", "moving_variance"}


def test_shapes_at_full_size(coco):
    # B, A and the number of positives are open; 1000 proposals, 100 detections, 200 RoIs.
    inference = {
        "detections": (None, 100, 6),
        "mrcnn_class": (None, 1000, 81),
        "mrcnn_bbox": (None, 1000, 81, 4),
        "mrcnn_mask": (None, 100, 28, 28, 81),
        "rpn_rois": (None, 1000, 4),
        "rpn_class": (None, None, 2),
        "rpn_bbox": (None, None, 4),
    }
    training = {
        "rpn_class_logits": (None, None, 2),
        "rpn_class": (None, None, 2),
        "rpn_bbox": (None, None, 4),
        "mrcnn_class_logits": (None, 200, 81),
        "mrcnn_class": (None, 200, 81),
        "mrcnn_bbox": (None, 200, 81, 4),
        "mrcnn_mask": (1, None, 28, 28, 81),
        "rpn_rois": (None, 2000, 4),
        "output_rois": (None, 200, 4),
        **{name: (1,) for name in LOSS_NAMES},
    }
    for mode, expected in (("inference", inference), ("training", training)):
        shapes = [tuple(tensor.shape) for tensor in coco[mode].outputs]
        assert shapes == list(expected.values())
    assert [x.name for x in coco["training"].inputs] == [
        "input_image",
        "input_image_meta",
        "input_rpn_match",
        "input_rpn_bbox",
        "input_gt_class_ids",
        "input_gt_boxes",
        "input_gt_masks",
    ]
    names = ["input_image", "input_image_meta", "input_anchors"]
    assert [x.name for x in coco["inference"].inputs] == names
    assert not any(x.shape[0] for mode in coco for x in coco[mode].inputs)
