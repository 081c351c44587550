"""Datasets outlined in LabelMe: a JSON file beside each image."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Sequence
from pathlib import Path

from mrcnn.data.checks import shown
from mrcnn.data.photos import read_stored_bytes
from mrcnn.readers.annotated import OutlineDataset
from mrcnn.readers.json_values import are_numbers, as_id, as_name, is_text, read_json
from mrcnn.readers.outlines import Ellipse, Outline, Polygon, bitmap, box

# Turned boxes have their four corners: "oriented_rectangle" in LabelMe, "rotation" elsewhere.
_POLYGONS = ("polygon", "oriented_rectangle", "rotation")
_KINDS = (*_POLYGONS, "rectangle", "circle", "mask")


class LabelMeDataset(OutlineDataset):
    """Images and shapes of LabelMe files, see `AnnotatedDataset` and `OutlineDataset`.

    Polygons, rectangles, turned ones too, circles and masks become instances. Shapes with the same
    label and `group_id` are parts of one instance.
    """

    def load_labelme(
        self,
        folder: str | os.PathLike,
        class_names: Sequence[str] | None = None,
        source: str = "labelme",
        outside: bool = False,
    ) -> None:
        """Add classes and images.

        Args:
            folder: of `.json` files; each has the path of its image relative to this folder.
            class_names: the labels in the order of their ids; shapes of others are left out. By
                default all labels of shapes with an area in the folder, sorted. Give the validation
                set those of the training set.
            source: see `AnnotatedDataset`.
            outside: accept images outside of the folder, such as "../images/a.png", see
                `find_image`.

        Raises:
            FileNotFoundError: see `AnnotatedDataset`.
            ValueError: if no file is LabelMe's, no shape has a label, or a class is named twice.
        """
        before = len(self.notes)
        files = self._read(Path(folder))
        if class_names is None:
            class_names = _labels(files, folder)
        ids = self._add_named_classes(source, class_names)
        found = False
        for path, data in files:
            name = data.get("imagePath")
            if not is_text(name):
                self.note("an imagePath that is not a text", path.name)
                continue
            size = data.get("imageHeight"), data.get("imageWidth")
            where = f"{shown(name)} of {shown(path.name)}"
            if file := self._locate(folder, name, size, where, outside):
                found = True
                objects = self._objects(path.name, data, ids, (file["height"], file["width"]))
                self.add_image(source, path.stem, objects=objects, **file)
        self._finish(before, folder, found)

    def _read(self, folder):
        """Return path and content of each LabelMe file in a folder; note the others."""
        paths = sorted(folder.glob("*.json"))
        if not paths:
            raise FileNotFoundError(f"there is no .json file in the folder {folder}.")
        files, first_error = [], None
        for path in paths:
            try:
                data = read_json(path, "LabelMe JSON")
            except (OSError, ValueError) as error:
                first_error = first_error or error
                kind = "is not LabelMe JSON" if isinstance(error, ValueError) else "cannot be read"
                self.note(f"a file that {kind}", path.name)
            else:
                # The image itself as text, which would fill the memory.
                data.pop("imageData", None)
                files.append((path, data))
        if not files:
            raise first_error
        return files

    def _objects(self, file, data, ids, size):
        """Return the sound shapes of an image as `(class id, name, outlines)`."""
        objects = {}
        for number, shape in enumerate(data["shapes"]):
            where = f"shape {number} of {shown(file)}"
            if fault := _shape_fault(shape):
                self.note(fault, where)
                continue
            label, group = as_name(shape["label"]), shape.get("group_id")
            if label not in ids:
                self.note("a class that is not among class_names", f"{where} ({shown(label)})")
                continue
            try:
                outline = _outline(shape)
            except ValueError as error:
                self.note(str(error), where)
                continue
            if self._check_outline(outline, *size, where, file):
                key = number if group is None else (label, as_id(group))
                parts = objects.setdefault(key, (ids[label], where, []))
                parts[2].append(outline)
        return list(objects.values())


def _labels(files, folder):
    """Return the labels of shapes that have an area, sorted."""
    shapes = [shape for _, data in files for shape in data["shapes"] if isinstance(shape, dict)]
    labels = {as_name(shape.get("label")) for shape in shapes if _kind(shape) in _KINDS} - {None}
    if not labels:
        raise ValueError(f"no polygon, rectangle, circle or mask in {folder} has a label.")
    return sorted(labels)


def _kind(shape):
    """Return the kind of a shape; old files have polygons only, and do not say so."""
    kind = shape.get("shape_type")
    return "polygon" if kind in (None, "") else kind


def _shape_fault(shape) -> str | None:
    """Return the reason why a shape has no class or no outline; None if `_outline` has one."""
    if not isinstance(shape, dict):
        return "a shape that is not a dict"
    if as_name(shape.get("label")) is None:
        return "a shape without label"
    kind = _kind(shape)
    if kind not in _KINDS:
        kind = kind if isinstance(kind, str) else shown(kind)
        return f"a shape_type {kind!r}, which has no area"
    if shape.get("group_id") is not None and as_id(shape["group_id"]) is None:
        return "a group_id that is neither a number nor a text"
    points = shape.get("points") or []
    pairs = isinstance(points, list) and all(isinstance(p, list) and len(p) == 2 for p in points)
    few = kind not in _POLYGONS and not points
    if not pairs or few or (kind in ("circle", "mask") and len(points) != 2):
        return "points that are not pairs of numbers"
    numbers = [value for point in points for value in point]
    if not set(map(type, numbers)) <= {int, float}:
        return "points that are not pairs of numbers"
    # The distance of these is computed before `examine` looks at it.
    if kind in ("circle", "mask") and not all(are_numbers([value]) for value in numbers):
        return "a coordinate that is not a number"
    return None


def _outline(shape: dict) -> Outline:
    """Return the outline of a sound shape; ValueError for a mask without pixels."""
    points = shape.get("points") or []
    xs, ys = [x for x, _ in points], [y for _, y in points]
    kind = _kind(shape)
    if kind == "mask":
        return _bitmap(shape.get("mask"), min(ys), min(xs), max(ys), max(xs))
    if kind in _POLYGONS:
        return Polygon(ys, xs)
    if kind == "rectangle":
        return box(min(ys), min(xs), max(ys), max(xs))
    # The centre, and a point of the circle.
    (cx, cy), (x, y) = points
    radius = math.hypot(y - cy, x - cx)
    return Ellipse(cy, cx, radius, radius)


def _bitmap(text, y1, x1, y2, x2):
    """Return the outline of a mask: a picture in base64, and the first and last of its pixels."""
    if not isinstance(text, str) or not text:
        raise ValueError("a mask without its pixels")
    if max(map(abs, (y1, x1, y2, x2))) > 1e6:
        raise ValueError("a coordinate beyond a million pixels")
    try:
        pixels = read_stored_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ValueError("a mask whose pixels cannot be read") from None
    top, left = round(y1), round(x1)
    sides = round(y2) - top, round(x2) - left
    # Tools count the last pixel or the one after it.
    if any(found - side not in (0, 1) for found, side in zip(pixels.shape, sides, strict=False)):
        raise ValueError("a mask of another size than its points")
    pixels = pixels.any(axis=2) if pixels.ndim == 3 else pixels != 0
    return bitmap(top, left, pixels)
