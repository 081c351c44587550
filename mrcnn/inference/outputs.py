"""Files made of detections in many photos: pictures, videos, annotations, masks and tables."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn import __version__
from mrcnn.inference.sources import Photo
from mrcnn.ops.rle import decode_mask
from mrcnn.writers.coco import coco_document, write_json
from mrcnn.writers.pictures import make_folder, write_picture, writing_video
from mrcnn.writers.tables import write_csv

FORMATS = ("pictures", "video", "coco", "labelme", "masks", "labels", "csv")
# Folders of some formats; photos in folders of these names go one deeper.
_FOLDERS = ("labelme", "masks", "labels")
_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png")
_COLUMNS = (
    *("photo", "instance", "class", "score", "y1", "x1", "y2", "x2"),
    *("area", "perimeter", "centroid_y", "centroid_x", "equivalent_diameter", "unit"),
)
# Of torchvision's classes, those that no photo of COCO has.
_NO_CLASSES = ("N/A", "")


class _Record(NamedTuple):
    """What is kept of a photo until the end."""

    size: tuple[int, int]
    annotations: list[dict]
    rows: list[dict]
    class_ids: list[int]
    picture: np.ndarray | None


class Outputs:
    """Write the results of a `Stream` to a folder. A context manager.

    `write` does what takes time, in any order and in several threads; `collect` is called once per
    photo, in order. At the end of the context, `detections.json` and the tables are written, with
    all photos that were collected, also after KeyboardInterrupt. After other errors they are not,
    nor is a video that is not finished.

    Args:
        folder: of the files; made when the first one is written.
        class_names: list of all names that starts with the background.
        formats: some of `FORMATS`; None writes "coco", and pictures of photos and videos of
            videos.

            - pictures: drawn, with the names of the photos; JPEG stays, all others become PNG
            - video: drawn, an MP4 file per video
            - coco: `detections.json`, a whole data set
            - labelme: a JSON file per photo beside a copy of it, in `labelme/`
            - masks: a PNG file per instance, 0 and 255, in `masks/<photo>/`
            - labels: a 16-bit PNG file per photo, in `labels/`: 0, or the number of an instance,
              1 for the best score; of instances that overlap, the better one
            - csv: `instances.csv` with a row per instance, `counts.csv` with a row per photo
        scale, unit: length of a pixel's side for the tables, and the name of its unit; see
            `Result.table`.
        draw: options of `Result.plot`, such as {"color_by": "instance"}.
        keep_pictures: let `collect` return the drawn picture in any case.

    Raises:
        ValueError: for an unknown format; if a file would replace the photo it was made of.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        class_names: list[str],
        formats: tuple[str, ...] | None = None,
        scale: float | None = None,
        unit: str | None = None,
        draw: dict | None = None,
        keep_pictures: bool = False,
    ):
        for name in formats or ():
            if name not in FORMATS:
                raise ValueError(f'"{name}" cannot be saved; accepted are {", ".join(FORMATS)}.')
        self.folder, self.class_names, self.formats = Path(folder), list(class_names), formats
        self.scale, self.unit = scale, unit or ("pixel" if scale is None else "scaled")
        self.draw, self.keep_pictures = draw or {}, keep_pictures
        self.counts = dict.fromkeys(self.class_names[1:], 0)
        self._waiting = {}
        self._images, self._annotations, self._rows, self._counts = [], [], [], []
        self._video, self._add_frame, self._stack = None, None, ExitStack()

    @property
    def photos(self) -> int:
        """Number of photos that were collected."""
        return len(self._images)

    def wants(self, name: str, photo: Photo) -> bool:
        """Return whether a format is written for a photo."""
        if self.formats is None:
            return name in ("coco", "pictures" if photo.video is None else "video")
        return name in self.formats and (name != "video" or photo.video is not None)

    # In threads

    def write(self, photo: Photo, result: Any) -> None:
        """Write the files of one photo, and keep what the files of all photos need."""
        wants, picture = (lambda name: self.wants(name, photo)), None
        if self.keep_pictures or wants("pictures") or wants("video"):
            picture = result.plot(**self.draw)
        if wants("pictures"):
            write_picture(self._picture_path(photo), picture)
        if wants("labelme"):
            self._write_labelme(photo, result)
        if wants("masks") or wants("labels"):
            self._write_masks(photo, result)
        is_kept = self.keep_pictures or wants("video")
        self._waiting[photo.name] = _Record(
            result.image.shape[:2],
            self._annotate(result) if wants("coco") else [],
            result.table(self.scale) if wants("csv") else [],
            np.asarray(result["class_ids"]).tolist(),
            picture if is_kept else None,
        )

    def _path(self, *parts):
        return self.folder.joinpath(*parts)

    def _picture_path(self, photo):
        suffix = Path(photo.name).suffix
        name = photo.name if suffix.lower() in _KEPT_SUFFIXES else f"{photo.stem}.png"
        if name.partition("/")[0].casefold() in _FOLDERS:
            name = f"pictures/{name}"
        return self._not_the_photo(self._path(name), photo.path)

    def _not_the_photo(self, path, photo_path):
        if photo_path and os.path.exists(path) and os.path.exists(photo_path):
            if os.path.samefile(path, photo_path):
                raise ValueError(
                    f'"{path}" is a photo that was given, and the drawn picture would replace it; '
                    "choose another output folder."
                )
        return path

    def _write_labelme(self, photo, result):
        path = self._path("labelme", f"{photo.stem}.json")
        make_folder(path.parent)
        copied = result.copy()
        if photo.path and os.path.isfile(photo.path):
            copied.path = str(path.with_suffix(Path(photo.name).suffix))
            shutil.copyfile(photo.path, copied.path)
        else:
            copied.path = str(path.with_suffix(".png"))
            write_picture(copied.path, result.image)
        write_json(path, copied.to_labelme(path))

    def _write_masks(self, photo, result):
        masks = result["masks"]
        as_arrays = hasattr(masks, "shape")
        labels = np.zeros(result.image.shape[:2], np.uint16)
        # The best ones last, on top.
        for index in reversed(range(len(result))):
            mask = masks[..., index] if as_arrays else decode_mask(masks[index])
            labels[mask] = index + 1
            if self.wants("masks", photo):
                kind = _file_name(self.class_names[result["class_ids"][index]])
                path = self._path("masks", photo.stem, f"{index + 1:03d}_{kind}.png")
                write_picture(path, mask.astype(np.uint8) * 255)
        if self.wants("labels", photo):
            write_picture(self._path("labels", f"{photo.stem}.png"), labels)

    def _annotate(self, result):
        from pycocotools import mask as coco_mask

        entries = result.to_coco()
        for entry in entries:
            entry["area"] = int(coco_mask.area(entry["segmentation"]))
            entry["iscrowd"] = 0
        return entries

    # In order

    def collect(self, photo: Photo) -> np.ndarray | None:
        """Take a written photo into the files of all photos; return its drawn picture, if kept."""
        record = self._waiting.pop(photo.name)
        if self.wants("video", photo):
            self._frame(photo.video, record.picture)
        number = len(self._images) + 1
        height, width = record.size
        image = {"id": number, "file_name": photo.name, "height": height, "width": width}
        self._images.append(image)
        for entry in record.annotations:
            self._annotations.append(
                {"id": len(self._annotations) + 1, **entry, "image_id": number}
            )
        self._rows += [
            {"photo": photo.name, "instance": index, "unit": self.unit, **row}
            for index, row in enumerate(record.rows, start=1)
        ]
        found = [self.class_names[class_id] for class_id in record.class_ids]
        for name in found:
            self.counts[name] += 1
        if self.wants("csv", photo):
            counts = {name: found.count(name) for name in self._countable()}
            self._counts.append({"photo": photo.name, "instances": len(found), **counts})
        return record.picture

    def _frame(self, video, picture):
        if video is not self._video:
            self._stack.close()
            path = self._not_the_photo(
                self._path(f"{video.name}.mp4"), None if video.is_camera else video.path
            )
            self._add_frame = self._stack.enter_context(writing_video(path, video.rate))
            self._video = video
        self._add_frame(picture)

    def _countable(self):
        return [name for name in self.class_names[1:] if name not in _NO_CLASSES]

    # The context

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            self._stack.__exit__(kind, error, trace)
            return
        self._stack.close()
        if self._images:
            self._finish()

    def _finish(self):
        make_folder(self.folder)
        chosen = self.formats or ("coco",)
        if "coco" in chosen:
            categories = [
                (number, name)
                for number, name in enumerate(self.class_names)
                if number and name not in _NO_CLASSES
            ]
            document = coco_document(self._images, self._annotations, categories)
            document["info"]["version"] = __version__
            write_json(self._path("detections.json"), document)
        if "csv" in chosen:
            write_csv(self._path("instances.csv"), _COLUMNS, self._rows)
            columns = ("photo", "instances", *self._countable())
            write_csv(self._path("counts.csv"), columns, self._counts)


def _file_name(text):
    """Return a class name as a part of a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)


def free_folder(folder: str | os.PathLike) -> Path:
    """Return a folder that does not exist or is empty: it, or "<folder>_2", "<folder>_3", ..."""
    path, number = Path(folder), 1
    while is_used(path):
        number += 1
        path = Path(f"{folder}_{number}")
    return path


def is_used(path: str | os.PathLike) -> bool:
    """Return whether there is something in a folder, or a file of that name."""
    path = Path(path)
    return any(path.iterdir()) if path.is_dir() else os.path.lexists(path)
