"""Augmentations of other libraries: Albumentations, torchvision, and functions of the same kind.

None of them is imported before one of its objects is used.
"""

import copy
import inspect
import threading
from collections.abc import Mapping

import numpy as np

_TORCHVISION = "torchvision.transforms."

# torchvision draws from one generator of the whole process.
_TORCH_STATE = threading.Lock()
_OF_THREAD = threading.local()


def find_callable(augmentation):
    """Return the function that applies a callable augmentation, or None for another object.

    It takes the augmentation, an image `[H, W, channels]`, masks `[H, W, N]` bool and a generator
    or None, and returns the new image and masks.

    Raises:
        ValueError: for a transform of torchvision's first version, which cannot move masks.
    """
    modules = [kind.__module__ for kind in type(augmentation).__mro__]
    if any(name.startswith(_TORCHVISION + "v2") for name in modules):
        return _apply_torchvision
    if any(name.startswith(_TORCHVISION) for name in modules):
        raise ValueError(
            f"augmentation is a {modules[0]}.{type(augmentation).__qualname__}, which cannot move "
            "masks with the image; use torchvision.transforms.v2."
        )
    if isinstance(augmentation, type) or any(name.split(".")[0] == "torch" for name in modules):
        return None
    words = "image", "masks"
    is_called_so = _accepts(augmentation, *words) or _accepts(augmentation, *words, "rng")
    return _apply_keywords if is_called_so else None


def _accepts(function, *names):
    try:
        inspect.signature(function).bind(**dict.fromkeys(names))
    # Built-in functions may have no signature.
    except (TypeError, ValueError):
        return False
    return True


def _apply_keywords(augmentation, image, masks, rng):
    """Call as Albumentations: `f(image=, masks=)` returns a dict with the same keys."""
    words = {"image": image.copy(), "masks": list(np.moveaxis(masks, -1, 0).astype(np.uint8))}
    if not words["masks"]:
        # Some versions refuse an empty list.
        words["masks"] = [np.zeros(image.shape[:2], np.uint8)]
    # A Compose that was made for boxes too asks for them; training takes those of the new masks.
    for kind, processor in (getattr(augmentation, "processors", None) or {}).items():
        fields = getattr(getattr(processor, "params", None), "label_fields", None) or ()
        words |= {name: [] for name in (kind, *fields)}
    if rng is not None and hasattr(augmentation, "set_random_seed"):
        augmentation = _copy_of_thread(augmentation)
        augmentation.set_random_seed(int(rng.integers(2**31)))
    elif "rng" in inspect.signature(augmentation).parameters:
        words["rng"] = rng
    result = augmentation(**words)
    if not isinstance(result, Mapping) or not {"image", "masks"} <= set(result):
        given = f"keys {sorted(result)}" if isinstance(result, Mapping) else type(result).__name__
        raise ValueError(
            f"augmentation called as f(image=, masks=) returned {given}; it must return a dict "
            'with "image" and "masks".'
        )
    found = [np.asarray(mask) for mask in result["masks"]]
    if len(found) != len(words["masks"]) or len({mask.shape for mask in found}) != 1:
        raise ValueError(
            f"augmentation got {len(words['masks'])} masks and returned {len(found)} of the shapes "
            f"{sorted({mask.shape for mask in found})}; it must return all in their order, in one "
            "size, and those out of the image as zeros."
        )
    # Masks may come back as 0 and 255, or as floats from 0 to 1.
    found = [mask >= 0.5 if mask.dtype.kind == "f" else mask > 0 for mask in found]
    return _checked(result["image"], image), np.stack(found, axis=-1)[..., : masks.shape[-1]]


def _copy_of_thread(augmentation):
    """Return a copy that no other thread seeds or uses."""
    if getattr(_OF_THREAD, "original", None) is not augmentation:
        _OF_THREAD.original, _OF_THREAD.copy = augmentation, copy.deepcopy(augmentation)
    return _OF_THREAD.copy


def _apply_torchvision(augmentation, image, masks, rng):
    import torch
    from torchvision import tv_tensors

    def channels_first(array):
        return torch.from_numpy(np.moveaxis(array, -1, 0).copy())

    picture = tv_tensors.Image(channels_first(image))
    layers = tv_tensors.Mask(channels_first(masks.astype(np.uint8)))
    with _TORCH_STATE, torch.random.fork_rng(devices=[], enabled=rng is not None):
        if rng is not None:
            torch.manual_seed(int(rng.integers(2**31)))
        result = augmentation(picture, layers)
    picture, layers = (np.moveaxis(tensor.numpy(), 0, -1) for tensor in result)
    # A `fill` for pictures fills masks too, with another number than 1.
    return _checked(picture, image), layers == 1


def _checked(image, original):
    """Return an image that an augmentation made.

    Raises:
        ValueError: if it is no array on the scale of the original.
    """
    given = None
    if not isinstance(image, np.ndarray):
        given = f"an image that is a {type(image).__module__}.{type(image).__name__}"
    elif image.dtype.kind == "f" and original.dtype.kind in "ui" and image.size:
        low, high = image.min(), image.max()
        # Half of a gray level is lost by rounding in any case.
        if not (low > -0.5 and (high > 1 or original.max() <= 1)):
            given = f"an image of {image.dtype} with values from {low:g} to {high:g}"
    if given:
        raise ValueError(
            f"augmentation returned {given}; it must be a NumPy array with values from 0 to 255. "
            "Leave out Normalize, ToTensorV2, ToDtype and the like: training does this itself."
        )
    return image
