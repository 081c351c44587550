"""Images: resizing for the network, and mean colour.

Resizing follows scikit-image's `resize(order=1, mode="constant", anti_aliasing=False)`, as in the
original, but in the mode "pad32" (`mrcnn.ops.scaling`): linear in y, then in x, between the centres
of pixels. Pixels outside the image count as 0, and no result is darker than the darkest input
value.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mrcnn.ops.scaling import FILTERS, pad_sides, resample, scaled_size

# Results of `resize_image`.
Window = tuple[int, int, int, int]
Padding = list[tuple[int, int]]

_MODES = ("none", "square", "pad64", "pad32", "crop")

# OpenCV resizes images with up to this many channels.
_CV_CHANNELS = 64


def resize(
    image: np.ndarray,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | Sequence[float] | None = None,
) -> np.ndarray:
    """Call `skimage.transform.resize` with the original's defaults, for masks of bools too.

    Returns:
        `output_shape` (plus the channels of the image) float64. As in scikit-image, integers are
        scaled to 0..1 unless `preserve_range` is set.
    """
    from skimage import transform

    image = np.asarray(image)
    if image.dtype.kind in "bf":
        # scikit-image would not interpolate between bools, and would return float32 for float32.
        image = image.astype(np.float64)
    return transform.resize(
        image,
        output_shape,
        order=order,
        mode=mode,
        cval=cval,
        clip=clip,
        preserve_range=preserve_range,
        anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )


def linear_taps(
    size_in: int, size_out: int, start: int = 0, stop: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two input samples, with weights, that a linear resize mixes per output sample.

    Args:
        size_in: samples of the input.
        size_out: samples of the output.
        start: first output sample to return.
        stop: end of the output samples to return, `size_out` by default.

    Returns:
        index: `[2, stop - start]` int64, within the input.
        weight: `[2, stop - start]` float64, 0 for samples outside the input.
    """
    outputs = np.arange(start, size_out if stop is None else stop)
    position = (outputs + 0.5) * (size_in / size_out) - 0.5
    lower = np.floor(position)
    index = np.stack([lower, lower + 1]).astype(np.int64)
    weight = np.stack([lower + 1 - position, position - lower])
    weight[(index < 0) | (index >= size_in)] = 0
    return index.clip(0, size_in - 1), weight


