"""Objects of an image as Ultralytics' text files for segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.ops.contours import join_rings, mask_polygons

# Of a coordinate; enough for images of a million pixels a side.
_DIGITS = 8


def yolo_lines(height: int, width: int, objects: Sequence[tuple[int, np.ndarray]]) -> list[str]:
    """Return the lines `class x y x y ...` of an image, coordinates as shares of its sides.

    A line has one polygon. Parts and holes of an object are joined by cuts (see `join_rings`), so
    that `YoloDataset` reads the same mask from it.

    Args:
        height, width: of the image, in pixels.
        objects: `(class, mask)` of each, classes from 0, masks `[height, width]` bool. Those
            without a pixel are left out.
    """
    lines = []
    for number, mask in objects:
        rings = [ring for rings in mask_polygons(mask) for ring in rings]
        if rings:
            shares = join_rings(rings)[:, ::-1] / (width, height)
            lines.append(" ".join([str(number), *map(_text, shares.ravel().tolist())]))
    return lines


def _text(share):
    """Return a number without needless digits, and never with an exponent."""
    return f"{share:.{_DIGITS}f}".rstrip("0").rstrip(".")


def yolo_yaml(names: Sequence[str], **folders: str) -> str:
    """Return the content of `data.yaml`.

    Args:
        names: of the classes, from class 0.
        folders: of the images of "train" and "val", relative to the file.
    """
    import yaml

    document = {"path": ".", **folders, "names": dict(enumerate(names))}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
