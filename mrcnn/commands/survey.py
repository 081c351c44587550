"""The sizes and numbers of the objects of a data set, by which settings are chosen."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from mrcnn.ops.masks import extract_bboxes

# More images say the same and take minutes.
_MOST_IMAGES = 300
_PATIENCE = 2.0


@dataclass
class Survey:
    """Sizes and numbers of objects.

    Attributes:
        images: number of images in the data set.
        looked_at: number of those that were read.
        objects: `[looked_at]`, number of objects in each image.
        shares: `[n]` float64, root of each object's box area over the longer side of its photo.
        longest: `[looked_at]`, longer sides of the photos in pixels, 0 where there is no object.
    """

    images: int
    looked_at: int
    objects: np.ndarray
    shares: np.ndarray
    longest: np.ndarray

    @property
    def total(self):
        """Number of objects in the whole data set, from the mean if not all were read."""
        return round(float(self.objects.mean()) * self.images) if self.looked_at else 0

    def count_text(self):
        """Return the number of objects for people."""
        return f"{'' if self.looked_at == self.images else 'about '}{self.total}"


def survey(dataset, most=_MOST_IMAGES):
    """Read the masks of a data set, or of `most` images at equal distances.

    Images that cannot be read are left out here; training names them.
    """
    ids = list(dataset.image_ids)
    chosen = ids if len(ids) <= most else [ids[i * len(ids) // most] for i in range(most)]
    objects, shares, longest = [], [], []
    bar = tqdm(chosen, "Looking at objects", unit="image", delay=_PATIENCE, leave=False)
    for image_id in bar:
        # A user's load_mask may raise anything.
        try:
            masks, class_ids = dataset.load_mask(image_id)
            boxes = extract_bboxes(masks)[np.asarray(class_ids) > 0].astype(np.float64)
        except Exception:
            continue
        side = max(masks.shape[:2]) if len(boxes) else 0
        objects.append(len(boxes))
        longest.append(side)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        shares.extend(np.sqrt(areas[areas > 0]) / max(side, 1))
    return Survey(
        len(ids), len(objects), np.array(objects), np.array(shares), np.array(longest, int)
    )
