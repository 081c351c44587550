"""AP and AR of boxes and masks by the rules of COCO, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mrcnn.evaluation.coco_stats import AREAS, ClassMatches, CocoStats, coco_numbers
from mrcnn.evaluation.ground_truth import coco_object

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
            in pixels or "segmentation", a COCO RLE of the size of the image. Of a dict with both,
            "segm" takes the area of the mask, not that of the box.
        iou_type: "bbox" or "segm".
        image_ids, category_ids: ids of the images and categories to evaluate; all by default.
        max_dets: predictions per image and class that count, the best first. The default is COCO's.
            Raise it where images have more objects (cells); the numbers are then not those that
            papers report.

    Raises:
        ValueError: if results, image_ids or category_ids do not belong to `coco_gt`, a result has
            no box or mask, or a mask of another size than its image, `iou_type` is unknown, or
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
    """Return sorted `ids`, by default all that are known; ValueError if one is not known."""
    # Plain ints, as in COCO's JSON.
    ids = sorted(known if ids is None else {int(i) for i in ids})
    unknown = sorted(set(ids) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has {unknown[0]}, which is not in the ground truth "
            f"({len(unknown)} unknown ids; the ground truth has {len(known)})."
        )
    return ids


def _load_results(coco_gt, results, geometry):
    """Return results as the COCO object that COCOeval takes.

    `COCO.loadRes` would fail on an empty list, change the dicts, and take the area of a box for
    that of the mask beside it.
    """
    from pycocotools import mask as coco_mask

    images, categories = coco_gt.imgs, coco_gt.cats
    unknown = {result["image_id"] for result in results} - set(images)
    if unknown:
        raise ValueError(
            f"This is a results file for other images: {len(unknown)} of its image ids, such as "
            f"{next(iter(unknown))}, are not among the {len(images)} of the ground truth."
        )
    unknown = {result["category_id"] for result in results} - set(categories)
    if unknown:
        raise ValueError(
            f"The results have category_id {min(unknown)}, which is not among the categories of "
            f"the ground truth: {sorted(categories)}."
        )
    annotations = []
    for number, result in enumerate(results, start=1):
        image = images[result["image_id"]]
        if geometry not in result:
            raise ValueError(f'A result of image {image["id"]} has no "{geometry}".')
        shape = result[geometry]
        if geometry == "segmentation":
            _check_rle(shape, image)
            area = float(coco_mask.area(shape))
        else:
            area = shape[2] * shape[3]
        entry = {key: result[key] for key in ("image_id", "category_id", "score", geometry)}
        annotations.append({**entry, "id": number, "iscrowd": 0, "area": area})
    return coco_object({**coco_gt.dataset, "annotations": annotations})


def _check_rle(rle, image):
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
    """Return the mean of the entries above -1, which means no objects; -1 if there are none."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def _stats(evaluator, coco_gt, max_dets):
    # [IoU, recall, class, area, max_dets] and [IoU, class, area, max_dets].
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    ious = np.asarray(evaluator.params.iouThrs)
    at = {iou: int(np.argmin(abs(ious - iou))) for iou in (0.5, 0.75)}
    stats = {}
    for name, iou, area, count in coco_numbers(max_dets):
        table = precision if "AP" in name else recall
        table = table if iou is None else table[at[iou]]
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
            "AP50": _mean(whole[at[0.5], :, k]),
            "AP75": _mean(whole[at[0.75], :, k]),
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
    """Return the `ClassMatches` of every class, over objects of all sizes."""
    images = len(evaluator.params.imgIds)
    # Ordered by class, then by area, then by image; the first area is "all".
    per_class = images * len(evaluator.params.areaRng)
    found = []
    for k in range(len(evaluator.params.catIds)):
        rows = evaluator.evalImgs[k * per_class : k * per_class + images]
        rows = [row for row in rows if row is not None]
        scores = np.concatenate([np.zeros(0), *(row["dtScores"] for row in rows)])
        correct = [np.where(row["dtIgnore"], -1, row["dtMatches"] > 0) for row in rows]
        correct = np.concatenate([np.zeros((len(evaluator.params.iouThrs), 0)), *correct], axis=1)
        order = np.argsort(-scores, kind="stable")
        count = sum(int(np.count_nonzero(row["gtIgnore"] == 0)) for row in rows)
        found.append(ClassMatches(scores[order], correct[:, order].astype(np.int8), count))
    return found
