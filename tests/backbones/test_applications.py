"""Networks of keras.applications: what they compute as backbones, beside Keras's own graph."""

import keras
import numpy as np
import pytest

from mrcnn.backbones import build_backbone
from mrcnn.backbones.applications import build
from mrcnn.registry import BACKBONES
from mrcnn.training.selection import layers_from_stage
from mrcnn.weights import matterport
from mrcnn.weights.keras_model import CheckpointModel

MEAN_PIXEL = np.float32([123.7, 116.8, 103.9])
APPLICATIONS = [name for name, row in BACKBONES.items() if row.taps]

# Channels of C2 to C5. MobileNets: tables 1 and 2 of their papers, expanded six times in V2;
# EfficientNets: table 1 (V2: table 4), times the width of the variant, by 8; ConvNeXts:
# appendix A; DenseNets: growth 32 and halving from 64; ResNets and VGGs: table 1.
RESNET, VGG = (256, 512, 1024, 2048), (256, 512, 512, 512)
CHANNELS = {
    "MobileNet": (128, 256, 512, 1024),
    "MobileNetV2": (144, 192, 576, 1280),
    "MobileNetV3Small": (72, 96, 288, 576),
    "MobileNetV3Large": (72, 240, 672, 960),
    "EfficientNetB0": (24, 40, 112, 1280),
    "EfficientNetB1": (24, 40, 112, 1280),
    "EfficientNetB2": (24, 48, 120, 1408),
    "EfficientNetB3": (32, 48, 136, 1536),
    "EfficientNetV2B0": (32, 48, 112, 1280),
    "EfficientNetV2B1": (32, 48, 112, 1280),
    "EfficientNetV2B2": (32, 56, 120, 1408),
    "EfficientNetV2B3": (40, 56, 136, 1536),
    "EfficientNetV2S": (48, 64, 160, 1280),
    "EfficientNetV2M": (48, 80, 176, 1280),
    "ConvNeXtTiny": (96, 192, 384, 768),
    "ConvNeXtSmall": (96, 192, 384, 768),
    "ConvNeXtBase": (128, 256, 512, 1024),
    "DenseNet121": (256, 512, 1024, 1024),
    "DenseNet169": (256, 512, 1280, 1664),
    "DenseNet201": (256, 512, 1792, 1920),
    **dict.fromkeys(("ResNet50", "ResNet101", "ResNet152"), RESNET),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2"), RESNET),
    **dict.fromkeys(("VGG16", "VGG19"), VGG),
}
IMAGENET_MEAN = np.float32([123.675, 116.28, 103.53])
IMAGENET_STD = np.float32([58.395, 57.12, 57.375])

# What the documentation of Keras says that a network expects; others begin with it.
PREPROCESSING = {
    "MobileNetV2": keras.applications.mobilenet_v2.preprocess_input,
    "ResNet50V2": keras.applications.resnet_v2.preprocess_input,
    "ResNet50": keras.applications.resnet50.preprocess_input,
    "DenseNet121": keras.applications.densenet.preprocess_input,
    "VGG16": keras.applications.vgg16.preprocess_input,
    # Its first layers divide by 255 and then by the statistics of its weights, 0 and 1 if random.
    "EfficientNetB0": lambda rgb: 255 * (rgb - IMAGENET_MEAN) / IMAGENET_STD,
}
VALUES = ["MobileNetV3Large", "EfficientNetV2B0", "ConvNeXtTiny", *PREPROCESSING]
OFTEN = ["MobileNetV2", "EfficientNetV2B0", "ResNet50V2", "ConvNeXtTiny", "VGG16", "MobileNet"]


