"""One image with its objects, at the size that the network takes."""

from __future__ import annotations

import random
import threading
import warnings
from contextlib import contextmanager
from typing import Any

import numpy as np

from mrcnn.data.augment import augment_sample
from mrcnn.data.dataset import describe_image
from mrcnn.ops.images import resize_image
from mrcnn.ops.masks import extract_bboxes, minimize_mask, resize_mask
from mrcnn.ops.meta import compose_image_meta

# Worker threads share the state of Python's `random`.
_PYTHON_RANDOM = threading.Lock()


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

    Arguments:
        dataset: a prepared `Dataset`.
        config: read are the IMAGE_ words, NUM_CLASSES and MINI_MASK_SHAPE.
        image_id: one of `dataset.image_ids`.
        augment: deprecated, use `augmentation`. Flips half of the images left to right.
        augmentation: an imgaug augmenter, Keras preprocessing layers, or None; see
            `augment_sample`. It works on the resized image; where it changes the size, the result
            is resized again.
        use_mini_mask: return masks cut to their boxes, resized to MINI_MASK_SHAPE. Pass
            `config.USE_MINI_MASK` for what training takes.
        rng: decides on all random numbers; by default they come from Python's `random` (`augment`
            and resize mode "crop") and from the augmentation.

    Returns:
        image: `[height, width, channels]`, in the type that `load_image` gave, usually uint8.
        image_meta: `[12 + NUM_CLASSES]` float64, see `compose_image_meta`.
        class_ids: `[instances]` int32, negative for crowds.
        bbox: `[instances, (y1, x1, y2, x2)]` int32 in pixels, the boxes of the masks.
        mask: `[height, width, instances]` bool, or `[mini_height, mini_width, instances]`.
        Instances without a pixel left in the image are not among them.

    Raises:
        ValueError: if the image and its masks do not fit together, or not the configuration; the
            message names the image.
    """
    image = dataset.load_image(image_id)
    mask, class_ids = dataset.load_mask(image_id)
    mask, class_ids = check_sample(dataset, config, image_id, image, mask, class_ids)
    original_shape = image.shape
    image, mask, window, scale = _resize(image, mask, config, rng)

    if augment:
        warnings.warn("augment is deprecated; use augmentation.", FutureWarning, stacklevel=2)
        if random.randint(0, 1) if rng is None else rng.integers(2):
            image, mask = image[:, ::-1], mask[:, ::-1]
    if augmentation:
        shape = image.shape
        image, mask = augment_sample(image, mask, augmentation, rng)
        if image.shape != shape:
            image, mask, window, rescale = _resize(image, mask, config, rng)
            scale = scale * rescale

    bbox = extract_bboxes(mask)
    visible = bbox[:, 2] > 0
    if not visible.all():
        mask, class_ids, bbox = mask[..., visible], class_ids[visible], bbox[visible]
    if use_mini_mask:
        mask = minimize_mask(bbox, mask, tuple(config.MINI_MASK_SHAPE))
    active = active_class_ids(dataset, image_id)
    meta = compose_image_meta(image_id, original_shape, image.shape, window, scale, active)
    return image, meta, class_ids, bbox, mask


def active_class_ids(dataset: Any, image_id: int) -> np.ndarray:
    """`[num_classes]` int32: 1 for the background and the classes that the image's source has.

    Datasets may mix sources; an image says nothing about classes that its source does not label.
    """
    source = dataset.image_info[image_id]["source"]
    if source not in dataset.source_class_ids:
        raise ValueError(
            f"{describe_image(dataset, image_id)} is from source {source!r}, which has no classes; "
            f"classes were added for {', '.join(map(repr, filter(None, dataset.sources)))}."
        )
    active = np.zeros(dataset.num_classes, np.int32)
    active[dataset.source_class_ids[source]] = 1
    return active


def _resize(image, mask, config, rng):
    """Image, masks, window and scale after the resizing that the configuration asks for."""
    mode = config.IMAGE_RESIZE_MODE
    with _python_random(rng if mode == "crop" else None):
        image, window, scale, padding, crop = resize_image(
            image,
            min_dim=config.IMAGE_MIN_DIM,
            max_dim=config.IMAGE_MAX_DIM,
            min_scale=config.IMAGE_MIN_SCALE,
            mode=mode,
        )
    # An image of the right size leaves nothing to do, not even a copy.
    if scale != 1 or crop is not None or np.any(padding):
        mask = resize_mask(mask, scale, padding, crop)
    return image, mask, window, scale


@contextmanager
def _python_random(rng):
    """Let `rng`, if there is one, decide what Python's `random` gives, which places crops."""
    if rng is None:
        yield
        return
    with _PYTHON_RANDOM:
        state = random.getstate()
        random.seed(int(rng.integers(2**63)))
        try:
            yield
        finally:
            random.setstate(state)


def check_classes(dataset: Any, config: Any) -> None:
    """ValueError unless dataset and configuration have the same number of classes."""
    if not hasattr(dataset, "num_classes"):
        raise ValueError("the dataset is not ready: call its prepare() after adding images.")
    if dataset.num_classes != config.NUM_CLASSES:
        raise ValueError(
            f"config.NUM_CLASSES is {config.NUM_CLASSES}, but the dataset has "
            f"{dataset.num_classes} classes, the background counted: "
            f"{', '.join(dataset.class_names)}."
        )


def check_sample(dataset, config, image_id, image, mask, class_ids):
    """Masks as bool and class ids as int32, after one sentence on anything that does not fit."""
    check_classes(dataset, config)

    def refuse(problem):
        raise ValueError(f"{describe_image(dataset, image_id)}: {problem}")

    channels = config.IMAGE_CHANNEL_COUNT
    if image.ndim != 3 or image.shape[2] != channels:
        refuse(
            f"load_image() gave the shape {image.shape}; expected is [height, width, {channels}], "
            "with config.IMAGE_CHANNEL_COUNT channels."
        )
    mask, class_ids = np.asarray(mask), np.asarray(class_ids)
    if class_ids.ndim != 1 or mask.ndim != 3:
        refuse(
            f"load_mask() gave masks of shape {mask.shape} and class ids of shape "
            f"{class_ids.shape}; expected are [height, width, instances] and [instances]."
        )
    if mask.shape[2] != len(class_ids):
        refuse(f"load_mask() gave {mask.shape[2]} masks and {len(class_ids)} class ids.")
    if len(class_ids) == 0:
        # The default load_mask() does not know the size of the image.
        return np.zeros((*image.shape[:2], 0), bool), class_ids.astype(np.int32)
    if mask.shape[:2] != image.shape[:2]:
        refuse(
            f"the masks have {mask.shape[0]}x{mask.shape[1]} pixels (height x width), "
            f"the image has {image.shape[0]}x{image.shape[1]}."
        )
    known = (np.abs(class_ids) < config.NUM_CLASSES) & (class_ids != 0)
    if not known.all():
        refuse(
            f"class id {class_ids[~known][0]} is not one of 1..{config.NUM_CLASSES - 1} (0 is the "
            "background; negative ids mark crowds)."
        )
    return mask.astype(bool, copy=False), class_ids.astype(np.int32)
