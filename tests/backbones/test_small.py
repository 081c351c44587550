"""The small ResNet."""

import keras
import numpy as np
import pytest

from mrcnn.backbones import build_backbone
from mrcnn.backbones.small import small_resnet


def model(first_stride):
    image = keras.Input((None, None, 3))
    return keras.Model(image, small_resnet(image, first_stride, train_bn=None))


@pytest.mark.parametrize("first_stride", [2, 4])
def test_strides(first_stride):
    shapes = [x.shape[1:3] for x in model(first_stride)(np.zeros((1, 128, 64, 3), np.float32))]
    strides = [2, *(first_stride * factor for factor in (1, 2, 4, 8))]
    assert shapes == [(128 // stride, 64 // stride) for stride in strides]


def test_parameters():
    # Kernels of 3x3 by stage: in and out channels of four convolutions; 1x1 where these differ.
    stage2 = 4 * 9 * 32 * 32
    others = [9 * (a * b + 3 * b * b) + a * b for a, b in ((32, 64), (64, 128), (128, 256))]
    # Gamma, beta, mean and variance of 5, and thrice 5, batch norms.
    norms = 4 * (5 * 32 + 5 * (64 + 128 + 256))
    assert model(4).count_params() == 9 * 3 * 32 + stage2 + sum(others) + norms


def test_blocks_begin_as_their_shortcut():
    image = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    network = model(2)
    c1, c2, c3, *_ = network(image)
    np.testing.assert_array_equal(c2, c1)
    # A new stage begins as its projection: a 1x1 kernel on every second pixel.
    kernel = np.asarray(network.get_layer("res3a_branch1").kernel)[0, 0]
    projected = np.asarray(c2)[:, ::2, ::2] @ kernel / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(c3, np.maximum(projected, 0), atol=1e-5)


def test_word():
    image = keras.Input((128, 128, 3))
    stages = build_backbone("small", image, None, first_stride=2)
    assert {name: x.shape[1:] for name, x in stages.items()} == {
        "C2": (64, 64, 32),
        "C3": (32, 32, 64),
        "C4": (16, 16, 128),
        "C5": (8, 8, 256),
    }


@pytest.mark.parametrize(
    ("norm", "kind", "gamma"),
    [("batch", "BatchNorm", 0), ("frozen", "FrozenBatchNorm", 1), ("group", "GroupNorm", 1)],
)
def test_normalization_by_name(norm, kind, gamma):
    image = keras.Input((64, 64, 3))
    options = {"norm": norm, "epsilon": 0.25}
    stages = build_backbone("small", image, False, stage5=False, **options)
    layer = keras.Model(image, stages["C4"]).get_layer("bn4b_branch2b")
    assert (type(layer).__name__, layer.epsilon) == (kind, 0.25)
    # A frozen branch that begins at 0 would stay there.
    np.testing.assert_array_equal(layer.gamma, np.full(128, gamma))
