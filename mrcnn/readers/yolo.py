"""Datasets in Ultralytics' layout for segmentation: `data.yaml` and a text file per photo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mrcnn.data.checks import shown
from mrcnn.readers.annotated import OutlineDataset
from mrcnn.readers.find import find_image, name_inside
from mrcnn.readers.json_values import are_numbers, as_name, is_text, read_bytes
from mrcnn.readers.mask_files import PHOTO_SUFFIXES
from mrcnn.readers.outlines import Polygon, box
from mrcnn.readers.yaml_values import read_yaml

# Shares further outside of the image than this are no shares, but pixels.
_FARTHEST = 1.0
_BOX_LINE = "a line of 5 numbers, a box without outline, which boxes=True takes as an object"


class YoloDataset(OutlineDataset):
    """Images and polygons in Ultralytics' layout, see `AnnotatedDataset` and `OutlineDataset`."""

    def load_yolo(
        self,
        data: str | os.PathLike,
        subset: str = "train",
        boxes: bool = False,
        source: str = "yolo",
        outside: bool = False,
    ) -> None:
        """Add classes and images.

        `data.yaml` has `names`, and per subset a folder of images, a text file that lists images,
        or a list of these, relative to its `path`. The labels of `images/a.jpg` are in
        `labels/a.txt`, with a line `class x y x y ...` per object, coordinates as shares of width
        and height. A photo with an empty file has no objects. Class ids are those of the file,
        plus 1.

        Args:
            data: `data.yaml`, or its folder.
            subset: "train", "val" or "test", the entry of the file to load.
            boxes: take lines `class x y width height` as objects that fill their box. By default
                they are left out.
            source: see `AnnotatedDataset`.
            outside: accept folders and images that lead out of the folder of `data.yaml`.

        Raises:
            FileNotFoundError: if there is no such file or folder; see `AnnotatedDataset`.
            OSError: if a file cannot be read.
            ValueError: if `data.yaml` is no YAML, has no usable `names`, no entry for the subset,
                or one that leads out of the folder, or if all objects are boxes.
        """
        data = find_yaml(data) if Path(data).is_dir() else Path(data)
        content = read_yaml(data)
        names = _names(content.get("names"), data)
        before = len(self.notes)
        photos = list(self._photos(data, content, subset, outside))
        for number, name in names.items():
            self.add_class(source, number, name)
        found, folders, counts = False, {}, {"outlines": 0, "boxes": 0, "files": 0}
        for photo in photos:
            file = self._measure(photo, photo.name)
            if file is None:
                continue
            found, path = True, label_path(photo)
            folders[path.parent] = photo.parent
            size = file["height"], file["width"]
            objects = self._objects(path, names, size, boxes, counts)
            self.add_image(source, photo.stem, objects=objects, **file)
        self._note_lonely(folders)
        if found and not counts["files"]:
            raise FileNotFoundError(
                f"{data}: no photo of {subset!r} has a label file, such as {label_path(photos[0])}."
            )
        if counts["boxes"] and not counts["outlines"]:
            raise ValueError(
                f"{data}: all objects of {subset!r} are boxes (lines of 5 numbers), and masks need "
                "outlines; load_yolo(boxes=True) takes boxes as masks."
            )
        self._finish(before, data, found)

    def _photos(self, data, content, subset, outside) -> Iterator[Path]:
        """Yield the photos of a subset."""
        entry = content.get(subset)
        entries = entry if isinstance(entry, list) else [entry]
        if not entries or not all(is_text(each) and each for each in entries):
            known = ", ".join(key for key in ("train", "val", "test") if content.get(key))
            raise ValueError(
                f"{data} has no folder or file for {subset!r}; it has {known or 'no subset'}."
            )
        root = _root(data, content.get("path"), outside)
        seen = set()
        for each in entries:
            place = _place(root, each, data, outside)
            listed = _below(place) if place.is_dir() else self._listed(place, root, outside)
            for photo in listed:
                if photo not in seen:
                    seen.add(photo)
                    yield photo

    def _listed(self, listing, root, outside):
        """Yield the photos that a text file names, one per line; note those that are missing."""
        if listing.suffix.lower() in PHOTO_SUFFIXES:
            yield listing
            return
        for line in read_bytes(listing).decode("utf-8", "replace").splitlines():
            if not (name := line.strip()):
                continue
            # Relative to the list, or to the root of the data set.
            places = (listing.parent, root)
            photo = next(filter(None, (find_image(each, name, outside) for each in places)), None)
            if photo is None:
                self.note(f"an image that is not there, listed in {listing.name}", name)
            else:
                yield photo

    def _objects(self, path, names, size, boxes, counts):
        """Return the sound lines of a label file as `(class, name, outlines)`."""
        try:
            text = read_bytes(path).decode("utf-8", "replace")
        except FileNotFoundError:
            self.note("no label file, so no objects", path.name, left_out=False)
            return []
        except (OSError, ValueError):
            self.note("a label file that cannot be read", path.name)
            return []
        counts["files"] += 1
        objects = []
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            where = f"{shown(path.name)}, line {number}"
            try:
                class_id, outline = _parse(words, names, size, boxes)
            except ValueError as error:
                counts["boxes"] += str(error) == _BOX_LINE
                self.note(str(error), where)
                continue
            counts["outlines"] += 1
            if self._check_outline(outline, *size, where, path):
                objects.append((class_id, where, [outline]))
        return objects

    def _note_lonely(self, folders):
        """Note label files without a photo; `folders` has the photos' by that of the labels."""
        for labels, photos in sorted(folders.items()):
            if labels == photos:
                continue
            stems = {path.stem for path in photos.iterdir()}
            for path in sorted(labels.glob("*.txt")):
                if path.stem not in stems:
                    self.note("a label file without a photo", path.name)


