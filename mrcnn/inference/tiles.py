"""Detection in images of any size, by overlapping tiles.

A tile is a piece of the photo that goes through the network as a photo of its size would. Masks are
column runs (`mrcnn.ops.runs`), so memory grows with the objects, not with the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mrcnn import limits
from mrcnn.data.large_tiff import map_tiff
from mrcnn.data.photos import read_image
from mrcnn.inference.joining import Part, join_parts
from mrcnn.inference.result import Result
from mrcnn.ops.pixels import as_image
from mrcnn.ops.rle import decode_mask
from mrcnn.ops.runs import MAX_PIXELS, move_runs, rle_to_runs, runs_box, runs_to_rle

_SMALLEST = 32
# With more, a pixel would be in more than 16 tiles.
_MOST_OVERLAP = 0.75
# Share of a tile's side. What comes so close to a border of a tile may go on behind it.
_MARGIN = 0.01
# Tiles from which the progress is shown unasked.
_MANY = 20
# Where a photo is not resized, tiles that begin at multiples of the largest stride give the network
# the pixels on its grid as in the whole photo, and so the same features away from their borders.
_GRID = 64
# Pixel types whose scale does not depend on the values.
_FIXED_SCALE = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool))


def check_tiles(tile: Any, overlap: Any) -> None:
    """Raise ValueError unless `tile` is a side in pixels, and `overlap` a share of it."""
    is_whole = isinstance(tile, int | np.integer) and not isinstance(tile, bool)
    if not is_whole or tile < _SMALLEST:
        raise ValueError(
            f"tile is {tile!r}; it must be the side of a tile in pixels of the photo, a whole "
            f"number from {_SMALLEST} on, or None."
        )
    is_number = isinstance(overlap, int | float | np.number) and not isinstance(overlap, bool)
    if not is_number or not 0 <= overlap <= _MOST_OVERLAP:
        raise ValueError(
            f"overlap is {overlap!r}; it must be a share of the tile from 0 to {_MOST_OVERLAP}."
        )


def read_for_tiles(path: str) -> np.ndarray:
    """Return a photo; an uncompressed TIFF file stays on disk, as a memory-mapped array."""
    mapped = map_tiff(path)
    return read_image(path) if mapped is None else mapped


def detect_images(detect, images, config, tile, overlap, mask_format="rle", verbose=0):
    """Detect in images by tiles; see `detect_tiled`, and `MaskRCNN.detect` for the arguments.

    Images are checked before the first of them is given to `detect`.
    """
    channels, results = int(config.IMAGE_SHAPE[2]), []
    images = [_checked(image, f"Image {i}", channels) for i, image in enumerate(images)]
    for index, image in enumerate(images):
        options = config.BATCH_SIZE, f"Image {index}", channels, verbose
        result = detect_tiled(detect, image, tile, overlap, *options)
        if mask_format == "full":
            result["masks"] = full_masks(result, image.shape[:2])
        results.append(result)
    return results


def tile_starts(size: int, tile: int, overlap: float) -> list[int]:
    """Return the first pixels of as few tiles as needed along a side, at about even distances.

    All but the last one are multiples of 64 where the tiles are large enough.

    Args:
        size: of the image, in pixels.
        tile: side of the tiles, which lie inside of the image.
        overlap: share of a tile that two neighbours have in common at least.
    """
    if size <= tile:
        return [0]
    step = max(1, tile - int(np.ceil(tile * overlap)))
    grid = _GRID if step >= _GRID else 1
    count = -(-(size - tile) // (step // grid * grid))
    starts = (-(-index * (size - tile) // (count * grid)) * grid for index in range(count))
    return [*(start for start in starts if start < size - tile), size - tile]


def detect_tiled(
    detect: Callable[[list[np.ndarray]], list[dict]],
    image: np.ndarray,
    tile: int,
    overlap: float = 0.2,
    batch: int = 1,
    name: str = "Image 0",
    channels: int = 3,
    verbose: int = 0,
) -> Result:
    """Detect in the tiles of an image, and join the instances that tiles have in common.

    Args:
        detect: function of a list of images of one size that returns their results, with RLEs.
        image: `[height, width]` or `[height, width, channels]`, possibly a `np.memmap`; one that
            is no larger than a tile is given to `detect` whole.
        tile: side of a tile, in pixels of the image.
        overlap: share of its side that a tile has in common with the next one at least. Objects
            that are smaller than that are seen whole.
        batch: tiles per call of `detect`.
        name: of the image, in messages and beside the progress.
        channels: of the model's input.
        verbose: 1 shows the progress also of few tiles.

    Returns:
        A `Result` with RLEs of the whole image.

    Raises:
        ValueError: for another `tile` or `overlap`, or an image that is refused.
    """
    check_tiles(tile, overlap)
    image = _checked(image, name, channels)
    height, width = image.shape[:2]
    rows, columns = (tile_starts(size, tile, overlap) for size in (height, width))
    if len(rows) == len(columns) == 1:
        return Result(detect([image])[0])
    size = min(tile, height), min(tile, width)
    boxes = [(y, x, y + size[0], x + size[1]) for y in rows for x in columns]
    parts, best = [], {}
    is_shown = verbose or len(boxes) >= _MANY
    with tqdm(total=len(boxes), desc=name, unit="tile", disable=None if is_shown else True) as bar:
        for start in range(0, len(boxes), batch):
            here = boxes[start : start + batch]
            pieces = [np.array(image[y1:y2, x1:x2]) for y1, x1, y2, x2 in here]
            for box, found in zip(here, detect(pieces), strict=True):
                parts.append(_parts(found, box, (height, width)))
                dtype = np.asarray(found["rois"]).dtype
                if "best_score" in found:
                    best = _better(best, found)
            bar.update(len(here))
    joined = join_parts(parts, boxes)
    joined.sort(key=lambda part: -part.score)
    values = {
        "rois": np.array([part.box for part in joined], dtype).reshape(-1, 4),
        "class_ids": np.array([part.class_id for part in joined], np.int32),
        "scores": np.array([part.score for part in joined], np.float32),
        "masks": [runs_to_rle(part.runs, height, width) for part in joined],
    }
    return Result(values if joined else values | best)


def full_masks(result: Result, size: Sequence[int]) -> np.ndarray:
    """Return the masks of a result with RLEs as `[height, width, n]` bool.

    Raises:
        ValueError: if they take more than `limits.MAX_MASK_BYTES`.
    """
    count, (height, width) = len(result), map(int, size)
    if count * height * width > limits.MAX_MASK_BYTES:
        raise ValueError(
            f"{count} full masks of {height}x{width} pixels take more than "
            f"mrcnn.limits.MAX_MASK_BYTES = {limits.MAX_MASK_BYTES}; use mask_format "
            '"rle", which is the default with tile.'
        )
    full = np.zeros((count, height, width), bool)
    for canvas, rle in zip(full, result["masks"], strict=True):
        canvas[:] = decode_mask(rle)
    return full.transpose(1, 2, 0)


def _checked(image, name, channels):
    """Return an image whose tiles `as_image` converts as it would convert the whole image."""
    if image.ndim in (2, 3) and image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ValueError(
            f"{name} has {image.shape[0]}x{image.shape[1]} pixels; RLEs have at most {MAX_PIXELS}."
        )
    if image.size and (image.dtype in _FIXED_SCALE or channels != 3):
        as_image(image[:1, :1] if image.ndim in (2, 3) else image, name, channels)
        return image
    return as_image(image, name, channels)


def _parts(found, box, size):
    """Return the instances of a tile at `box` as `Part`s, in pixels of the image."""
    y1, x1, y2, x2 = box
    # Distances from the borders of the tile that lie inside of the image.
    inner = [y1 > 0, x1 > 0, y2 < size[0], x2 < size[1]]
    margin = max(2, _MARGIN * max(y2 - y1, x2 - x1))
    parts = []
    columns = (found[name] for name in ("rois", "class_ids", "scores", "masks"))
    for roi, class_id, score, rle in zip(*columns, strict=True):
        runs = move_runs(rle_to_runs(rle), y1, x1)
        roi = np.asarray(roi) + np.array([y1, x1, y1, x1], np.asarray(roi).dtype)
        near = [roi, runs_box(runs)] if len(runs) else [roi]
        low, high = np.min(near, axis=0)[:2], np.max(near, axis=0)[2:]
        distances = np.concatenate([low - (y1, x1), np.subtract((y2, x2), high)])[inner]
        clearance = float(distances.min())
        where = clearance < margin, clearance, box
        parts.append(Part(int(class_id), float(score), roi, runs, *where))
    return parts


def _better(best, found):
    """Return the best score and its limit of an image, one that was kept or that of a tile."""
    if best and best["best_score"] >= found["best_score"]:
        return best
    return {name: found[name] for name in ("best_score", "min_confidence")}
