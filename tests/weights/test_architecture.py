"""Recognition of published architectures by their names and shapes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from mrcnn.config import PaperConfig
from mrcnn.weights.architecture import DEFAULTS, are_bgr, program_of, settings_of
from mrcnn.weights.caffe2 import as_detectron2
from tests.weights.layouts import (
    R50,
    R101,
    R152,
    caffe2_classifier,
    detectron2_detector,
    torchvision_classifier,
    torchvision_detector,
)

GOLDEN = Path(__file__).parents[1] / "golden"

# SHA-256 of the sorted lines "name [sizes]" of the state dicts that torchvision 0.28 makes.
OF_TORCHVISION = {
    "maskrcnn_resnet50_fpn": (
        torchvision_detector(),
        "ff73a6d021fbc67d4a7dc94b8269b6a4690a5ddbe8d135b8daa57ea985022f5f",
    ),
    "maskrcnn_resnet50_fpn_v2": (
        torchvision_detector(v2=True),
        "3c6efebc1bf310f191c7b32bd5a593b2538e08fd3fc10a89313854a9b2093ce1",
    ),
    "resnet101_fpn": (
        torchvision_detector(R101, norm="FrozenBN"),
        "b0d5e24173f32c463efa324de126baf51638092d35433d966eb972eeaf8c694d",
    ),
    "resnext101_32x8d_fpn": (
        torchvision_detector(R101, 32, 8, norm="FrozenBN"),
        "340cb0328dab0cdb91a165cbe75327c8b68a869b47e8ba0d1a2fcea22ddab998",
    ),
    "resnet50": (
        torchvision_classifier(),
        "2d5b8870b35e15302b693633772b7dd09604c71f966194756edea01b1c1ca347",
    ),
    "resnext50_32x4d": (
        torchvision_classifier(R50, 32, 4),
        "d244da4517087cbba308890cd803b9b6ec1c5a47fe43f8cf9e5ce1225ee3a78e",
    ),
    "resnext101_64x4d": (
        torchvision_classifier(R101, 64, 4),
        "5619a876105ebe46bb909f75a2e820b1dcb281cd125d0ebb87503065a5d91967",
    ),
}


@pytest.mark.parametrize("name", OF_TORCHVISION)
def test_the_layouts_of_these_tests_are_torchvisions(name):
    layout, digest = OF_TORCHVISION[name]
    lines = sorted(f"{tensor} {list(shape)}" for tensor, shape in layout.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


def test_the_layouts_of_these_tests_are_detectron2s():
    stored = json.loads((GOLDEN / "detectron2_r50_fpn_layout.json").read_text(encoding="utf-8"))
    assert detectron2_detector() == {name: tuple(shape) for name, shape in stored}


TORCHVISION = {
    "BACKBONE": "resnet50",
    "BACKBONE_NORM": "batch",
    "NORM_EPSILON": 1e-5,
    "NECK": "fpn",
    "FPN_NORM": None,
    "HEAD_NORM": None,
    "FPN_EXTRA_LEVEL": "pool",
    "RPN_CONVS": 1,
    "BOX_HEAD": "2fc",
    "NUM_CLASSES": 91,
    "TOP_DOWN_PYRAMID_SIZE": 256,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    **DEFAULTS["torchvision"],
}
NEW = {"FPN_NORM": "batch", "HEAD_NORM": "batch", "RPN_CONVS": 2, "BOX_HEAD": "4conv1fc"}
DETECTRON2 = {**TORCHVISION, "NUM_CLASSES": 81, "BACKBONE_NORM": "frozen", **DEFAULTS["detectron2"]}
ONE_LEVEL = {
    "PRE_NMS_ROIS_TRAINING": 12000,
    "PRE_NMS_ROIS_INFERENCE": 6000,
    "POST_NMS_ROIS_TRAINING": 2000,
}
IMAGENET_STD = (58.395, 57.12, 57.375)


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        (torchvision_detector(), TORCHVISION),
        (torchvision_detector(v2=True), {**TORCHVISION, **NEW}),
        # As published: trained without an epsilon.
        (
            torchvision_detector(norm="FrozenBN"),
            {**TORCHVISION, "BACKBONE_NORM": "frozen", "NORM_EPSILON": 0.0},
        ),
        (
            torchvision_detector(R101, norm="FrozenBN", classes=5),
            {**TORCHVISION, "BACKBONE": "resnet101", "BACKBONE_NORM": "frozen", "NUM_CLASSES": 5},
        ),
        (
            torchvision_detector(R101, 32, 8, norm="FrozenBN"),
            {**TORCHVISION, "BACKBONE": "resnext101_32x8d", "BACKBONE_NORM": "frozen"},
        ),
        (detectron2_detector(), DETECTRON2),
        (detectron2_detector(R101), {**DETECTRON2, "BACKBONE": "resnet101"}),
        (
            detectron2_detector(R101, 32, 8),
            {
                **DETECTRON2,
                "BACKBONE": "resnext101_32x8d",
                "RESNET_STYLE": "torchvision",
                "STD_PIXEL": IMAGENET_STD,
            },
        ),
        (
            detectron2_detector(R152, 32, 8, classes=3),
            {
                **DETECTRON2,
                "BACKBONE": "resnext152_32x8d",
                "RESNET_STYLE": "torchvision",
                "STD_PIXEL": IMAGENET_STD,
                "NUM_CLASSES": 4,
            },
        ),
        (
            detectron2_detector(neck="c4"),
            {**DETECTRON2, "NECK": "c4", "MASK_POOL_SIZE": 7, "MASK_SHAPE": [14, 14], **ONE_LEVEL},
        ),
        (detectron2_detector(neck="dc5"), {**DETECTRON2, "NECK": "dc5", **ONE_LEVEL}),
        # mask_rcnn_R_50_FPN_3x_gn
        (
            detectron2_detector(norm="GN", new="GN", box_convs=4),
            {
                **DETECTRON2,
                "BACKBONE_NORM": "group",
                "FPN_NORM": "group",
                "HEAD_NORM": "group",
                "BOX_HEAD": "4conv1fc",
                "RESNET_STYLE": "torchvision",
            },
        ),
        # new_baselines, with large-scale jitter
        (
            detectron2_detector(norm="BN", new="BN", rpn_convs=2, box_convs=4),
            {**DETECTRON2, "BACKBONE_NORM": "batch", **NEW},
        ),
        (
            detectron2_detector(R101, norm="BN", new="BN", rpn_convs=2, box_convs=4),
            {**DETECTRON2, "BACKBONE": "resnet101", "BACKBONE_NORM": "batch", **NEW},
        ),
    ],
)
def test_settings_of_a_detector(layout, settings):
    # Of one level of features no setting can be seen that belongs to a pyramid.
    if settings["NECK"] != "fpn":
        settings = {n: v for n, v in settings.items() if n != "TOP_DOWN_PYRAMID_SIZE"}
    if settings["NECK"] == "c4":
        settings = {n: v for n, v in settings.items() if n != "FPN_CLASSIF_FC_LAYERS_SIZE"}
    assert settings_of(layout) == settings
    assert program_of(layout)[1] is True


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        (torchvision_classifier(), ("resnet50", "frozen", "torchvision", IMAGENET_STD)),
        (torchvision_classifier(R50, 32, 4), ("resnext50_32x4d", "frozen", "torchvision")),
        (torchvision_classifier(R101, 32, 8), ("resnext101_32x8d", "frozen", "torchvision")),
        (torchvision_classifier(R101, 64, 4), ("resnext101_64x4d", "frozen", "torchvision")),
        (torchvision_classifier(R152), ("resnet152", "frozen", "torchvision")),
        (caffe2_classifier(), ("resnet50", "frozen", "msra", (1.0, 1.0, 1.0))),
        (caffe2_classifier(R101), ("resnet101", "frozen", "msra", (1.0, 1.0, 1.0))),
        (
            caffe2_classifier(R101, groups=32, width=8),
            ("resnext101_32x8d", "frozen", "torchvision", IMAGENET_STD),
        ),
        (caffe2_classifier(norm="gn"), ("resnet50", "group", "torchvision", (1.0, 1.0, 1.0))),
    ],
)
def test_settings_of_a_classifier(layout, settings):
    tensors = {name: np.broadcast_to(np.float32(0), shape) for name, shape in layout.items()}
    if "conv1_w" in tensors:
        tensors = as_detectron2(tensors)
    found = settings_of(tensors)
    names = ("BACKBONE", "BACKBONE_NORM", "RESNET_STYLE", "STD_PIXEL")
    assert tuple(found[name] for name in names)[: len(settings)] == settings
    assert set(found) == {*names, "MEAN_PIXEL", "NORM_EPSILON"}
    assert program_of(tensors)[1] is False


def test_trunk_of_torchvision_that_detectron2s_script_renamed():
    layout = {"stem.conv1.weight": (64, 3, 7, 7), "stem.fc.weight": (1000, 2048)}
    layout |= {"res2.0.conv1.weight": (64, 64, 1, 1), "res2.0.conv2.weight": (64, 64, 3, 3)}
    assert not are_bgr(layout)
    assert settings_of(layout)["STD_PIXEL"] == IMAGENET_STD
    assert settings_of(layout)["RESNET_STYLE"] == "torchvision"


@pytest.mark.parametrize(("mean", "is_bgr"), [((103, 116, 123), True), ((123, 116, 103), False)])
def test_stored_mean_and_deviation(mean, is_bgr):
    stored = {
        "pixel_mean": np.array(mean, np.float32).reshape(3, 1, 1),
        "pixel_std": np.array([1, 2, 3], np.float32).reshape(3, 1, 1),
    }
    tensors = detectron2_detector() | stored
    assert are_bgr(tensors) is is_bgr
    settings = settings_of(tensors)
    assert settings["MEAN_PIXEL"] == (123, 116, 103)
    assert settings["STD_PIXEL"] == ((3, 2, 1) if is_bgr else (1, 2, 3))


def test_every_setting_is_one_of_the_paper():
    assert set(DEFAULTS["torchvision"]) == set(DEFAULTS["detectron2"])
    assert all(hasattr(PaperConfig, name) for name in DEFAULTS["torchvision"])


def test_sizes_that_no_model_has_are_not_seen():
    layout = torchvision_detector()
    layout["roi_heads.box_predictor.cls_score.weight"] = (1 << 40, 0)
    assert "NUM_CLASSES" not in settings_of(layout)


def test_names_of_another_program():
    with pytest.raises(ValueError, match=r"not those of .* Detectron2: encoder\.0\.weight, \.\.\."):
        settings_of({"encoder.0.weight": (1, 2)})
