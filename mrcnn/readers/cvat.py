"""Datasets outlined in CVAT: its own XML, "CVAT for images 1.1"."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.data.checks import shown
from mrcnn.readers.annotated import OutlineDataset
from mrcnn.readers.json_values import is_text
from mrcnn.readers.outlines import Bitmap, Ellipse, Outline, Polygon, turned_box
from mrcnn.readers.xml_values import number, read_xml, text_of, whole

_KINDS = ("polygon", "box", "ellipse", "mask")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


class CvatDataset(OutlineDataset):
    """Images and shapes of CVAT's XML files, see `AnnotatedDataset` and `OutlineDataset`.

    Polygons, boxes, ellipses and masks become instances. Shapes of one label and one group are
    parts of one instance, as in CVAT's own export to COCO.
    """

    def load_cvat(
        self,
        annotation_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        class_names: Sequence[str] | None = None,
        source: str = "cvat",
        outside: bool = False,
    ) -> None:
        """Add classes and images.

        Args:
            annotation_file: `annotations.xml` of "CVAT for images 1.1".
            image_dir: folder of the images.
            class_names: the labels in the order of their ids; shapes of others are left out. By
                default all that the file names, sorted. Give the validation set those of the
                training set.
            source: see `AnnotatedDataset`.
            outside: accept names of images that lead out of `image_dir`, see `find_image`.

        Raises:
            FileNotFoundError, OSError: see `read_xml`, and `AnnotatedDataset`.
            ValueError: if the file is not CVAT's XML for images, has entities or no label, or if a
                class is named twice.
        """
        root = read_xml(annotation_file, "annotations")
        images = root.findall("image")
        if not images and root.find("track") is not None:
            raise ValueError(
                f"{annotation_file} holds tracks, CVAT for video; export it as CVAT for images."
            )
        names = _labels(root) if class_names is None else class_names
        if not names:
            raise ValueError(f"{annotation_file} has no label.")
        ids = self._add_named_classes(source, names)
        before, listed, found = len(self.notes), set(), False
        for position, image in enumerate(images):
            name = image.get("name")
            if not name or not is_text(name):
                self.note("an image without name", f"image {position}")
            elif name in listed:
                self.note("a second entry for one image", name)
            else:
                size = whole(image.get("height")), whole(image.get("width"))
                file = self._locate(image_dir, name, size, outside=outside)
                if file:
                    found = True
                    objects = self._objects(image, ids, (file["height"], file["width"]))
                    self.add_image(source, name, objects=objects, **file)
            listed.add(name)
        self._finish(before, annotation_file, found)

    def _objects(self, image, ids, size):
        """Return the sound shapes of an image as `(class id, name, outlines)`."""
        objects, name = {}, image.get("name")
        for position, shape in enumerate(image):
            where = f"shape {position} of {shown(name)}"
            if shape.tag in _WITHOUT_AREA:
                self.note(f"a {shape.tag}, which has no area", where)
            if shape.tag not in _KINDS:
                continue
            label = shape.get("label")
            if label not in ids:
                self.note("a class that is not among class_names", f"{where} ({shown(label)})")
                continue
            try:
                outline = _outline(shape)
            except ValueError as error:
                self.note(str(error), where)
                continue
            if self._check_outline(outline, *size, where, name):
                group = whole(shape.get("group_id"))
                key = (label, group) if group else position
                objects.setdefault(key, (ids[label], where, []))[2].append(outline)
        return list(objects.values())


def _labels(root) -> list[str]:
    """Return the labels that a file declares or uses, sorted."""
    declared = {text_of(label, "name") for label in root.iterfind("meta//labels/label")}
    shapes = (shape for image in root.iterfind("image") for shape in image)
    used = {shape.get("label") for shape in shapes if shape.tag in _KINDS}
    return sorted(label for label in declared | used if label and is_text(label))


def _outline(shape: Any) -> Outline:
    """Return the outline of a shape; ValueError with the reason if it has none."""
    if shape.tag == "polygon":
        return _polygon(shape.get("points") or "")
    if shape.tag == "mask":
        return _mask(shape)
    names = ("ytl", "xtl", "ybr", "xbr") if shape.tag == "box" else ("cy", "cx", "ry", "rx")
    values = [number(shape.get(name)) for name in names]
    angle = number(shape.get("rotation", "0"))
    if None in values or angle is None:
        raise ValueError("a coordinate that is not a number")
    radians = math.radians(angle % 360)
    return turned_box(*values, radians) if shape.tag == "box" else Ellipse(*values, radians)


def _polygon(text):
    """Return the polygon of "x,y;x,y;..."."""
    points = [point.split(",") for point in text.split(";")]
    if any(len(point) != 2 for point in points):
        raise ValueError("points that are not pairs of numbers")
    xs, ys = ([number(point[axis]) for point in points] for axis in (0, 1))
    if None in xs or None in ys:
        raise ValueError("a coordinate that is not a number")
    return Polygon(ys, xs)


def _mask(shape):
    """Return the bitmap of a mask: lengths of runs, row by row, from its upper left corner."""
    names = ("top", "left", "height", "width")
    top, left, height, width = (whole(shape.get(name)) for name in names)
    if None in (top, left, height, width) or height < 1 or width < 1:
        raise ValueError("a mask without its place and size")
    try:
        runs = np.array(shape.get("rle", "").split(","), np.int64)
    except (OverflowError, ValueError):
        raise ValueError("an RLE that is no list of whole numbers") from None
    if (runs < 0).any() or (runs > height * width).any() or sum(runs.tolist()) != height * width:
        raise ValueError("an RLE whose counts do not add up to its size")
    return Bitmap(top, left, height, width, runs)
