"""Which backbone a name or a function stands for."""

import keras
import numpy as np
import pytest

from mrcnn.backbones import build_backbone
from mrcnn.config import Config
from mrcnn.registry import BACKBONES, Backbone


def stages_of(image, marks):
    """Five stages that tell what the function was called with."""
    return [keras.layers.Rescaling(mark)(image) for mark in marks]


def values(stages, image):
    """The first number of C2 to C5, for an image of ones."""
    model = keras.Model(image, [stages[name] for name in ("C2", "C3", "C4", "C5")])
    return [float(x[0, 0, 0, 0]) for x in model(np.ones((1, 2, 2, 1), np.float32))]


@pytest.fixture
def image():
    return keras.Input((2, 2, 1))


def test_historical_signature(image):
    def backbone(input_image, stage5=False, train_bn=None):
        assert stage5 is True
        assert train_bn == "rule"
        return stages_of(input_image, [1, 2, 3, 4, 5])

    assert values(build_backbone(backbone, image, "rule"), image) == [2, 3, 4, 5]


def test_function_of_the_image_alone(image):
    backbone = build_backbone(lambda x: stages_of(x, [1, 6, 7, 8, 9]), image, False)
    assert list(backbone) == ["C2", "C3", "C4", "C5"]
    assert values(backbone, image) == [6, 7, 8, 9]


def test_function_with_any_keywords(image):
    def backbone(x, **arguments):
        assert arguments == {"stage5": True, "train_bn": False}
        return tuple(stages_of(x, [1, 2, 3, 4, 5]))

    assert values(build_backbone(backbone, image, False), image) == [2, 3, 4, 5]


def test_first_stage_is_not_used(image):
    backbone = build_backbone(lambda x: [None, *stages_of(x, [1, 2, 3, 4])], image, False)
    assert values(backbone, image) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("result", "said"),
    [(lambda x: x, "KerasTensor"), (lambda x: [x] * 4, "4"), (lambda x: {}, "dict")],
)
def test_function_that_returns_something_else(image, result, said):
    def my_backbone(x):
        return result(x)

    with pytest.raises(ValueError, match=rf"my_backbone must return .*five.*returned {said}\."):
        build_backbone(my_backbone, image, False)


def test_unknown_name(image):
    with pytest.raises(ValueError, match="'resnet34'; it must be one of 'resnet50', 'resnet101'"):
        build_backbone("resnet34", image, False)


@pytest.fixture
def own_row(monkeypatch):
    """A registered backbone at strides 8 to 128, which notes what it was called with."""
    calls = []

    def build(image, architecture, taps, first_stride, train_bn):
        calls.append((architecture, taps, first_stride, train_bn))
        return [None, *stages_of(image, [1, 2, 3, 4])]

    row = Backbone(build, ("t",), ((8, 16, 32, 64, 128),), mean=(10, 20, 30), std=(2, 4, 5))
    monkeypatch.setitem(BACKBONES, "own", row)
    return calls


def test_registered_backbone_gets_what_it_asks_for_and_the_image_that_it_expects(own_row):
    image = keras.Input((1, 1, 3))
    stages = build_backbone("own", image, None, first_stride=8, mean_pixel=(1, 2, 3))
    assert own_row == [("own", ("t",), 8, None)]
    model = keras.Model(image, stages["C3"])
    # RGB is (15, 30, 45), of which means are taken and standard deviations divided: 2.5, 2.5, 3.
    molded = np.float32([[[[14, 28, 42]]]])
    np.testing.assert_allclose(model(molded)[0, 0, 0], [5, 5, 6], rtol=1e-6)


def test_image_in_other_units_is_normalized_again(own_row):
    image = keras.Input((1, 1, 3))
    stages = build_backbone("own", image, None, mean_pixel=(1, 2, 3), std_pixel=(2, 7, 6))
    # The same colours as above.
    molded = np.float32([[[[7, 4, 7]]]])
    result = keras.Model(image, stages["C2"])(molded)
    np.testing.assert_allclose(result[0, 0, 0], [2.5, 2.5, 3], rtol=1e-6)


def test_network_of_bgr_images(monkeypatch):
    row = Backbone(lambda image: [image] * 5, mean=(10, 20, 30), bgr=True)
    monkeypatch.setitem(BACKBONES, "bgr", row)
    image = keras.Input((1, 1, 3))
    stages = build_backbone("bgr", image, None, mean_pixel=1.0)
    result = keras.Model(image, stages["C2"])(np.float32([[[[14, 28, 42]]]]))
    np.testing.assert_allclose(result[0, 0, 0], [13, 9, 5], rtol=1e-6)


def test_options_reach_rows_that_know_them_and_no_function(image, monkeypatch):
    calls = []

    def build(image, stage5, norm, dilation5=1):
        calls.append((stage5, norm, dilation5))
        return [*stages_of(image, [1, 2, 3, 4]), None]

    monkeypatch.setitem(BACKBONES, "own", Backbone(build))
    options = {"norm": "group", "epsilon": 1e-5, "style": "msra"}
    stages = build_backbone("own", image, False, stage5=False, **options)
    assert list(stages) == ["C2", "C3", "C4"]
    build_backbone("own", image, False, **options, dilation5=2)
    assert calls == [(False, "group", 1), (True, "group", 2)]

    def function(image, stage5=True, norm="its own"):
        assert norm == "its own"
        return stages_of(image, [1, 2, 3, 4, 5])

    assert list(build_backbone(function, image, False, **options)) == ["C2", "C3", "C4", "C5"]


def test_image_of_other_channels_gets_their_averages(own_row):
    image = keras.Input((1, 1, 1))
    stages = build_backbone("own", image, False, mean_pixel=np.array([100.0]))
    # RGB 31, less 20, divided by 11 / 3.
    value = keras.Model(image, stages["C2"])(np.float32([[[[-69]]]]))
    np.testing.assert_allclose(value, [[[[3]]]], rtol=1e-6)


def test_config_knows_registered_backbones(own_row):
    class OwnConfig(Config):
        NAME, NUM_CLASSES, BACKBONE = "own", 2, "own"
        BACKBONE_STRIDES = [8, 16, 32, 64, 128]

    OwnConfig().validate()
    with pytest.raises(ValueError, match=r"those of own are \[8, 16, 32, 64, 128\]\."):
        type("Other", (OwnConfig,), {"BACKBONE_STRIDES": [4, 8, 16, 32, 64]})().validate()
