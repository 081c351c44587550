"""Base class of datasets, which users fill with classes and images."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from mrcnn.data.checks import check_prepared, shorten
from mrcnn.data.photos import read_image
from mrcnn.data.report import DatasetReport, inspect
from mrcnn.data.saving import save_dataset
from mrcnn.data.views import Views, chosen_names

_SHOWN = 100


class Dataset:
    """Classes and images of a project.

    Subclass it: call `add_class` and `add_image` from a method of your own, override `load_mask`
    (and `load_image`, where images are not files), and call `prepare` once all is added.
    `load_boxes` and `load_keypoints` are optional.

    Attributes:
        image_info: list of one dict per image: `id`, `source`, `path` and the `kwargs` of
            `add_image`.
        class_info: list of one dict per class: `id`, `source` and `name`, the background first.
        image_ids: int array, the indices into `image_info`. All methods take these, not the ids
            of the source.
        num_images, num_classes: counts, the background included. `prepare` sets these and the
            following ones.
        class_ids: int array, the indices into `class_info`, used by masks and detections.
        class_names: list of str, in the order of `class_ids`.
        class_from_source_map, image_from_source_map: dict from `"source.id"` to our id.
        sources: list of the sources of classes, the background's `""` among them.
        source_class_ids: dict from source to a list of its class ids, the background's 0 included.
    """

    # Ids of the images of a part, see `split`; None for all images.
    _part = None

    def __init__(self, class_map=None):
        self._image_ids = np.arange(0)
        self.image_info = []
        self.class_info = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids = {}

    @property
    def image_ids(self) -> np.ndarray:
        """Int array of the ids of all images; empty before `prepare`."""
        return self._image_ids

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        """Add a class by its id in its source, unless that id was added before.

        Raises:
            ValueError: for a `source` with a dot, which separates source and id in the maps.
        """
        if "." in source:
            raise ValueError(f"source is {source!r}; the name of a source must not contain a dot.")
        key = (source, class_id)
        try:
            known = self._known_classes()
            if key in known:
                return
            known.add(key)
        # Some programs have lists as ids.
        except TypeError:
            if any((info["source"], info["id"]) == key for info in self.class_info):
                return
        self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def _known_classes(self):
        """Return the set of `(source, id)` of all classes."""
        known = self.__dict__.setdefault("_class_keys", set())
        # Programs may change class_info themselves.
        if len(known) != len(self.class_info):
            known.clear()
            known.update((info["source"], info["id"]) for info in self.class_info)
        return known

    def add_image(self, source: str, image_id: Any, path: str | None, **kwargs: Any) -> None:
        """Add an image by its id in its source.

        `image_info` keeps `kwargs` (annotations, sizes) for `load_mask`. `path` may be None if
        `load_image` is overridden.
        """
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """Return a link or text by which people recognise the image in messages; "" by default."""
        return ""

    def prepare(self, class_map=None) -> None:
        """Number all classes and images. Call it again after adding more.

        `class_map` has no effect, as in the original.
        """
        self.num_classes, self.num_images = len(self.class_info), len(self.image_info)
        self.class_ids = np.arange(self.num_classes)
        self._image_ids = np.arange(self.num_images)
        # Some sources list synonyms ("person, individual"). Pictures have room for the first only.
        self.class_names = [info["name"].split(",")[0] for info in self.class_info]

        self.class_from_source_map = _by_source(self.class_info, self.class_ids)
        self.image_from_source_map = _by_source(self.image_info, self.image_ids)
        if self._part is not None:
            self._image_ids, self.num_images = self._part, len(self._part)

        self.sources = list(dict.fromkeys(info["source"] for info in self.class_info))
        # All share the background.
        self.source_class_ids = {source: [0] for source in self.sources}
        for class_id, info in enumerate(self.class_info[1:], start=1):
            self.source_class_ids[info["source"]].append(class_id)

    def split(
        self,
        fraction: float = 0.2,
        seed: int = 0,
        group: Callable[[dict], Hashable] | None = None,
        by: str | Callable[[dict], Hashable] | None = None,
    ) -> tuple[Dataset, Dataset]:
        """Return two prepared datasets with the images of this one, for training and validation.

        Both share their classes and `image_info` with this dataset, and their image ids are its
        ids. The same seed gives the same parts.

        Args:
            fraction: share of the images for validation, between 0 and 1.
            seed: of the random choice.
            group: the old name of `by`.
            by: function from an entry of `image_info` to a value, or a key of these entries, such
                as "patient"; images with one value stay together. None to choose images one by one.

        Raises:
            ValueError: before `prepare`, if fraction is not between 0 and 1, if there are fewer
                than two images or groups, if an image has no entry `by`, or if `group` is given,
                too.
        """
        if group is not None and by is not None:
            raise ValueError("split() takes one way to group images; give by or group, not both.")
        group = _grouping(by if group is None else group)
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}; it must be between 0 and 1.")
        groups = {}
        for image_id in self.image_ids.tolist():
            key = group(self.image_info[image_id]) if group else image_id
            groups.setdefault(key, []).append(image_id)
        if len(groups) < 2:
            raise ValueError(
                f"split() found {len(groups)} images or groups, and needs two; call prepare() "
                "before it."
            )
        order = np.random.default_rng(seed).permutation(len(groups))
        *others, last = (list(groups.values())[index] for index in order)
        # The last group is always for training, and the first one for validation.
        ids = {"train": last, "val": []}
        wanted = fraction * len(self.image_ids)
        for members in others:
            is_val = not ids["val"] or len(ids["val"]) + len(members) / 2 <= wanted
            ids["val" if is_val else "train"] += members
        return self._with_images(ids["train"]), self._with_images(ids["val"])

    def subset(self, class_names: Sequence[str], keep_empty: bool = False) -> Dataset:
        """Return a prepared dataset of some classes, numbered from 1 in the given order.

        Objects of other classes are left out. It shares the images with this dataset.

        Args:
            class_names: of this dataset.
            keep_empty: keep photos without an object of these classes.

        Raises:
            ValueError: before `prepare`, for no name, an unknown one, or one given twice.
        """
        check_prepared(self)
        names = chosen_names(self, class_names)
        part = CombinedDataset([self], names)
        if keep_empty:
            return part
        return part._with_images([each for each in part.image_ids if len(part._classes_of(each))])

    def save(self, format: str, folder: str | os.PathLike, copy_images: bool = True) -> None:
        """Write photos and annotations as a new folder that `open_folder` reads.

        Masks that are read back are equal. Objects without a pixel are left out; crowds, too,
        unless the format is "coco". Images that cannot be read are left out, with a warning.

        Args:
            format: "coco" (`annotations.json` and `images/`), "labelme" (a JSON file beside each
                photo), "yolo" (`data.yaml`, `images/` and `labels/`) or "masks"
                (`<id>/images/<id>.png` and `<id>/masks/*.png`, of one class).
            folder: a new or empty folder.
            copy_images: copy the photos; False makes symbolic links to them. Photos that
                `load_image` makes or changes are written as PNG files.

        Raises:
            FileExistsError: if the folder holds anything.
            OSError: if it cannot be written.
            ValueError: for another format, no images, or several classes with "masks".
        """
        save_dataset(self, format, folder, copy_images)

    def _classes_of(self, image_id):
        """Return the class ids of the objects of an image; readers know them without the masks."""
        return self.load_mask(image_id)[1]

    def _with_images(self, image_ids):
        part = copy.copy(self)
        part._part = np.array(sorted(image_ids))
        part.prepare()
        return part

    def map_source_class_id(self, source_class_id: str) -> int:
        """Return our id of a class given as `"source.id"`, for example `"coco.12"`.

        Raises:
            KeyError: if there is no such class.
        """
        try:
            return self.class_from_source_map[source_class_id]
        except KeyError:
            known = shorten(list(self.class_from_source_map), _SHOWN)
            raise KeyError(
                f"class {source_class_id!r} was never added; there are {known}."
            ) from None

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """Return the id of our class in `source`; ValueError if it is from another source."""
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(
                f"class {class_id} ({info['name']}) is from source {info['source']!r}, "
                f"not from {source!r}."
            )
        return info["id"]

    def source_image_link(self, image_id: int) -> str:
        """Return the path of the image; override it to return a web address."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """Read an image file.

        Returns:
            `[height, width, 3]` uint8, RGB, see `mrcnn.data.photos.read_image`. Its `size` is the
            `height` and `width` that were given to `add_image`.

        Raises:
            FileNotFoundError, OSError, ValueError: see `read_image`; the message names the image.
        """
        info = self.image_info[image_id]
        if info["path"] is None:
            raise ValueError(
                f"image {image_id} has no path; give add_image() one, or override load_image()."
            )
        try:
            return read_image(info["path"], (info.get("height"), info.get("width")))
        except (OSError, ValueError) as error:
            kinds = FileNotFoundError, OSError, ValueError
            kind = next(kind for kind in kinds if isinstance(error, kind))
            raise kind(f"image {image_id}: {error}") from error

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Load the objects of an image. Override it: this one warns, and returns no objects.

        Returns:
            masks: `[height, width, instances]` bool, of the image's height and width.
            class_ids: `[instances]` int32, our ids (see `map_source_class_id`); a negative id marks
                a crowd, one mask over many objects, which is left out of training.
        """
        warnings.warn(
            f"{type(self).__name__} does not override load_mask(), so its images have no objects.",
            stacklevel=2,
        )
        return np.empty([0, 0, 0]), np.empty([0], np.int32)

    def load_boxes(self, image_id: int) -> np.ndarray | None:
        """Load the annotated boxes of an image. Optional: by default, boxes are those of the masks.

        Training with an augmentation uses the boxes of the transformed masks in any case.

        Returns:
            `[instances, (y1, x1, y2, x2)]` in pixels of the photo, y2 and x2 exclusive, fractions
            allowed, in the order of `load_mask`; or None.
        """
        return None

    def load_keypoints(self, image_id: int) -> np.ndarray | None:
        """Load the keypoints of an image. Optional: by default there are none.

        Returns:
            `[instances, keypoints, (y, x, visibility)]` in the order of `load_mask`; or None. y and
            x are in pixels from the upper left corner of the photo; the visibility is 0 for
            unlabelled, 1 for hidden and 2 for visible points.
        """
        return None

    def validate(
        self, image_ids: Iterable[int] | None = None, *, tiny: int = 16, verbose: int = 1
    ) -> DatasetReport:
        """Load every image and its masks, and print statistics and problems.

        Do this once before training: it finds errors that otherwise end an epoch in its middle.

        Args:
            image_ids: ids of the images to load; None for all.
            tiny: list instances of fewer pixels than this.
            verbose: 0 to print nothing.

        Returns:
            `DatasetReport`: the numbers, and the lists in full, of which the beginning is printed.

        Raises:
            ValueError: before `prepare`.
        """
        return inspect(self, image_ids, tiny, verbose)


