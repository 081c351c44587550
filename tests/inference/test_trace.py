"""Looks inside the graph: outputs of layers, and the tensors that old notebooks look up."""

import keras
import numpy as np
import pytest

from mrcnn import utils
from mrcnn.inference.trace import STEPS
from tests.mini import quietly


@pytest.fixture
def images(photo):
    return [photo(64, 64), photo(64, 64, 1)]


@pytest.fixture(autouse=True)
def quiet(request):
    """`run_graph` prints what it found, as it always did; most tests do not look at it."""
    with quietly(request):
        yield


def inputs_of(model, images):
    molded, metas, _ = model.mold_inputs(images)
    anchors = model.get_anchors(molded.shape[1:])
    return [molded, metas, np.broadcast_to(anchors, (len(images), *anchors.shape))]


def test_outputs_of_layers(model, images):
    graph = model.keras_model
    names = ["fpn_p3", "rpn_class", "ROI", "roi_align_classifier", "mrcnn_class", "mrcnn_mask"]
    values = model.run_graph(images, [(name, graph.get_layer(name).output) for name in names])
    assert list(values) == names
    reference = keras.Model(graph.inputs, [graph.get_layer(name).output for name in names])
    expected = reference.predict(inputs_of(model, images), verbose=0)
    for value, output in zip(values.values(), expected, strict=True):
        np.testing.assert_allclose(value, output, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(values["ROI"], graph.predict(inputs_of(model, images), 2, 0)[4])


def test_one_output(model, images):
    detections = model.keras_model.get_layer("mrcnn_detection").output
    values = model.run_graph(images[:1], [("detections", detections)])
    result = model.detect(images[:1])[0]
    assert values["detections"].shape == (1, 10, 6)
    np.testing.assert_allclose(values["detections"][0, :, 5], result["scores"], rtol=1e-5)


def test_molded_images(model, images):
    output = [("rois", model.keras_model.get_layer("ROI").output)]
    molded, metas, _ = model.mold_inputs(images)
    np.testing.assert_array_equal(
        model.run_graph(molded, output, image_metas=metas)["rois"],
        model.run_graph(images, output)["rois"],
    )


def test_values_are_printed(model, images, capsys):
    values = model.run_graph(images, [("rois", model.keras_model.get_layer("ROI").output)])
    low, high = values["rois"].min(), values["rois"].max()
    assert capsys.readouterr().out == (
        f"rois                      shape: (2, 40, 4)           "
        f"min: {low:10.5f}  max: {high:10.5f}  float32\n"
    )


def test_proposal_steps_against_numpy(model, images):
    """Each stage under its historical name, from the scores and deltas before it."""
    pillar = model.keras_model.get_layer("ROI").output
    names = [
        "ROI/pre_nms_anchors:0",
        "ROI/refined_anchors:0",
        "ROI/refined_anchors_clipped:0",
        "ROI/rpn_non_max_suppression:0",
        "ROI/rpn_non_max_suppression/NonMaxSuppressionV2:0",
        "ROI/rpn_non_max_suppression/NonMaxSuppressionV3:0",
    ]
    assert {name.removesuffix(":0") for name in names} == set(STEPS)
    outputs = [(name, model.ancestor(pillar, name)) for name in names]
    layers = [("probs", "rpn_class"), ("deltas", "rpn_bbox"), ("proposals", "ROI")]
    outputs += [(name, model.keras_model.get_layer(layer).output) for name, layer in layers]
    values = model.run_graph(images, outputs)
    anchors = inputs_of(model, images)[2]
    for row in range(2):
        scores = values["probs"][row, :, 1]
        best = np.argsort(-scores, kind="stable")[: model.config.PRE_NMS_LIMIT]
        boxes = anchors[row][best]
        np.testing.assert_array_equal(values[names[0]][row], boxes)
        deltas = values["deltas"][row][best] * model.config.RPN_BBOX_STD_DEV
        refined = utils.apply_box_deltas(boxes, deltas)
        np.testing.assert_allclose(values[names[1]][row], refined, rtol=1e-5, atol=1e-5)
        clipped = np.clip(refined, 0, 1)
        np.testing.assert_allclose(values[names[2]][row], clipped, rtol=1e-5, atol=1e-5)
        # Best first, and of equal scores the first.
        ranks = -np.arange(len(best))
        kept = utils.non_max_suppression(clipped, ranks, model.config.RPN_NMS_THRESHOLD)[:40]
        for name in names[3:]:
            indices = values[name][row]
            np.testing.assert_array_equal(indices[: len(kept)], kept)
            assert (indices[len(kept) :] == -1).all()
        np.testing.assert_allclose(
            values["proposals"][row][: len(kept)], clipped[kept], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("name", ["rpn_class", "rpn_class:0", "rpn_class/concat:0", "ROI"])
def test_names_of_layers(model, name):
    layer = model.keras_model.get_layer(name.split("/")[0].split(":")[0])
    assert model.ancestor(None, name) is layer.output
    assert model.ancestor(layer.output, name, checked=[]) is layer.output


def test_unknown_name(model):
    with pytest.raises(KeyError) as error:
        model.ancestor(model.keras_model.outputs[0], "activation_9/Relu:0")
    assert 'There is no tensor "activation_9/Relu:0" to look up' in str(error.value)
    assert "ROI/refined_anchors_clipped" in str(error.value)


def test_what_no_ancestor_was_found_for(model, images):
    outputs = [("a", None), ("rois", model.keras_model.get_layer("ROI").output), ("b", None)]
    with pytest.raises(ValueError, match="run_graph got None instead of a tensor for a, b"):
        model.run_graph(images, outputs)
