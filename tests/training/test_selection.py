"""Selection of the layers that learn."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.backbones import build_backbone
from mrcnn.backbones.fpn import fpn
from mrcnn.training.selection import (
    SELECTIONS,
    backbone_taps,
    layers_from_stage,
    set_trainable,
    summary,
    trainable_layers,
)
from mrcnn.training.step import Steps

RPN = ["rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"]
PYRAMID = [f"fpn_c{n}p{n}" for n in (2, 3, 4, 5)] + [f"fpn_p{n}" for n in (2, 3, 4, 5)]
BOX_HEAD = [f"mrcnn_class_{kind}{n}" for n in (1, 2) for kind in ("conv", "bn")]
BOX_HEAD += ["mrcnn_class_logits", "mrcnn_bbox_fc"]
MASK_HEAD = [f"mrcnn_mask_{kind}{n}" for n in (1, 2, 3, 4) for kind in ("conv", "bn")]
MASK_HEAD += ["mrcnn_mask_deconv", "mrcnn_mask"]
HEADS = [*RPN, *PYRAMID, *BOX_HEAD, *MASK_HEAD]
STAGES = {n: [f"res{n}a", f"bn{n}a"] for n in (2, 3, 4, 5)}
STEM = ["conv1", "bn_conv1"]
ALL = [*STEM, *sum(STAGES.values(), []), *HEADS]

CHOICES = [
    ("heads", HEADS),
    ("5+", STAGES[5] + HEADS),
    ("4+", STAGES[4] + STAGES[5] + HEADS),
    ("3+", STAGES[3] + STAGES[4] + STAGES[5] + HEADS),
    ("all", ALL),
    (r"(res5.*)|(mrcnn\_mask)", ["res5a", "mrcnn_mask"]),
    (r"rpn\_.*", RPN),
]


@pytest.mark.parametrize(("layers", "expected"), CHOICES)
def test_selections(model, layers, expected):
    model.set_trainable(SELECTIONS.get(layers, layers), verbose=0)
    chosen = [layer.name for layer in trainable_layers(model.keras_model) if layer.trainable]
    assert sorted(chosen) == sorted(expected)
    # Variables of the optimizer: kernel and bias, gamma and beta of batch normalization.
    assert len(model.keras_model.trainable_variables) == 2 * len(expected)
    names = [variable.path.split("/")[-2] for variable in model.keras_model.trainable_variables]
    assert sorted(set(names)) == sorted(expected)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("heads", "27 of 37 layers with 54 variables: FPN, RPN, box head, mask head."),
        (
            "5+",
            "29 of 37 layers with 58 variables: 2 of 10 layers of the backbone, FPN, RPN, "
            "box head, mask head.",
        ),
        ("all", "37 of 37 layers with 74 variables: backbone, FPN, RPN, box head, mask head."),
        (r"mrcnn\_mask", "1 of 37 layers with 2 variables: 1 of 10 layers of the mask head."),
    ],
)
def test_summary_for_people(model, layers, expected):
    model.set_trainable(SELECTIONS.get(layers, layers), verbose=0)
    assert summary(model.keras_model) == f"Training {expected}"


def test_layers_of_nested_models_one_by_one(model):
    names = [layer.name for layer in model.get_trainable_layers()]
    assert sorted(names) == sorted(ALL)
    assert [model.find_trainable_layer(layer).name for layer in model.get_trainable_layers()] == (
        names
    )


def test_frozen_container_does_not_freeze_chosen_layers(model):
    model.keras_model.get_layer("rpn_model").trainable = False
    model.set_trainable("rpn_class_raw", verbose=0)
    paths = [variable.path for variable in model.keras_model.trainable_variables]
    assert [path.split("/")[-2:] for path in paths] == [
        ["rpn_class_raw", "kernel"],
        ["rpn_class_raw", "bias"],
    ]
    assert len(model.keras_model.get_layer("rpn_model").trainable_variables) == 2


def test_selection_of_another_model(model):
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(2, name="hidden")(inputs)
    other = keras.Model(inputs, keras.layers.Dense(2, name="top")(hidden))
    model.set_trainable("top", keras_model=other, verbose=0)
    assert [layer.trainable for layer in other.layers[1:]] == [False, True]
    assert len(model.keras_model.trainable_variables) == 2 * len(ALL)


def test_chosen_layers_are_printed(model, capsys):
    model.set_trainable("(fpn_p2)|(mrcnn_mask_bn1)|(rpn_class_raw)", indent=2)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "  fpn_p2                   (Conv2D)",
        "  rpn_class_raw            (Conv2D)",
        "  mrcnn_mask_bn1           (BatchNorm)",
    ]


@pytest.mark.parametrize("regex", ["head", "mrcnn_", "(conv1)(res2.*)"])
def test_expression_without_a_match(model, regex):
    with pytest.raises(ValueError, match="matches no layer; accepted are heads, 3\\+, 4\\+") as e:
        model.set_trainable(regex, verbose=0)
    assert f'layers is "{regex}"' in str(e.value)
    # No layer was frozen before the error.
    assert len(model.keras_model.trainable_variables) == 2 * len(ALL)


@pytest.mark.parametrize("regex", ["3+(", "*"])
def test_broken_expression(model, regex):
    with pytest.raises(ValueError, match="or a regular expression of layer names \\(") as error:
        set_trainable(model.keras_model, regex, verbose=0)
    assert f'layers is "{regex}"' in str(error.value)


@pytest.fixture
def eagerly():
    """Run functions without compiling: the tests take single steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(("layers", "expected"), [CHOICES[i] for i in (0, 2, 5)])
