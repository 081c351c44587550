"""From a `Dataset` and a model to the metrics; the model is a fake with given detections."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.evaluation.dataset_metrics import as_coco_results, choose_images
from mrcnn.evaluation.ground_truth import coco_ground_truth
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.rle import encode_mask
from tests.evaluation.test_ground_truth import Scenes, block, ell, stack


class FakeModel:
    """Model that returns given detections, per image a list of (mask, class id, score)."""

    def __init__(self, detections, batch_size=2):
        self.detections, self.config = list(detections), SimpleNamespace(BATCH_SIZE=batch_size)
        self.batches = []

    def detect(self, images, verbose=0, mask_format="full"):
        assert mask_format == "rle"
        self.batches.append(len(images))
        return [self._result(self.detections.pop(0)) for _ in images]

    @staticmethod
    def _result(found):
        masks = stack(*(mask for mask, _, _ in found))
        return {
            "rois": extract_bboxes(masks),
            "class_ids": np.array([class_id for _, class_id, _ in found], np.int32),
            "scores": np.array([score for _, _, score in found], np.float32),
            "masks": [encode_mask(mask) for mask, _, _ in found],
        }


@pytest.fixture
def dataset():
    """Three images: a cat (an L) and a dog; nothing; a dog."""
    scenes = [
        (stack(ell(), block(10, 20, 20, 30)), [1, 2]),
        (stack(), []),
        (stack(block(0, 0, 8, 10)), [2]),
    ]
    return Scenes(scenes)


# The cat's box is right, but 8 of its 20 pixels are the L; one dog is found, one taken for a cat;
# in the empty image a dog is invented.
DETECTIONS = [
    [(block(10, 20, 20, 30), 2, 0.75), (block(4, 2, 9, 6), 1, 0.5)],
    [(block(0, 0, 5, 5), 2, 0.875)],
    [(block(0, 0, 8, 10), 1, 0.625)],
]


def test_metrics_by_hand(dataset, capsys):
    model = FakeModel(DETECTIONS)
    metrics = utils.compute_coco_metrics(dataset, model, verbose=0)
    assert model.batches == [2, 1]
    # Cats: wrong (0.625), then the cat, whose box is exact and whose mask has IoU 8/20: precision
    # 1/2 at all 101 recalls, or 0. Dogs: invented (0.875), right: 1/2 up to recall 0.5, 51 of 101.
    dogs = 0.5 * 51 / 101
    boxes = {row["name"]: row["AP"] for row in metrics.bbox.by_class}
    masks = {row["name"]: row["AP"] for row in metrics.segm.by_class}
    assert boxes == pytest.approx({"cat": 0.5, "dog": dogs})
    assert masks == pytest.approx({"cat": 0.0, "dog": dogs})
    assert metrics.bbox.stats["AP"] == pytest.approx((0.5 + dogs) / 2)
    assert metrics.segm.stats["AP50"] == pytest.approx(dogs / 2)
    assert [row["count"] for row in metrics.segm.by_class] == [1, 2]
    # Boxes by falling score: wrong, right, wrong, right, of three objects.
    curve = metrics.bbox.f1_curve()
    np.testing.assert_allclose(curve.f1, [0, 2 / 5, 2 / 6, 4 / 7])
    assert (curve.best_f1, curve.best_threshold) == (4 / 7, 0.5)
    confusion = metrics.confusion_matrix(iou_type="bbox")
    np.testing.assert_array_equal(confusion, [[0, 0, 1], [0, 1, 0], [0, 1, 1]])
    confusion = metrics.confusion_matrix()
    np.testing.assert_array_equal(confusion, [[0, 1, 1], [1, 0, 0], [0, 1, 1]])
    assert confusion[1:].sum() == 3
    report = str(metrics)
    assert report.count("Average Precision") == 12
    assert "Best F1 at IoU 0.50: 0.571, with scores of 0.50 and more." in report
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("found", "reason"),
    [([], "nothing was detected"), ([(block(0, 0, 3, 3), 2, 0.9)], "no detection is right")],
)
def test_no_best_f1_without_a_right_detection(dataset, found, reason):
    report = str(utils.compute_coco_metrics(dataset, FakeModel([found, [], []]), verbose=0))
    assert report.count(f"Best F1 at IoU 0.50: none, {reason}.") == 2


def test_only_requested_images_and_types_are_evaluated(dataset):
    model = FakeModel([DETECTIONS[2], DETECTIONS[0]], batch_size=1)
    metrics = utils.compute_coco_metrics(
        dataset, model, image_ids=[2, 0], iou_types=["bbox"], verbose=0, max_dets=300
    )
    assert model.batches == [1, 1]
    assert metrics.segm is None
    assert "Masks" not in str(metrics)
    assert metrics.bbox.stats["AR300"] == pytest.approx((1 + 0.5) / 2)
    # Without the invented dog: right, at recall 1/2.
    assert metrics.bbox.by_class[1]["AP"] == pytest.approx(51 / 101)


def test_images_at_equal_distances(dataset):
    many = Scenes([(stack(), [])] * 10)
    assert choose_images(many, limit=4) == [0, 2, 5, 7]
    assert choose_images(many, image_ids=np.array([7, 3, 9]), limit=2) == [7, 3]
    assert choose_images(many, limit=99) == choose_images(many) == list(range(10))
    model = FakeModel([[], []], batch_size=8)
    metrics = utils.compute_coco_metrics(dataset, model, limit=2, verbose=0)
    assert sorted(metrics.ground_truth.getImgIds()) == [0, 1]
    assert model.batches == [2]
    assert set(metrics.segm.stats.values()) == {0.0, -1.0}
    assert metrics.segm.stats["AP"] == 0
    with pytest.raises(ValueError, match="limit is 0"):
        choose_images(dataset, limit=0)
    with pytest.raises(ValueError, match="no images to evaluate"):
        choose_images(Scenes([]))


def test_given_ground_truth_is_not_computed_again(dataset, monkeypatch):
    ground_truth = coco_ground_truth(dataset)
    monkeypatch.delattr(Scenes, "load_mask")
    metrics = utils.compute_coco_metrics(
        dataset, FakeModel(DETECTIONS), verbose=0, ground_truth=ground_truth
    )
    assert metrics.bbox.by_class[0]["AP"] == pytest.approx(0.5)


def test_progress_is_shown_on_a_terminal(dataset, monkeypatch, capsys):
    utils.compute_coco_metrics(dataset, FakeModel(DETECTIONS), verbose=1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    utils.compute_coco_metrics(dataset, FakeModel(DETECTIONS), verbose=1)
    shown = capsys.readouterr().err
    assert "Reading the ground truth:   0%" in shown
    assert re.search(r"Detecting: .*0/3 .*\?image/s", shown)


def test_masks_of_another_size_are_named(dataset):
    dataset.size = (30, 20)
    with pytest.raises(
        ValueError,
        match=r"image 0 \(photo0.png\): the masks have 20x30 .* image has 30x20",
    ):
        utils.compute_coco_metrics(dataset, FakeModel(DETECTIONS), verbose=0)


def test_boxes_of_fractions_of_pixels_stay_so():
    found = {"class_ids": np.array([2]), "scores": np.float32([0.5]), "masks": [{}]}
    whole = as_coco_results(7, found | {"rois": np.array([[1, 2, 11, 22]], np.int32)})
    assert json.dumps(whole[0]["bbox"]) == "[2, 1, 20, 10]"
    exact = as_coco_results(7, found | {"rois": np.float32([[1.25, 2.5, 11, 22.75]])})
    assert json.dumps(exact[0]["bbox"]) == "[2.5, 1.25, 20.25, 9.75]"
