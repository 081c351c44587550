"""Every setting of PaperConfig alone changes layers, shapes or values that can be observed."""

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from mrcnn.backbones import resnet
from mrcnn.config import PaperConfig
from mrcnn.config_check import PAPER_RULES
from mrcnn.graph import build_network
from mrcnn.inference.molding import mold_one, unmolder
from mrcnn.recipes import paper
from mrcnn.registry import BACKBONES


class Change(NamedTuple):
    """The other value of a setting, and what is observed before and after.

    Attributes:
        value: the other value.
        observe: function from a configuration to a value.
        before, after: the observed values.
        common: further settings of both configurations.
    """

    value: Any
    observe: Any
    before: Any
    after: Any
    common: dict = {}


@pytest.fixture(autouse=True)
def tiny_resnet(monkeypatch):
    """A ResNet of one narrow block per stage."""
    tiny = resnet.Architecture((1, 1, 1, 1), 1, 32)
    monkeypatch.setitem(resnet.ARCHITECTURES, "tiny", tiny)
    monkeypatch.setitem(BACKBONES, "tiny", BACKBONES["resnet50"])


def config(**settings):
    """A configuration of a network that is built in a moment."""
    made = {
        "NAME": "paper",
        "NUM_CLASSES": 3,
        "BACKBONE": "tiny",
        "TOP_DOWN_PYRAMID_SIZE": 8,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 8,
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
        "MINI_MASK_SHAPE": (28, 28),
    }
    made = type("Own", (PaperConfig,), made | settings)()
    made.validate()
    return made


def layer(name, attribute, mode="inference"):
    """Observe an attribute of a layer of the graph, its class, or None where there is no layer."""

    def observe(config):
        found = {each.name: each for each in build_network(config).graph(mode).layers}
        found |= {each.name: each for each in found["rpn_model"].layers}
        if name not in found:
            return None
        layer = found[name]
        return type(layer).__name__ if attribute == "class" else getattr(layer, attribute)

    return observe


def pyramid(config):
    return list(build_network(config).pyramid)


def anchor(config):
    """Upper ends of the first anchor of the first and second row of P6, in an image of 96 rows."""
    config.RPN_ANCHOR_SCALES = (8, 16, 24, 32, 50)
    anchors = paper.anchors(config).of_image((96, 96))[-12:]
    return anchors[[0, 6], 0].round(1).tolist()


def contrast(config):
    """Value of the middle of a molded photo of stripes of one pixel, a half or the mean."""
    config.MEAN_PIXEL = config.STD_PIXEL = 1.0
    photo = np.zeros((192, 192, 3), np.uint8)
    photo[::3] = 240
    return round(float(mold_one(photo, config)[0][32, 32, 0]) + 1)


def pasted_area(config):
    """Pixels of a full mask in a box from 10.6 to 20.4, in an image of 32 pixels."""
    detection = np.float32([[10.6 / 32, 10.6 / 32, 20.4 / 32, 20.4 / 32, 1, 0.9]])
    shape = (32, 32, 3)
    masks = unmolder(config)(detection, np.ones((1, 28, 28)), shape, shape, (0, 0, 32, 32))[3]
    return int(masks.sum())


def has_bias(config):
    return layer("res2a_branch2a", "use_bias")(config)