def test_a_step_changes_chosen_layers_only(model, batch, eagerly, layers, expected):
    model.set_trainable(SELECTIONS.get(layers, layers), verbose=0)
    model.compile(learning_rate=0.01, momentum=0.9)
    before = {w.path: w.numpy() for w in model.keras_model.weights}
    losses = Steps(model.keras_model, weight_decay=0).train(batch)
    assert losses["mrcnn_mask_loss"] > 0
    for weight in model.keras_model.weights:
        *_, layer, kind = weight.path.split("/")
        if layer not in expected:
            # Frozen batch normalization keeps its statistics too.
            np.testing.assert_array_equal(weight.numpy(), before[weight.path])
        elif kind != "bias":
            # Batch normalization with the statistics of the batch takes biases away again.
            assert not np.array_equal(weight.numpy(), before[weight.path]), weight.path


# Stages, by their place in the graph

HISTORICAL = {
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "5+": r"(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
}


def graph_on(backbone):
    """Return a model of backbone, pyramid, nested RPN and a layer of a head."""
    image = keras.Input((None, None, 3), name="input_image")
    pyramid = fpn(build_backbone(backbone, image, train_bn=False), channels=8)
    features = keras.Input((None, None, 8))
    shared = keras.layers.Conv2D(8, 1, name="rpn_conv_shared")(features)
    rpn = keras.Model(features, shared, name="rpn_model")
    head = keras.layers.Conv2D(8, 1, name="mrcnn_mask")(pyramid["P2"])
    return keras.Model(image, [head, *(rpn(level) for level in pyramid.values())])


def names_of(layers):
    return [layer.name for layer in layers]


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "resnet152", "small"])
def test_stages_of_a_resnet_are_those_of_the_historical_expressions(backbone):
    graph = graph_on(backbone)
    for name, regex in HISTORICAL.items():
        set_trainable(graph, name, verbose=0)
        chosen = {layer.name for layer in trainable_layers(graph) if layer.trainable}
        assert chosen == {n for n in names_of(trainable_layers(graph)) if re.fullmatch(regex, n)}


def test_stages_of_a_network_of_keras_applications():
    graph = graph_on("MobileNetV2")
    names = names_of(trainable_layers(graph))
    above = [name for name in names if name.startswith(("fpn_", "rpn_", "mrcnn_"))]
    assert len(above) == 10
    for first, last_below in ((3, "block_3_expand"), (4, "block_6_expand"), (5, "block_13_expand")):
        # The stage begins after the tap, the expansion of a block and its batch normalization.
        start = names.index(f"{last_below}_BN") + 1
        expected = [name for name in names[start:] if name not in above] + above
        assert sorted(names_of(layers_from_stage(graph, first))) == sorted(expected)
    assert "block_13_depthwise" in expected
    assert "block_13_project" in expected
    assert "Conv_1" in expected


def conv(x, name, stride=2):
    return keras.layers.Conv2D(4, 3, stride, padding="same", name=name)(x)


def own_backbone(image):
    """Return stages of layers with meaningless names; C2 has its own layer, a block is a model."""
    trunk = conv(conv(image, "red"), "green")
    inside = keras.Input((None, None, 4))
    block = keras.Model(inside, conv(inside, "inner"), name="blue")
    c3 = block(trunk)
    c4 = conv(c3, "pink")
    return [None, conv(trunk, "side", 1), c3, c4, conv(c4, "gray")]


def test_stages_of_an_own_function():
    graph = graph_on(own_backbone)
    rest = set(names_of(layers_from_stage(graph, 5))) - {"gray"}
    assert rest == {"mrcnn_mask", "rpn_conv_shared", *PYRAMID}
    assert set(names_of(layers_from_stage(graph, 4))) == rest | {"gray", "pink"}
    # The trunk is under C2 too, and "side" under C2 alone.
    assert set(names_of(layers_from_stage(graph, 3))) == rest | {"gray", "pink", "inner"}
    # The same, given the taps.
    taps = {k: tensor for k, tensor in backbone_taps(graph).items() if k != "C5"}
    assert layers_from_stage(graph, 4, taps) == layers_from_stage(graph, 4)


def without_a_fifth_stage(image):
    stages = own_backbone(image)[:4]
    return [*stages, keras.layers.MaxPooling2D()(stages[3])]


def as_one_model(image):
    inside = keras.Input((None, None, 3))
    return [None, *keras.Model(inside, own_backbone(inside)[1:], name="trunk")(image)]


@pytest.mark.parametrize(
    ("backbone", "layers"), [(without_a_fifth_stage, "5+"), (as_one_model, "4+")]
)
def test_stages_that_cannot_be_told_apart(backbone, layers):
    graph = graph_on(backbone)
    sentence = f'layers is "{layers}", but stage {layers[0]} of this backbone has no layer'
    with pytest.raises(ValueError, match=re.escape(sentence)):
        set_trainable(graph, layers, verbose=0)
    assert all(layer.trainable for layer in trainable_layers(graph))


def test_stages_need_a_pyramid():
    inputs = keras.Input((2,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match='"5\\+" need a Mask R-CNN; this model has no layers'):
        set_trainable(other, "4+", verbose=0)
