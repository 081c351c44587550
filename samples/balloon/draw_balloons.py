"""Drawn photos of balloons with their outlines in VIA's file, to try the sample on."""

import json
from pathlib import Path

import numpy as np
import skimage.draw
import skimage.io

# Red, orange, yellow, pink, turquoise and violet: neither sky nor grass has these colours.
COLORS = np.array(
    [(214, 48, 49), (232, 126, 35), (240, 200, 20), (230, 90, 160), (20, 170, 170), (120, 60, 180)]
)


def write_balloons(folder, train=60, val=10, size=(288, 384), seed=0):
    """Write a data set in the layout of the real one: photos and `via_region_data.json`.

    Args:
        folder: gets the folders `train` and `val`.
        train, val: number of photos in each.
        size: (height, width) of a photo, pixels.
        seed: the same seed gives the same photos.
    """
    for number, (subset, count) in enumerate((("train", train), ("val", val))):
        rng = np.random.default_rng((seed, number))
        target = Path(folder) / subset
        target.mkdir(parents=True, exist_ok=True)
        annotations = {}
        for i in range(count):
            photo, outlines = draw_photo(size, rng)
            path = target / f"balloons_{i:03d}.jpg"
            skimage.io.imsave(path, photo, check_contrast=False)
            annotations[f"{path.name}{path.stat().st_size}"] = as_via(path, outlines)
        (target / "via_region_data.json").write_text(json.dumps(annotations), encoding="utf-8")


def as_via(path, outlines):
    """The entry of a photo in a VIA 1.x file, for outlines of [points, (y, x)] pixels."""
    regions = {}
    for i, points in enumerate(outlines):
        ys, xs = np.rint(points).astype(int).T.tolist()
        shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
        regions[str(i)] = {"shape_attributes": shape, "region_attributes": {}}
    size = path.stat().st_size
    return {"filename": path.name, "size": size, "regions": regions, "file_attributes": {}}


def draw_photo(size, rng):
    """A photo [height, width, 3] uint8 of one to eight balloons, and their outlines."""
    photo = draw_landscape(size, rng)
    outlines = [draw_balloon(photo, *place, rng) for place in place_balloons(size, rng)]
    photo += rng.normal(0, 4, photo.shape)
    return np.clip(photo, 0, 255).astype(np.uint8), outlines


def draw_landscape(size, rng):
    """Sky over grass with a few houses: [height, width, 3] float64, 0 to 255."""
    height, width = size
    horizon = int(height * rng.uniform(0.65, 0.85))
    fall = np.linspace(0, 1, horizon)[:, None, None]
    sky = (1 - fall) * rng.uniform((60, 120, 190), (110, 160, 230)) + fall * (215, 228, 240)
    grass = np.linspace(1, 0.6, height - horizon)[:, None, None] * (110, 150, 70)
    photo = np.repeat(np.concatenate([sky, grass]), width, axis=1)
    for _ in range(rng.integers(2, 6)):
        tall, wide = rng.integers(height // 12, height // 4), rng.integers(width // 12, width // 5)
        x = rng.integers(0, width - wide)
        wall = rng.uniform(0.5, 1) * rng.uniform((180, 150, 130), (220, 200, 180))
        photo[horizon - tall : horizon + 4, x : x + wide] = wall
        photo[horizon - tall : horizon - tall + 5, x : x + wide] = wall * (0.8, 0.5, 0.4)
    return photo


def place_balloons(size, rng):
    """Centres and radii (y, x, radius) of balloons that hardly overlap, in pixels."""
    placed = []
    for _ in range(rng.integers(1, 9)):
        radius = min(size) * rng.uniform(0.07, 0.2)
        y, x = (rng.uniform(radius, side - 1.3 * radius) for side in size)
        if all(np.hypot(y - v, x - u) > 1.1 * (radius + r) for v, u, r in placed):
            placed.append((y, x, radius))
    return placed


def draw_balloon(photo, y, x, radius, rng):
    """Draw a balloon with its string into a photo; returns its outline, [points, (y, x)]."""
    height, width = photo.shape[:2]
    tall = radius * rng.uniform(1.1, 1.3)
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    # Narrower towards the knot at the bottom.
    across = radius * (1 - 0.12 * (1 - np.cos(angle)))
    outline = np.stack([y - tall * np.cos(angle), x + across * np.sin(angle)], axis=1)
    outline = outline.clip(0, (height - 1, width - 1))

    bottom = min(int(y + 3 * tall), height - 1)
    rows = np.arange(min(int(y + tall), bottom), bottom)
    sway = x + 0.15 * radius * np.sin((rows - y) / radius)
    photo[rows, sway.astype(int).clip(0, width - 1)] = 70

    rows, columns = skimage.draw.polygon(*outline.T, (height, width))
    v, u = (rows - y) / tall, (columns - x) / radius
    light = 0.6 + 0.45 * np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    shine = 150 * np.exp(-((u + 0.35) ** 2 + (v + 0.4) ** 2) / 0.03)
    photo[rows, columns] = COLORS[rng.integers(len(COLORS))] * light[:, None] + shine[:, None]
    return outline
