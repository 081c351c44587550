"""Datasets whose masks are pictures: one a mask, or one label image a photo."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mrcnn.data.photos import read_stored
from mrcnn.readers.annotated import AnnotatedDataset, require_images

# Kinds that keep numbers; JPEG changes them.
_MASK_SUFFIXES = {".png", ".tif", ".tiff", ".bmp"}
_PHOTO_SUFFIXES = _MASK_SUFFIXES | {".jpg", ".jpeg", ".webp"}


class MaskFolderDataset(AnnotatedDataset):
    """A folder for each photo, which holds the photo and a picture for each mask."""

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

        Call `prepare` afterwards. Photos may be of any kind, and have any name where they are alone
        in their folder. In masks (PNG, TIFF, BMP) everything but 0 is object, of whatever depth; in
        palette images that is the index, not the colour. A photo without masks has no instances.
        `image_info` gets `height`, `width` and `mask_paths`.

        Arguments:
            folder: of the folders.
            class_name: the class of all instances.
            image_dir, mask_dir: names of the folders of photo and masks.
            image_ids: names of the folders to load; None loads all, sorted.
            source: name for the class and the images of this folder.

        Raises:
            FileNotFoundError: if there is no such folder, or not one photo in it.
        Photos that are missing or cannot be read are left out, with a warning.
        """
        folder, before = Path(folder), len(self.notes)
        class_id = self.add_named_classes(source, [class_name])[class_name]
        if image_ids is None:
            image_ids = [path.name for path in _listing(folder) if path.is_dir()]
        names, missing, without_masks = list(image_ids), 0, []
        if not names:
            raise FileNotFoundError(
                f"{folder} has no folders; expected are {folder / '<id>' / image_dir}."
            )
        for name in names:
            photo = _only_photo(folder / name / image_dir, name)
            if photo is None:
                missing += 1
                self.note(f"not one photo in the folder {image_dir!r}", name)
                continue
            masks = _pictures(folder / name / mask_dir, _MASK_SUFFIXES)
            # Masks and photo have one size as they are stored, whatever the EXIF says.
            size = self.read_size(masks[0] if masks else photo, name)
            if not masks:
                without_masks.append(name)
            if size is not None:
                self.add_image(
                    source,
                    image_id=name,
                    path=str(photo),
                    width=size[1],
                    height=size[0],
                    mask_paths=[str(path) for path in masks],
                    class_id=class_id,
                )
        require_images(missing, names, folder, folder / "<id>" / image_dir)
        # Without any masks these are photos to detect things in.
        if len(without_masks) < len(names) - missing:
            for name in without_masks:
                self.note(f"no mask in the folder {mask_dir!r}", name, left_out=False)
        self.warn_of(self.notes[before:], folder)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. ValueError for a mask of another size than the first one."""
        info = self.image_info[image_id]
        if "mask_paths" not in info:
            return super().load_mask(image_id)
        size, paths = (info["height"], info["width"]), info["mask_paths"]
        masks = np.zeros((len(paths), *size), bool)
        for mask, path in zip(masks, paths, strict=True):
            mask[:] = _require_size(read_stored(path), size, path).any(axis=2)
        class_ids = [self.map_source_class_id(f"{info['source']}.{info['class_id']}")] * len(paths)
        names = [f"{os.path.basename(path)} of {info['id']}" for path in paths]
        return self.keep_visible(masks.transpose(1, 2, 0), class_ids, names)


class LabelImageDataset(AnnotatedDataset):
    """Photos in one folder, and in another a label image of the same name for each."""

    def load_label_images(
        self,
        image_dir: str | os.PathLike,
        label_dir: str | os.PathLike,
        class_name: str = "object",
        source: str = "labels",
    ) -> None:
        """Add all photos that have a label image; call `prepare` afterwards.

        In a label image 0 is the background, and the pixels of one other value are one instance.
        PNG, TIFF and BMP of any depth are read; in palette images the index counts, not the colour.
        `image_info` gets `height`, `width` and `label_path`.

        Arguments:
            image_dir: folder of the photos.
            label_dir: folder of the label images. They are named as the photos, but for the suffix.
            class_name: the class of all instances.
            source: name for the class and the images of this folder.

        Raises:
            FileNotFoundError: if there is no such folder, or not one photo has a label image.
        Photos without label image, and label images without photo, are left out, with a warning.
        """
        before = len(self.notes)
        class_id = self.add_named_classes(source, [class_name])[class_name]
        photos = _pictures(image_dir, _PHOTO_SUFFIXES)
        labels = {path.stem: path for path in _pictures(label_dir, _MASK_SUFFIXES)}
        missing = 0
        for photo in photos:
            label = labels.pop(photo.stem, None)
            if label is None:
                missing += 1
                self.note(f"no PNG, TIFF or BMP of this name in {label_dir}", photo.name)
            elif size := self.read_size(label, label.name):
                self.add_image(
                    source,
                    image_id=photo.stem,
                    path=str(photo),
                    width=size[1],
                    height=size[0],
                    label_path=str(label),
                    class_id=class_id,
                )
        if missing == len(photos):
            raise FileNotFoundError(
                f"none of the {missing} photos in {image_dir} has a PNG, TIFF or BMP of its name "
                f"in {label_dir}."
            )
        for label in labels.values():
            self.note(f"no photo of this name in {image_dir}", label.name)
        self.warn_of(self.notes[before:], label_dir)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. ValueError where a label image has colours, not numbers."""
        info = self.image_info[image_id]
        if "label_path" not in info:
            return super().load_mask(image_id)
        size, path = (info["height"], info["width"]), info["label_path"]
        labels = _require_size(read_stored(path), size, path)
        if (labels != labels[..., :1]).any() or (labels != np.floor(labels)).any():
            raise ValueError(
                f"{path} holds colours or fractions; in a label image each pixel has the number of "
                "its instance, 0 for the background."
            )
        values, number = np.unique(labels[..., 0], return_inverse=True)
        masks = np.zeros((len(values), *size), bool)
        np.put_along_axis(masks, number.reshape(1, *size), True, axis=0)
        masks = masks[values != 0]
        class_ids = np.full(
            len(masks), self.map_source_class_id(f"{info['source']}.{info['class_id']}"), np.int32
        )
        return masks.transpose(1, 2, 0), class_ids


def _require_size(pixels, size, path):
    """`[height, width, channels]` of a picture that has the size; ValueError if it has another."""
    if pixels.shape[:2] != size:
        raise ValueError(
            f"the mask {path} has {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width); "
            f"expected are {size[0]}x{size[1]}."
        )
    return pixels.reshape(*size, -1)


def _listing(folder):
    """What lies in a folder, sorted by name, hidden files left out."""
    return sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))


def _pictures(folder, suffixes):
    """The pictures of some kinds in a folder, sorted; none if there is no such folder."""
    if not Path(folder).is_dir():
        return []
    return [path for path in _listing(folder) if path.suffix.lower() in suffixes]


def _only_photo(folder, name):
    """The photo in a folder: that of the name, or the only one."""
    photos = _pictures(folder, _PHOTO_SUFFIXES)
    named = [path for path in photos if path.stem == name]
    return (named or photos)[0] if len(named or photos) == 1 else None
