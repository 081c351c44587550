"""COCO metrics of a model on any `Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrcnn.data.checks import describe_image
from mrcnn.data.dataset import Dataset
from mrcnn.evaluation.coco import run_coco_eval
from mrcnn.evaluation.coco_stats import CocoStats
from mrcnn.evaluation.confusion import confusion_matrix
from mrcnn.evaluation.ground_truth import coco_ground_truth


@dataclass(frozen=True)
class DatasetMetrics:
    """The result of `compute_coco_metrics`. `str()` gives a report.

    Attributes:
        bbox, segm: `CocoStats` of boxes and of masks, with the twelve numbers of COCO, AP by class,
            curves of precision over recall and of F1; None where it was not asked for.
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
        """Objects by class (row) and predicted class (column), 0 for none: see `confusion`."""
        classes = len(self.class_names)
        return confusion_matrix(self.ground_truth, self.results, iou_type, classes, iou, score)

    def __str__(self) -> str:
        parts = []
        for title, stats in (("Boxes", self.bbox), ("Masks", self.segm)):
            if stats is not None:
                best = stats.f1_curve()
                parts.append(
                    f"{title}\n{stats}\n{stats.class_table()}\n"
                    f"Best F1 at IoU 0.50: {best.best_f1:.3f}, with scores of "
                    f"{best.best_threshold:.2f} and more."
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
    """Detect in the images of a dataset, and evaluate by the rules of COCO.

    These are the numbers that papers report; those of `compute_ap` are not.

    `DETECTION_MIN_CONFIDENCE` drops detections before they are counted here, and each of them that
    is right would have raised the AP a little. COCO results are usually made with 0.05 or less;
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

    Returns:
        A `DatasetMetrics`; `print` it for a report.

    Raises:
        ValueError: there are no images, or a mask does not have the size of its image.
        RuntimeError: the model is in training mode.
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
    """Ids of the images to evaluate: `limit` at equal distances of those given, or of all.

    Raises:
        ValueError: there are none, or limit is not positive.
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
    """Detections of a model as COCO result dicts with the class ids of the dataset."""
    results = []
    size = max(1, model.config.BATCH_SIZE)
    batches = [image_ids[i : i + size] for i in range(0, len(image_ids), size)]
    for batch in _progress(batches, "Detecting", verbose, len(image_ids)):
        images = [dataset.load_image(image_id) for image_id in batch]
        for image_id, image in zip(batch, images, strict=True):
            entry = ground_truth.imgs[image_id]
            expected = entry["height"], entry["width"]
            if image.shape[:2] != expected:
                raise ValueError(
                    f"{describe_image(dataset, image_id)} has {image.shape[0]} x {image.shape[1]} "
                    f"pixels, its masks have {expected[0]} x {expected[1]}."
                )
        detections = model.detect(images, mask_format="rle")
        for image_id, detected in zip(batch, detections, strict=True):
            results += as_coco_results(image_id, detected)
    return results


def as_coco_results(image_id, detected):
    """Detections of an image, made with `mask_format="rle"`, as COCO result dicts."""
    columns = (detected[name] for name in ("rois", "class_ids", "scores", "masks"))
    return [
        {
            "image_id": int(image_id),
            "category_id": int(class_id),
            "score": float(score),
            "bbox": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
            "segmentation": rle,
        }
        for (y1, x1, y2, x2), class_id, score, rle in zip(*columns, strict=True)
    ]


def _progress(items: Sequence, title: str, verbose: int, total: int | None = None) -> Iterator:
    """The items, with a bar that counts them, or, if they are lists, the `total` in them."""
    if not verbose:
        yield from items
        return
    # The model has loaded Keras already.
    import keras

    print(title)
    bar = keras.utils.Progbar(len(items) if total is None else total)
    for item in items:
        yield item
        bar.add(1 if total is None else len(item))
