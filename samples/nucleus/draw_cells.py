"""Drawn micrographs of cell nuclei, in the folders of the real data set: what to try the sample on.

As in the real one there are bright nuclei on black and violet ones on pink, in images of several
sizes.
"""

from pathlib import Path

import numpy as np
import skimage.draw
import skimage.io
from skimage.filters import gaussian

# (height, width) in pixels.
SIZES = ((128, 128), (128, 160), (160, 160), (192, 128))


def write_cells(folder, count, seed=0):
    """Write micrographs: `<folder>/<name>/images/<name>.png`, each mask a file in `.../masks`.

    Args:
        folder: where the images' folders go.
        count: number of images.
        seed: the same seed gives the same images.
    """
    rng = np.random.default_rng(seed)
    for i in range(count):
        name = f"cells_{i:03d}"
        image, masks = draw_micrograph(SIZES[rng.integers(len(SIZES))], rng)
        save(Path(folder) / name / "images" / f"{name}.png", image)
        for j, mask in enumerate(masks):
            save(Path(folder) / name / "masks" / f"{j:03d}.png", mask.astype(np.uint8) * 255)


def save(path, image):
    """Write an image, and make its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    skimage.io.imsave(path, image, check_contrast=False)


def draw_micrograph(size, rng):
    """An image [height, width, 3] uint8 of nuclei, and the mask of each, [height, width] bool."""
    masks = place_nuclei(size, rng)
    stained = rng.random() < 0.25
    cytoplasm = gaussian(rng.normal(size=size), 6)
    picture = np.full(size, 0.06) + 0.1 * cytoplasm
    for mask in masks:
        bright = rng.uniform(0.35, 0.9)
        chromatin = gaussian(rng.normal(size=size), 2)
        picture[mask] = (bright * (1 + 0.6 * chromatin))[mask]
    picture = gaussian(picture, 0.8) + rng.normal(0, 0.012, size)
    picture = np.clip(picture, 0, 1)[..., None]
    if stained:
        pink, violet = np.array([232, 190, 215]), np.array([80, 40, 120])
        return (pink + picture * (violet - pink)).astype(np.uint8), masks
    return np.repeat((picture * 255).astype(np.uint8), 3, axis=-1), masks


def place_nuclei(size, rng):
    """Masks of nuclei that may touch one another but share no pixel."""
    covered, masks = np.zeros(size, bool), []
    radius = rng.uniform(6, 14)
    for _ in range(int(size[0] * size[1] / radius**2 / 12)):
        mask = nucleus_mask(size, radius * rng.uniform(0.8, 1.25), rng)
        if mask.sum() > 30 and not (mask & covered).any():
            masks.append(mask)
            covered |= mask
    return masks


def nucleus_mask(size, radius, rng):
    """An oval with a few dents, somewhere in the image: [height, width] bool."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    dents = sum(rng.normal(0, 0.04) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 4))
    stretch, turn = rng.uniform(1, 1.6), rng.uniform(0, np.pi)
    y, x = radius * (1 + dents) * np.array([np.sin(angle) * stretch, np.cos(angle) / stretch])
    rows = rng.uniform(0, size[0]) + y * np.cos(turn) - x * np.sin(turn)
    columns = rng.uniform(0, size[1]) + y * np.sin(turn) + x * np.cos(turn)
    return skimage.draw.polygon2mask(size, np.stack([rows, columns], axis=1))
