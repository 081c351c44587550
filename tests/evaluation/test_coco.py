"""COCO metrics against pycocotools as the second implementation."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from mrcnn.evaluation.coco import run_coco_eval
from tests.evaluation.conftest import coco_of, entry

NAMES = "AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl".split()


def by_hand(coco_gt, results, iou_type, image_ids=None, category_ids=None):
    """Run COCOeval as in its demonstration; return it and the lines that it prints."""
    key = {"bbox": "bbox", "segm": "segmentation"}[iou_type]
    results = [{k: r[k] for k in ("image_id", "category_id", "score", key)} for r in results]
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(coco_gt, coco_gt.loadRes(results), iou_type)
        if image_ids is not None:
            evaluator.params.imgIds = image_ids
        if category_ids is not None:
            evaluator.params.catIds = category_ids
        evaluator.evaluate()
        evaluator.accumulate()
        with contextlib.redirect_stdout(printed):
            evaluator.summarize()
    return evaluator, printed.getvalue()


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_twelve_numbers_equal_those_of_pycocotools(ground_truth, results, iou_type, capsys):
    given = copy.deepcopy(results)
    stats = run_coco_eval(ground_truth, results, iou_type)
    evaluator, printed = by_hand(ground_truth, results, iou_type)
    assert list(stats.stats) == NAMES
    np.testing.assert_array_equal(list(stats.stats.values()), evaluator.stats)
    assert len(set(evaluator.stats)) == 12
    assert all(0 < value < 1 for value in evaluator.stats)
    assert str(stats) + "\n" == printed
    assert results == given
    assert capsys.readouterr().out == ""


def test_images_and_categories_can_be_chosen(ground_truth, results):
    stats = run_coco_eval(ground_truth, results, "segm", image_ids=[0, 2], category_ids=[2])
    evaluator, _ = by_hand(ground_truth, results, "segm", [0, 2], [2])
    np.testing.assert_array_equal(list(stats.stats.values()), evaluator.stats)
    numpy_ids = run_coco_eval(ground_truth, results, "segm", np.array([2, 0]), np.array([2]))
    assert numpy_ids.stats == stats.stats
    assert [row["name"] for row in stats.by_class] == ["cat"]


def test_numbers_by_class_equal_those_of_each_class_alone(ground_truth, results):
    stats = run_coco_eval(ground_truth, results, "bbox")
    for row in stats.by_class:
        alone, _ = by_hand(ground_truth, results, "bbox", category_ids=[row["id"]])
        figures = [row["AP"], row["AP50"], row["AP75"], row["AR"]]
        np.testing.assert_array_equal(figures, alone.stats[[0, 1, 2, 8]])
    objects = [a["category_id"] for a in ground_truth.dataset["annotations"] if not a["iscrowd"]]
    assert [row["count"] for row in stats.by_class] == [objects.count(i) for i in (1, 2, 3)]
    table = stats.class_table().splitlines()
    best = max(stats.by_class, key=lambda row: row["AP"])
    assert table[0].split() == ["class", "objects", "AP", "AP50", "AP75", "AR"]
    assert table[1].split()[:3] == [best["name"], str(best["count"]), f"{best['AP']:.3f}"]
    assert table[3:] == ["1 more class has no objects in these images."]


def test_without_predictions_ap_is_zero_where_there_are_objects(ground_truth):
    stats = run_coco_eval(ground_truth, [], "segm")
    assert set(stats.stats.values()) == {0.0}
    assert [row["AP"] for row in stats.by_class] == [0.0, 0.0, -1.0]
    # Image 5 has no object.
    stats = run_coco_eval(ground_truth, [], "bbox", image_ids=[5])
    assert set(stats.stats.values()) == {-1.0}
    curve = stats.f1_curve()
    assert [len(values) for values in curve[:4]] == [0, 0, 0, 0]
    assert (curve.best_f1, curve.best_threshold) == (0.0, 1.0)


def square_scene(corners, scores, size=10, correct=None):
    """One image with squares at given corners; each is predicted exactly if it is correct."""
    shape = (100, 400)
    image = {"id": 7, "height": shape[0], "width": shape[1]}
    boxes = [(y, x, y + size, x + size) for y, x in corners]
    annotations = [
        entry(box, shape, id=i, image_id=7, category_id=1, iscrowd=0)
        for i, box in enumerate(boxes, 1)
    ]
    correct = [True] * len(boxes) if correct is None else correct
    results = []
    for (y1, x1, y2, x2), score, right in zip(boxes, scores, correct, strict=True):
        down = 0 if right else 40
        box = (y1 + down, x1, y2 + down, x2)
        results.append({**entry(box, shape), "image_id": 7, "category_id": 1, "score": score})
    return coco_of([image], annotations, [{"id": 1, "name": "square"}]), results


def test_precision_recall_and_f1_by_hand():
    corners = [(0, x) for x in (0, 20, 40, 60)]
    scene = square_scene(corners, [0.9, 0.8, 0.7, 0.6], correct=[True, False, True, False])
    stats = run_coco_eval(*scene, "segm")
    # Falling scores: right (precision 1/1 at recall 1/4), wrong, right (2/3 at 2/4), wrong. Of the
    # 101 recalls 0, 0.01 ... 1, the first 26 have precision 1, the next 25 have 2/3, the rest 0.
    precisions, recalls = stats.precision_recall(0.5)
    expected = np.concatenate([np.ones(26), np.full(25, 2 / 3), np.zeros(50)])
    np.testing.assert_allclose(precisions, expected, atol=1e-12)
    np.testing.assert_allclose(recalls, np.arange(101) / 100, atol=1e-12)
    np.testing.assert_allclose(stats.stats["AP"], (26 + 25 * 2 / 3) / 101)
    np.testing.assert_array_equal(stats.precision_recall(0.95, class_id=1)[0], precisions)
    # F1 = 2 hits / (predictions + objects).
    curve = stats.f1_curve(0.5)
    np.testing.assert_array_equal(curve.thresholds, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 2 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 2 / 4, 2 / 4])
    np.testing.assert_allclose(curve.f1, [2 / 5, 2 / 6, 4 / 7, 4 / 8])
    assert (curve.best_f1, curve.best_threshold) == (4 / 7, 0.7)


def test_a_threshold_takes_all_predictions_of_its_score():
    scene = square_scene(
        [(0, x) for x in (0, 20, 40)], [0.5, 0.5, 0.2], correct=[False, True, True]
    )
    curve = run_coco_eval(*scene, "bbox").f1_curve(0.75, class_id=1)
    np.testing.assert_array_equal(curve.thresholds, [0.5, 0.2])
    np.testing.assert_allclose(curve.f1, [2 / 5, 4 / 6])


def test_predictions_on_a_crowd_are_ignored():
    coco_gt, results = square_scene([(0, 0), (0, 20)], [0.9, 0.8])
    coco_gt.dataset["annotations"][1]["iscrowd"] = 1
    curve = run_coco_eval(coco_gt, results, "segm").f1_curve()
    np.testing.assert_array_equal(curve.thresholds, [0.9])
    assert curve.best_f1 == 1


def test_curves_of_all_classes_leave_out_classes_without_objects(ground_truth, results):
    stats = run_coco_eval(ground_truth, results, "segm")
    mean, _ = stats.precision_recall(0.75)
    cells, cats = (stats.precision_recall(0.75, class_id=i)[0] for i in (1, 2))
    np.testing.assert_allclose(mean, (cells + cats) / 2)
    np.testing.assert_array_equal(stats.precision_recall(0.75, class_id=3)[0], np.full(101, -1))


def test_more_than_a_hundred_objects_need_max_dets():
    corners = [(y, x) for y in range(0, 100, 20) for x in range(0, 400, 10)][:150]
    scene = square_scene(corners, np.linspace(1, 0.1, 150).tolist(), size=8)
    default = run_coco_eval(*scene, "segm")
    # 100 of 150 found: 67 of the 101 recalls are reached (0 ... 0.66).
    np.testing.assert_allclose(default.stats["AP"], 67 / 101)
    more = run_coco_eval(*scene, "segm", max_dets=150)
    np.testing.assert_allclose(more.stats["AP"], 1)
    np.testing.assert_allclose([more.stats["AR10"], more.stats["AR150"]], [10 / 150, 1])
    assert "maxDets=150 ] = 1.000" in str(more).splitlines()[0]


def change(results, **values):
    return [{**results[0], **values}, *results[1:]]


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"image_id": 99}, {}, "results file for other images: 1 of its image ids, such as 99"),
        ({"category_id": 12}, {}, r"category_id 12, .* the ground truth: \[1, 2, 3\]"),
        ({"segmentation": {"size": [28, 28], "counts": b""}}, {}, "mask of 28 x 28 pixels; the im"),
        ({"segmentation": [[0, 0, 1, 1, 2, 0]]}, {}, "has a mask that is not a COCO RLE"),
        ({}, {"iou_type": "keypoints"}, 'iou_type is "keypoints"; accepted are "bbox" and "segm"'),
        ({}, {"image_ids": [1, 50]}, "image_ids has 50, which is not in the ground truth"),
        ({}, {"category_ids": [9]}, "category_ids has 9, which is not in the ground truth"),
        ({}, {"max_dets": 10}, "max_dets is 10; it must be more than 10"),
    ],
)
def test_inconsistent_arguments_are_refused(ground_truth, results, changes, arguments, message):
    given = {"iou_type": "segm", **arguments}
    with pytest.raises(ValueError, match=message):
        run_coco_eval(ground_truth, change(results, **changes), **given)


def test_results_need_the_geometry_that_is_evaluated(ground_truth, results):
    del results[3]["bbox"]
    with pytest.raises(ValueError, match='result of image . has no "bbox"'):
        run_coco_eval(ground_truth, results, "bbox")
    assert run_coco_eval(ground_truth, results, "segm").stats["AP"] > 0


def test_unknown_thresholds_and_classes_are_refused(ground_truth):
    stats = run_coco_eval(ground_truth, [], "segm")
    with pytest.raises(ValueError, match="iou is 0.52; accepted are 0.50, 0.55"):
        stats.f1_curve(0.52)
    with pytest.raises(ValueError, match=r"class_id is 4; evaluated were \[1, 2, 3\]"):
        stats.precision_recall(0.5, class_id=4)
