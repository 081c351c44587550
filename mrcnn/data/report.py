"""Statistics and problems of a dataset: `Dataset.validate`."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from mrcnn.data.checks import (
    Note,
    check_prepared,
    describe_image,
    load_image,
    load_instances,
    shorten,
    shown,
)
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.pixels import to_uint8

_SHOWN = 5
_KINDS_SHOWN = 40
# Pixels of masks whose boxes are computed at a time.
_BLOCK = 1 << 26
_PERCENTILES = (0, 5, 50, 95, 100)
# Seconds; shorter waits need no progress bar.
_PATIENCE = 2.0


@dataclass
class DatasetReport:
    """Result of `Dataset.validate`. Names are those of `describe_image`.

    Attributes:
        class_names: list, the background first.
        image_sizes: list of `(height, width)` in pixels, one per image that could be read.
        instances, images, crowds: Counter by our class id of instances, of images that show one,
            and of crowds, which do not count as instances.
        sides: list with the root of each instance's box area, in pixels of the photo.
        shares: the same, divided by the longer side of the photo.
        without_instances: names of images.
        tiny: names of instances of fewer than `tiny_below` pixels, but of one at least.
        empty: names of instances without a pixel.
        duplicates: names of instances with the same mask as an earlier one of their image.
        same_box: names of instances with the same box, but another mask.
        rescaled: names of RGB images whose values `MaskRCNN.detect` scales to 0..255, such as
            floats from 0 to 1. Training takes them as `load_image` returns them.
        unreadable: messages of images that cannot be loaded, or whose masks do not fit.
        notes: list of `Note`, the problems that the ready datasets found in their files.
    """

    class_names: list
    tiny_below: int
    image_sizes: list = field(default_factory=list)
    instances: Counter = field(default_factory=Counter)
    images: Counter = field(default_factory=Counter)
    crowds: Counter = field(default_factory=Counter)
    sides: list = field(default_factory=list)
    shares: list = field(default_factory=list)
    without_instances: list = field(default_factory=list)
    tiny: list = field(default_factory=list)
    empty: list = field(default_factory=list)
    duplicates: list = field(default_factory=list)
    same_box: list = field(default_factory=list)
    rescaled: list = field(default_factory=list)
    unreadable: list = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def add(self, name: str, image: np.ndarray, masks: np.ndarray, class_ids: np.ndarray) -> None:
        """Count one image `[height, width, channels]` and its masks, as from `load_mask`."""
        height, width = image.shape[:2]
        self.image_sizes.append((height, width))
        self.crowds.update((-class_ids[class_ids < 0]).tolist())
        self.instances.update(class_ids[class_ids > 0].tolist())
        self.images.update(set(class_ids[class_ids > 0].tolist()))
        if not (class_ids > 0).any():
            self.without_instances.append(name)
        # Part by part: for the boxes of all, half the memory of the masks is taken again.
        step = max(1, _BLOCK // (height * width))
        parts = [masks[..., start : start + step] for start in range(0, len(class_ids), step)]
        boxes = [tuple(box) for part in parts for box in extract_bboxes(part).tolist()]
        uses, earlier = Counter(boxes), {}
        for index, (y1, x1, y2, x2) in enumerate(boxes):
            class_name = shown(self.class_names[abs(class_ids[index])])
            where = f"{name}, instance {index} ({class_name})"
            mask = masks[y1:y2, x1:x2, index]
            area = np.count_nonzero(mask)
            if not area:
                self.empty.append(where)
                continue
            if area < self.tiny_below:
                self.tiny.append(where)
            if class_ids[index] > 0:
                side = float(np.sqrt((y2 - y1) * (x2 - x1)))
                self.sides.append(side)
                self.shares.append(side / max(height, width))
            if uses[boxes[index]] == 1:
                continue
            same = earlier.setdefault(boxes[index], set())
            # One look at each mask, also where thousands have the same box.
            digest = hashlib.blake2b(mask.tobytes()).digest()
            if digest in same:
                self.duplicates.append(where)
            elif same:
                self.same_box.append(where)
            same.add(digest)

    def __str__(self):
        total, seen = self.instances.total(), len(self.image_sizes)
        lines = [f"{seen} images, {total} instances, {len(self.class_names) - 1} classes"]
        lines += self._class_table()
        if seen:
            lines += self._size_lines()
        lists = [
            ("images without instances", self.without_instances),
            (f"instances of fewer than {self.tiny_below} pixels", self.tiny),
            ("instances without a pixel", self.empty),
            ("instances with the mask of another", self.duplicates),
            ("instances with the box of another", self.same_box),
            ("images on another scale in training than in detection", self.rescaled),
            ("images that cannot be used", self.unreadable),
        ]
        groups = {}
        for note in self.notes:
            fate = "left out" if note.left_out else "kept"
            groups.setdefault(f"{fate}: {note.reason}", []).append(note.where)
        groups = [(kind, names) for kind, names in [*lists, *groups.items()] if names]
        for kind, names in groups[:_KINDS_SHOWN]:
            lines.append(f"  {kind}: {len(names)}")
            lines.append("    " + shorten(names, _SHOWN, "\n    "))
        if len(groups) > _KINDS_SHOWN:
            lines.append(f"  and {len(groups) - _KINDS_SHOWN} more kinds of problems")
        return "\n".join(lines)

    def _class_table(self):
        names = [shown(name) for name in self.class_names]
        width = max(map(len, names))
        yield f"  {'class':<{width + 5}}{'instances':>10}{'images':>10}{'crowds':>10}"
        for class_id, name in enumerate(names[1:], start=1):
            counts = (table[class_id] for table in (self.instances, self.images, self.crowds))
            row = "".join(f"{count:>10}" for count in counts)
            yield f"  {class_id:>3}  {name:<{width}}{row}"

    def _size_lines(self):
        common = Counter(self.image_sizes).most_common()
        heights, widths = zip(*self.image_sizes, strict=True)
        yield (
            f"  image sizes, height x width: {min(heights)}..{max(heights)} x "
            f"{min(widths)}..{max(widths)}; {len(common)} different, most often "
            f"{common[0][0][0]}x{common[0][0][1]} ({common[0][1]} images)"
        )
        if self.sides:
            pixels = ", ".join(f"{value:.0f}" for value in np.percentile(self.sides, _PERCENTILES))
            shares = np.percentile(self.shares, _PERCENTILES) * 100
            shares = ", ".join(f"{value:.1f}" for value in shares)
            yield "  instance sizes, root of the box area; smallest, 5 %, median, 95 %, largest:"
            yield f"    {pixels} pixels; {shares} % of the longer side of the image"


def inspect(
    dataset: Any, image_ids: Iterable[int] | None, tiny: int, verbose: int
) -> DatasetReport:
    """Inspect a dataset, see `Dataset.validate`."""
    check_prepared(dataset)
    report = DatasetReport(class_names=list(dataset.class_names), tiny_below=tiny)
    ids = dataset.image_ids if image_ids is None else image_ids
    quiet = None if verbose else True
    for image_id in tqdm(ids, unit="image", delay=_PATIENCE, leave=False, disable=quiet):
        name = describe_image(dataset, image_id)
        try:
            image = load_image(dataset, image_id)
            masks, class_ids = load_instances(dataset, image_id, image.shape)
            rescaled = _is_rescaled(image, name)
        # Users' loading code may raise anything; the report lists it and continues.
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            report.unreadable.append(message if name in message else f"{name}: {message}")
        else:
            report.add(name, image, masks, class_ids)
            if rescaled:
                report.rescaled.append(name)
    report.notes = list(getattr(dataset, "notes", []))
    if verbose:
        # Not every terminal has all characters.
        encoding = sys.stdout.encoding or "utf-8"
        print(str(report).encode(encoding, "backslashreplace").decode(encoding))
    return report


def _is_rescaled(image, name):
    """Return whether detection changes the values of an RGB image, by more than rounding."""
    if image.dtype == np.uint8 or image.shape[2] != 3:
        return False
    return np.abs(to_uint8(image, name) - image.astype(np.float64)).max() > 0.5
