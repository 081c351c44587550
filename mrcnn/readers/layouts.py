"""Layouts of annotated folders: how each format is recognised, and read without more questions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mrcnn.data.checks import shorten, shown
from mrcnn.data.dataset import Dataset
from mrcnn.readers.coco import CocoJsonDataset
from mrcnn.readers.cvat import CvatDataset
from mrcnn.readers.folders import SUBSETS, has_photos, photo_folder, subset_of, visible
from mrcnn.readers.json_values import json_layout
from mrcnn.readers.label_studio import LabelStudioDataset
from mrcnn.readers.labelme import LabelMeDataset
from mrcnn.readers.mask_files import (
    MASK_SUFFIXES,
    PHOTO_SUFFIXES,
    LabelImageDataset,
    MaskFolderDataset,
)
from mrcnn.readers.via import ViaDataset, guess_class_attribute
from mrcnn.readers.voc import VocDataset
from mrcnn.readers.xml_values import read_xml
from mrcnn.readers.yaml_values import read_yaml
from mrcnn.readers.yolo import YoloDataset, find_yaml

_PHOTO_FOLDERS = ("images", "photos", "imgs", "JPEGImages", "data")
_LABEL_FOLDERS = ("labels", "masks", "label_images", "annotations")
# COCO's other files about the same photos.
_NOT_INSTANCES = ("person_keypoints", "captions", "stuff", "panoptic", "image_info")
# Files and folders that are looked at to learn the layout.
_LOOKED_AT = 50


class Part(NamedTuple):
    """Photos with annotations in one format, all or one subset of a data set.

    Attributes:
        format: name of the format.
        make: the Dataset class that reads it.
        read: function that adds classes and images to such a Dataset.
        where: the file or folder with the annotations.
        numbered: True if the format numbers its classes, so that all parts must agree.
        notes: sentences on what was assumed.
    """

    format: str
    make: type[Dataset]
    read: Callable[[Dataset], None]
    where: Path
    numbered: bool = False
    notes: tuple[str, ...] = ()


def _photos_of(folder):
    """Return the folder of the photos of annotations in `folder`."""
    return photo_folder(*(folder / name for name in _PHOTO_FOLDERS), folder) or folder


def find_subsets(folder: Path) -> list[dict[str, Part]]:
    """Return the layouts that describe several subsets in one place, as parts by subset."""
    finders = _coco_subsets, _yolo_subsets, _voc_subsets, _label_image_subsets
    found = [finder(folder) for finder in finders]
    return [parts for parts in found if parts]


def missing(folder: Path) -> str | None:
    """Return a sentence on a folder that is nearly in one of the layouts; None for others."""
    if next(visible(folder / "Annotations", {".xml"}), None) and has_photos(folder / "JPEGImages"):
        return (
            f"{folder} has Pascal VOC's boxes, but no pictures in SegmentationObject/, and masks "
            "need outlines; VocDataset.load_voc(boxes=True) takes boxes as masks."
        )
    places = [folder / "labels", *visible(folder / "labels")]
    if any(next(visible(place, {".txt"}), None) for place in places):
        return f"{folder} has labels/, but no data.yaml with the names of the classes."
    return None


def find_one(folder: Path, hints: dict) -> list[Part]:
    """Return the layouts that a folder with photos and annotations of one subset has.

    `hints` holds what was found in another subset, and is filled.
    """
    found = [_yolo_subsets(folder).get(""), _voc_subsets(folder).get("")]
    found += [_json_part(folder, hints), _cvat(folder)]
    found += [_mask_folders(folder), _label_images(folder)]
    return [part for part in found if part]


def _coco_subsets(folder):
    """Return COCO's layout: `annotations/instances_train2017.json` and the folder `train2017`."""
    parts = {}
    files = itertools.chain(visible(folder / "annotations", {".json"}), visible(folder, {".json"}))
    for file in files:
        subset = subset_of(file.stem)
        if subset is None or file.stem.startswith(_NOT_INSTANCES):
            continue
        name = file.stem.removeprefix("instances_")
        names = (name, *SUBSETS[subset])
        nested = (folder / "images" / each for each in names)
        candidates = [*(folder / each for each in names), *nested, folder / "images", folder]
        photos = photo_folder(*candidates)
        if photos is None or _layout(file) != "COCO JSON":
            continue
        if subset in parts:
            raise ValueError(
                f"{folder} has two annotation files for {subset!r}: {parts[subset].where.name} "
                f"and {file.name}; read one with CocoJsonDataset.load_coco_json()."
            )
        parts[subset] = _coco(file, photos)
    return parts


def _layout(file):
    """Return the layout of a JSON file, by its name where that says it: COCO's may be large."""
    if file.name.startswith("instances_") or file.name == "_annotations.coco.json":
        return "COCO JSON"
    return json_layout(file)


def _coco(file, photos):
    return Part("COCO JSON", CocoJsonDataset, lambda d: d.load_coco_json(file, photos), file, True)


def _yolo_subsets(folder):
    """Return the parts that `data.yaml` names; one part if training and validation are the same."""
    files = [path for path in visible(folder, {".yaml", ".yml"}) if "names" in _yaml(path)]
    if not files:
        return {}
    file = files[0] if len(files) == 1 else find_yaml(folder)
    content = _yaml(file)
    subsets = [subset for subset in SUBSETS if content.get(subset)]
    if len(subsets) > 1 and content.get("val") == content.get("train"):
        subsets = ["train"]
    parts = {subset: _yolo(file, subset) for subset in subsets}
    return parts if len(parts) > 1 else dict(zip([""], parts.values(), strict=False))


