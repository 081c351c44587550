"""Writing of datasets in the formats of annotation tools."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn.data.checks import describe_image, load_instances, shorten
from mrcnn.data.photos import read_image
from mrcnn.files import check_folder, replacing
from mrcnn.writers.coco import coco_annotation, coco_document, write_json
from mrcnn.writers.labelme import labelme_document
from mrcnn.writers.yolo import yolo_lines, yolo_yaml

_SHOWN = 3
# Files that are copied; all readers take them.
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


class _Photo(NamedTuple):
    """A photo of a dataset that is being written.

    Attributes:
        number: from 1.
        name: file name in the new folder, different for each photo.
        masks: `[height, width, instances]` bool.
        class_ids: `[instances]`, negative for crowds.
    """

    number: int
    name: str
    masks: np.ndarray
    class_ids: np.ndarray

    @property
    def size(self):
        return self.masks.shape[:2]

    def objects(self):
        """Yield `(class id, mask)` of the objects that are no crowds and have pixels."""
        for index, class_id in enumerate(self.class_ids.tolist()):
            mask = self.masks[..., index]
            if class_id > 0 and mask.any():
                yield class_id, mask


def save_dataset(dataset: Any, format: str, folder: str | os.PathLike, copy_images: bool) -> None:
    """Write a prepared dataset, see `Dataset.save`."""
    if format not in _WRITERS:
        raise ValueError(f"format is {format!r}; choose one of {', '.join(map(repr, _WRITERS))}.")
    names = [info["name"] for info in dataset.class_info[1:]]
    if len(dataset.image_ids) == 0:
        raise ValueError("The dataset has no images; add some, and call prepare() before save().")
    if format == "masks" and len(names) > 1:
        raise ValueError(
            f"Mask folders have one class, and the dataset has {len(names)}: "
            f"{shorten(names, _SHOWN)}; save it as 'coco', 'labelme' or 'yolo'."
        )
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"The dataset has two classes named {sorted(twice)[0]!r}, from different sources; "
            "merge() joins classes of one name."
        )
    folder = Path(folder)
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f'The folder "{folder}" is not empty; give a new one.')
    folder.mkdir(parents=True, exist_ok=True)
    _WRITERS[format](dataset, folder, names, copy_images)


def _photos(dataset, place, copy_images, keeps_crowds=False) -> Iterator[_Photo]:
    """Write each photo to the folder `place(stem of its name)`, and yield it.

    Images that cannot be read are left out, with a warning; if all are, the first error is raised.
    """
    used, crowds, errors, count = set(), [], [], 0
    for number, image_id in enumerate(dataset.image_ids.tolist(), start=1):
        try:
            image = dataset.load_image(image_id)
            masks, class_ids = load_instances(dataset, image_id, image.shape)
            source = _file_of(dataset.image_info[image_id], image)
            if source is None:
                image = _as_picture(image)
        except (OSError, ValueError) as error:
            errors.append(error)
            continue
        suffix = os.path.splitext(source)[1] if source else ".png"
        name = _free_name(dataset.image_info[image_id], number, suffix, used)
        folder = place(os.path.splitext(name)[0])
        folder.mkdir(parents=True, exist_ok=True)
        _put(source, image, folder / name, copy_images)
        if (class_ids < 0).any():
            crowds.append(describe_image(dataset, image_id))
        count += 1
        yield _Photo(number, name, masks, class_ids)
    if errors and not count:
        raise errors[0]
    if errors:
        _warn(f"{len(errors)} images are left out: {shorten([str(e) for e in errors], _SHOWN)}")
    if crowds and not keeps_crowds:
        listed = shorten(crowds, _SHOWN)
        _warn(f"The format has no crowds; those of {len(crowds)} images are left out: {listed}.")


def _warn(text):
    # From the caller of Dataset.save().
    warnings.warn(text, stacklevel=6)


def _file_of(info, image):
    """Return the file of an image if reading it gives these pixels; else None.

    A dataset may read its images in its own way, or turn photos otherwise than EXIF says.
    """
    path = info["path"]
    if not path or os.path.splitext(path)[1].lower() not in _SUFFIXES or not os.path.isfile(path):
        return None
    try:
        return os.fspath(path) if np.array_equal(read_image(path), image) else None
    except (OSError, ValueError):
        return None


def _as_picture(image):
    """Return an image `[height, width, channels]` for Pillow; ValueError if PNG cannot hold it."""
    if image.dtype != np.uint8 or image.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"load_image() returned {image.dtype} of shape {image.shape}; a PNG file takes uint8 "
            "and 1, 3 or 4 channels."
        )
    return image[..., 0] if image.shape[2] == 1 else image


def _free_name(info, number, suffix, used):
    """Return a file name for a photo that no other one has."""
    stem = Path(str(info["path"] or info["id"]).replace("\\", "/")).stem or "image"
    # One label file belongs to a stem, and some systems do not tell letters' cases apart.
    if stem.lower() in used:
        stem = f"{stem}_{number}"
    while stem.lower() in used:
        stem += "_"
    used.add(stem.lower())
    return stem + suffix.lower()


def _put(source, image, path, copy_images):
    """Write a photo: a copy of its file, a link to it, or its pixels."""
    if source is None:
        from PIL import Image

        with replacing(path) as temporary:
            Image.fromarray(image).save(temporary, "PNG")
    elif copy_images:
        with replacing(path) as temporary:
            shutil.copyfile(source, temporary)
    else:
        os.symlink(os.path.abspath(source), path)


def _save_coco(dataset, folder, names, copy_images):
    images, annotations = [], []
    for photo in _photos(dataset, lambda stem: folder / "images", copy_images, keeps_crowds=True):
        (height, width), number = photo.size, photo.number
        sides = {"height": height, "width": width}
        images.append({"id": number, "file_name": photo.name, **sides})
        for index, class_id in enumerate(photo.class_ids.tolist()):
            mask = photo.masks[..., index]
            if mask.any():
                ids = len(annotations) + 1, number, abs(class_id)
                annotations.append(coco_annotation(*ids, mask, iscrowd=class_id < 0))
    categories = enumerate(names, start=1)
    write_json(folder / "annotations.json", coco_document(images, annotations, categories))


def _save_labelme(dataset, folder, names, copy_images):
    for photo in _photos(dataset, lambda stem: folder, copy_images):
        objects = [(names[class_id - 1], mask) for class_id, mask in photo.objects()]
        document = labelme_document(photo.name, *photo.size, objects)
        write_json((folder / photo.name).with_suffix(".json"), document)


def _save_yolo(dataset, folder, names, copy_images):
    labels = folder / "labels"
    labels.mkdir()
    for photo in _photos(dataset, lambda stem: folder / "images", copy_images):
        objects = [(class_id - 1, mask) for class_id, mask in photo.objects()]
        lines = yolo_lines(*photo.size, objects)
        _write_text((labels / photo.name).with_suffix(".txt"), "".join(f"{e}\n" for e in lines))
    _write_text(folder / "data.yaml", yolo_yaml(names, train="images", val="images"))


def _save_masks(dataset, folder, names, copy_images):
    from PIL import Image

    for photo in _photos(dataset, lambda stem: folder / stem / "images", copy_images):
        masks = folder / Path(photo.name).stem / "masks"
        masks.mkdir()
        for number, (_, mask) in enumerate(photo.objects(), start=1):
            with replacing(masks / f"{number:04d}.png") as temporary:
                Image.fromarray(mask).save(temporary, "PNG")


def _write_text(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_WRITERS = {
    "coco": _save_coco,
    "labelme": _save_labelme,
    "yolo": _save_yolo,
    "masks": _save_masks,
}
