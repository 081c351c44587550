"""Weights of half precision and whole numbers, in a network of two matrix products."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mrcnn.export.onnx_precision import halve_weights, quantized

RNG = np.random.default_rng(0)
HIDDEN = RNG.normal(size=(3, 512)).astype(np.float32)
LOGITS = (RNG.normal(size=(512, 4)) / 20).astype(np.float32)
IMAGES = [RNG.integers(0, 256, (5, 3), np.uint8) for _ in range(8)]


@pytest.fixture
def model():
    """relu(image @ HIDDEN / 255) @ LOGITS, the latter a layer whose results stay in float."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"], "scale"),
        helper.make_node("MatMul", ["scaled", "hidden"], ["sums"], "model/hidden/MatMul"),
        helper.make_node("Relu", ["sums"], ["relu"], "relu"),
        helper.make_node(
            "MatMul", ["relu", "logits"], ["scores"], "model/mrcnn_class_logits_1/MatMul"
        ),
    ]
    weights = {"scale": np.float32([1 / 255]), "hidden": HIDDEN, "logits": LOGITS}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [5, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [5, 4])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model, image):
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"image": image})[0]


def expected(image, hidden=HIDDEN, logits=LOGITS):
    return np.maximum(image / 255 @ hidden, 0) @ logits


def test_large_weights_are_halves_and_all_else_is_float(model):
    halve_weights(model)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    assert types == {"scale": single, "hidden/half": half, "logits/half": half}
    rounded = [np.float64(np.float16(values)) for values in (HIDDEN, LOGITS)]
    scores = run(model, IMAGES[0])
    np.testing.assert_allclose(scores, expected(IMAGES[0], *rounded), atol=2e-6)
    # Rounding is there, and no more than that of eleven bits.
    error = abs(scores - expected(IMAGES[0])).max()
    assert 2e-6 < error < 2e-3


def test_weights_beyond_the_range_of_halves_stay(model):
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(HIDDEN * 1e5, "hidden"))
    halve_weights(model)
    assert model.graph.initializer[1].data_type == TensorProto.FLOAT
    np.testing.assert_allclose(run(model, IMAGES[0]), 1e5 * expected(IMAGES[0]), rtol=2e-3, atol=50)


def test_matrix_products_work_with_whole_numbers_but_for_scores(model):
    whole = quantized(model, IMAGES)
    arrays = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer}
    whole_weights = [a.shape for a in arrays.values() if a.dtype == np.int8 and a.ndim == 2]
    assert whole_weights == [HIDDEN.shape]
    np.testing.assert_array_equal(arrays["logits"], LOGITS)
    for image in IMAGES:
        scores = run(whole, image)
        # A byte has 256 values: each of 512 sums is wrong by some thousandths of the largest.
        assert 1e-5 < abs(scores - expected(image)).max() < 0.1
