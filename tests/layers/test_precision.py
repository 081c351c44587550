"""Precision: the number type that a graph computes with."""

import keras
import numpy as np
import pytest

from mrcnn.graph import build_graph
from tests.mini import mini_config


@pytest.mark.parametrize("policy, compute", [("mixed_bfloat16", "bfloat16"), (None, "float32")])
def test_layers_compute_in_the_precision(policy, compute):
    model = build_graph(mini_config(PRECISION=policy), "inference")
    conv = model.get_layer("fpn_p2")
    assert (conv.compute_dtype, conv.variable_dtype) == (compute, "float32")
    # Boxes and scores are float32.
    assert {output.dtype for output in model.outputs} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_float32_in_spite_of_the_global_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_graph(mini_config(PRECISION="float32"), "inference")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("fpn_p2").compute_dtype == "float32"


def test_the_policy_is_restored_after_an_error():
    with pytest.raises(ValueError, match="BACKBONE"):
        build_graph(mini_config(PRECISION="mixed_bfloat16", BACKBONE="vgg"), "inference")
    assert keras.config.dtype_policy().name == "float32"


def test_bfloat16_rounds_to_eight_bits():
    # 1 + 1/512 needs ten bits: bfloat16 rounds it to 1.
    config = mini_config(PRECISION="mixed_bfloat16")
    conv = build_graph(config, "inference").get_layer("fpn_c5p5")
    conv.kernel.assign(np.zeros(conv.kernel.shape))
    conv.bias.assign(np.full(conv.bias.shape, 1 + 1 / 512))
    features = np.zeros((1, 1, 1, conv.kernel.shape[2]), np.float32)
    assert (np.asarray(conv(features), np.float32) == 1).all()
