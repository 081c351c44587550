"""Classes compared by their names, not by their numbers."""

import numpy as np

from mrcnn.data.checks import shorten, shown
from mrcnn.data.dataset import Dataset

_SHOWN = 10


def with_classes(dataset, class_names, where):
    """Return a data set with the class ids of a list of names.

    Args:
        dataset: prepared; its names must be among `class_names`, in any order.
        class_names: the background first.
        where: of the data set, for the message.

    Returns:
        The data set itself, if its names are the list.

    Raises:
        ValueError: lists the names that are not among `class_names`.
    """
    if list(dataset.class_names) == list(class_names):
        return dataset
    unknown = [name for name in dataset.class_names if name not in class_names]
    if unknown:
        raise ValueError(
            f"{where} has classes that the others do not know: {listed(unknown)}; known are "
            f"{listed(class_names[1:])}."
        )
    return _Renumbered(dataset, class_names)


def rename(dataset, names, where):
    """Give the classes of a prepared data set other names, in their order.

    Args:
        dataset: prepared; changed.
        names: without the background; None to do nothing.
        where: of the data set, for the message.

    Raises:
        ValueError: if there are more or fewer classes, or a name comes twice.
    """
    if names is None or dataset is None:
        return
    known = dataset.class_names[1:]
    if len(names) != len(known) or len(set(names)) != len(names):
        raise ValueError(
            f"--classes names {listed(names)}; {where} has {len(known)} classes, {listed(known)}, "
            "and needs as many different names."
        )
    infos = zip(dataset.class_info[1:], names, strict=True)
    # Other parts of the data set may share the old dicts.
    dataset.class_info = [dataset.class_info[0], *({**info, "name": name} for info, name in infos)]
    dataset.prepare()


def listed(names, most=_SHOWN):
    """Return the first names of a list as text that can be printed anywhere."""
    return shorten(list(map(shown, names)), most)


class _Renumbered(Dataset):
    """The images of another data set with other class ids."""

    def __init__(self, dataset, class_names):
        super().__init__()
        infos = {info["name"].split(",")[0]: info for info in dataset.class_info}
        source = next((info["source"] for info in dataset.image_info), "data")
        for class_id, name in enumerate(class_names[1:], start=1):
            # A class that only the other data set has is of the source of the images.
            info = infos.get(name, {"source": source, "id": f"{class_id} {name}", "name": name})
            self.class_info.append(info)
        self._ids = np.array([list(class_names).index(name) for name in dataset.class_names])
        self._dataset, self.image_info = dataset, dataset.image_info
        self._part = dataset.image_ids
        self.prepare()
        for name in ("load_image", "load_boxes", "load_keypoints", "image_reference"):
            setattr(self, name, getattr(dataset, name))

    def load_mask(self, image_id):
        masks, class_ids = self._dataset.load_mask(image_id)
        class_ids = np.asarray(class_ids, np.int32)
        # Crowds are negative.
        ids = np.sign(class_ids) * self._ids[np.abs(class_ids)]
        return masks, ids.astype(np.int32)
