"""Images of other datasets under one numbering of the classes, for subsets and unions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Views:
    """Methods of a dataset whose images are those of other datasets; see `CombinedDataset`.

    `_origins` has `(dataset, its image id)` per image, and `_new_ids` an int array per dataset from
    its class ids to ours, 0 for classes that are left out.
    """

    @property
    def notes(self) -> list:
        """Notes of the readers of all datasets, each once."""
        each = (getattr(dataset, "notes", []) for dataset in self._new_ids)
        return list(dict.fromkeys(note for notes in each for note in notes))

    def prepare(self, class_map=None) -> None:
        """See `Dataset.prepare`. The sources of images keep their own classes active."""
        super().prepare(class_map)
        for dataset, new_ids in self._new_ids.items():
            for key, class_id in dataset.class_from_source_map.items():
                if new_ids[class_id]:
                    self.class_from_source_map.setdefault(key, int(new_ids[class_id]))
            # An image's source says which classes it labels.
            for source, class_ids in dataset.source_class_ids.items():
                ids = {int(new_ids[class_id]) for class_id in class_ids}
                known = self._labelled.setdefault(source, {0})
                known |= ids
        self.source_class_ids |= {source: sorted(ids) for source, ids in self._labelled.items()}
        self.sources = list(self.source_class_ids)

    def load_image(self, image_id: int) -> np.ndarray:
        dataset, own_id = self._origins[image_id]
        return dataset.load_image(own_id)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        masks, class_ids = self._of(image_id, "load_mask")
        keep, class_ids = self._renumber(image_id, class_ids)
        return (masks if keep.all() else masks[..., keep]), class_ids

    def load_boxes(self, image_id: int) -> np.ndarray | None:
        return self._rows(image_id, "load_boxes")

    def load_keypoints(self, image_id: int) -> np.ndarray | None:
        return self._rows(image_id, "load_keypoints")

    def image_reference(self, image_id: int) -> str:
        return self._of(image_id, "image_reference")

    def source_image_link(self, image_id: int) -> str:
        return self._of(image_id, "source_image_link")

    def _of(self, image_id, method):
        dataset, own_id = self._origins[image_id]
        return getattr(dataset, method)(own_id)

    def _rows(self, image_id, method):
        """Return the rows of objects that are kept; None without any of this kind."""
        rows = self._of(image_id, method)
        if rows is None:
            return None
        dataset, _ = self._origins[image_id]
        if np.count_nonzero(self._new_ids[dataset]) == dataset.num_classes - 1:
            return rows
        return rows[self._renumber(image_id, self._of(image_id, "load_mask")[1])[0]]

    def _renumber(self, image_id, class_ids):
        """Return True for the objects that are kept, and their class ids here."""
        dataset, _ = self._origins[image_id]
        class_ids = np.asarray(class_ids, np.int32)
        # Crowds have negative ids.
        new_ids = np.sign(class_ids) * self._new_ids[dataset][np.abs(class_ids)]
        keep = new_ids != 0
        return keep, new_ids[keep].astype(np.int32)

    def _classes_of(self, image_id):
        return self._renumber(image_id, self._of(image_id, "_classes_of"))[1]


def chosen_names(dataset: Any, class_names: Sequence[str]) -> list[str]:
    """Return names of classes of a prepared dataset as a list.

    Raises:
        ValueError: for no name, an unknown one, or one given twice.
    """
    names = [class_names] if isinstance(class_names, str) else list(class_names)
    known = [info["name"] for info in dataset.class_info[1:]]
    unknown = [name for name in names if name not in known]
    if not names or unknown:
        what = f"no class {unknown[0]!r}" if unknown else "to be given a name"
        raise ValueError(f"The dataset has {what}; its classes are {', '.join(known)}.")
    if len(set(names)) < len(names):
        raise ValueError(f"class_names has a name twice: {', '.join(names)}.")
    return names
