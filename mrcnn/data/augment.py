"""Random changes to training images: imgaug augmenters and Keras preprocessing layers.

Augmenters that move pixels move masks with them; those that change colours leave masks unchanged.
The augmenters themselves make this difference: by imgaug's segmentation maps, and by Keras's
method `transform_segmentation_masks`.

Shorthand: H, W height and width, N instances, K = ceil(N / 8) bytes per pixel.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# Keras layers hold the state of their random numbers: only one thread may set and use it at a time.
_KERAS_STATE = threading.Lock()

# These blend the image with another one, or with copies of itself: a blended object has no mask.
_BLENDING_LAYERS = ("MixUp", "CutMix", "AugMix")

_ACCEPTED = (
    "an imgaug augmenter, a keras.layers preprocessing layer such as RandomFlip, or a "
    "keras.Sequential or keras.layers.Pipeline of such layers"
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
        augmentation: an imgaug augmenter, a Keras preprocessing layer, or a keras.Sequential or
            keras.layers.Pipeline of such layers.
        rng: source of all random numbers. Without it, imgaug draws from its own generator, as in
            the original, and Keras layers are seeded from `np.random`.

    Returns:
        image: `[H', W', channels]` of the same type; some augmentations change the size.
        mask: `[H', W', N]` bool.

    Raises:
        TypeError: if `augmentation` is of another type.
        ValueError: if it cannot transform masks, or changes the number of channels.
    """
    apply = find_adapter(augmentation)
    # Eight instances may share a byte, because augmenters only copy mask pixels or fill in zeros.
    labels = _pack(mask)
    new_image, labels = apply(augmentation, image, labels, rng)
    new_image = _restore_dtype(np.asarray(new_image), image.dtype)
    if new_image.shape[2:] != image.shape[2:] or new_image.shape[:2] != labels.shape[:2]:
        raise ValueError(
            f"augmentation {_name(augmentation)} made an image of shape {new_image.shape} and "
            f"masks of {labels.shape[:2]} from an image of {image.shape}; it must keep the "
            "channels, and give image and masks one size."
        )
    return new_image, _unpack(labels, mask.shape[-1])


def draw_seed() -> int:
    """Draw a seed from `np.random`, so that `np.random.seed` makes a script repeatable."""
    return int(np.random.randint(2**31))  # noqa: NPY002


def find_adapter(augmentation: Any) -> Callable:
    """Return the function that applies this kind of augmentation; errors as in `augment_sample`.

    Call it to check an augmentation before the first image is loaded.
    """
    # The package of an existing augmenter is imported already; imgaug is optional.
    iaa = sys.modules.get("imgaug.augmenters")
    if iaa is not None and isinstance(augmentation, iaa.Augmenter):
        return _apply_imgaug
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(augmentation, keras.layers.Layer):
        for layer in _leaves(augmentation):
            _check_layer(layer)
        return _apply_keras
    raise TypeError(f"augmentation is {_name(augmentation)}; accepted are {_ACCEPTED}.")


def _apply_imgaug(augmenter, image, labels, rng):
    # Repairs imgaug if the script imported it without the shim.
    from mrcnn.data.imgaug_shim import imgaug

    # A copy per image, because worker threads share the augmenter.
    augmenter = augmenter.to_deterministic()
    if rng is not None:
        augmenter.seed_(int(rng.integers(2**31)), deterministic_too=True)
    maps = imgaug.SegmentationMapsOnImage(labels, shape=image.shape)
    image, maps = augmenter(image=image, segmentation_maps=maps)
    return image, maps.get_arr()


def _apply_keras(augmentation, image, labels, rng):
    import keras

    batches = [np.asarray(array, np.float32)[np.newaxis] for array in (image, labels)]
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
                batches[index] = transform(
                    keras.ops.convert_to_tensor(batches[index]), transformation, training=True
                )
        image, labels = (keras.ops.convert_to_numpy(batch)[0] for batch in batches)
    return image, labels.astype(np.uint8)


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