def often(names):
    """Parameters of which the less common ones are slow tests."""
    return [n if n in OFTEN else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", often(sorted({*CHANNELS} - {*VALUES})))
def test_strides_and_channels(name):
    # Without allocating weights.
    with keras.StatelessScope():
        stages = build_backbone(name, keras.Input((64, 128, 3)), train_bn=False)
    assert shapes(stages.values()) == expected_shapes(name)


def shapes(maps):
    return [tuple(map_.shape[1:]) for map_ in maps]


def expected_shapes(name):
    pairs = zip((4, 8, 16, 32), CHANNELS[name], strict=True)
    return [(64 // stride, 128 // stride, channels) for stride, channels in pairs]


def test_every_row_is_in_the_table():
    assert [*CHANNELS] == APPLICATIONS


def draw_weights(model, rng):
    """Statistics that a trained network could have, and layer scales that are not near 0."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            draws = [rng.uniform(*limits, shape) for limits in ((0.7, 1.3), (-0.2, 0.2))]
            layer.set_weights([*draws, rng.uniform(-0.2, 0.2, shape), rng.uniform(1, 2, shape)])
        elif layer.name.endswith("layer_scale"):
            layer.set_weights([rng.uniform(0.5, 1, w.shape) for w in layer.weights])


def tap(network, name):
    """The output of a layer; for names with ">" the input of what comes two steps after it."""
    if name.startswith(">convnext"):
        stage = int(name.split("_")[3])
        following = [f"convnext_tiny_downsampling_block_{stage}", network.layers[-1].name]
        return network.get_layer(following[stage // 3]).input
    if name.startswith(">expanded"):
        return network.get_layer(name[1:].replace("expand_bn", "depthwise_pad")).input
    return network.output if name == ">conv_1_bn" else network.get_layer(name).output


@pytest.mark.parametrize("name", often(VALUES))
def test_stages_are_those_of_keras(rng, name):
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)(weights=None, include_top=False)
    draw_weights(network, rng)
    network = keras.Model(network.input, [tap(network, name) for name in BACKBONES[name].taps])
    weights = [w for w in network.weights if "normalization" not in w.path.split("/")[0]]

    image = keras.Input((None, None, 3))
    molded = {"mean_pixel": MEAN_PIXEL, "std_pixel": 50.0}
    stages = build_backbone(name, image, train_bn=False, **molded)
    model = keras.Model(image, list(stages.values()))
    # Keras numbers the weights of some layers.
    names = [w.name if "variable" not in w.name else "gamma" for w in weights]
    assert [w.name for w in model.weights] == names
    model.set_weights([w.numpy() for w in weights])

    rgb = rng.uniform(0, 255, (1, 64, 128, 3)).astype(np.float32)
    expected = network(PREPROCESSING.get(name, lambda x: x)(rgb.copy()))
    maps = model((rgb - MEAN_PIXEL) / 50)
    assert shapes(maps) == expected_shapes(name)
    for result, map_ in zip(maps, expected, strict=True):
        assert np.std(map_) > 0.01
        np.testing.assert_allclose(result, map_, rtol=1e-3, atol=1e-4 * np.abs(map_).max())
    # Gamma and beta learn, whatever the rule of the statistics.
    assert len(model.trainable_weights) == len(network.trainable_weights)


def test_frozen_batch_norm_of_a_network():
    image = keras.Input((32, 32, 3))
    tap = ("conv1_relu",) * 4
    with keras.StatelessScope():
        model = keras.Model(image, build(image, "MobileNet", tap, None, norm="frozen")[1])
    assert [w.name for w in model.trainable_weights] == ["kernel"]
    assert model.get_layer("conv1_bn").epsilon == 1e-3


@pytest.mark.slow
def test_conv_next_reads_weights_of_keras_and_its_own(rng, tmp_path):
    """Blocks in nested models, and layer scales, whose weights Keras numbers."""
    network = keras.applications.ConvNeXtTiny(weights=None, include_top=False)
    draw_weights(network, rng)
    matterport.save(network, tmp_path / "keras.h5")
    image = keras.Input((None, None, 3))

    def new_model():
        stages = build_backbone("ConvNeXtTiny", image, train_bn=False)
        return CheckpointModel(image, list(stages.values()), stages=stages)

    model, copy = new_model(), new_model()
    report = model.load_weights(tmp_path / "keras.h5", verbose=0)
    # The last layer of the network comes after C5.
    assert (report.missing, report.unused) == ([], [network.layers[-1].name])
    expected = [w.numpy() for w in network.weights][:-2]
    for weight, array in zip(model.weights, expected, strict=True):
        np.testing.assert_array_equal(weight, array)
    model.save_weights(tmp_path / "own.h5")
    assert not copy.load_weights(tmp_path / "own.h5", verbose=0).unused
    x = rng.normal(size=(1, 32, 32, 3)).astype(np.float32)
    for one, other in zip(model(x), copy(x), strict=True):
        np.testing.assert_array_equal(one, other)
    # Stage 4 begins with the second halving, inside a nested model.
    chosen = [layer.name for layer in layers_from_stage(model, 4)]
    assert chosen[0] == "convnext_tiny_downsampling_layernorm_1"
    assert "convnext_tiny_stage_1_block_2_layer_scale" not in chosen
    assert len(chosen) == 2 * 2 + (9 + 3) * 5


@pytest.mark.parametrize(("train_bn", "changes"), [(False, False), (None, True), (True, True)])
def test_train_bn_rules_over_the_statistics(rng, train_bn, changes):
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, build(image, "MobileNetV2", ("Conv1_relu",) * 4, train_bn)[1])
    x = rng.normal(2, 1, (2, 32, 32, 3)).astype(np.float32)
    statistics = model.get_layer("bn_Conv1").moving_mean
    frozen, trained = model(x), model(x, training=True)
    assert bool(np.any(statistics)) == changes
    assert np.allclose(frozen, trained) == (train_bn is not None)


@pytest.mark.parametrize("channels", [1, 4])
def test_image_of_other_channels(channels):
    image = keras.Input((None, None, channels))
    stages = build_backbone("MobileNetV2", image, False, mean_pixel=np.zeros(channels))
    model = keras.Model(image, list(stages.values()))
    assert model.get_layer("Conv1").kernel.shape == (3, 3, channels, 32)


def test_rows_that_cannot_be_built():
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match='"MobileNetV9"'):
        build(image, "MobileNetV9", (), False)
    with pytest.raises(ValueError, match='taps of MobileNetV2 has "block_99_add", which is not a'):
        build(image, "MobileNetV2", ("block_2_add", "block_99_add"), False)
