"""Datasets whose masks are pictures: one per mask, or one label image per photo.

Masks and label images are PNG, TIFF or BMP of any depth. In palette images the index counts, not
the colour.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mrcnn import limits
from mrcnn.data.photos import read_stored
from mrcnn.readers.annotated import AnnotatedDataset

# Formats that keep numbers; JPEG changes them.
MASK_SUFFIXES = {".png", ".tif", ".tiff", ".bmp"}
PHOTO_SUFFIXES = MASK_SUFFIXES | {".jpg", ".jpeg", ".webp"}


class PictureDataset(AnnotatedDataset):
    """Base of the datasets whose masks are pictures."""

    def _pictures(self, folder, suffixes):
        """List the pictures of some kinds in a folder by name; `[]` if the folder does not exist.

        Pipes, devices and folders that have such names are noted.
        """
        if not Path(folder).is_dir():
            return []
        with os.scandir(folder) as entries:
            chosen = [
                entry
                for entry in entries
                if not entry.name.startswith(".")
                and os.path.splitext(entry.name)[1].lower() in suffixes
            ]
        paths = []
        for entry in sorted(chosen, key=lambda entry: entry.name):
            if _is_file(entry):
                paths.append(Path(entry.path))
            else:
                self.note("a link to nothing, a folder, a pipe or a device", entry.path)
        return paths


class MaskFolderDataset(PictureDataset):
    """One folder per photo, with a picture per mask; see `AnnotatedDataset`."""

    def load_mask_folder(
        self,
        folder: str | os.PathLike,
        class_name: str = "object",
        image_dir: str = "images",
        mask_dir: str = "masks",
        image_ids: Iterable[str] | None = None,
        source: str = "mask_folder",
    ) -> None:
        """Add the photos `<folder>/<id>/images/<id>.png`, with masks `<folder>/<id>/masks/*.png`.

        A photo may have any format, and any name if it is alone in its folder. In masks, all values
        but 0 are object. A photo without masks has no instances. `image_info` gets `height`,
        `width` and `mask_paths`.

        Args:
            folder: of the folders.
            class_name: the class of all instances.
            image_dir, mask_dir: names of the folders of photo and masks.
            image_ids: names of the folders to load; None loads all, sorted.
            source: see `AnnotatedDataset`.
        """
        folder, before = Path(folder), len(self.notes)
        class_id = self._add_named_classes(source, [class_name])[class_name]
        if image_ids is None:
            image_ids = [path.name for path in _listing(folder) if path.is_dir()]
        names = list(image_ids)
        if not names:
            raise FileNotFoundError(
                f"{folder} has no folders; expected are {folder / '<id>' / image_dir}."
            )
        found, with_masks, without_masks = False, [], []
        for name in names:
            photo = _only_photo(self._pictures(folder / name / image_dir, PHOTO_SUFFIXES), name)
            if photo is None:
                self.note(f"not exactly one photo in the folder {image_dir!r}", name)
                continue
            masks = self._pictures(folder / name / mask_dir, MASK_SUFFIXES)
            (with_masks if masks else without_masks).append(name)
            # The size is that of the masks: a photo has it as stored, or as turned by EXIF.
            file = self._measure(photo, name, picture=masks[0] if masks else None)
            if file:
                found, paths = True, [str(path) for path in masks]
                self.add_image(source, name, mask_paths=paths, class_id=class_id, **file)
        # If no photo at all has masks, these are photos for detection.
        for name in without_masks if with_masks else ():
            self.note(f"no mask in the folder {mask_dir!r}", name, left_out=False)
        self._finish(before, folder, found)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. ValueError for a mask of another size than the first one."""
        info = self.image_info[image_id]
        if "mask_paths" not in info:
            return super().load_mask(image_id)
        size, paths = (info["height"], info["width"]), info["mask_paths"]
        masks, count = empty_masks(len(paths), size, f"{info['path']} with {len(paths)} masks"), 0
        for path in paths:
            masks[count] = require_size(read_stored(path), size, path).any(axis=2)
            if masks[count].any():
                count += 1
            else:
                self.note("no pixel is covered", f"{os.path.basename(path)} of {info['id']}")
        class_ids = np.full(count, self._own_class_id(info, info["class_id"]), np.int32)
        return masks[:count].transpose(1, 2, 0), class_ids


