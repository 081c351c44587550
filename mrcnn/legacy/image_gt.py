"""The original's `load_image_gt`: a sample as five arrays."""

import warnings

from mrcnn.data.sample import load_sample


def load_image_gt(
    dataset, config, image_id, augment=False, augmentation=None, use_mini_mask=False, *, rng=None
):
    """Return image, image_meta, class_ids, bbox and mask of an image, see `Sample`.

    Args:
        augment: deprecated, use `augmentation`. Flips half of the images left to right.
        use_mini_mask: pass `config.USE_MINI_MASK` for the masks of training; all others see
            `load_sample`.
    """
    if augment:
        warnings.warn("augment is deprecated; use augmentation.", FutureWarning, stacklevel=2)
    options = {"augmentation": augmentation, "flip_half": augment, "use_mini_mask": use_mini_mask}
    return load_sample(dataset, config, image_id, rng=rng, **options)[:5]
