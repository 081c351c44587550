"""What the ready datasets share: reading annotation files, and an account of what is wrong there.

The files of a project hold thousands of annotations, and a few of them are broken. Three rules say
what happens to these:

* A file that as a whole cannot be what it should be (no JSON, another layout, two classes of one
  name, not one image on disk) is an error.
* A broken annotation, or an image that is missing, is left out. All of them are counted in one
  warning when the file has been read, and `Dataset.validate` lists them.
* What shows only when a picture is opened (it is damaged, or has another size) is an error of
  `load_image` or `load_mask`. Training skips such images, see `Config.MAX_LOAD_ERRORS`.
"""

from __future__ import annotations

import json
import os
import unicodedata
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrcnn.data.dataset import Dataset, describe_image
from mrcnn.data.photos import image_size
from mrcnn.readers.outlines import Outline, draw_outlines, outline_fault, reaches_out

# Who reads which layout.
_READERS = {
    "COCO JSON": "CocoJsonDataset.load_coco_json()",
    "VIA JSON": "ViaDataset.load_via()",
    "LabelMe JSON": "LabelMeDataset.load_labelme()",
}
_SHOWN = 3


class Note(NamedTuple):
    """Something odd about an annotation or an image.

    `reason` is the same for all of a kind, `where` names the entry, and what is `left_out` is not
    in the dataset.
    """

    reason: str
    where: str
    left_out: bool = True


