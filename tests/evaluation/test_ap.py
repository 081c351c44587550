"""Average precision: the original's values, an image by hand, images without objects."""

from pathlib import Path

import numpy as np
import pytest

from mrcnn.evaluation.ap import compute_ap, compute_ap_range, compute_matches, compute_recall
from mrcnn.ops.masks import extract_bboxes

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")


def golden_image():
    masks = {
        name: np.unpackbits(GOLDEN[name]).reshape(200, 200, -1).astype(bool)
        for name in ("gt_masks", "pred_masks")
    }
    return (
        GOLDEN["gt_boxes"],
        GOLDEN["gt_ids"],
        masks["gt_masks"],
        GOLDEN["pred_boxes"],
        GOLDEN["pred_ids"],
        GOLDEN["pred_scores"],
        masks["pred_masks"],
    )


def columns(*spans):
    """One mask `[1, 20]` per span of columns, and their boxes."""
    masks = np.zeros((1, 20, len(spans)), bool)
    for index, (start, stop) in enumerate(spans):
        masks[:, start:stop, index] = True
    return extract_bboxes(masks), masks


def image(gt_spans, gt_class_ids, spans, class_ids, scores):
    gt_boxes, gt_masks = columns(*gt_spans)
    boxes, masks = columns(*spans)
    ids = np.array(gt_class_ids, np.int32), np.array(class_ids, np.int32)
    return gt_boxes, ids[0], gt_masks, boxes, ids[1], np.array(scores, np.float32), masks


@pytest.mark.parametrize("threshold", ["0.5", "0.7", "0.9"])
def test_ap_equals_the_original(threshold):
    ap, precisions, recalls, overlaps = compute_ap(*golden_image(), float(threshold))
    assert ap == GOLDEN[f"ap/{threshold}"]
    np.testing.assert_array_equal(precisions, GOLDEN[f"precisions/{threshold}"])
    np.testing.assert_array_equal(recalls, GOLDEN[f"recalls/{threshold}"])
    np.testing.assert_array_equal(overlaps, GOLDEN["mask_overlaps"])


