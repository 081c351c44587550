"""Base of the ready datasets, which read annotation files and count the problems in them.

The files of a project hold thousands of annotations, and a few of them are broken. Three rules:

* A file that is unusable as a whole (no JSON, another layout, two classes of one name, no readable
  image) is an error.
* A broken annotation or a missing image is left out. One warning per file counts all of them, and
  `Dataset.validate` lists them.
* A picture that is damaged or has another size than its annotations is an error of `load_image` or
  `load_mask`. Training skips such images, see `Config.MAX_LOAD_ERRORS`.
"""

from __future__ import annotations

import json
import os
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.checks import Note, describe_image, shorten
from mrcnn.data.dataset import Dataset
from mrcnn.data.photos import image_size
from mrcnn.readers.outlines import Outline, outline_fault, reaches_out

# Layout: the method that reads it.
_READERS = {
    "COCO JSON": "CocoJsonDataset.load_coco_json()",
    "VIA JSON": "ViaDataset.load_via()",
    "LabelMe JSON": "LabelMeDataset.load_labelme()",
}
_SHOWN = 3


class AnnotatedDataset(Dataset):
    """A dataset read from annotation files.

    Methods such as `load_via` read files or folders, and add classes and images under a name, their
    `source`. Call one or several, then `prepare`. They raise FileNotFoundError if there is nothing
    to read or no image is readable. Broken annotations and images are left out, with a warning.

    Attributes:
        notes: list of `Note`, in the order in which they were found. `load_mask` may add some.
    """

    def __init__(self, class_map=None):
        super().__init__(class_map)
        # A dict drops duplicates: threads may find a problem twice.
        self._notes = {}

    @property
    def notes(self) -> list[Note]:
        return list(self._notes)

    def note(self, reason: str, where: str, left_out: bool = True) -> None:
        """Add a `Note`, once."""
        self._notes[Note(reason, where, left_out)] = None

    def load_image(self, image_id: int) -> np.ndarray:
        """See `Dataset.load_image`; ValueError if the annotations are for another size."""
        image = super().load_image(image_id)
        info = self.image_info[image_id]
        size = info.get("height") or image.shape[0], info.get("width") or image.shape[1]
        if image.shape[:2] != size:
            raise ValueError(
                f"{describe_image(self, image_id)} has {image.shape[0]}x{image.shape[1]} pixels "
                f"(height x width), but its annotations are for {size[0]}x{size[1]}."
            )
        return image

    def _finish(self, before: int, origin: str | os.PathLike, found: bool) -> None:
        """Warn once of all notes on `origin`; FileNotFoundError if no image was `found` there.

        `before` is the number of notes before the reading.
        """
        notes, parts = self.notes[before:], []
        if notes and not found:
            raise FileNotFoundError(f"{origin} has no usable image: {summarize(notes)}.")
        for left_out, fate in ((True, "left out"), (False, "odd, but kept")):
            if chosen := [note for note in notes if note.left_out is left_out]:
                entries = "1 entry is" if len(chosen) == 1 else f"{len(chosen)} entries are"
                parts.append(f"{entries} {fate}: {summarize(chosen)}.")
        if parts:
            warnings.warn(f"{origin}: {' '.join(parts)} validate() lists all.", stacklevel=3)

    def _add_named_classes(self, source: str, names: Sequence[str]) -> dict[str, int]:
        """Add classes that a source does not have yet, and return its ids by name.

        Raises:
            ValueError: if there is no name, or a duplicate.
        """
        if not names:
            raise ValueError(f"there is no class for the source {source!r}.")
        ids = {info["name"]: info["id"] for info in self.class_info if info["source"] == source}
        for name in names:
            if list(names).count(name) > 1:
                raise ValueError(f"class_names has {name!r} twice.")
            if name not in ids:
                ids[name] = max(ids.values(), default=0) + 1
                self.add_class(source, ids[name], name)
        return {name: ids[name] for name in names}

    def _locate(self, folder, name, size=(None, None), where=None) -> dict[str, Any] | None:
        """Return `path`, `height` and `width` of an image for `add_image`, see `find_image`.

        `size` is `(height, width)` from the annotation file, if it has them. If the image is
        missing or unreadable, note that about `where` or `name`, and return None.
        """
        path = find_image(folder, name) if name else None
        if path is None:
            self.note(f"an image that is not in {folder}", where or name)
            return None
        if all(isinstance(side, int) and side > 0 for side in size):
            return {"path": str(path), "height": size[0], "width": size[1]}
        return self._measure(path, name)

    def _measure(self, path, name, picture=None) -> dict[str, Any] | None:
        """As `_locate`, for the image `path`, with the size of the file `picture`, if given."""
        try:
            height, width = image_size(picture or path)
        except (OSError, ValueError):
            self.note("an image that cannot be read", name)
            return None
        return {"path": str(path), "height": height, "width": width}

    def _check_outline(self, outline: Outline, height: int, width: int, where: str) -> bool:
        """Return True if an outline has a mask; note its faults."""
        fault = outline_fault(outline, height, width)
        if fault:
            self.note(fault, where)
        elif reaches_out(outline, height, width):
            self.note("cut at the border of the image", where, left_out=False)
        return not fault

    def _own_class_id(self, info: dict, class_id: Any) -> int:
        """Return our id of a class of an image's source."""
        return self.map_source_class_id(f"{info['source']}.{class_id}")

    def _keep_visible(
        self, masks: np.ndarray, class_ids: Sequence[int], names: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Drop masks `[height, width, instances]` without a pixel, and note their `names`."""
        class_ids = np.array(class_ids, np.int32)
        covered = masks.any(axis=(0, 1))
        if covered.all():
            return masks, class_ids
        for index in np.flatnonzero(~covered):
            self.note("no pixel is covered", names[index])
        return masks[..., covered], class_ids[covered]


class OutlineDataset(AnnotatedDataset):
    """A dataset whose `image_info` has `height`, `width` and `objects`.

    These are a list of `(class id in the source, name, outlines)`.
    """

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`. Polygons are filled by the rule of pycocotools."""
        info = self.image_info[image_id]
        if "objects" not in info:
            return super().load_mask(image_id)
        masks = np.zeros((len(info["objects"]), info["height"], info["width"]), bool)
        class_ids, names = [], []
        for mask, (class_id, name, outlines) in zip(masks, info["objects"], strict=True):
            for outline in outlines:
                outline.draw(mask)
            class_ids.append(self._own_class_id(info, class_id))
            names.append(name)
        return self._keep_visible(masks.transpose(1, 2, 0), class_ids, names)


def summarize(notes: list[Note]) -> str:
    """Count notes by reason, each with the first few names."""
    groups = {}
    for note in notes:
        groups.setdefault(note.reason, []).append(note.where)
    return "; ".join(
        f"{len(names)} x {reason} ({shorten(names, _SHOWN)})" for reason, names in groups.items()
    )


def read_json(path: str | os.PathLike, layout: str) -> Any:
    """Read a JSON file of one of the layouts "COCO JSON", "VIA JSON" and "LabelMe JSON".

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not JSON, or has another layout.
    """
    try:
        # utf-8-sig skips the byte order mark that editors on Windows write.
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no annotation file {path}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None
    found = _layout(data)
    if found != layout:
        hint = f" {_READERS[found]} reads it." if found in _READERS else ""
        raise ValueError(
            f"{path} holds {found or 'JSON of an unknown layout'}, not {layout}, which "
            f"{_READERS[layout]} takes.{hint}"
        )
    return data


def _layout(data):
    """Return the name of the layout of annotations; None if it is unknown."""
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("images"), list):
        return "COCO JSON"
    if isinstance(data.get("shapes"), list):
        return "LabelMe JSON"
    if {"project", "file", "view"} <= set(data):
        return "a VIA 3 project"
    via_1 = (isinstance(e, dict) and {"filename", "regions"} <= set(e) for e in data.values())
    return "VIA JSON" if isinstance(data.get("_via_img_metadata"), dict) or any(via_1) else None


def find_image(folder: str | os.PathLike, name: str) -> Path | None:
    """Return the file of an image by its name in an annotation file, or None.

    Annotation files move between systems: names may have the backslashes of Windows, the decomposed
    letters of macOS (letter and accent apart), and folders that no longer exist.
    """
    name = name.replace("\\", "/")
    for candidate in (name, os.path.basename(name)):
        for form in (candidate, *(unicodedata.normalize(f, candidate) for f in ("NFC", "NFD"))):
            path = Path(folder, form)
            if path.is_file():
                return path
    return None
