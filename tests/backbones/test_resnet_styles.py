"""ResNets and ResNeXts in the styles of other programs, beside what torchvision computes.

`torchvision_trunks.npz` has outputs of torchvision 0.28's `ResNet(Bottleneck, blocks)` in
evaluation mode, on `RandomState(0).normal(0, 1, (1, 3, 70, 90))` as float32, with the weights of
`tests.golden_state_dicts.fill`: of each stage `[0, ::16, ::max(1, h // 4), ::max(1, w // 4)]`,
channels first. For "msra" the stride was moved from conv2 of the blocks to conv1; for the dilated
stage it was replaced by 1, with dilation and padding 2 in each conv2, as in Detectron2.
"""

import math

import keras
import numpy as np
import pytest

from mrcnn.backbones import resnet
from mrcnn.backbones.resnet import Architecture, ResNetStage, resnet_graph
from tests.golden_state_dicts import GOLDEN, fill

SIDES = (70, 90)
CASES = {
    "torchvision": (Architecture((1, 2, 1, 1)), {"style": "torchvision", "norm": "frozen"}),
    "resnext": (Architecture((1, 1, 2, 1), 32, 4), {"style": "torchvision", "norm": "batch"}),
    "msra_dilated": (
        Architecture((1, 1, 1, 2)),
        {"style": "msra", "norm": "frozen", "dilation5": 2},
    ),
    "group": (Architecture((1, 1, 1, 1)), {"style": "torchvision", "norm": "group"}),
}
LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def their_name(path):
    """Name of a weight in torchvision, such as "layer1.0.conv1.weight"."""
    *_, layer, leaf = path.split("/")
    kind = "bn" if layer.startswith("bn") else "conv"
    if layer in ("conv1", "bn_conv1"):
        return f"{kind}1.{LEAVES[leaf]}"
    block, branch = layer.removeprefix("res").removeprefix("bn").split("_branch")
    place = f"layer{int(block[0]) - 1}.{ord(block[1]) - ord('a')}"
    if branch == "1":
        return f"{place}.downsample.{int(kind == 'bn')}.{LEAVES[leaf]}"
    return f"{place}.{kind}{'abc'.index(branch[1]) + 1}.{LEAVES[leaf]}"


def set_weights(model):
    for weight in model.weights:
        if weight.name == "kernel":
            height, width, inputs, outputs = weight.shape
            array = fill("torchvision", their_name(weight.path), (outputs, inputs, height, width))
            weight.assign(array.transpose(2, 3, 1, 0))
        else:
            weight.assign(fill("torchvision", their_name(weight.path), weight.shape))


@pytest.mark.parametrize("case", CASES)
def test_stages_are_those_of_torchvision(monkeypatch, case):
    architecture, options = CASES[case]
    monkeypatch.setitem(resnet.ARCHITECTURES, "short", architecture)
    image = keras.Input((*SIDES, 3))
    stages = resnet_graph(image, "short", stage5=True, train_bn=False, epsilon=1e-5, **options)
    model = keras.Model(image, stages[1:])
    set_weights(model)
    x = np.random.RandomState(0).normal(0, 1, (1, 3, *SIDES)).astype("f4")
    with np.load(GOLDEN / "torchvision_trunks.npz") as golden:
        for level, map_ in enumerate(model(x.transpose(0, 2, 3, 1)), start=2):
            rows, columns = (max(1, side // 4) for side in map_.shape[1:3])
            sample = np.asarray(map_)[0, ::rows, ::columns, ::16].transpose(2, 0, 1)
            expected = golden[f"{case}_c{level}"]
            np.testing.assert_allclose(sample, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("style", ["torchvision", "msra"])
def test_stage_on_crops_is_the_stage_on_each_crop(rng, monkeypatch, style):
    monkeypatch.setitem(resnet.ARCHITECTURES, "narrow", Architecture((1, 1, 1, 2), 2, 4))
    options = {"architecture": "narrow", "style": style, "norm": "frozen", "epsilon": 1e-5}
    crops, crop = keras.Input((None, 14, 14, 6)), keras.Input((14, 14, 6))
    stage = ResNetStage(**options, rois=True)
    first, second = keras.Model(crops, stage(crops)), keras.Model(crops, stage(crops))
    assert first.output.shape == (None, None, 7, 7, 2048)
    # Both heads have one set of layers, with the names of a backbone's.
    assert [id(w) for w in first.weights] == [id(w) for w in second.weights]
    plain = keras.Model(crop, ResNetStage(**options)(crop))
    assert [w.path for w in plain.weights] == [w.path for w in first.weights]
    plain.set_weights(
        [rng.uniform(0.1, 0.4, w.shape) - 0.25 * (w.ndim == 4) for w in plain.weights]
    )
    first.set_weights(plain.get_weights())
    x = rng.normal(size=(2, 3, 14, 14, 6)).astype(np.float32)
    expected = np.reshape(plain(x.reshape(6, 14, 14, 6)), (2, 3, 7, 7, 2048))
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(second(x), expected, rtol=1e-4, atol=1e-4 * expected.max())


# Of torchvision's documentation of its weights (`num_params`), with a classifier of 2,049,000.
PARAMETERS = {
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
}


def count(architecture, **options):
    """Number of gammas, betas and kernel elements, of weights that are never allocated."""
    with keras.StatelessScope():
        image = keras.Input((None, None, 3))
        stages = resnet_graph(image, architecture, stage5=True, **options)
        weights = keras.Model(image, stages[1:]).weights
    return sum(math.prod(w.shape) for w in weights if not w.name.startswith("moving_"))


@pytest.mark.parametrize(
    "architecture",
    [
        "resnet50",
        "resnext50_32x4d",
        "resnext101_32x8d",
        *(pytest.param(name, marks=pytest.mark.slow) for name in list(PARAMETERS)[1:3]),
        pytest.param("resnext101_64x4d", marks=pytest.mark.slow),
    ],
)
def test_published_number_of_parameters(architecture):
    assert count(architecture, style="torchvision") == PARAMETERS[architecture] - 2_049_000


def parameters_by_hand(blocks, groups, group_width):
    """Table 1 of the ResNeXt paper, two numbers per channel for each normalization."""
    total, inputs = 7 * 7 * 3 * 64 + 2 * 64, 64
    for stage, number in enumerate(blocks):
        inner, outer = groups * group_width * 2**stage, 256 * 2**stage
        total += inputs * outer + 2 * outer
        for _ in range(number):
            total += inputs * inner + 9 * inner * inner // groups + inner * outer
            total += 2 * (inner + inner + outer)
            inputs = outer
    return total


@pytest.mark.slow
def test_parameters_of_resnext152():
    assert parameters_by_hand((3, 4, 6, 3), 32, 4) == PARAMETERS["resnext50_32x4d"] - 2_049_000
    assert count("resnext152_32x8d", style="msra") == parameters_by_hand((3, 8, 36, 3), 32, 8)
