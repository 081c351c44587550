"""Inputs of the network that are no square, and own backbones without further settings."""

import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from tests.mini import MiniConfig, MiniShapes, mini_backbone


class Plain(MiniConfig):
    """As a newcomer writes it: a function, and nothing about its shapes."""

    def BACKBONE(image, stage5=True, train_bn=None):
        return mini_backbone(image, stage5, train_bn)

    COMPUTE_BACKBONE_SHAPE = None


class Wide(Plain):
    IMAGE_MAX_DIM = 128
    IMAGE_SHAPE = (64, 128, 3)


class Padded(Plain):
    IMAGE_RESIZE_MODE = "pad64"


def test_a_wide_input_detects_as_the_same_pixels_in_another_mode(tmp_path):
    wide = MaskRCNN("inference", Wide(), str(tmp_path))
    padded = MaskRCNN("inference", Padded(), str(tmp_path))
    weights = [
        value * 1.5 if "class_logits" in variable.path else value
        for variable, value in zip(
            wide.keras_model.weights, wide.keras_model.get_weights(), strict=True
        )
    ]
    for model in (wide, padded):
        model.keras_model.set_weights(weights)
    image = np.random.default_rng(0).integers(0, 256, (64, 100, 3), np.uint8)
    molded, metas, windows = wide.mold_inputs([image])
    # 28 columns of padding, one half on each side.
    assert molded.shape == (1, 64, 128, 3)
    assert windows.tolist() == [[0, 14, 64, 114]]
    assert metas[0, 1:12].tolist() == [64, 100, 3, 64, 128, 3, 0, 14, 64, 114, 1]
    result, expected = wide.detect([image])[0], padded.detect([image])[0]
    assert len(expected["rois"]) > 0
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_wide_input_trains(tmp_path):
    model = MaskRCNN("training", Wide(), str(tmp_path))
    before = model.keras_model.get_layer("mrcnn_class_logits").get_weights()[0]
    dataset = MiniShapes(4)
    history = model.train(dataset, dataset, 0.001, epochs=1, layers="all")
    assert np.isfinite(history.history["loss"]).all()
    assert (
        abs(model.keras_model.get_layer("mrcnn_class_logits").get_weights()[0] - before).max() > 0
    )
    # Of 3 anchors on each cell of P2 to P6: 16 x 32, 8 x 16, 4 x 8, 2 x 4, 1 x 2.
    assert len(model.get_anchors((64, 128, 3))) == 3 * (512 + 128 + 32 + 8 + 2)
