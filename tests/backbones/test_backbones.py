"""Which backbone a word or a function stands for."""

import keras
import numpy as np
import pytest

from mrcnn.backbones import build_backbone


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

    with pytest.raises(ValueError, match=rf"my_backbone has to return .*five.*returned {said}\."):
        build_backbone(my_backbone, image, False)


def test_unknown_word(image):
    with pytest.raises(ValueError, match="'resnet34'; it must be one of 'resnet50', 'resnet101'"):
        build_backbone("resnet34", image, False)
