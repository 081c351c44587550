"""Config: the original's defaults, computed settings, what validate() lets through and refuses."""

import importlib
import json
import re
import sys

import numpy as np
import pytest

from mrcnn.config import Config

DEFAULTS = {
    "NAME": None,
    "GPU_COUNT": 1,
    "IMAGES_PER_GPU": 2,
    "STEPS_PER_EPOCH": 1000,
    "VALIDATION_STEPS": 50,
    "BACKBONE": "resnet101",
    "COMPUTE_BACKBONE_SHAPE": None,
    "BACKBONE_STRIDES": [4, 8, 16, 32, 64],
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    "TOP_DOWN_PYRAMID_SIZE": 256,
    "NUM_CLASSES": 1,
    "RPN_ANCHOR_SCALES": (32, 64, 128, 256, 512),
    "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "RPN_ANCHOR_STRIDE": 1,
    "RPN_NMS_THRESHOLD": 0.7,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 256,
    "PRE_NMS_LIMIT": 6000,
    "POST_NMS_ROIS_TRAINING": 2000,
    "POST_NMS_ROIS_INFERENCE": 1000,
    "USE_MINI_MASK": True,
    "MINI_MASK_SHAPE": (56, 56),
    "IMAGE_RESIZE_MODE": "square",
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MAX_DIM": 1024,
    "IMAGE_MIN_SCALE": 0,
    "IMAGE_CHANNEL_COUNT": 3,
    "MEAN_PIXEL": [123.7, 116.8, 103.9],
    "TRAIN_ROIS_PER_IMAGE": 200,
    "ROI_POSITIVE_RATIO": 0.33,
    "POOL_SIZE": 7,
    "MASK_POOL_SIZE": 14,
    "MASK_SHAPE": [28, 28],
    "MAX_GT_INSTANCES": 100,
    "RPN_BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "DETECTION_MAX_INSTANCES": 100,
    "DETECTION_MIN_CONFIDENCE": 0.7,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "LEARNING_RATE": 0.001,
    "LEARNING_MOMENTUM": 0.9,
    "WEIGHT_DECAY": 0.0001,
    "LOSS_WEIGHTS": {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    },
    "USE_RPN_ROIS": True,
    "TRAIN_BN": False,
    "GRADIENT_CLIP_NORM": 5.0,
}


class OwnConfig(Config):
    """A valid configuration with nothing unusual."""

    NAME = "own"
    NUM_CLASSES = 1 + 80


def own(**settings):
    """An instance of a new subclass of OwnConfig with `settings` as its class attributes."""
    return type("Own", (OwnConfig,), settings)()


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_is_the_originals(name):
    value = getattr(Config, name)
    assert type(value) is np.ndarray or type(value) is type(DEFAULTS[name])
    np.testing.assert_array_equal(value, DEFAULTS[name])


def test_computed_settings_of_the_default():
    config = OwnConfig()
    assert config.BATCH_SIZE == 2
    assert config.IMAGE_SHAPE.tolist() == [1024, 1024, 3]
    assert config.IMAGE_SHAPE.dtype.kind == "i"
    assert config.IMAGE_META_SIZE == 93


def test_crop_mode_makes_images_of_the_min_dim():
    assert own(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_DIM=512).IMAGE_SHAPE.tolist() == [512, 512, 3]


def test_computed_settings_follow_later_assignments():
    config = OwnConfig()
    config.GPU_COUNT, config.IMAGES_PER_GPU = 2, 3
    config.NUM_CLASSES, config.IMAGE_MAX_DIM = 4, 256
    assert (config.BATCH_SIZE, config.IMAGE_META_SIZE) == (6, 16)
    assert config.IMAGE_SHAPE.tolist() == [256, 256, 3]
    assert OwnConfig().BATCH_SIZE == 2


def test_an_assigned_batch_size_stays():
    config = OwnConfig()
    config.BATCH_SIZE = 1
    config.IMAGES_PER_GPU = 4
    config.validate()
    assert config.BATCH_SIZE == 1


