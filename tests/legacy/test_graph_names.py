"""The historical names of formulas on tensors."""

import numpy as np

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
