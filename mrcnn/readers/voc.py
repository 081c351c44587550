"""Datasets in Pascal VOC's layout: pictures of objects and of classes, or boxes in XML."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.checks import shown
from mrcnn.data.photos import read_stored
from mrcnn.readers.annotated import OutlineDataset
from mrcnn.readers.json_values import is_text, read_bytes
from mrcnn.readers.mask_files import (
    MASK_SUFFIXES,
    PHOTO_SUFFIXES,
    PictureDataset,
    empty_masks,
    require_size,
)
from mrcnn.readers.outlines import box
from mrcnn.readers.xml_values import number, read_xml, text_of

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
# Pixels of no object and no background, such as the edges of objects: an index, or a colour.
_VOID_INDEX, _VOID_COLOUR = 255, 0xE0E0C0


class VocDataset(PictureDataset, OutlineDataset):
    """Images and objects in Pascal VOC's layout, see `AnnotatedDataset`."""

    def load_voc(
        self,
        folder: str | os.PathLike,
        subset: str | None = None,
        class_names: Sequence[str] | None = None,
        boxes: bool = False,
        source: str = "voc",
    ) -> None:
        """Add classes and images.

        The photos are in `JPEGImages`. `SegmentationObject` and `SegmentationClass` have a PNG of
        the same name each: in the first one all pixels of one value (or colour) are one object, in
        the second one the value (or colour) is the class. 255 is no object.

        Args:
            folder: with these folders.
            subset: "train" or "val", the list of names in `ImageSets/Segmentation` (with `boxes`,
                `ImageSets/Main`); None for all photos with annotations.
            class_names: the classes in the order of their ids. By default those of `labelmap.txt`,
                which CVAT writes, or VOC's twenty. With `boxes` all names in the files, sorted.
            boxes: read the boxes of `Annotations/*.xml`, as objects that fill them, instead.
            source: see `AnnotatedDataset`.

        Raises:
            FileNotFoundError, OSError: if a folder or the list is missing; see `AnnotatedDataset`.
            ValueError: if a class is named twice, or no file has a box.
        """
        folder, before = Path(folder), len(self.notes)
        photos = {p.stem: p for p in self._pictures(folder / "JPEGImages", PHOTO_SUFFIXES)}
        if not photos:
            raise FileNotFoundError(f"{folder / 'JPEGImages'} has no photos.")
        names = self._listed(folder, subset, boxes)
        if boxes:
            found = self._add_boxes(folder, photos, names, class_names, source)
        else:
            found = self._add_pictures(folder, photos, names, class_names, source)
        self._finish(before, folder, found)

    def _listed(self, folder, subset, boxes):
        """Return the names of a subset; None for all."""
        if subset is None:
            return None
        path = folder / "ImageSets" / ("Main" if boxes else "Segmentation") / f"{subset}.txt"
        return [line.strip() for line in read_bytes(path).decode("utf-8", "replace").splitlines()]

    def _add_pictures(self, folder, photos, names, class_names, source):
        places = folder / "SegmentationObject", folder / "SegmentationClass"
        objects, classes = (
            {path.stem: path for path in self._pictures(place, MASK_SUFFIXES)} for place in places
        )
        if not objects or not classes:
            raise FileNotFoundError(f"{places[0]} and {places[1]} have no pictures.")
        colours = _labelmap(folder)
        if class_names is None:
            class_names = [name for name, _ in colours] or VOC_CLASSES
        by_colour = {colour: n for n, (_, colour) in enumerate(colours, start=1)}
        self._add_named_classes(source, class_names)
        found = False
        for name in sorted(objects) if names is None else filter(None, names):
            if name not in photos:
                self.note("no photo of this name in JPEGImages", name)
            elif name not in objects or name not in classes:
                self.note("not both pictures, of objects and of classes", name)
            elif file := self._measure(photos[name], name, picture=objects[name]):
                found = True
                paths = {"object_path": str(objects[name]), "class_path": str(classes[name])}
                more = {"class_colours": by_colour, "class_count": len(class_names)}
                self.add_image(source, name, **paths, **more, **file)
        return found

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. The class of an object is that of most of its pixels."""
        info = self.image_info[image_id]
        if "object_path" not in info:
            return super().load_mask(image_id)
        size = info["height"], info["width"]
        objects, _ = _numbers(info["object_path"], size)
        classes = _class_indices(info["class_path"], size, info["class_colours"])
        values = [value for value in np.unique(objects).tolist() if value != 0]
        masks = empty_masks(len(values), size, f"{info['path']} with {len(values)} objects")
        class_ids = []
        for position, value in enumerate(values):
            mask = np.equal(objects, value, out=masks[len(class_ids)])
            inside = classes[mask]
            inside = inside[(inside > 0) & (inside <= info["class_count"])]
            if len(inside):
                class_ids.append(self._own_class_id(info, np.bincount(inside).argmax()))
            else:
                self.note("an object without a class", f"object {position} of {info['id']}")
        return masks[: len(class_ids)].transpose(1, 2, 0), np.array(class_ids, np.int32)

    def _classes_of(self, image_id):
        if "object_path" not in self.image_info[image_id]:
            return super()._classes_of(image_id)
        return self.load_mask(image_id)[1]

    def _add_boxes(self, folder, photos, names, class_names, source):
        files = {path.stem: path for path in sorted((folder / "Annotations").glob("*.xml"))}
        if not files:
            raise FileNotFoundError(f"{folder / 'Annotations'} has no .xml files.")
        roots, first_error = {}, None
        for name in files if names is None else filter(None, names):
            if name not in files or name not in photos:
                self.note("not both a photo and an .xml file", name)
                continue
            try:
                roots[name] = read_xml(files[name], "annotation")
            except (OSError, ValueError) as error:
                first_error = first_error or error
                self.note("a file that cannot be used", files[name].name)
        if first_error and not roots:
            raise first_error
        if class_names is None:
            found = {text_of(each, "name") for root in roots.values() for each in _objects(root)}
            class_names = sorted(found - {None})
        if not class_names:
            raise ValueError(f"no file in {folder / 'Annotations'} has an object with a name.")
        ids, found = self._add_named_classes(source, class_names), False
        for name, root in roots.items():
            if file := self._measure(photos[name], name):
                found = True
                objects = self._boxes(root, name, ids, (file["height"], file["width"]))
                self.add_image(source, name, objects=objects, **file)
        return found

    def _boxes(self, root, name, ids, size):
        """Return the sound objects of a file as `(class id, name, outlines)`."""
        objects = []
        for position, each in enumerate(_objects(root)):
            where, label = f"object {position} of {shown(name)}", text_of(each, "name")
            if label not in ids:
                self.note("a class that is not among class_names", f"{where} ({shown(label)})")
                continue
            sides = [number(text_of(each, f"bndbox/{s}")) for s in ("ymin", "xmin", "ymax", "xmax")]
            if None in sides:
                self.note("a coordinate that is not a number", where)
                continue
            # VOC counts pixels from 1, and the last one belongs to the box.
            outline = box(sides[0] - 1, sides[1] - 1, sides[2], sides[3])
            if self._check_outline(outline, *size, where, name):
                objects.append((ids[label], where, [outline]))
        return objects


def _objects(root: Any) -> list:
    return root.findall("object")


def _labelmap(folder):
    """Return `(name, colour)` of the classes in CVAT's `labelmap.txt`, the background left out."""
    try:
        text = read_bytes(folder / "labelmap.txt").decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        parts = rest.partition(":")[0].split(",")
        if line.startswith("#") or not name or not is_text(name) or len(parts) != 3:
            continue
        if not all(part.strip().isdecimal() and len(part) < 5 for part in parts):
            continue
        red, green, blue = map(int, parts)
        if name != "background":
            found.append((name, red << 16 | green << 8 | blue))
    return found


