"""Write `torchvision_roi.npz` with RoI features that torchvision computes.

    python torchvision_roi.py

It was run with torchvision 0.28 and torch 2.13. Boxes are `(y1, x1, y2, x2)`, arrays channels last.
"""

from pathlib import Path

import numpy as np
import torch
from torchvision import ops

# Cells of the single map, and pixels of the image with four levels.
SIZE = (20, 30)
IMAGE = (256, 384)
POOLED = (3, 4)

BOXES = [
    (0, 0, 20, 30),
    (1.3, 2.7, 9.9, 21.4),
    (4.25, 6.25, 4.75, 6.5),
    (7.6, 3.2, 7.9, 26.1),
    (0.4, 11.6, 19.2, 12.3),
    (-3.7, -2.2, 6.1, 5.3),
    (12.2, 20.9, 25.3, 36.4),
    (-15.3, -31.7, 36.1, 62.9),
    (30.2, 40.1, 35.3, 45.7),
    (-0.45, -0.35, 3.3, 4.1),
    (18.7, 28.9, 20.4, 30.4),
    (2.5, 3.5, 8.5, 10.5),
]


def rows(boxes, images):
    """Return boxes as `[n, (image, x1, y1, x2, y2)]`."""
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return torch.cat([torch.tensor(images)[:, None].float(), boxes[:, [1, 0, 3, 2]]], dim=1)


def random_map(rng, *shape):
    """Return `[batch, channels, h, w]` of multiples of 1/64: exact in float16."""
    return torch.tensor(rng.integers(-256, 257, shape) / 64, dtype=torch.float32)


def channels_last(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def single_map(rng):
    """Return results and gradients of all operators on one map."""
    feature = random_map(rng, 2, 3, *SIZE)
    images = [i % 2 for i in range(len(BOXES))]
    dy = random_map(rng, len(BOXES), 3, *POOLED)
    found = {"feature": channels_last(feature), "boxes": np.float32(BOXES), "images": images}
    found["dy"] = channels_last(dy)
    cases = {"pool": lambda x: ops.roi_pool(x, rows(BOXES, images), POOLED)}
    for samples in (1, 2, 3, 0):
        for aligned in (False, True):
            cases[f"align_{samples}_{'half' if aligned else 'whole'}"] = (
                lambda x, samples=samples, aligned=aligned: ops.roi_align(
                    x, rows(BOXES, images), POOLED, 1.0, samples or -1, aligned
                )
            )
    for name, operator in cases.items():
        x = feature.clone().requires_grad_()
        y = operator(x)
        y.backward(dy)
        found[name], found[f"{name}_gradient"] = channels_last(y), channels_last(x.grad)
    return found


def pyramid(rng):
    """Return the result of `MultiScaleRoIAlign` for two images and four levels."""
    features = {
        str(level): random_map(rng, 2, 2, IMAGE[0] // 2**level, IMAGE[1] // 2**level)
        for level in (2, 3, 4, 5)
    }
    corners = np.sort(rng.uniform(0, 1, (2, 16, 2, 2)), axis=2) * IMAGE
    # All levels take part: sides from 7 pixels to the whole image.
    corners[:, :6, 1] = corners[:, :6, 0] + rng.uniform(7, 90, (2, 6, 2))
    corners[:, 6, 0], corners[:, 6, 1] = 0, IMAGE
    boxes = np.minimum(corners, IMAGE).reshape(2, 16, 4).astype(np.float32)
    found = {"boxes": boxes, **{name: channels_last(x) for name, x in features.items()}}
    for samples in (2, 0):
        pool = ops.MultiScaleRoIAlign(list(features), 3, samples or -1)
        lists = [torch.tensor(x[:, [1, 0, 3, 2]]) for x in boxes]
        found[f"align_{samples}"] = channels_last(pool(features, lists, [IMAGE] * 2))
    # Sides around those of 56, 112, 224, 448 pixels, where the level changes.
    sides = np.array([s * f for s in (56, 112, 224, 448) for f in (1 - 1e-5, 1, 1 + 1e-5)])
    sides = np.float32([*sides, 3, 1000])
    mapper = ops.poolers.LevelMapper(2, 5)
    squares = torch.tensor([(0, 0, s, s) for s in sides])
    found["sides"], found["levels"] = sides, mapper([squares]).numpy() + 2
    return {f"pyramid_{name}": value for name, value in found.items()}


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    found = single_map(rng) | pyramid(rng)
    # Inputs are exact in float16.
    small = ("feature", "dy", "pyramid_2", "pyramid_3", "pyramid_4", "pyramid_5")
    found = {k: np.float16(v) if k in small else v for k, v in found.items()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **found)
