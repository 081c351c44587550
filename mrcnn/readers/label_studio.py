"""Datasets outlined in Label Studio: its own JSON."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from mrcnn.data.checks import shown
from mrcnn.readers.annotated import OutlineDataset
from mrcnn.readers.brush_rle import decode_brush
from mrcnn.readers.find import find_image
from mrcnn.readers.json_values import are_numbers, as_name, is_text, read_json
from mrcnn.readers.outlines import Bitmap, Ellipse, Outline, Polygon, turned_box

_KINDS = ("polygonlabels", "brushlabels", "ellipselabels", "rectanglelabels")
# Per cent; what is further outside of the image is no per cent.
_LOWEST, _HIGHEST = -100, 200
# Of uploaded files, before their own name.
_PREFIX = re.compile(r"^[0-9a-f]{8}-")


class LabelStudioDataset(OutlineDataset):
    """Images and regions of Label Studio, see `AnnotatedDataset` and `OutlineDataset`.

    Polygons, brush strokes and ellipses become instances.
    """

    def load_label_studio(
        self,
        annotation_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        class_names: Sequence[str] | None = None,
        boxes: bool = False,
        source: str = "label_studio",
        outside: bool = False,
    ) -> None:
        """Add classes and images.

        Of each task the first annotation that was not cancelled counts. Tasks name their image by
        an address or a path; its last part is looked up in `image_dir`, with and without the eight
        letters that Label Studio writes before the names of uploaded files.

        Args:
            annotation_file: the export "JSON" (not "JSON-MIN").
            image_dir: folder of the images.
            class_names: the labels in the order of their ids; regions of others are left out. By
                default all labels in the file, sorted. Give the validation set those of the
                training set.
            boxes: take rectangles as objects that fill them. By default they are left out.
            source: see `AnnotatedDataset`.
            outside: accept names of images that lead out of `image_dir`, see `find_image`.

        Raises:
            FileNotFoundError, OSError: see `read_json`, and `AnnotatedDataset`.
            ValueError: if the file is not Label Studio's JSON, no region has a label, or a class is
                named twice.
        """
        tasks = read_json(annotation_file, "Label Studio JSON")
        kinds = _KINDS if boxes else _KINDS[:-1]
        before, found = len(self.notes), False
        results = [self._results(task, f"task {n}") for n, task in enumerate(tasks)]
        if class_names is None:
            class_names = sorted({label for each in results for label in _labels(each, kinds)})
        if not class_names:
            hint = "" if boxes else "; load_label_studio(boxes=True) takes rectangles, too"
            raise ValueError(f"{annotation_file} has no polygon or brush with a label{hint}.")
        ids = self._add_named_classes(source, class_names)
        for position, (task, regions) in enumerate(zip(tasks, results, strict=True)):
            where = f"task {position}"
            if regions is None:
                continue
            if (name := _image_name(task, image_dir, outside)) is None:
                self.note("a task without the name of an image", where)
            elif file := self._locate(image_dir, name, _size(regions), outside=outside):
                found = True
                objects = self._objects(regions, kinds, ids, file, where)
                self.add_image(source, name, objects=objects, **file)
        self._finish(before, annotation_file, found)

    def _results(self, task, where):
        """Return the regions of a task, dicts; None for a task that is none."""
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(annotations, list) or not isinstance(task.get("data"), dict):
            self.note("a task without data or annotations", where)
            return None
        sound = [
            each
            for each in annotations
            if isinstance(each, dict)
            and isinstance(each.get("result"), list)
            and not each.get("was_cancelled")
        ]
        if len(sound) > 1:
            self.note("a second annotation of one task", where)
        return [each for each in (sound[0]["result"] if sound else []) if isinstance(each, dict)]

    def _objects(self, regions, kinds, ids, file, where):
        """Return the sound regions of an image as `(class id, name, outlines)`."""
        objects, size = [], (file["height"], file["width"])
        for position, region in enumerate(regions):
            place = f"region {position} of {where}"
            kind = region.get("type")
            if kind == "rectanglelabels" and kind not in kinds:
                self.note("a rectangle, which boxes=True takes as an object", place)
            elif kind in kinds:
                try:
                    label, outline = _label(region), _outline(region, size)
                except ValueError as error:
                    self.note(str(error), place)
                    continue
                if label not in ids:
                    self.note("a class that is not among class_names", f"{place} ({shown(label)})")
                elif self._check_outline(outline, *size, place, where):
                    objects.append((ids[label], place, [outline]))
            elif kind not in ("relation", "choices", "textarea"):
                self.note(f"a region of the type {shown(kind)!r}, which has no area", place)
        return objects


def _labels(regions, kinds):
    """Yield the labels of the regions that become objects."""
    for region in regions or ():
        if region.get("type") in kinds:
            try:
                yield _label(region)
            except ValueError:
                continue


def _label(region) -> str:
    """Return the only label of a region; ValueError if it has none or several."""
    value = region.get("value")
    labels = value.get(region["type"]) if isinstance(value, dict) else None
    if not isinstance(labels, list) or len(labels) != 1 or as_name(labels[0]) is None:
        raise ValueError("a region without exactly one label")
    return as_name(labels[0])


def _image_name(task, folder, outside):
    """Return the name of the image of a task, one that is in the folder if there is any."""
    texts = [task.get("file_upload"), *task["data"].values()]
    names = []
    for text in texts:
        if not is_text(text) or not text:
            continue
        try:
            parts = urlsplit(text)
        except ValueError:
            continue
        # Files on the server's disk are "/data/local-files/?d=folder/photo.jpg".
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
        last = os.path.basename(path.replace("\\", "/"))
        names += [each for each in (path, last, _PREFIX.sub("", last)) if each and is_text(each)]
    there = (name for name in names if find_image(Path(folder), name, outside))
    return next(there, names[0] if names else None)


def _size(regions):
    """Return the (height, width) that regions are for; (None, None) without one."""
    for region in regions:
        if "original_height" in region:
            return region.get("original_height"), region.get("original_width")
    return None, None


def _outline(region, size) -> Outline:
    """Return the outline of a region; ValueError with the reason if it has none."""
    height, width = size
    if (region.get("original_height", height), region.get("original_width", width)) != size:
        raise ValueError("a region for an image of another size")
    if region.get("image_rotation") not in (None, 0):
        raise ValueError("a region of an image that was turned in the tool")
    value, kind = region["value"], region["type"]
    if kind == "brushlabels":
        return Bitmap(0, 0, height, width, decode_brush(value.get("rle"), height, width))
    if kind == "polygonlabels":
        points = value.get("points")
        pairs = isinstance(points, list) and all(
            isinstance(p, list) and len(p) == 2 for p in points
        )
        if not pairs:
            raise ValueError("points that are not pairs of numbers")
        xs, ys = _pixels([x for x, _ in points], width), _pixels([y for _, y in points], height)
        return Polygon(ys, xs)
    angle = value.get("rotation") or 0
    if not are_numbers([angle]):
        raise ValueError("a coordinate that is not a number")
    radians = math.radians(angle % 360)
    sides = ("radiusX", "radiusY") if kind == "ellipselabels" else ("width", "height")
    x, w = _pixels([value.get("x"), value.get(sides[0])], width)
    y, h = _pixels([value.get("y"), value.get(sides[1])], height)
    if kind == "ellipselabels":
        return Ellipse(y, x, h, w, radians)
    # It is turned around its upper left corner.
    return turned_box(y, x, y + h, x + w, radians, around=(y, x))


def _pixels(values, side):
    """Return per cent of a side of the image in pixels."""
    if not all(are_numbers([value]) for value in values):
        raise ValueError("a coordinate that is not a number")
    if values and not _LOWEST <= min(values) <= max(values) <= _HIGHEST:
        raise ValueError("coordinates far outside of 0 to 100, per cent of the image's sides")
    return [value * side / 100 for value in values]
