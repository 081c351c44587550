"""Detections in COCO's format for results: made, written, read, and measured."""

import json
from pathlib import Path

from mrcnn import cli
from mrcnn.evaluation.coco import run_coco_eval
from mrcnn.evaluation.dataset_metrics import as_coco_results
from mrcnn.files import replacing
from mrcnn.ops.rle import encode_mask

# Keys of the results of each type, beside image, class and score.
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
    if rois is None:
        return []
    if not isinstance(masks, list):
        masks = [encode_mask(masks[..., i]) for i in range(masks.shape[-1])]
    found = {"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks}
    results = []
    for image_id in image_ids:
        for result in as_coco_results(image_id, found):
            result["category_id"] = dataset.get_source_class_id(result["category_id"], "coco")
            rle = result["segmentation"]
            text = rle["counts"] if isinstance(rle["counts"], str) else rle["counts"].decode()
            result["segmentation"] = {"size": list(map(int, rle["size"])), "counts": text}
            results.append(result)
    return results


def detect_all(model, dataset, image_ids):
    """Results of a model on images of a CocoDataset, as of `build_coco_results`."""
    results = []
    for image_id in cli.progress(image_ids, "image"):
        r = model.detect([dataset.load_image(image_id)], mask_format="rle")[0]
        found = r["rois"], r["class_ids"], r["scores"], r["masks"]
        results += build_coco_results(dataset, [dataset.image_info[image_id]["id"]], *found)
    return results


def report(dataset, coco, image_ids, results, eval_types):
    """Print COCO's figures and the AP of the classes; returns the CocoStats by type."""
    found = {}
    ids = [dataset.image_info[image_id]["id"] for image_id in image_ids]
    classes = [info["id"] for info in dataset.class_info if info["source"] == "coco"]
    for eval_type in eval_types:
        stats = found[eval_type] = run_coco_eval(coco, results, eval_type, ids, classes)
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
        image_ids: ids in the dataset of the images to evaluate; None for all.

    Returns:
        Dict of `mrcnn.evaluation.coco.CocoStats` by type.
    """
    image_ids = (dataset.image_ids if image_ids is None else image_ids)[: limit or None]
    results = detect_all(model, dataset, image_ids)
    return report(dataset, coco, image_ids, results, eval_type.split(","))


def write_results(results, eval_type, path):
    """Write what COCO's server takes for a type: a JSON list, with either boxes or masks."""
    keys = ("image_id", "category_id", "score", EVAL_TYPES[eval_type])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump([{key: result[key] for key in keys} for result in results], file)


def read_results(path):
    """Read the results in a JSON file; ValueError where it holds something else."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
        if all({"image_id", "category_id", "score"} <= result.keys() for result in results):
            return results
    except (ValueError, TypeError, AttributeError):
        pass
    raise ValueError(
        f"{path} holds no COCO results, which are a JSON list of objects with image_id, "
        "category_id, score, and bbox or segmentation."
    )


def types_in(results):
    """The names of what results hold: "bbox", "segm" or both; both if there are no results."""
    return [name for name, key in EVAL_TYPES.items() if all(key in result for result in results)]