CHANGES = {
    "RESNET_STYLE": Change("matterport", has_bias, False, True),
    "BACKBONE_NORM": Change(
        "group", layer("bn2a_branch2c", "class"), "FrozenBatchNorm", "GroupNorm", {}
    ),
    "NORM_EPSILON": Change(0.25, layer("bn_conv1", "epsilon"), 1e-5, 0.25),
    "NECK": Change("c4", pyramid, ["P2", "P3", "P4", "P5", "P6"], ["C4"]),
    "FPN_NORM": Change("batch", layer("fpn_p2_norm", "class"), None, "BatchNorm"),
    "HEAD_NORM": Change("batch", layer("mrcnn_mask_norm4", "class"), None, "BatchNorm"),
    "FPN_EXTRA_LEVEL": Change("c5", layer("fpn_p6", "class"), "MaxPooling2D", "Conv2D"),
    "RPN_CONVS": Change(2, layer("rpn_conv_shared2", "class"), None, "SparseGradConv2D"),
    "BOX_HEAD": Change("4conv1fc", layer("mrcnn_bbox_conv4", "class"), None, "RoIConv2D"),
    # Of 192 rows of which every third is 240, three become one: the middle one, or their mean.
    "RESIZE_FILTER": Change("antialias", contrast, 0, 80),
    # With ratio 2 an anchor of 50 is 35.36 pixels high. P6 has two cells, at 64 or at 96 / 2.
    "RPN_ANCHORS_ROUNDED": Change(False, anchor, [-18, 46], [-17.7, 46.3]),
    "RPN_STRIDES_FITTED": Change(True, anchor, [-18, 46], [-18, 30]),
    "PRE_NMS_ROIS_TRAINING": Change(7, layer("ROI", "pre_nms_count", "training"), 2000, 7),
    "PRE_NMS_ROIS_INFERENCE": Change(7, layer("ROI", "pre_nms_count"), 1000, 7),
    "ROI_SAMPLES": Change(0, layer("roi_align_mask", "samples"), 2, 0),
    "ROI_HALF_PIXEL": Change(True, layer("roi_align_mask", "half_pixel"), False, True),
    "RPN_LOSS_BETA": Change(
        0.5, layer("rpn_bbox_loss", "options", "training"), {"beta": 1 / 9}, {"beta": 0.5}
    ),
    "BOX_LOSS_BETA": Change(
        0.5, layer("mrcnn_bbox_loss", "options", "training"), {"beta": 1 / 9}, {"beta": 0.5}
    ),
    # With a border the box reaches from 10.25 to 20.75: pixels 10 to 20. The centres of the pixels
    # 11 to 19 lie in the box itself.
    "MASK_PASTE": Change("exact", pasted_area, 11**2, 9**2),
    "MASK_TARGET_THRESHOLD": Change(
        0.5, layer("proposal_targets", "mask_threshold", "training"), None, 0.5
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_setting_changes_something(name):
    change = CHANGES[name]
    before = change.observe(config(**change.common))
    after = change.observe(config(**change.common, **{name: change.value}))
    assert (before, after) == (change.before, change.after)


def test_every_setting_is_tested():
    assert set(CHANGES) == set(PAPER_RULES)


def test_learning_rate_and_steps_follow_the_batch():
    """The paper's 0.02 and 1000 steps are for 16 images."""
    two = config(IMAGES_PER_GPU=2)
    assert (two.LEARNING_RATE, two.STEPS_PER_EPOCH) == (0.0025, 8000)
    sixteen = config(IMAGES_PER_GPU=4, ACCUMULATE_BATCHES=4)
    assert (sixteen.LEARNING_RATE, sixteen.STEPS_PER_EPOCH) == (0.02, 1000)


def test_the_recipe_needs_the_settings():
    from mrcnn.config import Config

    plain = type("Plain", (Config,), {"NAME": "x", "NUM_CLASSES": 2, "RECIPE": "paper"})()
    with pytest.raises(ValueError, match="it must be a subclass of mrcnn.config.PaperConfig"):
        plain.validate()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"NECK": "c3"}, "NECK is 'c3'; it must be 'fpn' or 'c4' or 'c5' or 'dc5'."),
        ({"NECK": "c4", "BACKBONE": "small"}, "with BACKBONE 'small' it must be 'fpn' or 'c5'."),
        ({"NECK": "dc5", "BACKBONE": "VGG16"}, "NECK is 'dc5'; with BACKBONE 'VGG16' it must be"),
        ({"NECK": "c4", "BACKBONE": print}, "NECK is 'c4'; with a function as BACKBONE it must"),
        (
            {"BACKBONE_NORM": "group", "BACKBONE": "DenseNet121"},
            "BACKBONE_NORM is 'group'; with BACKBONE 'DenseNet121' it must be 'frozen' or 'batch'.",
        ),
        ({"BACKBONE_NORM": "layer"}, "BACKBONE_NORM is 'layer'; it must be 'frozen' or 'batch'"),
        ({"BACKBONE": "resnext50"}, "BACKBONE is 'resnext50'; it must be one of 'resnet50'"),
        ({"RESNET_STYLE": "caffe"}, "RESNET_STYLE is 'caffe'; it must be 'torchvision' or 'msra'"),
        ({"BOX_HEAD": "3fc"}, "BOX_HEAD is '3fc'; it must be '2fc' or '4conv1fc'."),
        ({"FPN_NORM": "frozen"}, "FPN_NORM is 'frozen'; it must be None or 'batch' or 'group'."),
        ({"RPN_CONVS": 0}, "RPN_CONVS is 0; it must be a whole number, 1 or more."),
        ({"MASK_TARGET_THRESHOLD": 0}, "MASK_TARGET_THRESHOLD is 0; it must be a number above 0"),
        (
            {"ROI_ALIGN": "align_max", "ROI_SAMPLES": 0},
            "ROI_SAMPLES is 0; with ROI_ALIGN 'align_max' it must be 1 or more.",
        ),
        ({"MASK_PASTE": "round"}, "MASK_PASTE is 'round'; it must be 'expand' or 'exact'."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_value_that_it_does_not_have_is_refused(settings, sentence):
    with pytest.raises(ValueError) as error:
        config(**settings)
    assert sentence in str(error.value)


@pytest.mark.parametrize("neck", ["fpn", "c4"])
def test_settings_that_decide_on_weights_are_those_that_the_parts_read(neck):
    class Reads(type(config(NECK=neck, MASK_POOL_SIZE=7, MASK_SHAPE=[14, 14]))):
        def __getattribute__(self, name):
            if name.isupper() and not name.startswith("_"):
                object.__getattribute__(self, "__dict__").setdefault("read", set()).add(name)
            return object.__getattribute__(self, name)

    reading = Reads()
    reading.read.clear()
    parts = paper.network_parts(reading)
    parts.neck(parts.backbone(keras.Input((64, 64, 3))))
    # The others change what is computed, but neither names nor shapes of weights. Anchors count by
    # their number, and channels are those of the image.
    others = {
        "BACKBONE_STRIDES",
        "BOX_LOSS_BETA",
        "COMPUTE_BACKBONE_SHAPE",
        "LOSS_WEIGHTS",
        "MEAN_PIXEL",
        "NORM_EPSILON",
        "RPN_ANCHORS_ROUNDED",
        "RPN_ANCHOR_SCALES",
        "RPN_LOSS_BETA",
        "RPN_STRIDES_FITTED",
        "STD_PIXEL",
        "TRAIN_BN",
    }
    of_fpn = {
        "BOX_HEAD",
        "FPN_CLASSIF_FC_LAYERS_SIZE",
        "FPN_EXTRA_LEVEL",
        "FPN_NORM",
        "HEAD_NORM",
        "POOL_SIZE",
        "TOP_DOWN_PYRAMID_SIZE",
    }
    expected = {*paper.WEIGHT_SETTINGS} - {"IMAGE_CHANNEL_COUNT"}
    assert reading.read - others == (expected if neck == "fpn" else expected - of_fpn)
