import numpy as np
import pytest

from mrcnn.evaluation.confusion import confusion_matrix
from tests.evaluation.conftest import coco_of, entry

SHAPE = (60, 100)


def scene(objects, predictions):
    """Ground truth and results of squares: (x, class), and (x, class, score), in one image."""
    annotations = [
        entry((0, x, 20, x + 20), SHAPE, id=i, image_id=3, category_id=abs(c), iscrowd=int(c < 0))
        for i, (x, c) in enumerate(objects, 1)
    ]
    results = [
        {**entry((0, x, 20, x + 20), SHAPE), "image_id": 3, "category_id": c, "score": score}
        for x, c, score in predictions
    ]
    images = [{"id": 3, "height": 60, "width": 100}, {"id": 4, "height": 60, "width": 100}]
    return coco_of(images, annotations, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]), results


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_counts_by_hand(iou_type):
    objects = [(0, 1), (30, 1), (60, 2)]
    # Exact; IoU 18/22, taken for the other class; nothing there; below the score.
    predictions = [(0, 1, 0.9), (32, 2, 0.8), (80, 2, 0.7), (60, 2, 0.4)]
    matrix = confusion_matrix(*scene(objects, predictions), iou_type, 3)
    np.testing.assert_array_equal(matrix, [[0, 0, 1], [0, 1, 1], [1, 0, 0]])
    matrix = confusion_matrix(*scene(objects, predictions), iou_type, 3, score=0.4)
    np.testing.assert_array_equal(matrix, [[0, 0, 1], [0, 1, 1], [0, 0, 1]])
    matrix = confusion_matrix(*scene(objects, predictions), iou_type, 3, iou=0.85)
    np.testing.assert_array_equal(matrix, [[0, 0, 2], [1, 1, 0], [1, 0, 0]])


def test_better_scores_choose_first():
    # Both overlap the object: the second fits better, the first is surer.
    matrix = confusion_matrix(*scene([(10, 1)], [(12, 2, 0.9), (10, 1, 0.8)]), "segm", 3)
    np.testing.assert_array_equal(matrix, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    # Of two objects it takes the one that it overlaps more, and leaves the other.
    matrix = confusion_matrix(*scene([(14, 2), (10, 1)], [(11, 1, 0.9), (13, 2, 0.8)]), "segm", 3)
    np.testing.assert_array_equal(matrix, [[0, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_an_overlap_equal_to_the_threshold_is_a_match():
    # 8 of 32 columns are common: IoU 0.25.
    matrix = confusion_matrix(*scene([(0, 1)], [(12, 2, 0.9)]), "segm", 3, iou=0.25)
    np.testing.assert_array_equal(matrix, [[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    # Half of the prediction lies on the crowd, which is what counts there.
    matrix = confusion_matrix(*scene([(0, -1)], [(10, 2, 0.9)]), "segm", 3, iou=0.5)
    np.testing.assert_array_equal(matrix, np.zeros((3, 3)))


def test_crowds_are_ignored():
    objects = [(0, -1), (40, 1)]
    predictions = [(0, 1, 0.9), (1, 1, 0.8), (40, 1, 0.7)]
    matrix = confusion_matrix(*scene(objects, predictions), "segm", 3)
    np.testing.assert_array_equal(matrix, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_no_predictions_and_no_objects():
    matrix = confusion_matrix(*scene([(0, 1), (40, 2)], []), "bbox", 3)
    np.testing.assert_array_equal(matrix, [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    matrix = confusion_matrix(*scene([], [(0, 1, 0.9)]), "bbox", 3)
    np.testing.assert_array_equal(matrix, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
