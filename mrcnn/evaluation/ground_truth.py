"""The ground truth of any `Dataset` in the form that pycocotools takes, without a JSON file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from mrcnn.data.checks import load_instances
from mrcnn.data.dataset import Dataset
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.rle import encode_mask


def coco_ground_truth(dataset: Dataset, image_ids: Iterable[int] | None = None) -> Any:
    """Return the instances of a dataset as a `pycocotools.coco.COCO` in memory.

    Image ids are those of the dataset, categories its class ids without the background. A negative
    class id becomes a crowd. Boxes and areas are those of the masks; empty masks are left out.

    Args:
        dataset: a prepared `Dataset`. An image is read only where no mask tells its size.
        image_ids: ids of the images to take; all by default.

    Raises:
        ValueError: if masks and class ids do not fit, see `load_instances`; names the image.
    """
    categories = [{"id": i, "name": name} for i, name in enumerate(dataset.class_names) if i]
    images, annotations = [], []
    for image_id in dataset.image_ids if image_ids is None else image_ids:
        image_id = int(image_id)
        masks, class_ids = load_instances(dataset, image_id)
        shape = masks.shape if len(class_ids) else dataset.load_image(image_id).shape
        images.append({"id": image_id, "height": int(shape[0]), "width": int(shape[1])})
        for i, (y1, x1, y2, x2) in enumerate(extract_bboxes(masks).tolist()):
            if y1 == y2:
                continue
            annotations.append(
                {
                    # From 1 on: pycocotools takes a match with id 0 for a missing one.
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(abs(class_ids[i])),
                    "iscrowd": int(class_ids[i] < 0),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(np.count_nonzero(masks[..., i])),
                    "segmentation": encode_mask(masks[..., i]),
                }
            )
    return coco_object({"images": images, "annotations": annotations, "categories": categories})


def coco_object(data: dict) -> Any:
    """Return the content of a COCO JSON file as a `pycocotools.coco.COCO`, which prints nothing."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
