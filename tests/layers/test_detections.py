"""Detections against a NumPy implementation built from the historical helpers."""

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.layers.detections import DetectionLayer
from tests.layer_contract import run_layer_test

STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
SHAPE = np.array([128, 256, 3])
# In pixels: the image has bars above and below, as those of mode "square" have.
WINDOW = np.array([16, 0, 112, 256])


def window_and_image(window=WINDOW, shape=SHAPE, batch=1):
    """Return the last two inputs of the layer."""
    return [np.tile(np.float32(window), (batch, 1)), np.zeros((batch, *shape), np.float32)]


def head_outputs(rng, batch, count, classes=5):
    """Return RoIs, probabilities and deltas, with boxes that overlap."""
    corners = np.sort(rng.uniform(0, 1, (batch, count // 4, 2, 2)), axis=2)
    rois = np.repeat(corners.reshape(batch, -1, 4), 4, axis=1)
    rois = rois + rng.uniform(-0.02, 0.02, rois.shape)
    logits = rng.normal(size=(batch, count, classes)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    deltas = rng.normal(size=(batch, count, classes, 4)) * 0.5
    return [x.astype(np.float32) for x in (rois, probs, deltas)]


def numpy_detections(rois, probs, deltas, window, min_confidence, threshold):
    """Return the detections of one image `[n, 6]`, best first; `window` is normalized."""
    rows = np.arange(len(rois))
    class_ids = probs.argmax(axis=1)
    scores = probs[rows, class_ids]
    boxes = utils.apply_box_deltas(rois, deltas[rows, class_ids] * STD_DEV)
    boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
    kept = []
    for class_id in range(1, probs.shape[1]):
        own = np.flatnonzero((class_ids == class_id) & (scores >= min_confidence))
        if len(own):
            kept += own[utils.non_max_suppression(boxes[own], scores[own], threshold)].tolist()
    kept = np.array(sorted(kept, key=lambda row: -scores[row]), int)
    return np.column_stack([boxes[kept], class_ids[kept], scores[kept]])


def test_detections_equal_numpy(rng):
    inputs = head_outputs(rng, 3, 80)
    window = utils.norm_boxes(WINDOW, SHAPE[:2])
    layer = DetectionLayer(max_instances=100, min_confidence=0.4, nms_threshold=0.3)
    detections = layer([*inputs, *window_and_image(batch=3)]).numpy()
    for image in range(3):
        expected = numpy_detections(*(x[image] for x in inputs), window, 0.4, 0.3)
        assert 15 < len(expected) < 60
        np.testing.assert_allclose(detections[image, : len(expected)], expected, rtol=0, atol=1e-6)
        assert not detections[image, len(expected) :].any()


def test_only_the_best_instances_stay(rng):
    inputs = head_outputs(rng, 1, 80)
    window = utils.norm_boxes(WINDOW, SHAPE[:2])
    expected = numpy_detections(*(x[0] for x in inputs), window, 0, 0.3)
    layer = DetectionLayer(max_instances=6, min_confidence=0, nms_threshold=0.3)
    detections = layer([*inputs, *window_and_image()]).numpy()[0]
    assert len(expected) > 6
    np.testing.assert_allclose(detections, expected[:6], rtol=0, atol=1e-6)


def test_batch_equals_its_images(rng):
    inputs = [*head_outputs(rng, 3, 40), *window_and_image(batch=3)]
    # Images of one batch may have different windows.
    inputs[3][1] = 0, 64, 128, 192
    layer = DetectionLayer(min_confidence=0.3)
    together = layer(inputs).numpy()
    alone = [layer([x[image : image + 1] for x in inputs]).numpy()[0] for image in range(3)]
    np.testing.assert_array_equal(together, alone)


def by_hand(class_ids, scores, boxes, classes=4):
    """Return inputs `[1, n, ...]` with zero deltas."""
    rows = np.arange(len(boxes))
    probs = np.repeat((1 - np.array(scores))[:, None] / (classes - 1), classes, axis=1)
    probs[rows, class_ids] = scores
    deltas = np.zeros((1, len(boxes), classes, 4), np.float32)
    rois, probs = np.array([boxes], np.float32), np.array([probs], np.float32)
    return [rois, probs, deltas, *window_and_image((0, 0, 101, 101), (101, 101, 3))]


def found(layer, inputs):
    """Return class and score of each detection."""
    rows = layer(inputs).numpy()[0]
    return [(int(row[4]), round(float(row[5]), 2)) for row in rows if row[4] > 0]


def test_classes_do_not_suppress_each_other():
    box = [0.1, 0.1, 0.5, 0.5]
    inputs = by_hand([1, 2, 1, 3], [0.8, 0.9, 0.7, 0.6], [box] * 4)
    assert found(DetectionLayer(min_confidence=0), inputs) == [(2, 0.9), (1, 0.8), (3, 0.6)]


def test_background_is_not_detected():
    boxes = [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]]
    assert found(DetectionLayer(min_confidence=0), by_hand([0, 2], [0.9, 0.6], boxes)) == [(2, 0.6)]


def test_least_confidence_counts():
    boxes = [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0, 0.6, 0.2, 0.9]]
    inputs = by_hand([1, 1, 1], [0.75, 0.5, 0.25], boxes)
    # 0.5 is exact in binary, so that "at least" can be told from "more than".
    layer = DetectionLayer(min_confidence=0.5)
    assert found(layer, inputs) == [(1, 0.75), (1, 0.5)]
    candidates = layer.steps(*inputs)["candidates"].numpy()
    assert candidates.tolist() == [[True, True, False]]


def test_nothing_found():
    layer = DetectionLayer(min_confidence=0.9, max_instances=3)
    inputs = by_hand([1, 0], [0.5, 0.99], [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]])
    assert not layer(inputs).numpy().any()
    assert layer.steps(*inputs)["nms_indices"].numpy().tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("threshold", [0.3, 0.35])
def test_overlap_above_the_threshold_suppresses(threshold):
    # IoU 1/3: half of each box is common.
    boxes = [[0, 0, 1, 0.5], [0, 0.25, 1, 0.75]]
    rest = [(1, 0.6)] if threshold > 1 / 3 else []
    layer = DetectionLayer(min_confidence=0, nms_threshold=threshold)
    assert found(layer, by_hand([1, 1], [0.6, 0.9], boxes)) == [(1, 0.9), *rest]


def test_boxes_are_cut_to_the_window():
    inputs = by_hand([1], [0.9], [[0.0, 0.2, 1.0, 0.8]])
    # Rows 20 to 60 of 101: normalized 0.2 to (60 - 1) / 100.
    inputs[3] = np.float32([[20, 0, 60, 101]])
    row = DetectionLayer()(inputs).numpy()[0, 0]
    np.testing.assert_allclose(row, [0.2, 0.2, 0.59, 0.8, 1, 0.9], atol=1e-6)


def test_borders_as_limits():
    # With a shift of 0, rows 20 to 60 of 100 are 0.2 to 0.6.
    inputs = by_hand([1], [0.9], [[0.0, 0.2, 1.0, 0.8]])
    inputs[3:] = window_and_image((20, 0, 60, 100), (100, 100, 3))
    row = DetectionLayer(box_shift=0)(inputs).numpy()[0, 0]
    np.testing.assert_allclose(row, [0.2, 0.2, 0.6, 0.8, 1, 0.9], atol=1e-6)


def test_many_classes_do_not_overlap():
    # The same box for each of 120 classes; then twice, and the better one of each class stays.
    box = np.float32([0, 0, 1, 1])
    class_ids = np.tile(np.arange(1, 121), 2)
    scores = np.linspace(0.9, 0.6, 240)
    inputs = by_hand(class_ids, scores, [box] * 240, classes=121)
    layer = DetectionLayer(min_confidence=0, max_instances=240)
    assert [row[0] for row in found(layer, inputs)] == list(range(1, 121))


def test_keras_contract(tmp_path):
    inputs = by_hand([1, 2], [0.75, 0.875], [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]])
    expected = [[0.5, 0.5, 0.9, 0.9, 2, 0.875], [0, 0, 0.2, 0.2, 1, 0.75], [0] * 6]
    run_layer_test(
        lambda: DetectionLayer(max_instances=3), (inputs,), np.array([expected]), tmp_path
    )
