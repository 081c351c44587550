"""State dicts of torchvision and Detectron2 into a model and back, and those that do not fit."""

import re

import keras
import numpy as np
import pytest

from mrcnn.config import Config, PaperConfig
from mrcnn.graph import build_network
from mrcnn.runs.settings import make_config
from mrcnn.weights import foreign
from mrcnn.weights.architecture import settings_of
from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.state_dict import layout
from tests.weights.layouts import (
    OLD_NAMES,
    R50,
    R101,
    R152,
    caffe2_classifier,
    detectron2_detector,
    random_state,
    torchvision_classifier,
    torchvision_detector,
)

CLASS_LAYERS = ["mrcnn_bbox_fc", "mrcnn_class_logits", "mrcnn_mask"]


class TinyConfig(PaperConfig):
    NAME = "tiny"
    BACKBONE_NORM = "batch"
    NUM_CLASSES = 5
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 8


class C4Config(TinyConfig):
    NECK = "c4"
    RESNET_STYLE = "msra"
    BACKBONE_NORM = "frozen"
    MASK_POOL_SIZE = 7
    MASK_SHAPE = (14, 14)


def graph(config):
    return build_network(config).graph("inference")


def without_values(config):
    """A model whose layers were not called with numbers, in half the time."""
    with keras.StatelessScope():
        return graph(config)


@pytest.fixture(scope="module")
def model():
    return graph(TinyConfig())