def test_subclass_of_an_instances_class_and_of_computed_attributes():
    config = own(IMAGES_PER_GPU=4, STEPS_PER_EPOCH=640 // 4)

    class InferenceConfig(config.__class__):
        IMAGES_PER_GPU = 1
        DETECTION_MIN_CONFIDENCE = 0

    inference = InferenceConfig()
    inference.validate()
    assert (inference.BATCH_SIZE, inference.STEPS_PER_EPOCH) == (1, 160)


@pytest.mark.parametrize(
    ("channels", "means"),
    [(1, [114.8]), (2, [114.8] * 2), (3, [123.7, 116.8, 103.9]), (4, [123.7, 116.8, 103.9, 114.8])],
)
def test_mean_pixel_adapts_to_the_channels(channels, means):
    config = own(IMAGE_CHANNEL_COUNT=channels)
    config.validate()
    np.testing.assert_allclose(config.MEAN_PIXEL, means)
    assert Config.MEAN_PIXEL.tolist() == [123.7, 116.8, 103.9]


def test_a_mean_pixel_of_ones_own_is_kept():
    assert own(IMAGE_CHANNEL_COUNT=2, MEAN_PIXEL=np.array([1.0, 2.0])).MEAN_PIXEL.tolist() == [1, 2]


def test_to_dict_has_every_setting_and_own_constants_but_no_methods():
    def backbone(image):
        return image

    settings = own(CLASS_NAMES=["cat"], BACKBONE=staticmethod(backbone)).to_dict()
    assert set(DEFAULTS) <= set(settings)
    assert settings["CLASS_NAMES"] == ["cat"]
    assert settings["BACKBONE"] is backbone
    assert not {"display", "to_dict", "validate"} & set(settings)
    assert list(settings) == sorted(settings)


def test_display_prints_one_aligned_line_per_setting(capsys):
    config = OwnConfig()
    config.display()
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "Configurations:"
    assert "DETECTION_MIN_CONFIDENCE       0.7" in lines
    assert len(lines) == 1 + len(config.to_dict())


def test_to_json_round_trip(tmp_path):
    def backbone(image):
        return image

    path = tmp_path / "config.json"
    own(BACKBONE=staticmethod(backbone), LEARNING_RATE=np.float32(0.5)).to_json(path)
    settings = json.loads(path.read_text())
    assert settings["MEAN_PIXEL"] == [123.7, 116.8, 103.9]
    assert settings["MINI_MASK_SHAPE"] == [56, 56]
    assert settings["LEARNING_RATE"] == 0.5
    assert settings["BACKBONE"].endswith("test_to_json_round_trip.<locals>.backbone")
    assert settings["IMAGE_META_SIZE"] == 93


def test_to_json_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("old")
    broken = own()
    broken.OWN = {("a", "tuple"): "is no JSON key"}
    with pytest.raises(TypeError):
        broken.to_json(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("IMAGE_PER_GPU", "IMAGES_PER_GPU"),
        ("NUM_CLASS", "NUM_CLASSES"),
        ("BATCHSIZE", "BATCH_SIZE"),
        ("STEPS_PER_EPOCHS", "STEPS_PER_EPOCH"),
        ("RPN_NMS_TRESHOLD", "RPN_NMS_THRESHOLD"),
        ("MEAN_PIXELS", "MEAN_PIXEL"),
        ("DETECTION_CONFIDENCE", "DETECTION_MIN_CONFIDENCE"),
    ],
)
def test_a_misspelt_setting_is_refused_on_class_and_instance(wrong, meant):
    sentence = re.escape(f"`{wrong}` is not a Config attribute; did you mean `{meant}`?")
    with pytest.raises(ValueError, match=sentence):
        own(**{wrong: 1}).validate()
    config = OwnConfig()
    setattr(config, wrong, 1)
    with pytest.raises(ValueError, match=sentence):
        config.validate()


