"""Checks of the arguments that pictures of instances share."""

import numpy as np


def class_name(class_names, class_id: int) -> str:
    """Return the name of a class id; "<name> (crowd)" for a negative one, which marks a crowd.

    Raises:
        ValueError: if there is no such entry.
    """
    if abs(class_id) >= len(class_names):
        raise ValueError(
            f"class id {class_id} has no name: class_names has {len(class_names)} entries, "
            "the first of them for the background"
        )
    return class_names[class_id] if class_id >= 0 else f"{class_names[-class_id]} (crowd)"


def mask_list(masks, image_shape, count: int) -> list | None:
    """Return `count` masks as a list: views of an array, or COCO RLEs as they are.

    Raises:
        ValueError: if they do not have the size of the image, as is the case with mini-masks.
    """
    if masks is None or (isinstance(masks, list) and all(isinstance(m, dict) for m in masks)):
        return masks
    masks = np.asarray(masks)
    # An image without instances comes with masks of many shapes, [0, 0, 0] among them.
    if not count and masks.shape[-1] == 0:
        return []
    if masks.ndim == 3 and masks.shape[:2] == tuple(image_shape[:2]):
        return list(np.moveaxis(masks, -1, 0))
    found = "x".join(map(str, masks.shape))
    raise ValueError(
        f"masks are {found} but the image is {image_shape[0]}x{image_shape[1]}; expected "
        "[height, width, N] of the image's size (expand mini-masks with utils.expand_mask, "
        "or load them with use_mini_mask=False)"
    )


def check_counts(**lists) -> None:
    """Raise ValueError, with all counts, unless all lists that are not None have one length."""
    counts = {name: len(values) for name, values in lists.items() if values is not None}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"got {found}; expected equally many of each")
