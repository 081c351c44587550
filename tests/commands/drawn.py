"""A drawn data set on disk, and the settings of a network that trains on it in seconds."""

import json

import numpy as np
from PIL import Image

# On top of `--preset small`.
TINY = [
    *("--image-size", "64"),
    *("--set", "TOP_DOWN_PYRAMID_SIZE=16"),
    *("--set", "FPN_CLASSIF_FC_LAYERS_SIZE=32"),
    *("--set", "IMAGES_PER_GPU=2"),
    *("--set", "POST_NMS_ROIS_TRAINING=50"),
    *("--set", "POST_NMS_ROIS_INFERENCE=20"),
    *("--set", "TRAIN_ROIS_PER_IMAGE=16"),
    *("--set", "DETECTION_MAX_INSTANCES=10"),
    *("--set", "TENSORBOARD_IMAGES=0"),
    *("--set", "LOADER_WORKERS=1"),
]


def draw_photos(folder, count=6, labels=("box", "bar"), size=64):
    """Write photos with LabelMe files: one 24x24 box or 12x40 bar each, by turns."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(folder.name)))
    for number in range(count):
        height, width = ((24, 24), (12, 40))[number % 2]
        y, x = rng.integers(2, size - 2 - height), rng.integers(2, size - 2 - width)
        photo = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
        photo[y : y + height, x : x + width] = 200
        Image.fromarray(photo).save(folder / f"{number}.png")
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        shape = {
            "label": labels[number % len(labels)],
            "shape_type": "polygon",
            "points": [[int(a), int(b)] for a, b in corners],
        }
        entry = {
            "version": "5.4.1",
            "imagePath": f"{number}.png",
            "imageHeight": size,
            "imageWidth": size,
            "shapes": [shape],
        }
        (folder / f"{number}.json").write_text(json.dumps(entry), encoding="utf-8")
    return folder
