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
    """Load an image and its ground truth, resized as the configuration says.

    Args:
        augment: deprecated, use `augmentation`. Flips half of the images left to right.
        dataset, config, image_id, augmentation, use_mini_mask, rng: see `load_sample`. Pass
            `config.USE_MINI_MASK` for the masks that training takes.

    Returns:
        The first five entries of `Sample`: image, image_meta, class_ids, bbox and mask.

    Raises:
        ValueError: see `load_sample`.
    """
    if augment:
        warnings.warn("augment is deprecated; use augmentation.", FutureWarning, stacklevel=2)
    sample = load_sample(
        dataset,
        config,
        image_id,
        augmentation=augmentation,
        flip_half=augment,
        use_mini_mask=use_mini_mask,
        rng=rng,
    )
    return sample[:5]
