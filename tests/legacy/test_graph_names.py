"""The historical names of formulas on tensors."""

import numpy as np
import tensorflow as tf

from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.legacy import graph_names

BOXES = np.float32([[0, 0, 10, 20], [2, 3, 8, 9]])
OTHERS = np.float32([[1, 1, 11, 21], [0, 0, 8, 8]])


def test_formulas_equal_those_of_numpy():
    pairs = [
        (graph_names.overlaps_graph(BOXES, OTHERS), utils.compute_overlaps(BOXES, OTHERS)),
        (graph_names.box_refinement_graph(BOXES, OTHERS), utils.box_refinement(BOXES, OTHERS)),
        (
            graph_names.apply_box_deltas_graph(BOXES, OTHERS / 100),
            utils.apply_box_deltas(BOXES, OTHERS / 100),
        ),
        (graph_names.norm_boxes_graph(BOXES, (32, 64)), utils.norm_boxes(BOXES, (32, 64))),
        (
            graph_names.denorm_boxes_graph(BOXES / 32, (32, 64)),
            utils.denorm_boxes(BOXES / 32, (32, 64)),
        ),
    ]
    for ours, expected in pairs:
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_clip_boxes_by_hand():
    clipped = graph_names.clip_boxes_graph(BOXES, np.float32([1, 4, 9, 16]))
    assert np.asarray(clipped).tolist() == [[1, 4, 9, 16], [2, 4, 8, 9]]


def test_meta_is_taken_apart():
    meta = modellib.compose_image_meta(7, (50, 60, 3), (64, 64, 3), (7, 2, 57, 62), 1.5, [1, 0, 1])
    parts = graph_names.parse_image_meta_graph(np.float32([meta]))
    expected = {
        "image_id": [7],
        "original_image_shape": [[50, 60, 3]],
        "image_shape": [[64, 64, 3]],
        "window": [[7, 2, 57, 62]],
        "scale": [1.5],
        "active_class_ids": [[1, 0, 1]],
    }
    assert {name: np.asarray(part).tolist() for name, part in parts.items()} == expected


def test_log2():
    values = graph_names.log2_graph(np.float32([1, 8, 0.5]))
    np.testing.assert_allclose(values, [0, 3, -1], atol=1e-6)


def test_trim_zeros_graph():
    boxes = np.array([[0, 0, 1, 1], [0] * 4, [0, 0, 0, 2]], np.float32)
    rows, keep = graph_names.trim_zeros_graph(boxes)
    assert rows.numpy().tolist() == [[0, 0, 1, 1], [0, 0, 0, 2]]
    assert keep.numpy().tolist() == [True, False, True]


def test_batch_pack_graph():
    x = np.arange(12).reshape(3, 4)
    packed = graph_names.batch_pack_graph(x, np.array([2, 0, 3]), 3)
    assert packed.numpy().tolist() == [0, 1, 8, 9, 10]
    assert graph_names.batch_pack_graph(x, np.array([2, 0, 3]), 1).numpy().tolist() == [0, 1]


def test_batch_slice():
    x, y = np.array([[1, 2], [3, 4]]), np.array([10, 20])
    total = graph_names.batch_slice([x, y], lambda a, b: tf.reduce_sum(a) + b, 2)
    assert total.numpy().tolist() == [13, 27]
    doubled = graph_names.batch_slice(x, lambda a: a * 2, 2)
    assert doubled.numpy().tolist() == [[2, 4], [6, 8]]
    pair = graph_names.batch_slice([x], lambda a: [a, -a], 2, names=["plus", "minus"])
    assert [part.numpy().tolist() for part in pair] == [x.tolist(), (-x).tolist()]
