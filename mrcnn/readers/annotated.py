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

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn import limits
from mrcnn.data.checks import Note, check_mask_bytes, describe_image, shorten, shown
from mrcnn.data.dataset import Dataset
from mrcnn.data.photos import image_size
from mrcnn.readers.find import find_image, name_inside
from mrcnn.readers.outlines import Outline, draw_outlines, examine

_SHOWN = 3
_REASONS_SHOWN = 20
# All outlines of an image together, see `examine`: one or two seconds.
_MOST_WORK = 1 << 22
# Bytes of the masks of an image from which on a look at the header of its photo pays.
_MANY_BYTES = 1 << 26


class AnnotatedDataset(Dataset):
    """A dataset read from annotation files.

    Methods such as `load_via` read files or folders, and add classes and images under a name, their
    `source`. Call one or several, then `prepare`. They raise FileNotFoundError if there is nothing
    to read or no image is readable. Broken annotations and images are left out, with a warning.
    Names of images may not lead out of their folder, unless a method gets `outside=True`.

    Attributes:
        notes: list of `Note`, in the order in which they were found. `load_mask` may add some.
    """

    def __init__(self, class_map=None):
        super().__init__(class_map)
        # A dict drops duplicates: threads may find a problem twice.
        self._notes = {}
        self._work = Counter()
        self._sizes = {}

    @property
    def notes(self) -> list[Note]:
        return list(self._notes)

    def note(self, reason: str, where: str, left_out: bool = True) -> None:
        """Add a `Note`, once."""
        self._notes[Note(shown(reason), shown(where), left_out)] = None

    def load_image(self, image_id: int) -> np.ndarray:
        """See `Dataset.load_image`; ValueError if the annotations are for another size."""
        image = super().load_image(image_id)
        info = self.image_info[image_id]
        size = info.get("height") or image.shape[0], info.get("width") or image.shape[1]
        if image.shape[:2] != size:
            raise ValueError(self._other_size(image_id, image.shape, size))
        return image

    def _other_size(self, image_id, found, size):
        return (
            f"{describe_image(self, image_id)} has {found[0]}x{found[1]} pixels (height x width), "
            f"but its annotations are for {size[0]}x{size[1]}."
        )

    def _check_memory(self, image_id: int, count: int) -> None:
        """Raise ValueError if masks would fill the memory, or are of another size than the photo.

        Call it before the memory for `count` masks of `image_info`'s size is taken.
        """
        info = self.image_info[image_id]
        size = info["height"], info["width"]
        check_mask_bytes(self, image_id, count, *size)
        if count * size[0] * size[1] < _MANY_BYTES:
            return
        try:
            found = image_size(info["path"])
        # The photo may be one that an overridden load_image() reads.
        except (OSError, TypeError, ValueError):
            return
        # Annotations may be for the photo as it is stored, before EXIF turns it.
        if sorted(found) != sorted(size):
            raise ValueError(self._other_size(image_id, found, size))

    def _finish(self, before: int, origin: str | os.PathLike, found: bool) -> None:
        """Warn once of all notes on `origin`; FileNotFoundError if no image was `found` there.

        `before` is the number of notes before the reading.
        """
        notes, parts = self.notes[before:], []
        self._work.clear()
        self._sizes.clear()
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
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"class_names has {twice[0]!r} twice.")
        ids = {info["name"]: info["id"] for info in self.class_info if info["source"] == source}
        number = max(ids.values(), default=0)
        for name in names:
            if name not in ids:
                number += 1
                ids[name] = number
                self.add_class(source, number, name)
        return {name: ids[name] for name in names}

    def _locate(
        self, folder, name, size=(None, None), where=None, outside=False
    ) -> dict[str, Any] | None:
        """Return `path`, `height` and `width` of an image for `add_image`, see `find_image`.

        `size` is `(height, width)` from the annotation file, if it has them. If the image is
        missing, unreadable or too large, note that about `where` or `name`, and return None.
        """
        path = find_image(folder, name, outside) if name else None
        if path is None:
            reason = f"an image that is not in {folder}"
            if name and not outside and name_inside(folder, name) is None:
                reason += ", whose name leads out of it, which outside=True allows"
            self.note(reason, where or name)
            return None
        # True is an int, too.
        if not all(type(side) is int and side > 0 for side in size):
            return self._measure(path, name)
        return self._sized(path, size, name)

    def _measure(self, path, name, picture=None) -> dict[str, Any] | None:
        """As `_locate`, for the image `path`, with the size of the file `picture`, if given."""
        measured = str(picture or path)
        if measured not in self._sizes:
            try:
                self._sizes[measured] = image_size(measured)
            except (OSError, ValueError):
                self._sizes[measured] = None
        if self._sizes[measured] is None:
            self.note("an image that cannot be read", name)
            return None
        return self._sized(path, self._sizes[measured], name)

    def _sized(self, path, size, name):
        """Return the dict of `_locate`; None with a note for a size above the limit."""
        if size[0] * size[1] > limits.MAX_IMAGE_PIXELS:
            limit = f"mrcnn.limits.MAX_IMAGE_PIXELS = {limits.MAX_IMAGE_PIXELS}"
            self.note(f"an image of more pixels than {limit}", name)
            return None
        return {"path": str(path), "height": size[0], "width": size[1]}

    def _check_outline(
        self, outline: Outline, height: int, width: int, where: str, image: Any = None
    ) -> bool:
        """Return True if an outline has a mask; note its faults.

        `image` is the same for all outlines of an image: together, too, they must be drawn in time.
        """
        fault, reaches_out, work = examine(outline, height, width)
        if work:
            work += self._work[image]
            if work > _MOST_WORK:
                fault = "an outline that crosses the image too often"
            elif image is not None:
                self._work[image] = work
        if fault:
            self.note(fault, where)
        elif reaches_out:
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
        objects, class_ids = info["objects"], []
        self._check_memory(image_id, len(objects))
        masks = np.zeros((len(objects), info["height"], info["width"]), bool)
        for class_id, name, outlines in objects:
            mask = masks[len(class_ids)]
            draw_outlines(mask, outlines)
            if mask.any():
                class_ids.append(self._own_class_id(info, class_id))
            else:
                self.note("no pixel is covered", name)
        return masks[: len(class_ids)].transpose(1, 2, 0), np.array(class_ids, np.int32)

    def _classes_of(self, image_id):
        info = self.image_info[image_id]
        if "objects" not in info:
            return super()._classes_of(image_id)
        return np.array([self._own_class_id(info, each[0]) for each in info["objects"]], np.int32)


def summarize(notes: list[Note]) -> str:
    """Count notes by reason, each with the first few names."""
    groups = {}
    for note in notes:
        groups.setdefault(note.reason, []).append(note.where)
    counts = [f"{len(w)} x {reason} ({shorten(w, _SHOWN)})" for reason, w in groups.items()]
    return shorten(counts, _REASONS_SHOWN, "; ")
