"""Random changes to training images: ready ones by name, and those of four libraries.

Augmenters that move pixels move masks with them; those that change colours leave masks unchanged.
The augmenters themselves make this difference: by imgaug's segmentation maps, Keras's method
`transform_segmentation_masks`, Albumentations' `masks=` and torchvision's `tv_tensors.Mask`.

Shorthand: H, W height and width, N instances, K = ceil(N / 8) bytes per pixel.
"""

import difflib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mrcnn.data.augment_callables import find_callable
from mrcnn.data.augment_presets import PRESETS

# Keras layers hold the state of their random numbers: only one thread may set and use it at a time.
_KERAS_STATE = threading.Lock()

# These blend the image with another one, or with copies of itself: a blended object has no mask.
_BLENDING_LAYERS = ("MixUp", "CutMix", "AugMix")

_ACCEPTED = (
    '"default", "strong", an imgaug augmenter, a keras.layers preprocessing layer such as '
    "RandomFlip, a keras.Sequential or keras.layers.Pipeline of such layers, a transform of "
    "torchvision.transforms.v2 or of Albumentations, and a function f(image=, masks=) that returns "
    'a dict with "image" and "masks"'
)


def augment_sample(
    image: np.ndarray,
    mask: np.ndarray,
    augmentation: Any,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Apply an augmentation to an image and the masks of its instances.

    Args:
        image: `[H, W, channels]`; pixel values on the 0..255 scale.
        mask: `[H, W, N]` bool; instances may overlap.
        augmentation: "default" for flips, zoom and colours, or "strong" for more of them, see
            `Preset`; an imgaug augmenter; a Keras preprocessing layer, or a keras.Sequential or
            keras.layers.Pipeline of such layers; a transform of torchvision.transforms.v2; or a
            callable as those of Albumentations, called with `image=` and `masks=`, a list of
            `[H, W]` uint8 of 0 and 1, which returns a dict with both.
        rng: source of all random numbers. Without it, imgaug draws from its own generator, as in
            the original, callables from theirs, and others are seeded from `np.random`. A function
            gets it as `rng=` if it has such a parameter; else its own numbers are not repeatable,
            nor are those of Albumentations before 1.4.19.

    Returns:
        image: `[H', W', channels]` of the same type; some augmentations change the size.
        mask: `[H', W', N]` bool.

    Raises:
        TypeError: if `augmentation` is of another type.
        ValueError: if it has another name, cannot transform masks, changes the number of channels,
            or returns something else.
    """
    new_image, new_mask = find_adapter(augmentation)(augmentation, image, mask, rng)
    new_image = _restore_dtype(np.asarray(new_image), image.dtype)
    if new_image.shape[2:] != image.shape[2:] or new_image.shape[:2] != new_mask.shape[:2]:
        raise ValueError(
            f"augmentation {_name(augmentation)} made an image of shape {new_image.shape} and "
            f"masks of {new_mask.shape[:2]} from an image of {image.shape}; it must keep the "
            "channels, and give image and masks one size."
        )
    return new_image, new_mask


def draw_seed() -> int:
    """Draw a seed from `np.random`, so that `np.random.seed` makes a script repeatable."""
    return int(np.random.randint(2**31))  # noqa: NPY002


def find_adapter(augmentation: Any) -> Callable:
    """Return the function that applies this kind of augmentation; errors as in `augment_sample`.

    Call it to check an augmentation before the first image is loaded.
    """
    if isinstance(augmentation, str):
        if augmentation not in PRESETS:
            close = difflib.get_close_matches(augmentation.lower(), PRESETS, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else "."
            raise ValueError(
                f'augmentation is "{augmentation}"; accepted names are "default" and "strong"{hint}'
            )
        return _apply_preset
    # The package of an existing augmenter is imported already; imgaug is optional.
    iaa = sys.modules.get("imgaug.augmenters")
    if iaa is not None and isinstance(augmentation, iaa.Augmenter):
        return _apply_imgaug
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(augmentation, keras.layers.Layer):
        for layer in _leaves(augmentation):
            _check_layer(layer)
        return _apply_keras
    apply = find_callable(augmentation) if callable(augmentation) else None
    if apply:
        return apply
    raise TypeError(f"augmentation is {_name(augmentation)}; accepted are {_ACCEPTED}.")


def _apply_preset(name, image, masks, rng):
    rng = np.random.default_rng(draw_seed()) if rng is None else rng
    # Eight instances may share a byte, because augmenters only copy mask pixels or fill in zeros.
    image, labels = PRESETS[name](image, _pack(masks), rng)
    return image, _unpack(labels, masks.shape[-1])


def _apply_imgaug(augmenter, image, masks, rng):
    # Repairs imgaug if the script imported it without the shim.
    from mrcnn.data.imgaug_shim import imgaug

    # A copy per image, because worker threads share the augmenter.
    augmenter = augmenter.to_deterministic()
    if rng is not None:
        augmenter.seed_(int(rng.integers(2**31)), deterministic_too=True)
    maps = imgaug.SegmentationMapsOnImage(_pack(masks), shape=image.shape)
    image, maps = augmenter(image=image, segmentation_maps=maps)
    return image, _unpack(maps.get_arr(), masks.shape[-1])


def _apply_keras(augmentation, image, masks, rng):
    import keras

    batches = [np.asarray(array, np.float32)[np.newaxis] for array in (image, _pack(masks))]
    if rng is None:
        rng = np.random.default_rng(draw_seed())
    # On the CPU: images come one by one, as numbers of instances vary, and a GPU gains nothing.
    with _KERAS_STATE, keras.device("cpu:0"):
        for layer in _leaves(augmentation):
            seed = int(rng.integers(2**31))
            _seed_layer(layer, seed)
            transformation = layer.get_random_transformation(batches[0], training=True)
            transforms = layer.transform_images, layer.transform_segmentation_masks
            for index, transform in enumerate(transforms):
                # RandomElasticTransform draws noise here: image and masks need the same.
                _seed_layer(layer, seed + 1)
                interpolation = getattr(layer, "interpolation", None)
                if index and interpolation:
                    # Before Keras 3.13 some layers mix the labels of neighbouring pixels.
                    layer.interpolation = "nearest"
                batches[index] = transform(
                    keras.ops.convert_to_tensor(batches[index]), transformation, training=True
                )
                if interpolation:
                    layer.interpolation = interpolation
        image, labels = (keras.ops.convert_to_numpy(batch)[0] for batch in batches)
    return image, _unpack(labels.astype(np.uint8), masks.shape[-1])


def _leaves(layer) -> Iterator[Any]:
    """Yield the layers, in order, of a layer or of nested Sequentials and Pipelines."""
    import keras

    if isinstance(layer, keras.Sequential | keras.layers.Pipeline):
        for inner in layer.layers:
            yield from _leaves(inner)
    else:
        yield layer


def _check_layer(layer):
    """Raise ValueError if a Keras layer does not transform masks, or blends images."""
    name = type(layer).__name__
    if name in _BLENDING_LAYERS:
        raise ValueError(
            f"augmentation layer {name} blends images, and blended objects have no masks; "
            f"accepted are {_ACCEPTED}."
        )
    if not hasattr(layer, "transform_segmentation_masks"):
        raise ValueError(
            f"augmentation layer {name} has no transform_segmentation_masks(), so it cannot move "
            f"masks with the image; accepted are {_ACCEPTED}."
        )


def _seed_layer(layer, seed):
    """Set the state of every random generator in a Keras layer and the layers it is made of."""
    import keras

    for value in list(vars(layer).values()):
        if isinstance(value, keras.random.SeedGenerator):
            value.state.assign([seed, 0])
        elif isinstance(value, keras.layers.Layer):
            _seed_layer(value, seed)


def _pack(mask):
    """Pack masks `[H, W, N]` bool into bits, `[H, W, max(1, K)]` uint8."""
    height, width, count = mask.shape
    padded = np.zeros((height, width, max(1, -(-count // 8)) * 8), bool)
    padded[..., :count] = mask
    # Flat, because packbits() is far slower on many short rows than on one long row.
    return np.packbits(padded.reshape(-1)).reshape(height, width, -1)


def _unpack(labels, count):
    """Unpack the bits of `_pack` to masks `[H, W, N]` bool."""
    bits = np.unpackbits(labels.reshape(-1)).view(bool)
    return bits.reshape(*labels.shape[:2], -1)[..., :count]


def _restore_dtype(image, dtype):
    """Round float results to an integer type, cut to its range."""
    if image.dtype == dtype:
        return image
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        image = np.clip(np.round(image), limits.min, limits.max)
    return image.astype(dtype)


def _name(augmentation):
    kind = type(augmentation)
    return f"a {kind.__module__}.{kind.__qualname__}"
