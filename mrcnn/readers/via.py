"""Datasets outlined in the VGG Image Annotator (VIA), versions 1 and 2."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mrcnn.data.checks import shorten, shown
from mrcnn.readers.annotated import OutlineDataset
from mrcnn.readers.json_values import are_numbers, as_name, is_text, read_json
from mrcnn.readers.outlines import Ellipse, Outline, Polygon, box

_SHOWN = 10
# Usual names of the region attribute that holds the class.
_CLASS_ATTRIBUTES = {"class", "type", "kind", "label", "name", "category", "object"}


class ViaDataset(OutlineDataset):
    """Images and regions of VIA files, see `AnnotatedDataset` and `OutlineDataset`.

    Polygons, rectangles, circles, ellipses and closed polylines become instances.
    """

    def load_via(
        self,
        annotation_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        class_attribute: str | None = None,
        class_names: Sequence[str] | None = None,
        source: str = "via",
        outside: bool = False,
    ) -> None:
        """Add classes and images.

        Args:
            annotation_file: annotations that VIA 1 or 2 has exported as JSON, or a saved project.
            image_dir: folder of the images.
            class_attribute: the region attribute that holds the class: a text, or the choice of a
                dropdown, radio buttons or a checkbox. With None all regions are of one class.
            class_names: the classes in the order of their ids; regions of others are left out.
                By default all that the file names, sorted, or "object" without a class attribute.
                Give the validation set those of the training set.
            source: see `AnnotatedDataset`.
            outside: accept names of images that lead out of `image_dir`, see `find_image`.

        Raises:
            FileNotFoundError, OSError: see `read_json`, and `AnnotatedDataset`.
            ValueError: if the file is not from VIA 1 or 2, a class is named twice, there are
                several classes without a class attribute, or no region has the attribute.
        """
        data = read_json(annotation_file, "VIA JSON")
        entries = list(data.get("_via_img_metadata", data).values())
        before = len(self.notes)
        if class_attribute is None:
            names = self._only_class(entries, class_names, annotation_file)
        else:
            names = class_names or _declared_names(data, entries, class_attribute, annotation_file)
        ids = self._add_named_classes(source, names)
        listed, found = set(), False
        for number, entry in enumerate(entries):
            name = entry.get("filename") if isinstance(entry, dict) else None
            if not name or not is_text(name):
                self.note("an entry without filename", f"entry {number}")
            elif name in listed:
                self.note("a second entry for one image", name)
            elif file := self._locate(image_dir, name, outside=outside):
                found = True
                size = file["height"], file["width"]
                objects = self._objects(entry, class_attribute, ids, size)
                self.add_image(source, name, objects=objects, **file)
            if is_text(name):
                listed.add(name)
        self._finish(before, annotation_file, found)

    def _objects(self, entry, class_attribute, ids, size):
        """Return the sound regions of an image as `(class id, name, outlines)`."""
        objects, image = [], entry["filename"]
        if not isinstance(entry.get("regions") or [], dict | list):
            self.note("regions that are neither a list nor a dict", image)
        for number, region in enumerate(_regions(entry)):
            where = f"region {number} of {shown(image)}"
            if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
                self.note("a region without shape", where)
                continue
            name = next(iter(ids))
            if class_attribute is not None:
                chosen = _choices(region, class_attribute)
                if len(chosen) != 1:
                    kind = "several values" if chosen else "no value"
                    self.note(f"{kind} of {class_attribute!r}", where)
                    continue
                name = chosen[0]
                if name not in ids:
                    self.note("a class that is not among class_names", f"{where} ({shown(name)})")
                    continue
            shape = region["shape_attributes"]
            if fault := _shape_fault(shape):
                self.note(fault, where)
            elif self._check_outline(outline := _outline(shape), *size, where, image):
                objects.append((ids[name], where, [outline]))
        return objects

    def _only_class(self, entries, class_names, origin):
        """Return the class of all regions, in a list; note attributes that could hold classes."""
        names = ["object"] if class_names is None else list(class_names)
        attributes = _attributes(entries)
        if len(names) != 1:
            raise ValueError(
                f"class_names is {names}; several classes need a class_attribute, the region "
                f"attribute that holds the class. {origin} has {_listed(attributes)}."
            )
        for attribute, values in attributes.items():
            if len(values) > 1 and class_names is None:
                self.note(
                    "a region attribute that could be the class_attribute",
                    f"{attribute}: {shorten(sorted(values), _SHOWN)}",
                    left_out=False,
                )
        return names


def guess_class_attribute(annotation_file: str | os.PathLike) -> str | None:
    """Return the region attribute of a VIA file that seems to hold the class; None without any.

    It is the one that most regions have; of several, one with a usual name, then one with several
    values, but few of them.
    """
    data = read_json(annotation_file, "VIA JSON")
    regions = [
        region
        for entry in data.get("_via_img_metadata", data).values()
        if isinstance(entry, dict)
        for region in _regions(entry)
    ]
    times, values = Counter(), {}
    for region in regions:
        for attribute in _region_attributes(region):
            if len(chosen := _choices(region, attribute)) == 1:
                times[attribute] += 1
                values.setdefault(attribute, set()).update(chosen)

    def likely(name):
        count = len(values[name])
        return times[name], name.lower() in _CLASS_ATTRIBUTES, count > 1, -count, name

    return max(times, key=likely, default=None)


def _regions(entry):
    """Return the regions of an image: VIA 1 numbers them in a dict, VIA 2 lists them."""
    regions = entry.get("regions")
    if isinstance(regions, dict):
        return list(regions.values())
    return regions if isinstance(regions, list) else []


def _region_attributes(region):
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _choices(region, attribute) -> list[str]:
    """Return the chosen values of a region attribute; only checkboxes can have several."""
    value = _region_attributes(region).get(attribute)
    if isinstance(value, dict):
        return [name for name, ticked in value.items() if ticked and is_text(name)]
    name = (as_name(value) or "").strip()
    return [name] if name else []


def _attributes(entries) -> dict[str, set[str]]:
    """Return the values of all region attributes."""
    values = {}
    for entry in entries:
        for region in _regions(entry) if isinstance(entry, dict) else []:
            for attribute in _region_attributes(region):
                values.setdefault(attribute, set()).update(_choices(region, attribute))
    return values


def _listed(names):
    """Return the beginning of a sorted list of names, for messages."""
    return f"[{shorten([repr(shown(n)) for n in sorted(names)], _SHOWN)}]" if names else "none"


def _declared_names(data: Any, entries: list, attribute: str, origin: str | os.PathLike):
    """Return the classes in a file: values in use, and the options that a project offers."""
    values = _attributes(entries)
    declared = data
    for key in ("_via_attributes", "region", attribute, "options"):
        declared = declared.get(key) if isinstance(declared, dict) else None
    options = declared if isinstance(declared, dict | list) else ()
    names = values.get(attribute, set()) | {option for option in options if is_text(option)}
    if not names:
        raise ValueError(
            f"no region of {origin} has the attribute {attribute!r}; the attributes are "
            f"{_listed(values)}."
        )
    return sorted(names)


def _points(shape):
    """Return the y and x coordinates of a polygon; `[]` if there are none."""
    return shape.get("all_points_y") or [], shape.get("all_points_x") or []


def _shape_fault(shape: dict) -> str | None:
    """Return the reason why `shape_attributes` have no outline; None if `_outline` has one."""
    # Old exports, of polygons only, have no name.
    name = shape.get("name", "polygon")
    if name == "rect":
        sides = [shape.get(key) for key in ("y", "x", "height", "width")]
        return (
            None
            if all(are_numbers([side]) for side in sides)
            else "a coordinate that is not a number"
        )
    if name not in ("polygon", "polyline"):
        return None if name in ("circle", "ellipse") else _no_area(name)
    ys, xs = _points(shape)
    if not isinstance(ys, list) or not isinstance(xs, list):
        return "points that are not lists of coordinates"
    ends = [*ys[:1], *xs[:1], *ys[-1:], *xs[-1:]]
    closed = len(ys) > 3 and are_numbers(ends) and len(ends) == 4 and ends[:2] == ends[2:]
    return None if name == "polygon" or closed else _no_area(name)


def _no_area(name):
    return f"a shape {name if isinstance(name, str) else shown(name)!r}, which has no area"


def _outline(shape: dict) -> Outline:
    """Return the outline of VIA's `shape_attributes`. `examine` finds missing entries."""
    get = shape.get
    name = get("name", "polygon")
    if name == "rect":
        y, x, height, width = (get(key) for key in ("y", "x", "height", "width"))
        return box(y, x, y + height, x + width)
    if name == "circle":
        return Ellipse(get("cy"), get("cx"), get("r"), get("r"))
    if name == "ellipse":
        return Ellipse(get("cy"), get("cx"), get("ry"), get("rx"), get("theta", 0))
    return Polygon(*_points(shape))