def test_ap_range_equals_the_original(capsys):
    assert compute_ap_range(*golden_image()) == GOLDEN["ap_range"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[0] == "AP @0.50:\t 0.652"
    assert lines[-1] == "AP @0.50-0.95:\t 0.208"


def test_ap_range_is_quiet_and_takes_thresholds(capsys):
    thresholds = np.array([0.5, 0.7])
    mean = compute_ap_range(*golden_image(), iou_thresholds=thresholds, verbose=0)
    assert mean == (GOLDEN["ap/0.5"] + GOLDEN["ap/0.7"]) / 2
    assert capsys.readouterr().out == ""


def test_an_overlap_equal_to_the_threshold_is_a_match():
    # 2 of 4 columns are common, then 3 of 4.
    assert compute_ap(*image([(0, 4)], [1], [(0, 2)], [1], [0.9]), 0.5)[0] == 1
    assert compute_ap(*image([(0, 4)], [1], [(0, 3)], [1], [0.9]), 0.75)[0] == 1
    assert compute_ap(*image([(0, 4)], [1], [(0, 3)], [1], [0.9]), 0.76)[0] == 0


def test_recall_equals_the_original():
    recall, positive_ids = compute_recall(GOLDEN["pred_boxes"], GOLDEN["gt_boxes"], 0.5)
    assert recall == GOLDEN["recall"]
    # The first six predictions are the objects, shifted; the last two are false alarms.
    assert positive_ids.tolist() == [0, 1, 2, 3, 4, 5]


def test_matches_by_hand():
    # By falling score: the second prediction takes object 0; the third has the wrong class for
    # object 1; the first finds object 0 taken, and overlaps object 1 by 1/3 only.
    matches = compute_matches(
        *image(
            [(0, 4), (4, 8)],
            [1, 2],
            [(2, 6), (0, 4), (4, 8)],
            [1, 1, 1],
            [0.7, 0.9, 0.8],
        )
    )
    gt_match, pred_match, overlaps = matches
    assert gt_match.tolist() == [0, -1]
    assert pred_match.tolist() == [0, -1, -1]
    np.testing.assert_allclose(overlaps, [[1, 0], [0, 1], [1 / 3, 1 / 3]])


def test_second_best_object_of_the_class_is_taken():
    # Both predictions overlap object 0 most; the weaker one is left with object 1 (IoU 3 / 7).
    arguments = image([(0, 6), (3, 8)], [1, 1], [(0, 6), (1, 6)], [1, 1], [0.9, 0.8])
    gt_match, pred_match, _ = compute_matches(*arguments, iou_threshold=0.4)
    assert gt_match.tolist() == [0, 1]
    assert pred_match.tolist() == [0, 1]
    gt_match, _, _ = compute_matches(*arguments, iou_threshold=0.4, score_threshold=0.45)
    assert gt_match.tolist() == [0, -1]


def test_ap_by_hand():
    # Right, wrong, right; three objects. Precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3. The
    # area: 1/3 at 1 and 1/3 at 2/3.
    ap, precisions, recalls, _ = compute_ap(
        *image(
            [(0, 4), (4, 8), (8, 12)],
            [1, 1, 1],
            [(0, 4), (14, 18), (8, 12)],
            [1, 1, 1],
            [0.9, 0.8, 0.7],
        )
    )
    assert ap == pytest.approx(5 / 9)
    np.testing.assert_allclose(precisions, [1, 1, 2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(recalls, [0, 1 / 3, 1 / 3, 2 / 3, 1])


def test_padding_changes_nothing():
    gt_boxes, gt_ids, gt_masks, boxes, ids, scores, masks = golden_image()
    padding = np.zeros((3, 4), np.int64), np.zeros((200, 200, 3), bool)
    padded = (
        np.concatenate([gt_boxes, padding[0]]),
        np.concatenate([gt_ids, [0] * 3]),
        np.concatenate([gt_masks, padding[1]], axis=-1),
        np.concatenate([boxes, padding[0]]),
        np.concatenate([ids, [0] * 3]),
        np.concatenate([scores, [0] * 3]),
        np.concatenate([masks, padding[1]], axis=-1),
    )
    assert compute_ap(*padded)[0] == GOLDEN["ap/0.5"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (image([], [], [], [], []), 1),
        (image([], [], [(0, 4)], [1], [0.9]), 0),
        (image([(0, 4)], [1], [], [], []), 0),
    ],
    ids=["nothing to find, nothing found", "false alarm", "miss"],
)
def test_ap_without_objects_or_predictions(arguments, expected):
    ap, precisions, recalls, overlaps = compute_ap(*arguments)
    assert ap == expected
    assert len(precisions) == len(recalls) == len(arguments[4]) + 2
    assert np.isfinite(precisions).all()
    assert np.isfinite(recalls).all()
    assert overlaps.shape == (len(arguments[4]), len(arguments[1]))
    assert compute_ap_range(*arguments, verbose=0) == expected


def test_recall_without_objects_or_predictions():
    box, nothing = np.array([[0, 0, 4, 4]]), np.zeros((0, 4))
    assert compute_recall(box, nothing, 0.5)[0] == 1
    recall, positive_ids = compute_recall(nothing, box, 0.5)
    assert (recall, len(positive_ids)) == (0, 0)


def test_two_predictions_on_one_object_count_once():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 5]])
    recall, positive_ids = compute_recall(boxes, np.array([[0, 0, 4, 4], [9, 9, 12, 12]]), 0.5)
    assert recall == 0.5
    assert positive_ids.tolist() == [0, 1]


def test_mini_masks_are_refused():
    gt_boxes, gt_ids, gt_masks, *predictions = golden_image()
    with pytest.raises(ValueError, match=r"given: \(200, 200\) and \(56, 56\)"):
        compute_ap(gt_boxes, gt_ids, gt_masks[:56, :56], *predictions)
