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
    """Write photos of `size`, (height, width), to the folders train and val, as the real data."""
    for number, (subset, count) in enumerate((("train", train), ("val", val))):
        rng = np.random.default_rng((seed, number))
        target = Path(folder, subset)
        target.mkdir(parents=True, exist_ok=True)
        annotations = {}
        for i in range(count):
            photo = draw_landscape(size, rng)
            outlines = [draw_balloon(photo, *place, rng) for place in place_balloons(size, rng)]
            photo += rng.normal(0, 4, photo.shape)
            path = target / f"balloons_{i:03d}.jpg"
            skimage.io.imsave(path, photo.clip(0, 255).astype(np.uint8), check_contrast=False)
            annotations[f"{path.name}{path.stat().st_size}"] = as_via(path, outlines)
        (target / "via_region_data.json").write_text(json.dumps(annotations), encoding="utf-8")


def as_via(path, outlines):
    """Return the entry of a photo in a VIA 1 file, for outlines of [points, (y, x)] pixels."""
    regions = {}
    for i, points in enumerate(outlines):
        ys, xs = np.rint(points).astype(int).T.tolist()
        shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
        regions[str(i)] = {"shape_attributes": shape, "region_attributes": {}}
    return {"filename": path.name, "size": path.stat().st_size, "regions": regions}


def draw_landscape(size, rng):
    """Return sky over grass, [height, width, 3] float64, 0 to 255."""
    horizon = int(size[0] * rng.uniform(0.65, 0.85))
    fall = np.linspace(0, 1, horizon)[:, None, None]
    sky = (1 - fall) * rng.uniform((60, 120, 190), (110, 160, 230)) + fall * (215, 228, 240)
    grass = np.linspace(1, 0.6, size[0] - horizon)[:, None, None] * (110, 150, 70)
    return np.repeat(np.concatenate([sky, grass]), size[1], axis=1)


def place_balloons(size, rng):
    """Return centres and radii (y, x, radius) of balloons that hardly overlap, in pixels."""
    placed = []
    for _ in range(rng.integers(1, 9)):
        radius = min(size) * rng.uniform(0.07, 0.2)
        y, x = (rng.uniform(radius, side - 1.3 * radius) for side in size)
        if all(np.hypot(y - v, x - u) > 1.1 * (radius + r) for v, u, r in placed):
            placed.append((y, x, radius))
    return placed


def draw_balloon(photo, y, x, radius, rng):
    """Draw a balloon with its string into a photo; return its outline, [points, (y, x)]."""
    height, width = photo.shape[:2]
    tall = radius * rng.uniform(1.1, 1.3)
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    # Narrower towards the knot at the bottom.
    across = radius * (1 - 0.12 * (1 - np.cos(angle)))
    outline = np.stack([y - tall * np.cos(angle), x + across * np.sin(angle)], axis=1)
    outline = outline.clip(0, (height - 1, width - 1))

    rows = np.arange(min(int(y + tall), height - 1), min(int(y + 3 * tall), height - 1))
    sway = x + 0.15 * radius * np.sin((rows - y) / radius)
    photo[rows, sway.astype(int).clip(0, width - 1)] = 70

    rows, columns = skimage.draw.polygon(*outline.T, (height, width))
    light = 1 - ((rows - y) / tall) ** 2 - ((columns - x) / radius) ** 2
    light = 0.6 + 0.45 * np.sqrt(light.clip(0))
    photo[rows, columns] = COLORS[rng.integers(len(COLORS))] * light[:, None]
    return outline