class LabelImageDataset(PictureDataset):
    """Photos in one folder, label images of the same names in another; see `AnnotatedDataset`."""

    def load_label_images(
        self,
        image_dir: str | os.PathLike,
        label_dir: str | os.PathLike,
        class_name: str = "object",
        source: str = "labels",
    ) -> None:
        """Add all photos that have a label image.

        In a label image, 0 is the background, and all pixels of another value are one instance.
        `image_info` gets `height`, `width` and `label_path`.

        Args:
            image_dir: folder of the photos.
            label_dir: folder of the label images. Only the suffix of their names may differ.
            class_name: the class of all instances.
            source: see `AnnotatedDataset`.
        """
        before = len(self.notes)
        class_id = self._add_named_classes(source, [class_name])[class_name]
        photos = self._pictures(image_dir, PHOTO_SUFFIXES)
        labels = {path.stem: path for path in self._pictures(label_dir, MASK_SUFFIXES)}
        found = False
        for photo in photos:
            label = labels.pop(photo.stem, None)
            if label is None:
                self.note(f"no PNG, TIFF or BMP of this name in {label_dir}", photo.name)
            elif file := self._measure(photo, label.name, picture=label):
                found, path = True, str(label)
                self.add_image(source, photo.stem, label_path=path, class_id=class_id, **file)
        for label in labels.values():
            self.note(f"no photo of this name in {image_dir}", label.name)
        if not photos:
            raise FileNotFoundError(f"{image_dir} has no photos.")
        self._finish(before, label_dir, found)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. ValueError if a label image has colours instead of numbers."""
        info = self.image_info[image_id]
        if "label_path" not in info:
            return super().load_mask(image_id)
        size, path = (info["height"], info["width"]), info["label_path"]
        labels = require_size(read_stored(path), size, path)
        if _has_fractions(labels) or (labels != labels[..., :1]).any():
            raise ValueError(
                f"{path} holds colours or fractions; in a label image, each pixel has the number "
                "of its instance, 0 for the background."
            )
        labels = labels[..., 0]
        values = np.unique(labels)
        values = values[values != 0]
        masks = empty_masks(len(values), size, f"{path} with {len(values)} labels")
        for mask, value in zip(masks, values, strict=True):
            np.equal(labels, value, out=mask)
        class_ids = np.full(len(masks), self._own_class_id(info, info["class_id"]), np.int32)
        return masks.transpose(1, 2, 0), class_ids


def empty_masks(count, size, name):
    """Return empty masks `[count, height, width]`; ValueError if they take too much memory."""
    if count * size[0] * size[1] > limits.MAX_MASK_BYTES:
        raise ValueError(
            f"{name} of {size[0]}x{size[1]} pixels (height x width) needs more memory than "
            f"mrcnn.limits.MAX_MASK_BYTES = {limits.MAX_MASK_BYTES}; raise that to load it."
        )
    return np.zeros((count, *size), bool)


def _has_fractions(labels):
    """Return True for numbers that are not whole or not finite."""
    if labels.dtype.kind != "f":
        return False
    return not np.isfinite(labels).all() or (labels != np.floor(labels)).any()


def require_size(pixels, size, path):
    """Return pixels as `[height, width, channels]`; ValueError if they have another size."""
    if pixels.shape[:2] != size:
        raise ValueError(
            f"the mask {path} has {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width); "
            f"expected are {size[0]}x{size[1]}."
        )
    return pixels.reshape(*size, -1)


def _listing(folder):
    """List the files and folders in a folder by name, without hidden ones."""
    return sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))


def _is_file(entry):
    """Return True if an entry of `os.scandir` is a regular file or a link to one."""
    try:
        return entry.is_file()
    except OSError:  # a circle of links
        return False


def _only_photo(photos, name):
    """Return the photo of this name, or the only one of a list; None otherwise."""
    named = [path for path in photos if path.stem == name]
    return (named or photos)[0] if len(named or photos) == 1 else None
