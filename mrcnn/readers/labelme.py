"""Datasets outlined in LabelMe: a JSON file beside each image."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from mrcnn.readers.annotated import OutlineDataset, read_json
from mrcnn.readers.outlines import Ellipse, Outline, Polygon, box


class LabelMeDataset(OutlineDataset):
    """Images and shapes of LabelMe files, see `AnnotatedDataset` and `OutlineDataset`.

    Polygons, rectangles and circles become instances. Shapes with the same label and `group_id` are
    parts of one instance.
    """

    def load_labelme(
        self,
        folder: str | os.PathLike,
        class_names: Sequence[str] | None = None,
        source: str = "labelme",
    ) -> None:
        """Add classes and images.

        Args:
            folder: of `.json` files; each has the path of its image relative to this folder.
            class_names: the labels in the order of their ids; shapes of others are left out. By
                default all labels in the folder, sorted. Give the validation set those of the
                training set.
            source: see `AnnotatedDataset`.

        Raises:
            ValueError: if no file is LabelMe's, or a class is named twice.
        """
        before = len(self.notes)
        files = self._read(Path(folder))
        if class_names is None:
            shapes = [shape for _, data in files for shape in _shapes(data)]
            class_names = sorted({str(shape["label"]) for shape in shapes if shape.get("label")})
        ids = self._add_named_classes(source, class_names)
        found = False
        for path, data in files:
            name = data.get("imagePath") or ""
            size = data.get("imageHeight"), data.get("imageWidth")
            if file := self._locate(folder, name, size, where=f"{name} of {path.name}"):
                found = True
                objects = self._objects(path.name, data, ids, (file["height"], file["width"]))
                self.add_image(source, path.stem, objects=objects, **file)
        self._finish(before, folder, found)

    def _read(self, folder):
        """Return path and content of each LabelMe file in a folder; note the others."""
        paths = sorted(folder.glob("*.json"))
        if not paths:
            raise FileNotFoundError(f"there is no .json file in the folder {folder}.")
        files, errors = [], []
        for path in paths:
            try:
                data = read_json(path, "LabelMe JSON")
            except ValueError as error:
                errors.append(error)
                self.note("a file that is not LabelMe JSON", path.name)
            else:
                # The image itself as text, which would fill the memory.
                data.pop("imageData", None)
                files.append((path, data))
        if not files:
            raise errors[0]
        return files

    def _objects(self, file, data, ids, size):
        """Return the sound shapes of an image as `(class id, name, outlines)`."""
        objects = {}
        for number, shape in enumerate(_shapes(data)):
            where, label = f"shape {number} of {file}", str(shape.get("label") or "")
            if not label:
                self.note("a shape without label", where)
                continue
            if label not in ids:
                self.note("a class that is not among class_names", f"{where} ({label})")
                continue
            try:
                outline = _outline(shape)
            except (TypeError, ValueError):
                self.note("points that are not pairs of numbers", where)
                continue
            if outline is None:
                kind = shape.get("shape_type")
                self.note(f"a shape_type {kind!r}, which has no area", where)
            elif self._check_outline(outline, *size, where):
                group = shape.get("group_id")
                key = number if group is None else (label, group)
                parts = objects.setdefault(key, (ids[label], where, []))
                parts[2].append(outline)
        return list(objects.values())


def _shapes(data):
    return [shape for shape in data["shapes"] if isinstance(shape, dict)]


def _outline(shape: dict) -> Outline | None:
    """Return the outline of a shape; None for kinds without area. Broken points raise an error."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("polygon", "rectangle", "circle"):
        return None
    points = [(float(y), float(x)) for x, y in shape.get("points") or []]
    ys, xs = [y for y, _ in points], [x for _, x in points]
    if kind == "polygon":
        return Polygon(ys, xs)
    if kind == "rectangle":
        return box(min(ys), min(xs), max(ys), max(xs))
    # The centre, and a point of the circle.
    (cy, cx), (y, x) = points
    radius = math.hypot(y - cy, x - cx)
    return Ellipse(cy, cx, radius, radius)