def find_yaml(folder: str | os.PathLike) -> Path:
    """Return the file with the classes in a folder: `data.yaml`, or the only YAML file.

    Raises:
        FileNotFoundError: if there is none, or several with other names.
    """
    files = sorted(path for path in Path(folder).glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    named = [path for path in files if path.stem in ("data", "dataset")] or files
    if len(named) != 1:
        raise FileNotFoundError(f"{folder} has {len(named) or 'no'} YAML files; name one.")
    return named[0]


def label_path(photo: Path) -> Path:
    """Return the label file of a photo: its last folder `images` becomes `labels`."""
    parts = list(photo.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _parse(words, names, size, boxes):
    """Return `(class, outline)` of a line; ValueError with the reason for a broken one."""
    try:
        class_id, *shares = map(float, words)
    except ValueError:
        raise ValueError("a word that is not a number") from None
    if not are_numbers([class_id, *shares]):
        raise ValueError("a coordinate that is not a number")
    if class_id not in names:
        raise ValueError("a class that is not among the names")
    if len(shares) == 4 and not boxes:
        raise ValueError(_BOX_LINE)
    if len(shares) % 2:
        raise ValueError("an odd number of coordinates")
    if not len(shares) == 4 and len(shares) < 6:
        raise ValueError("a polygon with fewer than 3 points")
    if min(shares) < -_FARTHEST or max(shares) > 1 + _FARTHEST:
        raise ValueError("coordinates far outside of 0 to 1, the shares of the image's sides")
    height, width = size
    xs, ys = [x * width for x in shares[::2]], [y * height for y in shares[1::2]]
    if len(shares) == 4:
        (x, w), (y, h) = xs, ys
        return int(class_id), box(y - h / 2, x - w / 2, y + h / 2, x + w / 2)
    return int(class_id), Polygon(ys, xs)


def _names(names, origin) -> dict[int, str]:
    """Return the classes by number; ValueError unless they are texts with different numbers."""
    named = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{origin} has no names of classes: {shown(names)}.")
    for number, name in named.items():
        if type(number) is not int or number < 0 or as_name(name) is None:
            raise ValueError(
                f"{origin}: a class has a number or a name that is none: "
                f"{shown(number)}: {shown(name)}."
            )
    texts = [as_name(named[number]) for number in sorted(named)]
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise ValueError(f"{origin} has the class {shown(twice)!r} twice.")
    return dict(zip(sorted(named), texts, strict=True))


def _root(data, path, outside):
    """Return the folder that the entries of `data.yaml` are relative to."""
    if not is_text(path) or not path:
        return data.parent
    root = Path(data.parent, path) if outside else _inside(data.parent, path)
    # Files move: an absolute path is often that of another machine.
    return root if root and root.is_dir() else data.parent


def _inside(folder, name):
    """Return a path in a folder; None for a name that leads out of it."""
    inner = name_inside(folder, name)
    return None if inner is None else Path(folder, inner)


def _place(root, name, data, outside):
    """Return the folder or file of an entry; some tools write "../train/images" for "train/images".

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it leads out of the folder.
    """
    name = name.replace("\\", "/")
    shortened = name
    while shortened.startswith(("../", "./")):
        shortened = shortened.partition("/")[2]
    candidates = [Path(root, name)] if outside else [_inside(root, name)]
    candidates.append(_inside(root, shortened))
    for candidate in filter(None, candidates):
        if candidate.is_dir() or candidate.is_file():
            return candidate
    leads_out = not outside and _inside(root, name) is None
    if leads_out and candidates[-1] is None:
        raise ValueError(
            f"{data}: the entry {shown(name)!r} leads out of its folder, which outside=True allows."
        )
    hint = "; outside=True looks beyond it" if leads_out else ""
    raise FileNotFoundError(f"{data} names {shown(name)!r}, which is not in {root}{hint}.")


def _below(folder):
    """Yield the photos in a folder and its folders, sorted."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            if (
                path.suffix.lower() in PHOTO_SUFFIXES
                and not name.startswith(".")
                and path.is_file()
            ):
                yield path
