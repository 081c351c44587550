"""Datasets in COCO's JSON: polygons and run lengths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from mrcnn.readers.annotated import AnnotatedDataset, read_json
from mrcnn.readers.outlines import Polygon


class CocoJsonDataset(AnnotatedDataset):
    """Images and instances of files in COCO's layout, see `AnnotatedDataset`."""

    def load_coco_json(
        self,
        annotation_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        class_ids: Iterable[int] | None = None,
        source: str = "coco",
    ) -> None:
        """Add classes and images. Crowds (`iscrowd`) get negative class ids.

        `image_info` gets `height`, `width` and `annotations`, the list of COCO's dicts.

        Args:
            annotation_file: JSON with `images`, `annotations` and `categories`.
            image_dir: folder of the images.
            class_ids: the file's ids of the categories to load, with the images that show one of
                them; None loads all categories and all images, those without objects included.
            source: see `AnnotatedDataset`.

        Raises:
            ValueError: if the file is not COCO JSON, if two categories have one name, two images
                one id, or `class_ids` has an unknown id.
        """
        data = read_json(annotation_file, "COCO JSON")
        for key in ("annotations", "categories"):
            if not isinstance(data.get(key), list):
                raise ValueError(f"{annotation_file} is not COCO JSON: it has no list {key!r}.")
        before = len(self.notes)
        known, chosen = _categories(data["categories"], class_ids, annotation_file)
        self._add_classes(chosen, source, annotation_file)
        names, files = self._images(data["images"], annotation_file, image_dir)
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
        runs, class_ids, names = [], [], []
        for each in annotations:
            runs.append(segmentation_to_rle(each["segmentation"], *size))
            class_id = self._own_class_id(info, each["category_id"])
            class_ids.append(-class_id if each.get("iscrowd") else class_id)
            names.append(f"annotation {each.get('id')} of image {info['id']}")
        return self._keep_visible(coco_mask.decode(runs).view(bool), class_ids, names)

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

    def _images(self, records, origin, folder):
        """Return two dicts by image id: all names, and the usable files, see `_locate`."""
        names, files = {}, {}
        for number, record in enumerate(records):
            if not isinstance(record, dict) or not {"id", "file_name"} <= set(record):
                self.note("an image without id or file_name", f"entry {number} of 'images'")
                continue
            image_id, name = record["id"], str(record["file_name"])
            if image_id in names:
                raise ValueError(
                    f"{origin}: two images have the id {image_id}, {names[image_id]} and {name}, "
                    "so their annotations are ambiguous."
                )
            names[image_id] = name
            if file := self._locate(folder, name, (record.get("height"), record.get("width"))):
                files[image_id] = file
        return names, files

    def _annotations(self, records, names, files, known, chosen):
        """Return a list of sound annotations of the chosen categories by image id."""
        by_image, ids = {}, Counter()
        for number, record in enumerate(records):
            if not isinstance(record, dict):
                self.note("an annotation that is not a dict", f"entry {number} of 'annotations'")
                continue
            image_id, category_id = record.get("image_id"), record.get("category_id")
            where = f"annotation {record.get('id', f'entry {number}')} of image {image_id}"
            if "id" in record:
                ids[record["id"]] += 1
            if image_id not in names:
                self.note("an image_id that is not among the images", where)
            elif category_id not in known:
                where = f"{where} ({category_id})"
                self.note("a category_id that is not among the categories", where)
            elif category_id in chosen and image_id in files:
                size = files[image_id]["height"], files[image_id]["width"]
                if sound := self._check(record, *size, where):
                    by_image.setdefault(image_id, []).append(sound)
        for annotation_id, count in ids.items():
            if count > 1:
                where = f"annotation {annotation_id}, {count} times"
                self.note("an id of several annotations", where, left_out=False)
        return by_image

    def _check(self, annotation, height, width, where):
        """Return the annotation without its broken parts; None if all are broken."""
        segmentation = annotation.get("segmentation")
        if not segmentation:
            self.note("no segmentation", where)
            return None
        if isinstance(segmentation, dict):
            if fault := _rle_fault(segmentation, height, width):
                self.note(fault, where)
            return None if fault else annotation
        if not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
            self.note("a segmentation that is not a list of polygons", where)
            return None
        sound = [
            part
            for part in segmentation
            if self._check_outline(Polygon(part[1::2], part[::2]), height, width, where)
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
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def _categories(records, class_ids, origin):
    """Return dicts from id to name of all categories, and of the chosen ones."""
    names = {}
    for record in records:
        if not isinstance(record, dict) or not {"id", "name"} <= set(record):
            raise ValueError(f"{origin}: a category has no id or no name: {record}.")
        if record["id"] in names:
            raise ValueError(f"{origin}: two categories have the id {record['id']}.")
        names[record["id"]] = str(record["name"])
    wanted = sorted(names) if class_ids is None else list(class_ids)
    unknown = [category_id for category_id in wanted if category_id not in names]
    if unknown:
        raise ValueError(f"{origin} has no category {unknown[0]}; it has {sorted(names)}.")
    chosen = {category_id: names[category_id] for category_id in wanted}
    for name in chosen.values():
        same = [category_id for category_id, other in chosen.items() if other == name]
        if len(same) > 1:
            raise ValueError(
                f"{origin}: categories {same[0]} and {same[1]} are both named {name!r}; rename "
                "one, or choose by class_ids."
            )
    return names, chosen


def _rle_fault(rle, height, width):
    """Return the problem with run lengths for an image of this size, or None."""
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list | tuple) or not isinstance(counts, list | str | bytes):
        return "an RLE without size or counts"
    if list(size) != [height, width]:
        return "an RLE of another size than its image"
    runs = counts if isinstance(counts, list) else _decompress(counts)
    # From too few runs, pycocotools returns uninitialized memory.
    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != height * width:
        return "an RLE whose counts do not add up to the image"
    return None


def _decompress(counts):
    """Return the run lengths in a compressed RLE; `[-1]` for another string.

    A character holds five bits of a number, the lowest first; from the fourth number on, it is the
    difference to the number two before. Source: `rleFrString` of the COCO API.
    """
    runs, value, shift = [], 0, 0
    for code in counts.encode() if isinstance(counts, str) else counts:
        code -= 48
        if not 0 <= code < 64:
            return [-1]
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    return runs if shift == 0 else [-1]
