"""Checks of the images and masks of a dataset, and the names of images in messages."""

from __future__ import annotations

import reprlib
from typing import Any, NamedTuple

import numpy as np

from mrcnn import limits


class Note(NamedTuple):
    """A problem of an annotation or an image.

    Attributes:
        reason: the kind of problem, the same text for all of a kind.
        where: the entry that has it.
        left_out: True if the dataset leaves the entry out.
    """

    reason: str
    where: str
    left_out: bool = True


_LONGEST = 300
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxlevel = 2


def shown(value: Any) -> str:
    """Return a value of a file as a short text that can be printed anywhere.

    Files hold names of any length, control characters, halves of characters, and numbers of
    thousands of digits.
    """
    text = value if isinstance(value, str) else _short.repr(value)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 4 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(names: list[str], most: int, glue: str = ", ") -> str:
    """Join the first `most` names of a list, and count the rest."""
    rest = [f"and {len(names) - most} more"] if len(names) > most else []
    return glue.join([*names[:most], *rest])


def describe_image(dataset: Any, image_id: int) -> str:
    """Return the name of an image in messages: `image 7 (its reference, path or source id)`."""
    try:
        info = dataset.image_info[image_id]
        name = (
            dataset.image_reference(image_id)
            or info.get("path")
            or f"{info['source']}.{info['id']}"
        )
    # An error in a user's image_reference() must not hide the one that the message is about.
    except Exception:
        name = "unknown to the dataset"
    return f"image {image_id} ({name})"


def check_prepared(dataset: Any, num_classes: int | None = None) -> None:
    """Raise ValueError before `prepare`, or if NUM_CLASSES is not the number of classes."""
    if not hasattr(dataset, "num_classes") or len(dataset.image_ids) == 0 < len(dataset.image_info):
        raise ValueError("the dataset is not ready: call its prepare() after adding images.")
    if num_classes not in (None, dataset.num_classes):
        raise ValueError(
            f"config.NUM_CLASSES is {num_classes}, but the dataset has {dataset.num_classes} "
            f"classes, the background included: {', '.join(dataset.class_names)}."
        )


def load_image(dataset: Any, image_id: int, channels: int | None = None) -> np.ndarray:
    """Load an image `[height, width, channels]`; `channels` is IMAGE_CHANNEL_COUNT, None for any.

    Raises:
        ValueError: for another shape; names the image.
    """
    image = dataset.load_image(image_id)
    if image.ndim != 3 or channels not in (None, image.shape[2]):
        raise ValueError(
            f"{describe_image(dataset, image_id)}: load_image() returned the shape {image.shape}; "
            f"expected is [height, width, {channels or 'channels'}], with IMAGE_CHANNEL_COUNT "
            "channels."
        )
    return image


def check_size(
    dataset: Any, image_id: int, image_shape: tuple[int, ...], mask_shape: tuple[int, ...]
) -> None:
    """Raise ValueError, naming the image, if it and its masks differ in `(height, width, ...)`."""
    if tuple(image_shape[:2]) != tuple(mask_shape[:2]):
        raise ValueError(
            f"{describe_image(dataset, image_id)}: the masks have {mask_shape[0]}x{mask_shape[1]} "
            f"pixels (height x width), the image has {image_shape[0]}x{image_shape[1]}."
        )


def check_mask_bytes(dataset: Any, image_id: int, count: int, height: int, width: int) -> None:
    """Raise ValueError, naming the image, if its masks would exceed `limits.MAX_MASK_BYTES`."""
    needed = count * height * width
    if needed > limits.MAX_MASK_BYTES:
        raise ValueError(
            f"{describe_image(dataset, image_id)}: its {count} masks of {height}x{width} pixels "
            f"(height x width) take {needed} bytes, more than mrcnn.limits.MAX_MASK_BYTES = "
            f"{limits.MAX_MASK_BYTES}; raise that to load them."
        )


def load_instances(
    dataset: Any, image_id: int, image_shape: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Load the masks of an image, and check that they fit their class ids and the image.

    Args:
        dataset: a prepared `Dataset`.
        image_id: one of `dataset.image_ids`.
        image_shape: `(height, width, ...)` in pixels; None skips the check of sizes.

    Returns:
        masks: `[height, width, instances]` bool.
        class_ids: `[instances]` int32, negative for crowds.

    Raises:
        ValueError: names the image.
    """

    def refuse(problem):
        raise ValueError(f"{describe_image(dataset, image_id)}: {problem}")

    masks, class_ids = map(np.asarray, dataset.load_mask(image_id))
    if class_ids.ndim != 1 or masks.ndim != 3:
        refuse(
            f"load_mask() returned masks of shape {masks.shape} and class ids of shape "
            f"{class_ids.shape}; expected are [height, width, instances] and [instances]."
        )
    if masks.shape[2] != len(class_ids):
        refuse(f"load_mask() returned {masks.shape[2]} masks and {len(class_ids)} class ids.")
    known = (np.abs(class_ids) < dataset.num_classes) & (class_ids != 0)
    if not known.all():
        refuse(
            f"class id {class_ids[~known][0]} is not one of 1..{dataset.num_classes - 1} (0 is the "
            "background; negative ids mark crowds)."
        )
    if image_shape is not None and len(class_ids) == 0:
        # The default load_mask() does not know the size of the image.
        masks = np.zeros((*image_shape[:2], 0), bool)
    elif image_shape is not None:
        check_size(dataset, image_id, image_shape, masks.shape)
    return masks.astype(bool, copy=False), class_ids.astype(np.int32)
