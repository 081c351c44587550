"""Objects of an image as a LabelMe file, to be corrected in the tool."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

from mrcnn.ops.contours import mask_polygons

_VERSION = "5.5.0"


def labelme_document(
    image_path: str, height: int, width: int, objects: Sequence[tuple[str, np.ndarray]]
) -> dict:
    """Return the content of a LabelMe file; `LabelMeDataset` reads the same masks from it.

    Objects become polygons. The parts of an object share a `group_id`. LabelMe's polygons have no
    holes, so an object with holes becomes a shape of the type "mask".

    Args:
        image_path: of the photo, relative to the folder of the LabelMe file.
        height, width: of the photo, in pixels.
        objects: `(label, mask)` of each, with masks `[height, width]` bool. Those without a pixel
            are left out.
    """
    shapes = []
    for number, (label, mask) in enumerate(objects, start=1):
        shapes += _shapes(label, mask, number)
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": int(height),
        "imageWidth": int(width),
    }


def _shapes(label, mask, number):
    """Return the shapes of one object."""
    components = mask_polygons(mask)
    if any(len(rings) > 1 for rings in components):
        return [_mask_shape(label, mask)]
    group = number if len(components) > 1 else None
    outlines = (rings[0][:, ::-1].tolist() for rings in components)
    return [_shape(label, points, "polygon", group) for points in outlines]


def _mask_shape(label, mask):
    """Return a shape with the pixels of a mask between its first and last row and column."""
    from PIL import Image

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    (top, bottom), (left, right) = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
    file = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1].astype(bool)).save(file, "PNG")
    shape = _shape(label, [[left, top], [right, bottom]], "mask", None)
    return shape | {"mask": base64.b64encode(file.getvalue()).decode()}


def _shape(label, points, kind, group):
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
    }