def zeros(shapes):
    """A state dict of zeros in one number of memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def state(model):
    shapes = layout(model, foreign.table_of("torchvision", True, model))
    counts = {
        name.replace("running_var", foreign.BATCH_COUNT): () for name in shapes if "_var" in name
    }
    return random_state({**shapes, **counts})


def weights_of(model, layer):
    return [np.array(weight) for weight in model.get_layer(layer).weights]


def assert_identical(state, other):
    assert set(state) == set(other)
    for name, array in state.items():
        assert array.dtype == other[name].dtype, name
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def slow(name, layout):
    return pytest.param(layout, id=name, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "published",
    [
        slow("torchvision, first", torchvision_detector()),
        pytest.param(torchvision_detector(v2=True), id="torchvision, second"),
        slow("torchvision, ResNet-101", torchvision_detector(R101, norm="FrozenBN")),
        slow("torchvision, ResNeXt-101", torchvision_detector(R101, 32, 8, norm="FrozenBN")),
        slow("Detectron2, ResNet-50", detectron2_detector()),
        slow("Detectron2, ResNeXt-152", detectron2_detector(R152, 32, 8, classes=3)),
        pytest.param(detectron2_detector(R101, neck="c4"), id="Detectron2, C4"),
        slow("Detectron2, DC5", detectron2_detector(neck="dc5")),
        pytest.param(detectron2_detector(norm="GN", new="GN", box_convs=4), id="group norm"),
        pytest.param(
            detectron2_detector(norm="BN", new="BN", rpn_convs=2, box_convs=4), id="jitter"
        ),
    ],
)
def test_every_tensor_of_a_published_architecture_has_its_layer(published):
    config = make_config(settings_of(published) | {"RECIPE": "paper", "NAME": "x"})
    config.validate()
    model = without_values(config)
    table = foreign.table_of(foreign.architecture.program_of(published)[0], True, model)
    expected = {n: shape for n, shape in published.items() if not n.endswith(foreign.BATCH_COUNT)}
    assert layout(model, table) == expected
    assert foreign.entries(model, table)[1] == []


def test_torchvision_in_and_out(model, state):
    counted = {n: a + 7 if n.endswith(foreign.BATCH_COUNT) else a for n, a in state.items()}
    report = foreign.load(model, "x.pth", counted, verbose=0)
    assert report.missing == [] and report.unused == [foreign.BATCH_COUNT]
    assert_identical(foreign.export(model, "torchvision", report), counted)
    # Without the record of what was loaded.
    assert_identical(foreign.export(model, "torchvision"), state)


def test_old_names_of_torchvision(model, state):
    def old(name):
        for pattern, new in OLD_NAMES:
            name = re.sub(pattern, new, name)
        return name

    renamed = {old(name): array for name, array in state.items()}
    assert "backbone.fpn.inner_blocks.0.weight" in renamed
    report = foreign.load(model, "x.pth", renamed, verbose=0)
    assert_identical(foreign.export(model, "torchvision", report), renamed)
    assert_identical(foreign.export(model, "torchvision"), state)


def test_detectron2_c4_in_and_out():
    model = graph(C4Config())
    shapes = layout(model, foreign.table_of("detectron2", True, model))
    assert shapes["roi_heads.res5.0.conv1.weight"] == (512, 1024, 1, 1)
    state = random_state(shapes)
    state["pixel_mean"] = np.float32([[[103.53]], [[116.28]], [[123.675]]])
    state["proposal_generator.anchor_generator.cell_anchors.0"] = np.ones((15, 4), np.float32)
    report = foreign.load(model, "x.pkl", state, verbose=0)
    assert report.unused == ["pixel_mean", "proposal_generator.anchor_generator.cell_anchors"]
    assert_identical(foreign.export(model, "detectron2", report), state)
    # BGR to RGB; background last to first; by size to by ratio.
    theirs = state["backbone.stem.conv1.weight"]
    np.testing.assert_array_equal(weights_of(model, "conv1")[0][2, 3, 0], theirs[:, 2, 2, 3])
    logits = state["roi_heads.box_predictor.cls_score.weight"]
    np.testing.assert_array_equal(weights_of(model, "mrcnn_class_logits")[0][:, 0], logits[-1])
    rpn = {w.path: np.array(w) for w in model.get_layer("rpn_model").weights}
    ours = next(array for path, array in rpn.items() if path.endswith("rpn_class_raw/bias"))
    # 3 ratios: our second anchor is the second size of the first ratio.
    assert ours[1] == state["proposal_generator.rpn_head.objectness_logits.bias"][3]


def test_all_entries_that_do_not_fit_are_named_at_once(model, state):
    broken = dict(state)
    before = weights_of(model, "conv1")[0].sum()
    del broken["rpn.head.cls_logits.bias"], broken["backbone.body.layer3.2.conv1.weight"]
    broken["backbone.extra.weight"] = np.zeros(3, np.float32)
    broken["rpn.head.bbox_pred.bias"] = np.zeros((5, 2), np.float32)
    broken["backbone.body.conv1.weight"] = np.zeros(64, np.float32)
    with pytest.raises(ValueError, match='"x.pth" does not fit the model') as error:
        foreign.load(model, "x.pth", broken, verbose=0)
    assert str(error.value).endswith(
        "Missing: backbone.body.layer3.2.conv1.weight, rpn.head.cls_logits.bias. "
        "Surplus: backbone.extra.weight. "
        "Of another shape: backbone.body.conv1.weight (64,), not (64, 3, 7, 7), "
        "rpn.head.bbox_pred.bias (5, 2), not (12,)."
    )
    assert weights_of(model, "conv1")[0].sum() == before


def test_a_long_list_of_entries_is_shortened(model, state):
    more = {f"extra.{number}.weight": np.zeros(1, np.float32) for number in range(25)}
    with pytest.raises(ValueError, match=r"Surplus: .* extra\.19\.weight, and 5 more\.$"):
        foreign.load(model, "x.pth", {**state, **more}, verbose=0)


def test_layers_that_do_not_fit_can_be_skipped(model, state):
    broken = {name: array for name, array in state.items() if "fc7" not in name}
    broken["rpn.head.bbox_pred.bias"] = np.zeros((5, 2), np.float32)
    before = weights_of(model, "mrcnn_class_conv2")
    report = foreign.load(model, "x.pth", broken, skip_mismatch=True, verbose=0)
    assert set(report.untrained) == {"rpn_model", "mrcnn_class_conv2"}
    np.testing.assert_array_equal(weights_of(model, "mrcnn_class_conv2")[0], before[0])


@pytest.mark.parametrize(
    ("other", "differences"),
    [
        (
            torchvision_detector(R101, classes=5),
            "BACKBONE is 'resnet101' in the file and 'resnet50' in the model, "
            "TOP_DOWN_PYRAMID_SIZE is 256 in the file and 16 in the model, "
            "FPN_CLASSIF_FC_LAYERS_SIZE is 1024 in the file and 8 in the model; set them",
        ),
        (
            detectron2_detector(norm="GN", new="GN", box_convs=4, rpn_convs=2, classes=4),
            "BACKBONE_NORM is 'group' in the file and 'frozen' in the model, "
            "FPN_NORM is 'group' in the file and None in the model, "
            "HEAD_NORM is 'group' in the file and None in the model, "
            "RPN_CONVS is 2 in the file and 1 in the model, "
            "BOX_HEAD is '4conv1fc' in the file and '2fc' in the model, ",
        ),
        (detectron2_detector(neck="c4"), "NECK is 'c4' in the file and 'fpn' in the model, "),
        (
            torchvision_classifier(R50, 32, 4),
            "BACKBONE is 'resnext50_32x4d' in the file and 'resnet50' in the model; set them",
        ),
    ],
)
def test_another_architecture(model, other, differences):
    with pytest.raises(ValueError, match="is of another architecture than the Config") as error:
        foreign.load(model, "x.pth", zeros(other), verbose=0)
    assert differences in str(error.value)


def test_another_number_of_classes(model, state):
    rows = {"cls_score": 7, "bbox_pred": 28, "mask_fcn_logits": 7}
    other = dict(state)
    for name in state:
        module = name.split(".")[-2]
        if name.startswith("roi_heads") and module in rows:
            other[name] = np.zeros((rows[module], *state[name].shape[1:]), np.float32)
    with pytest.raises(ValueError, match="has 7 classes and the Config has 5") as error:
        foreign.load(model, "x.pth", other, verbose=0)
    listed = re.search(r"exclude=\[(.*?)\]", str(error.value))[1]
    assert listed == ", ".join(f'"{name}"' for name in CLASS_LAYERS)
    before = weights_of(model, "mrcnn_mask")
    report = foreign.load(model, "x.pth", other, exclude=CLASS_LAYERS, verbose=0)
    assert report.untrained == ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"]
    np.testing.assert_array_equal(weights_of(model, "mrcnn_mask")[0], before[0])
    theirs = ["roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"]
    theirs += ["roi_heads.mask_predictor.mask_fcn_logits"]
    assert foreign.load(model, "x.pth", other, theirs, verbose=0).untrained == report.untrained


def test_a_classifier_fills_the_trunk(model):
    trunk = random_state(torchvision_classifier())
    before = weights_of(model, "mrcnn_mask")
    report = foreign.load(model, "resnet50.pth", trunk, verbose=0)
    assert report.unused == [foreign.BATCH_COUNT, "fc"]
    assert "mrcnn_mask" in report.missing and "res2a_branch2a" in report.loaded
    assert not any(name.startswith(("res", "bn")) for name in report.missing)
    np.testing.assert_array_equal(weights_of(model, "mrcnn_mask")[0], before[0])
    theirs = trunk["layer4.0.downsample.0.weight"]
    np.testing.assert_array_equal(weights_of(model, "res5a_branch1")[0][0, 0], theirs[..., 0, 0].T)


def test_a_classifier_of_caffe2(model):
    trunk = zeros(caffe2_classifier())
    scale = np.linspace(1, 2, 64, dtype=np.float32)
    trunk["res_conv1_bn_s"], trunk["conv1_w_momentum"] = scale, scale
    trunk["conv1_w"] = np.arange(64 * 3 * 49, dtype=np.float32).reshape(64, 3, 7, 7)
    trunk["conv1_b"] = scale
    report = foreign.load(model, "R-50.pkl", trunk, verbose=0)
    assert report.unused == ["stem.conv1", "fc1000"]
    gamma, beta, mean, variance = weights_of(model, "bn_conv1")
    np.testing.assert_array_equal(gamma, scale)
    assert not beta.any() and not mean.any()
    # With Detectron2's epsilon it is a scale alone.
    np.testing.assert_allclose(gamma / np.sqrt(variance + 1e-5), scale, rtol=1e-6)
    np.testing.assert_array_equal(
        weights_of(model, "conv1")[0][1, 4, 0], trunk["conv1_w"][:, 2, 1, 4]
    )


def test_a_trunk_of_detectron2_with_rgb_images(model):
    trunk = zeros(detectron2_detector())
    prefix = "backbone.bottom_up."
    trunk = {n.removeprefix(prefix): a for n, a in trunk.items() if n.startswith(prefix)}
    kernel = np.arange(64 * 3 * 49, dtype=np.float32).reshape(64, 3, 7, 7)
    trunk |= {"stem.conv1.weight": kernel, "stem.fc.weight": np.zeros((9, 9), np.float32)}
    foreign.load(model, "R-50.pkl", trunk, verbose=0)
    np.testing.assert_array_equal(weights_of(model, "conv1")[0][1, 4, 0], kernel[:, 0, 1, 4])


def test_an_incomplete_classifier(model):
    trunk = zeros(torchvision_classifier())
    del trunk["layer2.1.bn2.running_mean"]
    with pytest.raises(ValueError, match=r"Missing: layer2\.1\.bn2\.running_mean\."):
        foreign.load(model, "resnet50.pth", trunk, verbose=0)


def test_a_detector_for_a_trunk(model):
    trunk = keras.Model(model.inputs[0], model.get_layer("res5c_out").output)
    with pytest.raises(ValueError, match="is a whole detector of torchvision, and the model is a"):
        foreign.load(trunk, "x.pth", zeros(torchvision_detector()), verbose=0)


def test_a_model_of_the_original():
    class Matterport(Config):
        NAME, NUM_CLASSES, BACKBONE = "m", 91, "resnet50"

    model = without_values(Matterport())
    with pytest.raises(ValueError, match=r"lacks, mrcnn_.*_bn1, .* with a PaperConfig"):
        foreign.load(model, "x.pth", zeros(torchvision_detector()), verbose=0)
    with pytest.raises(ValueError, match="torchvision has no layers like mrcnn_"):
        foreign.export(model, "torchvision")


def test_values_that_are_not_finite(model, state):
    bad = {**state, "rpn.head.cls_logits.bias": np.float32([0, np.nan, 0])}
    with pytest.raises(WeightFileError, match="NaN or infinite"):
        foreign.load(model, "x.pth", bad, verbose=0)


def test_tensors_of_another_program(model):
    with pytest.raises(WeightFileError, match="no weights of a Mask R-CNN or ResNet"):
        foreign.load(model, "x.pth", {"encoder.weight": np.zeros(3)}, verbose=0)


def test_another_number_of_image_channels(state):
    class Depth(TinyConfig):
        IMAGE_CHANNEL_COUNT = 4
        MEAN_PIXEL = (123.675, 116.28, 103.53, 0)
        STD_PIXEL = 1

    model = without_values(Depth())
    table = foreign.table_of("torchvision", True, model)
    fit = foreign._Fit(state, foreign.entries(model, table)[0], set(), True)
    assert fit.problems == []