def _yolo(file, subset):
    return Part("YOLO", YoloDataset, lambda d: d.load_yolo(file, subset), file, True)


def _voc_subsets(folder):
    """Return the parts of Pascal VOC's folders: by the lists of names, or one part without them."""
    places = (folder / "SegmentationObject", folder / "SegmentationClass")
    if not has_photos(folder / "JPEGImages") or not all(map(has_photos, places)):
        return {}
    lists = folder / "ImageSets" / "Segmentation"
    subsets = [subset for subset in SUBSETS if (lists / f"{subset}.txt").is_file()]
    if len(subsets) < 2:
        return {"": _voc(folder, subsets[0] if subsets else None)}
    return {subset: _voc(folder, subset) for subset in subsets}


def _voc(folder, subset):
    note = "The classes are those of labelmap.txt."
    if not (folder / "labelmap.txt").is_file():
        note = "There is no labelmap.txt, so the classes are Pascal VOC's twenty."
    read = partial(VocDataset.load_voc, folder=folder, subset=subset)
    return Part("Pascal VOC", VocDataset, read, folder, True, (note,))


def _cvat(folder):
    """Return the part of CVAT's `annotations.xml`."""
    for file in itertools.islice(visible(folder, {".xml"}), _LOOKED_AT):
        if _is_cvat(file):
            read = partial(
                CvatDataset.load_cvat, annotation_file=file, image_dir=_photos_of(folder)
            )
            return Part("CVAT XML", CvatDataset, read, file)
    return None


def _is_cvat(file):
    try:
        read_xml(file, "annotations")
    except (OSError, ValueError):
        # Broken files named as CVAT names them should say what is wrong with them.
        return file.name == "annotations.xml"
    return True


def _label_studio(file, photos, hints):
    read = partial(LabelStudioDataset.load_label_studio, annotation_file=file, image_dir=photos)
    return Part("Label Studio JSON", LabelStudioDataset, read, file)


def _yaml(path):
    try:
        return read_yaml(path)
    except (OSError, ValueError):
        return {}


def _label_image_subsets(folder):
    """Return the parts `images/train` and `labels/train`, with label images, by subset."""
    parts = {}
    for photos in _PHOTO_FOLDERS:
        for each in visible(folder / photos):
            subset = subset_of(each.name)
            for labels in _LABEL_FOLDERS if subset and subset not in parts else ():
                if part := _label_pair(each, folder / labels / each.name):
                    parts[subset] = part
                    break
    return parts


def _label_images(folder):
    pairs = itertools.product(_PHOTO_FOLDERS, _LABEL_FOLDERS)
    found = (_label_pair(folder / photos, folder / labels) for photos, labels in pairs)
    return next(filter(None, found), None)


def _label_pair(photos, labels):
    """Return the part of two folders whose pictures have the same names; None for others."""
    stems = {path.stem for path in visible(labels, MASK_SUFFIXES)}
    if not stems & {path.stem for path in visible(photos, PHOTO_SUFFIXES)}:
        return None
    note = f"In the label images of {labels}, each value but 0 is one object."
    return Part(
        "label images",
        LabelImageDataset,
        lambda dataset: dataset.load_label_images(photos, labels),
        labels,
        notes=(note,),
    )


def _mask_folders(folder):
    """Return the part of folders `<id>/images` and `<id>/masks`."""
    for each in itertools.islice(visible(folder), _LOOKED_AT):
        if has_photos(each / "images") and next(visible(each / "masks", MASK_SUFFIXES), None):
            return Part(
                "mask folders",
                MaskFolderDataset,
                lambda dataset: dataset.load_mask_folder(folder),
                folder,
            )
    return None


def _json_part(folder, hints):
    """Return the part of the JSON files in a folder, or in its folder `annotations`."""
    for place in (folder, folder / "annotations", folder / "labels"):
        files = {}
        for file in itertools.islice(visible(place, {".json"}), _LOOKED_AT):
            if not file.stem.startswith(_NOT_INSTANCES):
                files.setdefault(_layout(file), []).append(file)
        files.pop(None, None)
        if len(files) > 1 or any(len(f) > 1 for k, f in files.items() if k != "LabelMe JSON"):
            listed = [f"{shown(f.name)} ({kind})" for kind, each in files.items() for f in each]
            raise ValueError(
                f"{place} has several annotation files, {shorten(listed, 4)}; keep one, or read "
                "one with the classes of mrcnn.datasets."
            )
        for kind, (file, *_) in files.items():
            return _JSON[kind](file, _photos_of(folder), hints)
    return None


def _via(file, photos, hints):
    if "class_attribute" not in hints:
        hints["class_attribute"] = guess_class_attribute(file)
    attribute = hints["class_attribute"]
    note = "No region attribute holds a class, so all regions are of the class 'object'."
    if attribute:
        note = f"The class of a region is its attribute {shown(attribute)!r}."
    return Part(
        "VIA JSON",
        ViaDataset,
        lambda dataset: dataset.load_via(file, photos, attribute),
        file,
        notes=(note,),
    )


def _labelme(file, photos, hints):
    folder = file.parent
    return Part("LabelMe JSON", LabelMeDataset, lambda d: d.load_labelme(folder), folder)


_JSON = {
    "COCO JSON": lambda file, photos, hints: _coco(file, photos),
    "VIA JSON": _via,
    "LabelMe JSON": _labelme,
    "Label Studio JSON": _label_studio,
}