@pytest.mark.parametrize(
    "name",
    [
        "CLASS_NAMES",
        "VALIDATION_SPLIT",
        "LEARNING_RATE_HEADS",
        "EPOCHS",
        "NUM_EPOCHS",
        "TRAIN_IMAGES",
        "STD_PIXEL",
        "_PRIVATE_IMAGES_PER_GPUS",
        "images_per_gpus",
    ],
)
def test_constants_of_ones_own_pass(name):
    config = own(**{name: 1})
    config.validate()
    assert getattr(config, name) == 1


def test_constants_that_look_like_settings_are_kept_with_a_warning():
    config = own(SOFT_NMS=True, IMAGE_SIZE=512, CLASS_NAMES=["cell"])
    with pytest.warns(UserWarning, match="has IMAGE_SIZE, SOFT_NMS, which mrcnn does not read"):
        config.validate()
    assert config.SOFT_NMS is True


def test_a_recipe_of_ones_own_may_read_further_settings():
    assert own(SOFT_NMS=True, RECIPE="mrcnn.recipes.matterport").validate() is None


def test_a_side_that_is_no_multiple_is_rounded_up_for_the_input():
    config = own(IMAGE_MIN_DIM=800, IMAGE_MAX_DIM=1000)
    assert config.IMAGE_SHAPE.tolist() == [1024, 1024, 3]
    strides = {"BACKBONE": "small", "BACKBONE_STRIDES": [2, 4, 8, 16, 32]}
    assert own(IMAGE_MAX_DIM=100, **strides).IMAGE_SHAPE.tolist() == [128, 128, 3]


def test_functions_in_a_class_body_do_not_become_methods():
    class Own(Config):
        def BACKBONE(image):
            return image

        def COMPUTE_BACKBONE_SHAPE(shape):
            return [shape]

    assert Own().BACKBONE("image") == "image"
    assert Own().COMPUTE_BACKBONE_SHAPE(1) == [1]


