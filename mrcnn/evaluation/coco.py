"""AP and AR of boxes and masks by the rules of COCO, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mrcnn.evaluation.coco_stats import AREAS, ClassMatches, CocoStats, coco_numbers

_GEOMETRY = {"bbox": "bbox", "segm": "segmentation"}


def run_coco_eval(
    coco_gt: Any,
    results: Sequence[dict],
    iou_type: str,
    image_ids: Iterable[int] | None = None,
    category_ids: Iterable[int] | None = None,
    max_dets: int = 100,
) -> CocoStats:
    """Evaluate predictions by the rules of COCO, as `pycocotools.cocoeval.COCOeval` does.

    Nothing is printed. An empty list of predictions is accepted: its AP is 0 where there are
    objects.

    Args:
        coco_gt: `pycocotools.coco.COCO` with the ground truth.
        results: COCO result dicts: image_id, category_id, score, and "bbox" `[x, y, width, height]`
            in pixels or "segmentation", a COCO RLE of the size of the image. A dict may have both;
            the size of a predicted mask is then its own and not that of the box.
        iou_type: "bbox" or "segm".
        image_ids: ids of the images to evaluate; all by default.
        category_ids: ids of the categories to evaluate; all by default.
        max_dets: predictions per image and class that count, the best first. The default is COCO's.
            Raise it where images have more objects (cells); the numbers are then not those that
            papers report.

    Returns:
        A `CocoStats`.

    Raises:
        ValueError: results, image_ids or category_ids do not belong to `coco_gt`, a result has no
            box or mask, or a mask of another size than its image, `iou_type` is unknown, or
            max_dets is not above 10.
    """
    from pycocotools.cocoeval import COCOeval

    if iou_type not in _GEOMETRY:
        raise ValueError(f'iou_type is "{iou_type}"; accepted are "bbox" and "segm".')
    if max_dets <= 10:
        raise ValueError(f"max_dets is {max_dets}; it must be more than 10.")
    image_ids = _known(image_ids, coco_gt.getImgIds(), "image_ids")
    category_ids = _known(category_ids, coco_gt.getCatIds(), "category_ids")
    coco_results = _load_results(coco_gt, results, _GEOMETRY[iou_type])
    # pycocotools prints its progress.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(coco_gt, coco_results, iou_type)
        evaluator.params.imgIds = image_ids
        evaluator.params.catIds = category_ids
        evaluator.params.maxDets = [1, 10, max_dets]
        evaluator.evaluate()
        evaluator.accumulate()
    return _stats(evaluator, coco_gt, max_dets)


def _known(ids, known, name):
    """Sorted `ids`, by default all that are known; ValueError if one is not known."""
    if ids is None:
        return sorted(known)
    # Plain ints, as in COCO's JSON.
    ids = sorted({int(i) for i in ids})
    strangers = sorted(set(ids) - set(known))
    if strangers:
        raise ValueError(
            f"{name} has {strangers[0]}, which is not in the ground truth "
            f"({len(strangers)} unknown ids; the ground truth has {len(known)})."
        )
    return ids


def _load_results(coco_gt, results, geometry):
    """Results as the COCO object that COCOeval takes.

    Not by `COCO.loadRes`: it fails on an empty list, changes the dicts, and takes the area of a box
    for that of the mask beside it.
    """
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO

    images, categories = coco_gt.imgs, coco_gt.cats
    strangers = {result["image_id"] for result in results} - set(images)
    if strangers:
        raise ValueError(
            f"This is a results file for other images: {len(strangers)} of its image ids, such as "
            f"{next(iter(strangers))}, are not among the {len(images)} of the ground truth."
        )
    strangers = {result["category_id"] for result in results} - set(categories)
    if strangers:
        raise ValueError(
            f"The results have category_id {min(strangers)}, which is not among the categories of "
            f"the ground truth: {sorted(categories)}."
        )
    annotations = []
    for number, result in enumerate(results, start=1):
        image = images[result["image_id"]]
        if geometry not in result:
            raise ValueError(f'A result of image {image["id"]} has no "{geometry}".')
        shape = result[geometry]
        if geometry == "segmentation":
            _check_size(shape, image)
            area = float(coco_mask.area(shape))
        else:
            area = shape[2] * shape[3]
        keys = ("image_id", "category_id", "score", geometry)
        entry = {key: result[key] for key in keys}
        annotations.append({**entry, "id": number, "iscrowd": 0, "area": area})
    loaded = COCO()
    loaded.dataset = {**coco_gt.dataset, "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        loaded.createIndex()
    return loaded


def _check_size(rle, image):
    if not isinstance(rle, dict):
        raise ValueError(f"A result of image {image['id']} has a mask that is not a COCO RLE.")
    # For masks of different sizes, pycocotools silently returns no overlap.
    expected = [image["height"], image["width"]]
    if list(rle["size"]) != expected:
        raise ValueError(
            f"A result of image {image['id']} has a mask of {rle['size'][0]} x {rle['size'][1]} "
            f"pixels; the image has {expected[0]} x {expected[1]} (height x width)."
        )


def _mean(values):
    """Mean of the entries above -1, which stands for no objects; -1 without any, as in COCOeval."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def _stats(evaluator, coco_gt, max_dets):
    # [IoU, recall, class, area, max_dets] and [IoU, class, area, max_dets].
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    ious = np.asarray(evaluator.params.iouThrs)
    fifty, seventy_five = (int(np.argmin(abs(ious - iou))) for iou in (0.5, 0.75))
    stats = {}
    for name, iou, area, count in coco_numbers(max_dets):
        table = precision if "AP" in name else recall
        table = table if iou is None else table[int(np.argmin(abs(ious - iou)))]
        place = AREAS.index(area), evaluator.params.maxDets.index(count)
        stats[name] = _mean(table[(..., *place)])
    whole = precision[:, :, :, 0, 2]
    matches = _matches(evaluator)
    by_class = [
        {
            "id": class_id,
            "name": coco_gt.cats[class_id]["name"],
            "count": matches[k].count,
            "AP": _mean(whole[:, :, k]),
            "AP50": _mean(whole[fifty, :, k]),
            "AP75": _mean(whole[seventy_five, :, k]),
            "AR": _mean(recall[:, k, 0, 2]),
        }
        for k, class_id in enumerate(map(int, evaluator.params.catIds))
    ]
    return CocoStats(
        iou_type=evaluator.params.iouType,
        stats=stats,
        by_class=by_class,
        max_dets=max_dets,
        iou_thresholds=ious,
        recalls=np.asarray(evaluator.params.recThrs),
        precision=whole,
        matches=matches,
    )


def _matches(evaluator):
    """`ClassMatches` of every class, over objects of all sizes."""
    images = len(evaluator.params.imgIds)
    # Ordered by class, then by area, then by image; the first area is "all".
    per_class = images * len(evaluator.params.areaRng)
    found = []
    for k in range(len(evaluator.params.catIds)):
        rows = evaluator.evalImgs[k * per_class : k * per_class + images]
        rows = [row for row in rows if row is not None]
        scores = np.concatenate([row["dtScores"] for row in rows] or [np.zeros(0)])
        correct = [
            np.where(row["dtIgnore"], -1, row["dtMatches"] > 0).astype(np.int8) for row in rows
        ]
        empty = np.zeros((len(evaluator.params.iouThrs), 0), np.int8)
        order = np.argsort(-scores, kind="stable")
        count = sum(int(np.count_nonzero(row["gtIgnore"] == 0)) for row in rows)
        correct = np.concatenate(correct or [empty], axis=1)
        found.append(ClassMatches(scores[order], correct[:, order], count))
    return found