class AnnotatedDataset(Dataset):
    """A dataset read from annotation files.

    Attributes:
        notes: list of `Note`, in the order of finding. `load_mask` adds to it, too.
    """

    def __init__(self, class_map=None):
        super().__init__(class_map)
        # A dict, because threads may note one thing twice.
        self._notes = {}

    @property
    def notes(self) -> list[Note]:
        return list(self._notes)

    def note(self, reason: str, where: str, left_out: bool = True) -> None:
        """Add a `Note`, once."""
        self._notes[Note(reason, where, left_out)] = None

    def load_image(self, image_id: int) -> np.ndarray:
        """As `Dataset.load_image`; ValueError if its annotations are for another size."""
        image = super().load_image(image_id)
        info = self.image_info[image_id]
        size = info.get("height") or image.shape[0], info.get("width") or image.shape[1]
        if image.shape[:2] != size:
            raise ValueError(
                f"{describe_image(self, image_id)} has {image.shape[0]}x{image.shape[1]} pixels "
                f"(height x width), but its annotations are for {size[0]}x{size[1]}."
            )
        return image

    def warn_of(self, notes: list[Note], origin: str | os.PathLike) -> None:
        """One warning about all of some notes, if there are any."""
        parts = []
        for left_out, fate in ((True, "left out"), (False, "odd, but kept")):
            chosen = [note for note in notes if note.left_out is left_out]
            if chosen:
                entries = "1 entry is" if len(chosen) == 1 else f"{len(chosen)} entries are"
                parts.append(f"{entries} {fate}: {summarize(chosen)}.")
        if parts:
            warnings.warn(f"{origin}: {' '.join(parts)} validate() lists all.", stacklevel=3)

    def add_named_classes(self, source: str, names: Sequence[str]) -> dict[str, int]:
        """Ids, in the source, of classes by name; those that it does not have yet are added.

        Raises ValueError if there is no name, or one comes twice.
        """
        if not names:
            raise ValueError(f"there is no class for the source {source!r}.")
        for name in names:
            if list(names).count(name) > 1:
                raise ValueError(f"class_names has {name!r} twice.")
        ids = {info["name"]: info["id"] for info in self.class_info if info["source"] == source}
        for name in names:
            if name not in ids:
                ids[name] = max(ids.values(), default=0) + 1
                self.add_class(source, ids[name], name)
        return {name: ids[name] for name in names}

    def read_size(self, path: str | os.PathLike, name: str) -> tuple[int, int] | None:
        """`(height, width)` of an image file; None, and a note, if it cannot be read."""
        try:
            return image_size(path)
        except (OSError, ValueError):
            self.note("an image that cannot be read", name)
            return None

    def check_outline(self, outline: Outline, height: int, width: int, where: str) -> bool:
        """Whether something can be made of an outline; its faults are noted."""
        fault = outline_fault(outline, height, width)
        if fault:
            self.note(fault, where)
        elif reaches_out(outline, height, width):
            self.note("cut at the border of the image", where, left_out=False)
        return not fault

    def keep_visible(
        self, masks: np.ndarray, class_ids: list[int], names: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `load_mask` returns, without masks of no pixel, which are noted.

        Arguments:
            masks: `[height, width, instances]` bool.
            class_ids: our class id of each.
            names: how notes call each.
        """
        class_ids = np.array(class_ids, np.int32)
        covered = masks.any(axis=(0, 1))
        if covered.all():
            return masks, class_ids
        for index in np.flatnonzero(~covered):
            self.note("no pixel is covered", names[index])
        return masks[..., covered], class_ids[covered]


class OutlineDataset(AnnotatedDataset):
    """A dataset whose images have a list `objects`: `(class id in the source, name, outlines)`."""

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Dataset.load_mask`."""
        info = self.image_info[image_id]
        if "objects" not in info:
            return super().load_mask(image_id)
        size = info["height"], info["width"]
        masks = np.zeros((len(info["objects"]), *size), bool)
        class_ids, names = [], []
        for mask, (class_id, name, outlines) in zip(masks, info["objects"], strict=True):
            draw_outlines(outlines, mask)
            class_ids.append(self.map_source_class_id(f"{info['source']}.{class_id}"))
            names.append(name)
        return self.keep_visible(masks.transpose(1, 2, 0), class_ids, names)


def summarize(notes: list[Note]) -> str:
    """Counts by reason, each with the first few names."""
    groups = {}
    for note in notes:
        groups.setdefault(note.reason, []).append(note.where)
    return "; ".join(
        f"{len(names)} x {reason} ({shorten(names, _SHOWN)})" for reason, names in groups.items()
    )


def shorten(names: list[str], most: int, glue: str = ", ") -> str:
    """The first names of a list, and how many more there are."""
    rest = [f"and {len(names) - most} more"] if len(names) > most else []
    return glue.join([*names[:most], *rest])


def read_json(path: str | os.PathLike, layout: str) -> Any:
    """The content of a JSON file of one of the layouts "COCO JSON", "VIA JSON", "LabelMe JSON".

    Raises FileNotFoundError, or ValueError if it is something else.
    """
    try:
        # Editors on Windows begin files with a mark that JSON does not have.
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
    """The name of the layout of annotations, None if it is unknown."""
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("images"), list):
        return "COCO JSON"
    if isinstance(data.get("shapes"), list):
        return "LabelMe JSON"
    if {"project", "file", "view"} <= set(data):
        return "a VIA 3 project"
    entries = data.values()
    if isinstance(data.get("_via_img_metadata"), dict) or any(
        isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in entries
    ):
        return "VIA JSON"
    return None


def find_image(folder: str | os.PathLike, name: str) -> Path | None:
    """The file of an image, by the name that an annotation file gives it; None if there is none.

    Annotation files move between systems: names may have the backslashes of Windows, letters that
    macOS took apart (an accent is a character of its own), and folders that are gone.
    """
    name = name.replace("\\", "/")
    for candidate in (name, os.path.basename(name)):
        for form in (candidate, *(unicodedata.normalize(f, candidate) for f in ("NFC", "NFD"))):
            path = Path(folder, form)
            if path.is_file():
                return path
    return None


def require_images(missing: int, names: Collection[str], origin: Any, folder: Any) -> None:
    """FileNotFoundError if there are names of images, and all of these are missing."""
    if names and missing == len(names):
        raise FileNotFoundError(
            f"none of the {missing} images of {origin} is in the folder {folder}; the first is "
            f"{next(iter(names))}."
        )
