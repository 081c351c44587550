"""Open an annotated folder whatever its format, with a training and a validation part."""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path
from typing import NamedTuple

from mrcnn.data.dataset import Dataset
from mrcnn.files import replacing
from mrcnn.readers.folders import SUBSETS, has_photos, subset_of, visible
from mrcnn.readers.layouts import Part, find_one, find_subsets, missing
from mrcnn.writers.yolo import yolo_yaml

_FRACTION = 0.2
# Folders below the given one that are searched for photos, to say what is missing.
_MOST_FOLDERS = 1000
_ARCHIVES = {".zip", ".tar", ".gz", ".xz", ".tgz", ".bz2", ".7z", ".rar"}
_LOOKED_FOR = (
    "data.yaml (YOLO), COCO JSON (annotations/instances_*.json, _annotations.coco.json, or one "
    "file), JSON of VIA, LabelMe or Label Studio, CVAT's annotations.xml, Pascal VOC's "
    "SegmentationObject/, folders <id>/images with <id>/masks, and label images (images/ with "
    "labels/ or masks/), each for all photos or in train/ and val/"
)


class Found(NamedTuple):
    """A data set, ready to train.

    Attributes:
        train: prepared Dataset.
        val: prepared Dataset with the same class ids; None for a single subset or image.
        format: name of the format, such as "COCO JSON".
        notes: list of sentences on what was assumed.
    """

    train: Dataset
    val: Dataset | None
    format: str
    notes: list[str]

    def save(self, format: str, folder: str | os.PathLike, copy_images: bool = True) -> None:
        """Write both parts to `train` and `val` in a folder, see `Dataset.save`.

        With "yolo", one `data.yaml` names both, as Ultralytics' programs want it.
        """
        parts = {"train": self.train, "val": self.val}
        parts = {name: part for name, part in parts.items() if part is not None}
        for name, part in parts.items():
            part.save(format, Path(folder, name), copy_images)
        if format == "yolo":
            names = [info["name"] for info in self.train.class_info[1:]]
            places = {name: f"{name}/images" for name in parts}
            with replacing(Path(folder, "data.yaml")) as temporary:
                temporary.write_text(yolo_yaml(names, **places), encoding="utf-8")


def open_folder(
    path: str | os.PathLike,
    subset: str | None = None,
    seed: int = 0,
    fraction: float = _FRACTION,
) -> Found:
    """Read an annotated folder, finding out its format, its classes and a validation part.

    The parts are folders or files whose names say "train", "val" (or "valid") and "test". Without
    a validation part, the test part is one; without either, some of the images are set aside.

    Args:
        path: of the folder.
        subset: "train", "val" or "test" for this part alone, as `train` of the result.
        seed: of the random choice of images for validation.
        fraction: share of the images to set aside where there is no validation part, 0 for none.

    Raises:
        FileNotFoundError: if there is no such folder, or no usable image in it.
        ValueError: for another `subset`, if the format is unknown or ambiguous, or if the parts
            differ in it. See the reader of the format for more.
    """
    if subset not in (None, *SUBSETS):
        raise ValueError(f"subset is {subset!r}; choose 'train', 'val' or 'test'.")
    folder = Path(path)
    if not folder.is_dir():
        kind = "is a file; give the folder that holds it" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"The data set {path} {kind}.")
    parts, notes = _parts(folder, [])
    if subset != "test" and {"train", "val", "test"} <= set(parts):
        del parts["test"]
        notes.append(f"The test part of {folder} is not used.")
    used = next(iter(parts.values()))
    notes += dict.fromkeys(note for part in parts.values() for note in part.notes)
    datasets = _read(parts)
    if subset is None:
        train, val = _train_and_val(datasets, folder, seed, notes, fraction)
    else:
        train, val = _only(datasets, subset, folder, seed, notes, fraction), None
    return Found(train, val, used.format, notes)


def _parts(folder, notes):
    """Return the parts of a data set by subset ("" for an undivided one), and notes."""
    found = find_subsets(folder)
    if not found and (parts := _in_folders(folder, notes)):
        found = [parts]
    if not found:
        found = [{"": part} for part in find_one(folder, {})]
    if len(found) > 1:
        kinds = " and ".join(sorted(next(iter(parts.values())).format for parts in found))
        raise ValueError(
            f"{folder} has annotations in several formats, {kinds}; keep one, or read one with the "
            "classes of mrcnn.datasets."
        )
    if found:
        return found[0], notes
    folders = list(visible(folder))
    # As archives unpack: all in one folder.
    if len(folders) == 1 and not has_photos(folder) and not missing(folder):
        return _parts(folders[0], notes)
    if not _has_photos_below(folder):
        archive = next(visible(folder, _ARCHIVES), None)
        hint = f"; unpack {archive.name} first" if archive else ""
        raise FileNotFoundError(f"The data set {folder} has no images{hint}.")
    if problem := missing(folder):
        raise ValueError(problem)
    raise ValueError(
        f"{folder} has images, but no annotations in a known layout; looked for {_LOOKED_FOR}."
    )


