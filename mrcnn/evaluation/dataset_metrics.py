"""COCO metrics of a model on any `Dataset`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from mrcnn.data.checks import check_size
from mrcnn.data.dataset import Dataset
from mrcnn.evaluation.coco import run_coco_eval
from mrcnn.evaluation.coco_stats import CocoStats
from mrcnn.evaluation.confusion import confusion_matrix
from mrcnn.evaluation.ground_truth import coco_ground_truth


@dataclass(frozen=True)
class DatasetMetrics:
    """Result of `compute_coco_metrics`. `str()` gives a report.

    Attributes:
        bbox, segm: `CocoStats` of boxes and of masks; None where not requested.
        class_names: names by class id.
        ground_truth: `pycocotools.coco.COCO`.
        results: COCO result dicts of all detections, with boxes and masks.
    """

    bbox: CocoStats | None
    segm: CocoStats | None
    class_names: list[str]
    ground_truth: Any = field(repr=False)
    results: list[dict] = field(repr=False)

    def confusion_matrix(
        self, iou: float = 0.5, score: float = 0.5, iou_type: str = "segm"
    ) -> np.ndarray:
        """Return objects by true class (row) and predicted class (column), see `confusion`."""
        classes = len(self.class_names)
        return confusion_matrix(self.ground_truth, self.results, iou_type, classes, iou, score)

    def __str__(self) -> str:
        parts = []
        for title, stats in (("Boxes", self.bbox), ("Masks", self.segm)):
            if stats is not None:
                best = stats.f1_curve().summary()
                parts.append(
                    f"{title}\n{stats}\n{stats.class_table()}\nBest F1 at IoU 0.50: {best}."
                )
        return "\n\n".join(parts)


def compute_coco_metrics(
    dataset: Dataset,
    model: Any,
    image_ids: Iterable[int] | None = None,
    limit: int | None = None,
    iou_types: Sequence[str] = ("bbox", "segm"),
    verbose: int = 1,
    max_dets: int = 100,
    ground_truth: Any = None,
) -> DatasetMetrics:
    """Detect objects in the images of a dataset, and evaluate by the rules of COCO.

    Papers report these numbers, not those of `compute_ap`.

    `DETECTION_MIN_CONFIDENCE` drops detections before they are counted here, and each true positive
    among them would have raised the AP a little. COCO results are usually made with 0.05 or less;
    with the default 0.7 the AP is lower, and describes the detections that users see.

    Args:
        dataset: a prepared `Dataset`.
        model: a `MaskRCNN` in inference mode; one in training mode has `inference_model()`.
        image_ids: ids of the images to evaluate; all by default.
        limit: number of images to evaluate, at equal distances: the same ones every time.
        iou_types: "bbox", "segm" or both.
        verbose: 1 shows progress.
        max_dets: detections per image and class that count. 100 is COCO's; where images have more
            objects (cells), raise this and `DETECTION_MAX_INSTANCES`.
        ground_truth: result of `coco_ground_truth` for these images, to save time.

    Raises:
        ValueError: if there are no images, or a mask does not have the size of its image.
        RuntimeError: if the model is in training mode.
    """
    image_ids = choose_images(dataset, image_ids, limit)
    if ground_truth is None:
        watched = _progress(image_ids, "Reading the ground truth", verbose)
        ground_truth = coco_ground_truth(dataset, watched)
    results = _detect(dataset, model, image_ids, ground_truth, verbose)
    stats = dict.fromkeys(("bbox", "segm"))
    for iou_type in iou_types:
        stats[iou_type] = run_coco_eval(
            ground_truth, results, iou_type, image_ids, max_dets=max_dets
        )
    return DatasetMetrics(
        **stats, class_names=list(dataset.class_names), ground_truth=ground_truth, results=results
    )


def choose_images(
    dataset: Dataset, image_ids: Iterable[int] | None = None, limit: int | None = None
) -> list[int]:
    """Return the images to evaluate: `limit` of `image_ids`, or of all, at equal distances.

    Raises:
        ValueError: if there are no images, or limit is not positive.
    """
    ids = [int(i) for i in (dataset.image_ids if image_ids is None else image_ids)]
    if not ids:
        raise ValueError("There are no images to evaluate; was the dataset prepared?")
    if limit is None or limit >= len(ids):
        return ids
    if limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for all images.")
    return [ids[i * len(ids) // limit] for i in range(limit)]


def _detect(dataset, model, image_ids, ground_truth, verbose):
    """Return the detections of a model as COCO result dicts with the class ids of the dataset."""
    results, size = [], max(1, model.config.BATCH_SIZE)
    watched = iter(_progress(image_ids, "Detecting", verbose))
    while batch := list(itertools.islice(watched, size)):
        images = [dataset.load_image(image_id) for image_id in batch]
        for image_id, image in zip(batch, images, strict=True):
            entry = ground_truth.imgs[image_id]
            check_size(dataset, image_id, image.shape, (entry["height"], entry["width"]))
        detections = model.detect(images, mask_format="rle")
        for image_id, detected in zip(batch, detections, strict=True):
            results += as_coco_results(image_id, detected)
    return results


def as_coco_results(image_id, detected):
    """Convert the detections of an image, made with `mask_format="rle"`, to COCO result dicts."""
    columns = (detected[name] for name in ("class_ids", "scores", "masks"))
    # Numbers of Python, for JSON: int of whole pixels, float of fractions.
    boxes = np.asarray(detected["rois"]).tolist()
    return [
        {
            "image_id": int(image_id),
            "category_id": int(class_id),
            "score": float(score),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "segmentation": rle,
        }
        for (y1, x1, y2, x2), class_id, score, rle in zip(boxes, *columns, strict=True)
    ]


def _progress(items, title, verbose):
    # With disable=None, tqdm draws on terminals only.
    return tqdm(items, title, unit="image", leave=False, disable=None if verbose else True)
