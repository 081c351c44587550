"""Datasets in COCO's JSON: polygons and run lengths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from mrcnn.data.checks import shorten, shown
from mrcnn.ops.polygons import polygons_to_rle
from mrcnn.ops.rle import rle_fault
from mrcnn.readers.annotated import AnnotatedDataset
from mrcnn.readers.json_values import as_id, as_name, is_text, read_json
from mrcnn.readers.outlines import Polygon

_SHOWN = 20
# Masks of one image, from which on they are decoded one by one.
_MANY_BYTES = 1 << 26


class CocoJsonDataset(AnnotatedDataset):
    """Images and instances of files in COCO's layout, see `AnnotatedDataset`."""

    def load_coco_json(
        self,
        annotation_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        class_ids: Iterable[int] | None = None,
        source: str = "coco",
        outside: bool = False,
    ) -> None:
        """Add classes and images. Crowds (`iscrowd`) get negative class ids.

        `image_info` gets `height`, `width` and `annotations`, the list of COCO's dicts.

        Args:
            annotation_file: JSON with `images`, `annotations` and `categories`.
            image_dir: folder of the images.
            class_ids: the file's ids of the categories to load, with the images that show one of
                them; None loads all categories and all images, those without objects included. Of
                Roboflow's files the category 0, which has no objects and only names the group of
                the others, is left out.
            source: see `AnnotatedDataset`.
            outside: accept names of images that lead out of `image_dir`, see `find_image`.

        Raises:
            FileNotFoundError, OSError: see `read_json`, and `AnnotatedDataset`.
            ValueError: if the file is not COCO JSON, if a category has no id or no name, two
                categories have one name or id, two images one id, or `class_ids` has an unknown id.
        """
        data = read_json(annotation_file, "COCO JSON")
        for key in ("annotations", "categories"):
            if not isinstance(data.get(key), list):
                raise ValueError(f"{annotation_file} is not COCO JSON: it has no list {key!r}.")
        before = len(self.notes)
        if class_ids is None:
            data["categories"] = _without_group(data)
        known, chosen = _categories(data["categories"], class_ids, annotation_file)
        self._add_classes(chosen, source, annotation_file)
        names, files = self._images(data["images"], annotation_file, image_dir, outside)
        annotations = self._annotations(data["annotations"], names, files, known, chosen)
        for image_id, file in files.items():
            if class_ids is None or image_id in annotations:
                self.add_image(source, image_id, annotations=annotations.get(image_id, []), **file)
        self._finish(before, annotation_file, found=bool(files))

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. Masks are exactly those of pycocotools' `annToMask`."""
        info = self.image_info[image_id]
        if "annotations" not in info:
            return super().load_mask(image_id)
        from pycocotools import mask as coco_mask

        size, annotations = (info["height"], info["width"]), info["annotations"]
        if not annotations:
            return np.zeros((*size, 0), bool), np.zeros(0, np.int32)
        self._check_memory(image_id, len(annotations))
        runs = [segmentation_to_rle(each["segmentation"], *size) for each in annotations]
        visible, class_ids = [], []
        for each, rle in zip(annotations, runs, strict=True):
            # One by one: pycocotools 2.0.11 fails at 256 of them.
            if coco_mask.area(rle):
                class_id = self._own_class_id(info, each["category_id"])
                class_ids.append(-class_id if each.get("iscrowd") else class_id)
                visible.append(rle)
            else:
                where = f"annotation {shown(each.get('id'))} of image {info['id']}"
                self.note("no pixel is covered", where)
        if not visible:
            return np.zeros((*size, 0), bool), np.zeros(0, np.int32)
        return _decode(visible, *size), np.array(class_ids, np.int32)

    def _classes_of(self, image_id):
        info = self.image_info[image_id]
        if "annotations" not in info:
            return super()._classes_of(image_id)
        ids = [self._own_class_id(info, each["category_id"]) for each in info["annotations"]]
        return np.array(ids, np.int32)

    def _add_classes(self, categories, source, origin):
        """Add categories `{id: name}`, unless another file gave an id to another name."""
        added = {c["id"]: c["name"] for c in self.class_info if c["source"] == source}
        for category_id, name in categories.items():
            if added.get(category_id, name) != name:
                raise ValueError(
                    f"{origin}: category {category_id} is {name!r}, but {source!r} has "
                    f"{added[category_id]!r} under this id already; give it another source."
                )
            self.add_class(source, category_id, name)

    def _images(self, records, origin, folder, outside):
        """Return two dicts by image id: all names, and the usable files, see `_locate`."""
        names, files = {}, {}
        for number, record in enumerate(records):
            entry = f"entry {number} of 'images'"
            if not isinstance(record, dict) or not {"id", "file_name"} <= set(record):
                self.note("an image without id or file_name", entry)
                continue
            image_id, name = as_id(record["id"]), record["file_name"]
            if image_id is None:
                self.note("an image whose id is neither a whole number nor a text", entry)
            elif not is_text(name):
                self.note("an image whose file_name is not a text", entry)
            elif image_id in names:
                raise ValueError(
                    f"{origin}: two images have the id {shown(image_id)}, "
                    f"{shown(names[image_id])} and {shown(name)}, so their annotations are "
                    "ambiguous."
                )
            else:
                names[image_id] = name
                size = record.get("height"), record.get("width")
                if file := self._locate(folder, name, size, where=name or entry, outside=outside):
                    files[image_id] = file
        return names, files

    def _annotations(self, records, names, files, known, chosen):
        """Return a list of sound annotations of the chosen categories by image id."""
        by_image, ids = {}, Counter()
        for number, record in enumerate(records):
            if not isinstance(record, dict):
                self.note("an annotation that is not a dict", f"entry {number} of 'annotations'")
                continue
            image_id, category_id = as_id(record.get("image_id")), as_id(record.get("category_id"))
            annotation_id = as_id(record.get("id"))
            if annotation_id is None:
                annotation_id = f"entry {number}"
            else:
                ids[annotation_id] += 1
            where = f"annotation {annotation_id} of image {image_id}"
            if image_id is None or image_id not in names:
                self.note("an image_id that is not among the images", where)
            elif category_id is None or category_id not in known:
                where = f"{where} ({shown(record.get('category_id'))})"
                self.note("a category_id that is not among the categories", where)
            elif category_id in chosen and image_id in files:
                size = files[image_id]["height"], files[image_id]["width"]
                if sound := self._check(record, *size, where, image_id):
                    # The id may have been 3.0.
                    if type(record["category_id"]) is float:
                        sound = {**sound, "category_id": category_id}
                    by_image.setdefault(image_id, []).append(sound)
        for annotation_id, count in ids.items():
            if count > 1:
                where = f"annotation {annotation_id}, {count} times"
                self.note("an id of several annotations", where, left_out=False)
        return by_image

    def _check(self, annotation, height, width, where, image_id):
        """Return the annotation without its broken parts; None if all are broken."""
        segmentation = annotation.get("segmentation")
        if not segmentation:
            self.note("no segmentation", where)
            return None
        # Tools write 0 and 1, or false and true.
        if annotation.get("iscrowd") not in (None, 0, 1):
            self.note("an iscrowd that is neither 0 nor 1", where)
            return None
        if isinstance(segmentation, dict):
            if fault := rle_fault(segmentation, height, width):
                self.note(fault, where)
            return None if fault else annotation
        if not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
            self.note("a segmentation that is not a list of polygons", where)
            return None
        sound = [
            part
            for part in segmentation
            if self._check_outline(Polygon(part[1::2], part[::2]), height, width, where, image_id)
        ]
        if len(sound) == len(segmentation):
            return annotation
        return {**annotation, "segmentation": sound} if sound else None


