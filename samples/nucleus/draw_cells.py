"""Drawn micrographs of cell nuclei, in the folders of the real data set, to try the sample on.

As in the real one there are bright nuclei on black and violet ones on pink, in several sizes.
"""

from pathlib import Path

import numpy as np
import skimage.draw
import skimage.io
from skimage.filters import gaussian

# (height, width) in pixels.
SIZES = ((128, 128), (128, 160), (160, 160), (192, 128))


def write_cells(folder, count, seed=0):
    """Write `<folder>/<name>/images/<name>.png`, and beside `images` a file per mask in `masks`."""
    rng = np.random.default_rng(seed)
    for name in (f"cells_{i:03d}" for i in range(count)):
        image, masks = draw_micrograph(SIZES[rng.integers(len(SIZES))], rng)
        pictures = {f"images/{name}.png": image}
        pictures |= {f"masks/{i:03d}.png": np.uint8(255) * mask for i, mask in enumerate(masks)}
        for file, picture in pictures.items():
            path = Path(folder, name, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            skimage.io.imsave(path, picture, check_contrast=False)


def draw_micrograph(size, rng):
    """Return an image [height, width, 3] uint8 of nuclei, and their masks [height, width] bool."""
    masks = place_nuclei(size, rng)
    stained = rng.random() < 0.25
    cytoplasm = gaussian(rng.normal(size=size), 6)
    picture = np.full(size, 0.06) + 0.1 * cytoplasm
    for mask in masks:
        chromatin = 1 + 0.6 * gaussian(rng.normal(size=size), 2)
        picture[mask] = rng.uniform(0.35, 0.9) * chromatin[mask]
    picture = gaussian(picture, 0.8) + rng.normal(0, 0.012, size)
    dark, bright = ((232, 190, 215), (80, 40, 120)) if stained else ((0, 0, 0), (255, 255, 255))
    return np.uint8(dark + picture.clip(0, 1)[..., None] * np.subtract(bright, dark)), masks


def place_nuclei(size, rng):
    """Return masks of nuclei that may touch one another but share no pixel."""
    covered, masks = np.zeros(size, bool), []
    radius = rng.uniform(6, 14)
    for _ in range(int(size[0] * size[1] / radius**2 / 12)):
        mask = nucleus_mask(size, radius * rng.uniform(0.8, 1.25), rng)
        if mask.sum() > 30 and not (mask & covered).any():
            masks.append(mask)
            covered |= mask
    return masks


def nucleus_mask(size, radius, rng):
    """Return an oval with a few dents, somewhere in the image: [height, width] bool."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    dents = sum(rng.normal(0, 0.04) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 4))
    stretch, turn = rng.uniform(1, 1.6), rng.uniform(0, np.pi)
    y, x = radius * (1 + dents) * np.array([np.sin(angle) * stretch, np.cos(angle) / stretch])
    rows = rng.uniform(0, size[0]) + y * np.cos(turn) - x * np.sin(turn)
    columns = rng.uniform(0, size[1]) + y * np.sin(turn) + x * np.cos(turn)
    return skimage.draw.polygon2mask(size, np.stack([rows, columns], axis=1))
