"""Which layers learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.training.selection import SELECTIONS, set_trainable, trainable_layers
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
    # What the optimizer gets: kernel and bias of each, gamma and beta of batch normalization.
    assert len(model.keras_model.trainable_variables) == 2 * len(expected)
    names = [variable.path.split("/")[-2] for variable in model.keras_model.trainable_variables]
    assert sorted(set(names)) == sorted(expected)


def test_layers_of_nested_models_one_by_one(model):
    names = [layer.name for layer in model.get_trainable_layers()]
    assert sorted(names) == sorted(ALL)
    assert [model.find_trainable_layer(layer).name for layer in model.get_trainable_layers()] == (
        names
    )


def test_frozen_container_does_not_freeze_what_is_chosen(model):
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
    # Nothing was frozen on the way.
    assert len(model.keras_model.trainable_variables) == 2 * len(ALL)


@pytest.mark.parametrize("regex", ["3+(", "*"])
def test_broken_expression(model, regex):
    with pytest.raises(ValueError, match="or a regular expression of layer names \\(") as error:
        set_trainable(model.keras_model, regex, verbose=0)
    assert f'layers is "{regex}"' in str(error.value)


@pytest.fixture
def eagerly():
    """A single step needs no compiling."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(("layers", "expected"), [CHOICES[i] for i in (0, 2, 5)])
def test_a_step_changes_what_is_chosen_and_not_one_bit_more(
    model, batch, eagerly, layers, expected
):
    model.set_trainable(SELECTIONS.get(layers, layers), verbose=0)
    model.compile(learning_rate=0.01, momentum=0.9)
    before = {w.path: w.numpy() for w in model.keras_model.weights}
    losses = Steps(model.keras_model, weight_decay=0).train(batch)
    assert losses["mrcnn_mask_loss"] > 0
    for weight in model.keras_model.weights:
        *_, layer, kind = weight.path.split("/")
        if layer not in expected:
            # Frozen batch normalization keeps its statistics, too.
            np.testing.assert_array_equal(weight.numpy(), before[weight.path])
        elif kind != "bias":
            # Batch normalization with the statistics of the batch takes biases away again.
            assert not np.array_equal(weight.numpy(), before[weight.path]), weight.path
