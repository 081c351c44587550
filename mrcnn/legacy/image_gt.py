"""The original's `load_image_gt`: a sample as five arrays."""

import warnings
from typing import Any

import numpy as np

from mrcnn.data.sample import load_sample


def load_image_gt(
    dataset: Any,
    config: Any,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
    *,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return image, image_meta, class_ids, bbox and mask of `load_sample`, which has the details.

    `augment` is deprecated, use `augmentation`; it flips half of the images left to right. Pass
    `config.USE_MINI_MASK` as `use_mini_mask` for the masks that training takes.
    """
    if augment:
        warnings.warn("augment is deprecated; use augmentation.", FutureWarning, stacklevel=2)
    options = {"augmentation": augmentation, "flip_half": augment, "use_mini_mask": use_mini_mask}
    return load_sample(dataset, config, image_id, rng=rng, **options)[:5]
