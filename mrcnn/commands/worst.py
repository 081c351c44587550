"""Pictures of the images in which a model does worst."""

import os
from pathlib import Path

import numpy as np

from mrcnn.commands.data import safe_name
from mrcnn.data.checks import describe_image
from mrcnn.evaluation.confusion import confusion_matrix
from mrcnn.evaluation.ground_truth import coco_object


def f1_of_image(metrics, image_id, score=0.5):
    """Return the F1 score of the detections in an image at a mask IoU of 0.5.

    1 where there is nothing to find and nothing was found.
    """
    truth = metrics.ground_truth
    one = {"images": [truth.imgs[image_id]], "annotations": truth.imgToAnns.get(image_id, [])}
    results = [result for result in metrics.results if result["image_id"] == image_id]
    matrix = confusion_matrix(
        coco_object({**truth.dataset, **one}), results, "segm", len(metrics.class_names), 0.5, score
    )
    right = int(np.trace(matrix)) - int(matrix[0, 0])
    # An object that was given another class is both missed and a false positive.
    wrong = int(matrix[:, 1:].sum() + matrix[1:].sum()) - 2 * right
    return 2 * right / (2 * right + wrong) if right + wrong else 1.0


def write_worst(folder, count, dataset, metrics, image_ids, score=0.5):
    """Draw ground truth and detections of the images with the lowest F1 scores.

    Args:
        folder: of the pictures, made if missing.
        count: number of images.
        dataset: prepared.
        metrics: `DatasetMetrics` of it.
        image_ids: of the images that were evaluated.
        score: lowest score of the detections that are drawn.

    Returns:
        A list of dicts of "image", "f1" and "picture", a path; the worst first.
    """
    from mrcnn.evaluation.differences import display_differences

    os.makedirs(folder, exist_ok=True)
    scores = {image_id: f1_of_image(metrics, image_id, score) for image_id in image_ids}
    written = []
    for rank, image_id in enumerate(sorted(image_ids, key=scores.get)[:count], start=1):
        image = dataset.load_image(image_id)
        masks, class_ids = dataset.load_mask(image_id)
        found = [r for r in metrics.results if r["image_id"] == image_id and r["score"] >= score]
        stem = Path(str(dataset.image_info[image_id].get("path") or image_id)).stem
        picture = Path(folder, f"{rank:03d}_{safe_name(stem)}.png")
        display_differences(
            image,
            *_truth(masks, class_ids),
            *_detections(found, image.shape),
            metrics.class_names,
            title=f"F1 {scores[image_id]:.2f}; ground truth green, detections red: score / IoU",
            save_to=picture,
        )
        name = describe_image(dataset, image_id)
        print(f"{scores[image_id]:.2f}  {name}  {picture}")
        written.append({"image": name, "f1": scores[image_id], "picture": picture})
    return written


def _truth(masks, class_ids):
    from mrcnn.ops.masks import extract_bboxes

    is_object = np.asarray(class_ids) > 0
    masks = np.asarray(masks)[..., is_object]
    return extract_bboxes(masks), np.asarray(class_ids)[is_object], masks


def _detections(found, shape):
    """Return boxes, class ids, scores and masks of COCO result dicts."""
    from pycocotools import mask as coco_mask

    boxes = np.array([[y, x, y + h, x + w] for x, y, w, h in (r["bbox"] for r in found)])
    masks = [coco_mask.decode(r["segmentation"]).astype(bool) for r in found]
    return (
        boxes.reshape(-1, 4),
        np.array([r["category_id"] for r in found], np.int32),
        np.array([r["score"] for r in found], np.float32),
        np.stack(masks, axis=-1) if masks else np.zeros((*shape[:2], 0), bool),
    )