def segmentation_to_rle(segmentation: Any, height: int, width: int) -> dict:
    """Convert COCO's `segmentation`, polygons or run lengths, to a compressed RLE of pycocotools.

    Polygons `[[x, y, x, y, ...], ...]` are the parts of one object. Uncompressed run lengths are
    `{"size": [height, width], "counts": [number, ...]}`, compressed ones have a string of counts.
    """
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, list):
        return polygons_to_rle(segmentation, height, width)
    rle = {**segmentation, "size": [height, width]}
    if isinstance(rle["counts"], list):
        return coco_mask.frPyObjects(rle, height, width)
    return rle


def _decode(rles, height, width):
    """Return the masks `[height, width, instances]` bool of RLEs."""
    from pycocotools import mask as coco_mask

    if len(rles) * height * width < _MANY_BYTES:
        return coco_mask.decode(rles).view(bool)
    # For a whole stack, pycocotools takes the memory twice.
    masks = np.empty((len(rles), width, height), bool)
    for mask, rle in zip(masks, rles, strict=True):
        mask[:] = coco_mask.decode(rle).view(bool).T
    return masks.transpose(2, 1, 0)


def _without_group(data):
    """Return the categories but Roboflow's first one, which no annotation has."""
    records = data["categories"]
    if len(records) < 2 or not all(isinstance(record, dict) for record in records):
        return records
    group, *others = records
    is_group = group.get("id") == 0 and group.get("supercategory") == "none"
    if not is_group or any(other.get("supercategory") != group.get("name") for other in others):
        return records
    entries = (each for each in data["annotations"] if isinstance(each, dict))
    return records if any(each.get("category_id") == 0 for each in entries) else others


def _categories(records, class_ids, origin):
    """Return dicts from id to name of all categories, and of the chosen ones."""
    names, texts = {}, set()
    for record in records:
        category_id, name = None, None
        if isinstance(record, dict):
            category_id, name = as_id(record.get("id")), as_name(record.get("name"))
        if category_id is None or name is None:
            raise ValueError(f"{origin}: a category has no id or no name: {shown(record)}.")
        # The maps of `prepare` hold ids as texts.
        if str(category_id) in texts:
            raise ValueError(f"{origin}: two categories have the id {shown(category_id)}.")
        texts.add(str(category_id))
        names[category_id] = name
    # Numbers come first, in their order.
    ordered = sorted(names, key=lambda each: (isinstance(each, str), each))
    wanted = ordered if class_ids is None else list(class_ids)
    unknown = [category_id for category_id in wanted if category_id not in names]
    if unknown:
        known = f"[{shorten([shown(each) for each in ordered], _SHOWN)}]"
        raise ValueError(f"{origin} has no category {unknown[0]}; it has {known}.")
    chosen = {category_id: names[category_id] for category_id in wanted}
    first = {}
    for category_id, name in chosen.items():
        if name in first:
            raise ValueError(
                f"{origin}: categories {shown(first[name])} and {shown(category_id)} are both "
                f"named {shown(name)!r}; rename one, or choose by class_ids."
            )
        first[name] = category_id
    return names, chosen