def _in_folders(folder, notes):
    """Return the parts in folders such as train/ and val/, by subset; add notes on others."""
    parts, hints, unused = {}, {}, []
    for each in sorted(visible(folder), key=lambda path: (subset_of(path.name) != "train", path)):
        subset = subset_of(each.name)
        if subset is None:
            continue
        found = find_one(each, hints)
        if len(found) > 1:
            raise ValueError(
                f"{each} has annotations in several formats, "
                f"{' and '.join(part.format for part in found)}; keep one."
            )
        if not found and subset != "test" and _has_photos_below(each):
            unused.append(f"{each} has no annotations in a known layout, and is not used.")
        if found and subset in parts:
            raise ValueError(
                f"{folder} has two folders for {subset!r}, {parts[subset].where} and {each}; "
                "keep one."
            )
        if found:
            parts[subset] = found[0]
    kinds = sorted({part.format for part in parts.values()})
    if len(kinds) > 1:
        raise ValueError(f"The parts of {folder} differ in format: {', '.join(kinds)}.")
    notes += unused if parts else []
    return parts


def _has_photos_below(folder):
    below = itertools.islice(os.walk(folder), _MOST_FOLDERS)
    return any(has_photos(Path(each)) for each, _, _ in below)


def _read(parts: dict[str, Part]) -> dict[str, Dataset]:
    """Return a prepared dataset per part, all with the same classes in the same order."""
    datasets = {name: _load(part) for name, part in parts.items()}
    listings = [dataset.class_info for dataset in datasets.values()]
    if all(listing == listings[0] for listing in listings):
        return datasets
    classes = _union(parts, datasets)
    with warnings.catch_warnings():
        # The first reading has warned.
        warnings.simplefilter("ignore")
        return {name: _load(part, classes) for name, part in parts.items()}


def _union(parts, datasets):
    """Return `(source, id, name)` of the classes of all parts."""
    infos = [(name, info) for name, d in datasets.items() for info in d.class_info[1:]]
    source = infos[0][1]["source"]
    if not parts[infos[0][0]].numbered:
        names = sorted({info["name"] for _, info in infos})
        return [(source, number, name) for number, name in enumerate(names, start=1)]
    names = {}
    for part, info in infos:
        known = names.setdefault(info["id"], info["name"])
        if known != info["name"]:
            raise ValueError(
                f"{parts[part].where} names class {info['id']} {info['name']!r}, another part of "
                f"the data set names it {known!r}; give all parts the same classes."
            )
    # Texts come after numbers.
    ordered = sorted(names, key=lambda each: (isinstance(each, str), each))
    return [(source, number, names[number]) for number in ordered]


def _load(part, classes=()):
    dataset = part.make()
    for each in classes:
        dataset.add_class(*each)
    part.read(dataset)
    dataset.prepare()
    return dataset


def _train_and_val(datasets, folder, seed, notes, fraction):
    """Return the two datasets; validation is None for a single image."""
    first = next(name for name in ("train", "", "val", "test") if name in datasets)
    train = datasets[first]
    for name in ("val", "test"):
        if name in datasets and name != first:
            val = datasets[name]
            if name == "test":
                notes.append(f"Validation uses the test part of {folder}.")
            return train, val
    if first in ("val", "test"):
        notes.append(f"{folder} has only a part for {first!r}; training uses it.")
    return _set_aside(train, folder, seed, notes, fraction)


def _set_aside(dataset, folder, seed, notes, fraction):
    if not fraction:
        return dataset, None
    if dataset.num_images < 2:
        notes.append(f"{folder} has a single image, so nothing is set aside for validation.")
        return dataset, None
    train, val = dataset.split(fraction, seed=seed)
    notes.append(
        f"{folder} has no validation part; {val.num_images} of its {dataset.num_images} images, "
        f"chosen at random (seed {seed}), are set aside for validation."
    )
    return train, val


def _only(datasets, subset, folder, seed, notes, fraction):
    """Return the dataset of one subset."""
    if subset in datasets:
        return datasets[subset]
    if subset == "test":
        raise ValueError(
            f"{folder} has no test part; it has {', '.join(filter(None, datasets)) or 'no parts'}."
        )
    train, val = _train_and_val(datasets, folder, seed, notes, fraction)
    if subset == "val" and val is None:
        raise ValueError(f"{folder} has no validation part, and a single image.")
    return train if subset == "train" else val
