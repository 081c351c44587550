"""Detections of all classes against a NumPy implementation, and by hand."""

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.layers.class_detections import ClassDetectionLayer
from mrcnn.ops import boxes as box_ops
from tests.layer_contract import run_layer_test
from tests.layers.test_detections import head_outputs

STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
IMAGE = np.zeros((2, 128, 256, 3), np.float32)
WINDOWS = np.float32([[0, 0, 128, 256], [0, 0, 100, 210]])
SIZE = np.array([128, 256, 128, 256])


def numpy_detections(rois, probs, deltas, window, min_confidence, threshold, count):
    """Return the detections of one image, one class after the other, sorted at the end."""
    found = []
    for class_id in range(1, probs.shape[1]):
        boxes = box_ops.decode_boxes(rois * SIZE, deltas[:, class_id] * STD_DEV)
        boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
        own = np.flatnonzero(probs[:, class_id] > min_confidence)
        own = own[((boxes[own, 2:] - boxes[own, :2]) >= 0.01).all(axis=1)]
        if len(own):
            keep = utils.non_max_suppression(boxes[own], probs[own, class_id], threshold)
            found += [(probs[i, class_id], *(boxes[i] / SIZE), class_id) for i in own[keep]]
    rows = np.array(sorted(found, reverse=True)[:count])
    return np.column_stack([rows[:, 1:], rows[:, 0]])


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_detections_equal_numpy(rng, fixed_shapes):
    inputs = head_outputs(rng, 2, 80)
    layer = ClassDetectionLayer(300, 0.2, 0.5, fixed_shapes=fixed_shapes)
    detections = layer([*inputs, WINDOWS, IMAGE]).numpy()
    for image in range(2):
        arguments = [x[image] for x in inputs]
        expected = numpy_detections(*arguments, WINDOWS[image], 0.2, 0.5, 300)
        # More than RoIs whose best class is not the background: some have several classes.
        assert 40 < len(expected) < 200
        np.testing.assert_allclose(detections[image, : len(expected)], expected, rtol=0, atol=2e-6)
        assert not detections[image, len(expected) :].any()


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_a_roi_has_every_class_above_the_threshold(fixed_shapes):
    """Scores 0.4 and 0.3 pass, 0.05 does not exceed 0.05; padding has no detection."""
    rois = np.float32([[[0.25, 0.25, 0.75, 0.5], [0, 0, 0, 0]]])
    probs = np.float32([[[0.25, 0.4, 0.3, 0.05], [0, 1, 0, 0]]])
    deltas = np.zeros((1, 2, 4, 4), np.float32)
    deltas[0, 0, 2] = [1, 0, 0, 0]
    layer = ClassDetectionLayer(3, min_confidence=0.05, fixed_shapes=fixed_shapes)
    detections = layer([rois, probs, deltas, WINDOWS[:1], IMAGE[:1]]).numpy()[0]
    # The box of class 2 is moved by a tenth of its height, 0.05.
    expected = [[0.25, 0.25, 0.75, 0.5, 1, 0.4], [0.3, 0.25, 0.8, 0.5, 2, 0.3], [0] * 6]
    np.testing.assert_allclose(detections, expected, atol=1e-6)


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_no_detection_at_all(fixed_shapes):
    rois, probs = np.float32([[[0, 0, 0.5, 0.5]]]), np.float32([[[1, 0, 0]]])
    layer = ClassDetectionLayer(max_instances=2, fixed_shapes=fixed_shapes)
    inputs = [rois, probs, np.zeros((1, 1, 3, 4), np.float32), WINDOWS[:1], IMAGE[:1]]
    assert not layer(inputs).numpy().any()


def test_contract(rng, tmp_path):
    inputs = [*head_outputs(rng, 2, 40), WINDOWS, IMAGE]
    expected = [
        numpy_detections(*(x[image] for x in inputs[:3]), WINDOWS[image], 0.3, 0.5, 8)
        for image in range(2)
    ]
    run_layer_test(
        lambda: ClassDetectionLayer(8, 0.3, 0.5), (inputs,), np.stack(expected), tmp_path
    )