def test_image_padding_true_warns_and_false_is_refused():
    with pytest.warns(UserWarning, match="IMAGE_RESIZE_MODE has replaced it"):
        own(IMAGE_PADDING=True).validate()
    with pytest.raises(ValueError, match='"pad64" or "none" for False'):
        own(IMAGE_PADDING=False).validate()
    with pytest.raises(ValueError, match="IMAGE_RESIZE_MODE has replaced it"):
        own(IMAGE_PADDING=True, IMAGE_RESIZE_MODE="pad64").validate()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"NAME": None}, "NAME is None; it must be a name, for log folders"),
        ({"NUM_CLASSES": 1}, "NUM_CLASSES is 1; it must be 2 or more, the background"),
        ({"STEPS_PER_EPOCH": 62.5}, "STEPS_PER_EPOCH is 62.5; it must be a whole number, 1 or"),
        ({"IMAGES_PER_GPU": 0}, "IMAGES_PER_GPU is 0; it must be a whole number, 1 or more"),
        ({"MAX_LOAD_ERRORS": -1}, "MAX_LOAD_ERRORS is -1; it must be a whole number, 0 or more"),
        (
            {"BACKBONE": "resnet34"},
            "BACKBONE is 'resnet34'; it must be one of 'resnet50', 'resnet101', 'resnet152', 'sm",
        ),
        (
            {"IMAGE_RESIZE_MODE": "pad"},
            "it must be 'none' or 'square' or 'pad64' or 'pad32' or 'crop'",
        ),
        ({"ROI_ALIGN": "mean"}, "ROI_ALIGN is 'mean'; it must be 'crop' or 'align' or"),
        ({"TRAIN_BN": "no"}, "TRAIN_BN is 'no'; it must be None or False or True"),
        ({"RPN_NMS_THRESHOLD": 70}, "RPN_NMS_THRESHOLD is 70; it must be a number from 0 to 1"),
        ({"ROI_POSITIVE_RATIO": 0}, "it must be a number above 0, 1 at most"),
        ({"LEARNING_RATE": "0.1"}, "LEARNING_RATE is '0.1'; it must be a number above 0"),
        ({"LEARNING_MOMENTUM": 1}, "it must be a number from 0 to below 1"),
        ({"BBOX_STD_DEV": [0.1, 0.2]}, "four positive numbers, for (dy, dx, log dh, log dw)"),
        ({"RPN_ANCHOR_SCALES": (8, 16)}, "five positive numbers, one for each of P2 to P6"),
        ({"RPN_ANCHOR_SCALES": ((8, 9), 1)}, "five positive numbers"),
        ({"RPN_ANCHOR_RATIOS": []}, "RPN_ANCHOR_RATIOS is []; it must be one or more positive"),
        ({"IMAGE_MAX_DIM": None}, "IMAGE_MAX_DIM is None; with IMAGE_RESIZE_MODE 'square' it"),
        ({"IMAGE_RESIZE_MODE": "crop"}, "IMAGE_MIN_DIM is 800; with IMAGE_RESIZE_MODE 'crop' it"),
        # The largest stride decides.
        (
            {"BACKBONE": "small", "BACKBONE_STRIDES": [2, 4, 8, 16, 32], "IMAGE_MIN_DIM": 100}
            | {"IMAGE_RESIZE_MODE": "crop"},
            "IMAGE_MIN_DIM is 100; with IMAGE_RESIZE_MODE 'crop' it must be a multiple of 32",
        ),
        ({"IMAGE_SHAPE": [500, 512, 3]}, "it must be [height, width, 3], both sides multiples of"),
        ({"IMAGE_SHAPE": [512, 512, 1]}, "IMAGE_SHAPE is [512, 512, 1]; it must be [height, width"),
        ({"IMAGE_SHAPE": 512}, "IMAGE_SHAPE is 512; it must be [height, width, 3], both sides"),
        (
            {"IMAGE_MAX_DIM": 512, "IMAGE_SHAPE": (512, 768, 3)},
            "no image would fill the IMAGE_SHAPE (512, 768, 3); set IMAGE_MAX_DIM to 768 or more",
        ),
        (
            {"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 512, "IMAGE_SHAPE": [512, 768, 3]},
            "IMAGE_SHAPE is [512, 768, 3], but other settings make it [512 512   3]; do not set",
        ),
        ({"IMAGE_META_SIZE": 92}, "IMAGE_META_SIZE is 92, but other settings make it 93"),
        ({"BATCH_SIZE": 3, "GPU_COUNT": 2}, "BATCH_SIZE is 3; it must be a multiple of GPU_COUNT"),
        ({"MEAN_PIXEL": [1.0, 2.0]}, "MEAN_PIXEL has 2 values; it must have one, or one for each"),
        ({"MASK_SHAPE": [56, 56]}, "with MASK_POOL_SIZE 14 it must be [28, 28]"),
        ({"MASK_SHAPE": 28}, "MASK_SHAPE is 28; it must be two positive numbers"),
        ({"BACKBONE_STRIDES": [4, 8, 16, 32, 32]}, "those of resnet101 are [4, 8, 16, 32, 64]"),
        (
            {"BACKBONE": "small", "BACKBONE_STRIDES": [8, 16, 32, 64, 128]},
            "those of small are [4, 8, 16, 32, 64] or [2, 4, 8, 16, 32].",
        ),
        (
            {"BACKBONE": print, "COMPUTE_BACKBONE_SHAPE": [[8, 8]]},
            "COMPUTE_BACKBONE_SHAPE is [[8, 8]]; it must be a function that returns the shapes",
        ),
        (
            {"RECIPE": "mattreport"},
            "RECIPE is 'mattreport'; it must be 'matterport', 'paper', the name of a",
        ),
        (
            {"RECIPE": "numpy.recipe"},
            "RECIPE is 'numpy.recipe'; it must be 'matterport', 'paper', the name",
        ),
        (
            {"RECIPE": "my recipe.py"},
            "RECIPE is 'my recipe.py'; it must be 'matterport', 'paper', the name",
        ),
        ({"RECIPE": np}, "or an object with SPACE, WEIGHT_SETTINGS, anchors, rpn_targets, network"),
        ({"LOSS_WEIGHTS": {"mask_dice_loss": "1"}}, "LOSS_WEIGHTS['mask_dice_loss'] is '1'; it"),
        ({"LOSS_WEIGHTS": {"rpn_bbox_loss": -1}}, "LOSS_WEIGHTS['rpn_bbox_loss'] is -1; it must"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_value_out_of_range_is_refused_in_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        own(**settings).validate()
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    "settings",
    [
        {"IMAGE_RESIZE_MODE": "none", "IMAGE_MIN_DIM": None, "IMAGE_MAX_DIM": 500},
        {"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 512, "IMAGE_MAX_DIM": 1000},
        {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 512, "IMAGE_SHAPE": [512, 1024, 3]},
        {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 800, "IMAGE_MAX_DIM": 1000},
        {"IMAGE_MIN_DIM": 800, "IMAGE_MAX_DIM": 512},
        {"IMAGE_MIN_DIM": 800, "IMAGE_MAX_DIM": 1000},
        {"IMAGE_SHAPE": (512, 768, 3)},
        {"BACKBONE": print, "COMPUTE_BACKBONE_SHAPE": None},
        {"BACKBONE": "small", "BACKBONE_STRIDES": [2, 4, 8, 16, 32], "IMAGE_MAX_DIM": 96},
        {"STEPS_PER_EPOCH": np.int64(5), "LEARNING_RATE": np.float32(0.1)},
        {"GRADIENT_CLIP_NORM": None, "TRAIN_BN": None, "LOADER_WORKERS": 1},
        {"VALIDATION_STEPS": 0, "MAX_LOAD_ERRORS": 0, "WEIGHT_DECAY": 0},
        {"MEAN_PIXEL": 0, "RPN_ANCHOR_RATIOS": np.array([1.0])},
        {"MASK_POOL_SIZE": 28, "MASK_SHAPE": (56, 56)},
        {"LOSS_WEIGHTS": {"rpn_bbox_loss": 0}},
        {"LOSS_WEIGHTS": {**Config.LOSS_WEIGHTS, "mask_dice_loss": 0.5}},
        {"BACKBONE": print, "COMPUTE_BACKBONE_SHAPE": print, "BACKBONE_STRIDES": (2, 4, 8, 16, 32)},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_unusual_but_right_values_pass(settings):
    config = own(**settings)
    assert config.validate() is None


RECIPE = """
from mrcnn.recipes.matterport import SPACE, WEIGHT_SETTINGS, anchors, operators, rpn_targets
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A function that writes a module of a source and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_recipe_is_a_module_of_any_name(own_module):
    name = own_module("my_own_recipe", f"{RECIPE}\nnetwork_parts = 5")
    config = own(RECIPE=name)
    config.validate()
    # Its code runs when it is needed, not before.
    assert name not in sys.modules
    assert config.recipe() is sys.modules[name]
    assert config.recipe().network_parts == 5
    given = own(RECIPE=sys.modules[name])
    given.validate()
    assert given.recipe() is sys.modules[name]


def test_recipe_of_the_package_comes_first(own_module):
    own_module("matterport", "raise AssertionError")
    config = own(RECIPE="matterport")
    config.validate()
    assert config.recipe().__name__ == "mrcnn.recipes.matterport"


def test_recipe_that_lacks_a_function(own_module):
    config = own(RECIPE=own_module("half_a_recipe", RECIPE))
    config.validate()
    with pytest.raises(ValueError, match="'half_a_recipe', which lacks network_parts; a recipe"):
        config.recipe()


def test_error_inside_a_recipe_is_not_hidden(own_module):
    config = own(RECIPE=own_module("broken_recipe", "import a_library_that_is_missing"))
    config.validate()
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
        config.recipe()


def test_error_inside_the_package_of_a_recipe_is_not_hidden(tmp_path, monkeypatch):
    """The missing library is not the package, though its name begins alike."""
    package = tmp_path / "broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("import broken_")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="'broken_'"):
        own(RECIPE="broken_package.recipe").validate()


def test_recipe_in_the_json_file_is_its_name(tmp_path):
    recipe = own(RECIPE="matterport").recipe()
    own(RECIPE=recipe).to_json(tmp_path / "config.json")
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["RECIPE"] == "mrcnn.recipes.matterport"
