"""Detections in COCO's format for results: made, written, read, and measured."""

import json
from pathlib import Path

import numpy as np

from mrcnn.evaluation.coco import run_coco_eval
from mrcnn.files import replacing

# What results of a type have beside image, class and score.
EVAL_TYPES = {"bbox": "bbox", "segm": "segmentation"}


def build_coco_results(dataset, image_ids, rois, class_ids, scores, masks):
    """Detections as COCO wants them, ready for JSON.

    Args:
        dataset: the CocoDataset, which knows COCO's ids of the classes.
        image_ids: COCO's ids of the images in which these were found, as a rule one.
        rois: [n, (y1, x1, y2, x2)] in pixels, or None.
        class_ids, scores: [n].
        masks: [height, width, n], or a list of n COCO run lengths.

    Returns:
        A list of dicts: image_id, category_id, score, bbox [x, y, width, height], segmentation.
    """
    from pycocotools import mask

    if rois is None:
        return []
    if not isinstance(masks, list):
        masks = [mask.encode(np.asfortranarray(m, np.uint8)) for m in np.moveaxis(masks, -1, 0)]
    results = []
    for image_id in image_ids:
        for (y1, x1, y2, x2), class_id, score, runs in zip(
            np.asarray(rois).tolist(), class_ids, scores, masks, strict=True
        ):
            counts = runs["counts"]
            text = counts.decode("ascii") if isinstance(counts, bytes) else counts
            results.append(
                {
                    "image_id": image_id,
                    "category_id": dataset.get_source_class_id(class_id, "coco"),
                    "score": float(score),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": {"size": [int(side) for side in runs["size"]], "counts": text},
                }
            )
    return results


def detect_all(model, dataset, image_ids):
    """Results of a model on images of a CocoDataset, as of `build_coco_results`."""
    import keras

    results = []
    progress = keras.utils.Progbar(len(image_ids), unit_name="image")
    for image_id in image_ids:
        r = model.detect([dataset.load_image(image_id)], mask_format="rle")[0]
        found = r["rois"], r["class_ids"], r["scores"], r["masks"]
        results += build_coco_results(dataset, [dataset.image_info[image_id]["id"]], *found)
        progress.add(1)
    return results


def report(dataset, coco, image_ids, results, eval_types):
    """Print COCO's figures and the AP of the classes; returns the CocoStats by type."""
    found = {}
    for eval_type in eval_types:
        stats = found[eval_type] = run_coco_eval(
            coco,
            results,
            eval_type,
            image_ids=[dataset.image_info[image_id]["id"] for image_id in image_ids],
            category_ids=[info["id"] for info in dataset.class_info if info["source"] == "coco"],
        )
        name = "Boxes" if eval_type == "bbox" else "Masks"
        print(f"\n{name}, {len(image_ids)} images\n{stats}\n\n{stats.class_table()}")
    return found


def evaluate_coco(model, dataset, coco, eval_type="bbox", limit=0, image_ids=None):
    """Detect in images of COCO and print the figures.

    Args:
        model: a MaskRCNN in inference mode.
        dataset: a prepared CocoDataset.
        coco: what `load_coco(..., return_coco=True)` returned for it.
        eval_type: "bbox", "segm", or "bbox,segm".
        limit: number of images to stop after; 0 for all.
        image_ids: of the dataset, which to take; None for all.

    Returns:
        Dict of `mrcnn.evaluation.coco.CocoStats` by type.
    """
    image_ids = dataset.image_ids if image_ids is None else image_ids
    image_ids = image_ids[:limit] if limit else image_ids
    results = detect_all(model, dataset, image_ids)
    return report(dataset, coco, image_ids, results, eval_type.split(","))


def write_results(results, eval_type, path):
    """Write what COCO's server takes for a type: a JSON list, and in it boxes or masks."""
    keys = ("image_id", "category_id", "score", EVAL_TYPES[eval_type])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump([{key: result[key] for key in keys} for result in results], file)


def read_results(path):
    """The results in a JSON file; ValueError where it holds something else."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
        known = [{"image_id", "category_id", "score"} <= result.keys() for result in results]
    except (ValueError, TypeError, AttributeError):
        known = [False]
    if not all(known):
        raise ValueError(
            f"{path} holds no COCO results, which are a JSON list of objects with image_id, "
            "category_id, score, and bbox or segmentation."
        )
    return results


def types_in(results):
    """The names of what results hold: "bbox", "segm" or both; both of none."""
    return [name for name, key in EVAL_TYPES.items() if all(key in result for result in results)]