class CombinedDataset(Views, Dataset):
    """Images of other datasets, with chosen classes; see `Dataset.subset` and `merge`."""

    def __init__(self, datasets, class_names):
        """Take prepared datasets, and the names of the classes in their order."""
        super().__init__()
        self._origins, self._new_ids, self._labelled = [], {}, {}
        numbers = {name: number for number, name in enumerate(class_names, start=1)}
        first = {}
        for dataset in datasets:
            infos = dataset.class_info[1:]
            self._new_ids[dataset] = np.array([0] + [numbers.get(i["name"], 0) for i in infos])
            for info in infos:
                first.setdefault(info["name"], info)
            for image_id in dataset.image_ids.tolist():
                self._origins.append((dataset, image_id))
                self.image_info.append(dataset.image_info[image_id])
        self.class_info += [dict(first[name]) for name in class_names]
        self.prepare()


def _grouping(by):
    """Return the function from an entry of `image_info` to its group; None for none."""
    if not isinstance(by, str):
        return by

    def value(info):
        if by not in info:
            raise ValueError(f"Image {info['id']!r} has no entry {by!r} in image_info to split by.")
        return info[by]

    return value


def _by_source(infos, ids):
    """Return our ids by `"source.id"`."""
    names = (f"{info['source']}.{info['id']}" for info in infos)
    return dict(zip(names, ids, strict=True))