def _resize_pixels(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return `resize(image, shape, preserve_range=True)` by OpenCV, over 50 times faster.

    The result is float32 for uint8 images, else float64. Without OpenCV, or with too many channels
    for it, scikit-image does the work.
    """
    try:
        import cv2
    except ImportError:
        return resize(image, shape, preserve_range=True)
    if image.shape[2:] > (_CV_CHANNELS,):
        return resize(image, shape, preserve_range=True)
    pixels = image.astype(np.float32 if image.dtype == np.uint8 else np.float64, order="C")
    pixels = cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = pixels.reshape(shape + image.shape[2:])
    # An enlarged image mixes zeros into its border, where OpenCV repeats the outermost pixels: so
    # multiply them by the weight of the one sample that exists.
    low, high = image.min(), image.max()
    for lines, size_in in ((pixels, image.shape[0]), (pixels.swapaxes(0, 1), image.shape[1])):
        inside = linear_taps(size_in, len(lines))[1].sum(axis=0)
        for border in np.flatnonzero(inside < 1 - 1e-9):
            lines[border] = np.clip(lines[border] * inside[border], low, high)
    return pixels


def _resize_scale(
    height: int,
    width: int,
    min_dim: int | None,
    max_dim: int | None,
    min_scale: float | None,
    mode: str,
    canvas: tuple[int, int] | None,
) -> float:
    """Return the scale factor of `resize_image`; the integer 1 means no resampling."""
    scale = max(1, min_dim / min(height, width)) if min_dim else 1
    if min_scale:
        scale = max(scale, min_scale)
    if max_dim and mode == "square" and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    for side, limit in zip((height, width), canvas or (), strict=False):
        if round(side * scale) > limit:
            scale = limit / side
    return scale


def _check_resize(image: np.ndarray, min_dim: int | None, max_dim: int | None, mode: str) -> None:
    """Raise ValueError for arguments that `resize_image` does not accept."""
    if mode not in _MODES:
        raise ValueError(f'Image resize mode is "{mode}"; accepted are {", ".join(_MODES)}.')
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"An image has the shape [height, width, channels]; given: {image.shape}.")
    if mode == "square" and not max_dim:
        raise ValueError('Image resize mode "square" needs max_dim; given: None.')
    if mode == "crop" and not min_dim:
        raise ValueError('Image resize mode "crop" needs min_dim; given: None.')


def resize_image(
    image: np.ndarray,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    *,
    rng: Any = random,
    canvas: tuple[int, int] | None = None,
    filter: str = "bilinear",
) -> tuple[np.ndarray, Window, float, Padding, tuple[int, int, int, int] | None]:
    """Resize an image to a size that the network accepts, and keep its aspect ratio.

    Args:
        image: `[height, width, channels]` of any number type, or `[height, width]`.
        min_dim: enlarge so that the shorter side has at least this many pixels.
        max_dim: in mode "square", the side of the result; the longer side never exceeds it.
        min_scale: enlarge by at least this factor, as far as `max_dim` allows.
        mode: "none": return the image unchanged; the other arguments have no effect;
            "square": centre it on a black square of `max_dim`, or on the `canvas`;
            "pad64": centre it on black whose sides are multiples of 64;
            "pad32": enlarge or shrink it until the shorter side has `min_dim`, unless the longer
            one would exceed `max_dim`, and pad it with zeros below and at the right to multiples of
            32; `min_scale` has no effect;
            "crop": cut out a square of `min_dim` at a place drawn from `rng`.
        rng: Python's `random`, or a `random.Random`.
        canvas: in mode "square", the `(height, width)` of the result, if it is no square of
            `max_dim`. The image is made to fit into it.
        filter: in mode "pad32", "bilinear" or "antialias", see `mrcnn.ops.scaling.resample`.

    Returns:
        image: `[new_height, new_width, ...]` in the type of the input. Integers are truncated, in
            mode "pad32" rounded.
        window: `(y1, x1, y2, x2)` in pixels, where the input's content lies in the result; in mode
            "crop", the whole result.
        scale: the factor that the image was resized by; in mode "pad32" that of the height, from
            which that of the width differs by less than a pixel.
        padding: `[(top, bottom), (left, right), (0, 0)]` in pixels.
        crop: None, or `(y, x, height, width)` in pixels of the resized image.

    Raises:
        ValueError: for another mode or filter, a missing or wrong dimension, or another shape of
            image.
    """
    _check_resize(image, min_dim, max_dim, mode)
    height, width = image.shape[:2]
    if mode == "none":
        return image, (0, 0, height, width), 1, [(0, 0)] * 3, None
    if mode == "pad32":
        return _resize_by_shorter_side(image, min_dim, max_dim, filter)

    canvas = canvas if mode == "square" else None
    scale = _resize_scale(height, width, min_dim, max_dim, min_scale, mode, canvas)
    dtype = image.dtype
    if scale != 1:
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        image = _resize_pixels(image, (height, width))

    if mode == "crop":
        top, left = rng.randint(0, height - min_dim), rng.randint(0, width - min_dim)
        crop = (top, left, min_dim, min_dim)
        image = image[top : top + min_dim, left : left + min_dim].astype(dtype)
        return image, (0, 0, min_dim, min_dim), scale, [(0, 0)] * 3, crop

    if mode == "square":
        full = canvas or (max_dim, max_dim)
    else:
        full = [-(-side // 64) * 64 for side in (height, width)]
    top, left = (full[0] - height) // 2, (full[1] - width) // 2
    padded = np.zeros((*full, *image.shape[2:]), dtype)
    padded[top : top + height, left : left + width] = image
    padding = [(top, full[0] - height - top), (left, full[1] - width - left), (0, 0)]
    return padded, (top, left, top + height, left + width), scale, padding, None


def _resize_by_shorter_side(image, min_dim, max_dim, filter):
    """Return the results of `resize_image` in the mode "pad32"."""
    if filter not in FILTERS:
        raise ValueError(f'The filter is "{filter}"; accepted are {", ".join(FILTERS)}.')
    height, width = scaled_size(*image.shape[:2], min_dim, max_dim, filter)
    padded = pad_sides(resample(image, (height, width), filter))
    padding = [(0, padded.shape[0] - height), (0, padded.shape[1] - width), (0, 0)]
    return padded, (0, 0, height, width), height / image.shape[0], padding, None


def subtract_mean(
    images: Any, mean_pixel: Any, xp: ModuleType = np, *, std_pixel: Any = 1.0
) -> Any:
    """Subtract the mean colour and divide by the deviation from it, as the network expects.

    Args:
        images: `[..., height, width, channels]` of any number type, RGB.
        mean_pixel: one value, or one per channel, on the scale of the images.
        xp: `numpy`, or `keras.ops` for tensors.
        std_pixel: one value, or one per channel, on the scale of the images.

    Returns:
        The same shape, float32; from NumPy float64 with a float64 `mean_pixel`.

    Raises:
        ValueError: if `mean_pixel` or `std_pixel` does not fit the channels.
    """
    channels = images.shape[-1]
    mean, std = _per_channel("MEAN_PIXEL", mean_pixel, channels), _std(std_pixel, channels)
    if xp is np:
        centred = np.asarray(images, np.float32) - mean
    else:
        centred = xp.cast(images, "float32") - mean.astype(np.float32)
    return centred if std is None else centred / std.astype(mean.dtype if xp is np else np.float32)


def add_mean(images: np.ndarray, mean_pixel: Any, std_pixel: Any = 1.0) -> np.ndarray:
    """Undo `subtract_mean`: `[..., height, width, channels]` floats to uint8.

    Fractions are truncated; with a `std_pixel`, whose division leaves some, they are rounded.
    """
    channels = images.shape[-1]
    mean, std = _per_channel("MEAN_PIXEL", mean_pixel, channels), _std(std_pixel, channels)
    if std is None:
        return (images + mean).astype(np.uint8)
    return np.rint(images * std + mean).astype(np.uint8)


def _std(std_pixel, channels):
    """Return the divisor of each channel, or None where all are 1, which leaves nothing to do."""
    std = _per_channel("STD_PIXEL", std_pixel, channels)
    return None if (std == 1).all() else std


def _per_channel(name, values, channels):
    values = np.atleast_1d(values)
    if values.shape not in ((1,), (channels,)):
        raise ValueError(
            f"{name} has {values.size} values, but the image has {channels} channels; "
            "give one value, or one per channel."
        )
    return values