def _numbers(path, size):
    """Return the numbers in a picture, `[height, width]` int64, and whether they are colours.

    Colours are 0xRRGGBB, others indices. Pixels of no object become 0.
    """
    pixels = require_size(read_stored(path), size, path)
    if pixels.dtype.kind not in "bu":
        raise ValueError(f"{path} holds {pixels.dtype} numbers; expected are indices or colours.")
    pixels = pixels.astype(np.int64)
    are_colours = pixels.shape[2] == 3
    if are_colours:
        numbers = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    else:
        numbers = pixels[..., 0]
    void = _VOID_COLOUR if are_colours else _VOID_INDEX
    return np.where(numbers == void, 0, numbers), are_colours


def _class_indices(path, size, by_colour):
    """Return the class of each pixel, 0 for none, of a picture of indices or colours."""
    numbers, are_colours = _numbers(path, size)
    if not are_colours:
        return numbers
    colours = by_colour or {_voc_colour(index): index for index in range(1, _VOID_INDEX)}
    values, places = np.unique(numbers, return_inverse=True)
    indices = np.array([colours.get(value, 0) for value in values.tolist()], np.int64)
    return indices[places.reshape(numbers.shape)]


def _voc_colour(index):
    """Return the colour of an index in VOC's palette: its bits spread over red, green and blue."""
    colour = 0
    for bit in range(8):
        for shift in (16, 8, 0):
            channel = (16, 8, 0).index(shift)
            colour |= (index >> (3 * bit + channel) & 1) << (shift + 7 - bit)
    return colour
