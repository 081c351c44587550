"""Accepted images: their layout, values and sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Values that are converted at a time.
_BLOCK = 1 << 20


def as_image(image: Any, name: str, channels: int | None = 3) -> np.ndarray:
    """Return an image as `[height, width, channels]` on the scale from 0 to 255.

    Gray images (2-D, or one channel, with alpha or without) become RGB, and the alpha channel of
    RGBA is dropped. See `to_uint8` for the values.

    Args:
        image: `[height, width]` or `[height, width, channels]`, an array or nested lists.
        name: name of the image in messages, such as "Image 3" or its path.
        channels: of the model's input. With other than three, an image must have exactly these, and
            its values are not converted. None converts to RGB, but keeps more than four channels.

    Returns:
        uint8; for a model with other than three channels the type of `image`.

    Raises:
        ValueError: for another shape, or values outside the accepted ranges.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3 or image.size == 0:
        raise ValueError(
            f"{name} has shape {image.shape}; accepted are [height, width] and "
            "[height, width, channels]."
        )
    as_rgb = channels in (None, 3)
    if as_rgb and image.shape[2] in (1, 2):
        image = np.repeat(image[..., :1], 3, axis=2)
    elif as_rgb and image.shape[2] == 4:
        image = image[..., :3]
    if channels is not None and image.shape[2] != channels:
        raise ValueError(
            f"{name} has {image.shape[2]} channels; this model takes {channels} "
            "(IMAGE_CHANNEL_COUNT)."
        )
    return to_uint8(image, name) if as_rgb else image


def to_uint8(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return pixel values of any type on the scale from 0 to 255, rounded.

    Booleans become 0 and 255. Floats of at most 1 are multiplied by 255. 16-bit values are divided
    by 257, which maps 65535 to 255; integers of another type count as 16-bit if one of them is
    above 255, because some decoders return 16-bit files as int32.

    Args:
        pixels: any shape and number type.
        name: name of the image in messages.

    Raises:
        ValueError: for values below 0, floats above 255, integers above 65535, NaN and infinity.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    low, high, factor = pixels.min(), pixels.max(), 1
    if pixels.dtype.kind == "f":
        limit, factor = 255, 255 if high <= 1 else 1
    elif pixels.dtype == np.uint16 or high > 255:
        limit, factor = 65535, 1 / 257
    else:
        limit = 255
    # NaN compares as false.
    if not (low >= 0 and high <= limit):
        raise ValueError(
            f"{name} is {pixels.dtype} with values from {low:g} to {high:g}; accepted are "
            "integers from 0 to 255 or to 65535 (16 bits), and floats from 0 to 1 or to 255."
        )
    scaled = np.empty(pixels.shape, np.uint8)
    # In blocks of rows, because the floats in between take eight times the memory.
    rows = max(1, _BLOCK * len(pixels) // pixels.size)
    for start in range(0, len(pixels), rows):
        block = slice(start, start + rows)
        scaled[block] = np.round(pixels[block] * factor)
    return scaled


def check_sides(shape: Sequence[int], strides: Sequence[int], name: str) -> None:
    """Check that the feature pyramid divides an input of the network without remainder.

    Args:
        shape: `(height, width, ...)` of the input in pixels.
        strides: BACKBONE_STRIDES; both sides must be multiples of the largest. `[32]` in the resize
            mode "pad32", whose coarser levels are rounded up to whole cells.
        name: name of the input in messages.

    Raises:
        ValueError: if they are not; the message names the input and the settings to change.
    """
    height, width, multiple = *shape[:2], int(max(strides))
    if height % multiple or width % multiple:
        reason = (
            ", the largest of BACKBONE_STRIDES. Set IMAGE_MIN_DIM and IMAGE_MAX_DIM to multiples, "
            "or use IMAGE_RESIZE_MODE 'square' or 'pad64'."
        )
        raise ValueError(
            f"{name} has {height}x{width} pixels at the input of the network; both sides must be "
            f"multiples of {multiple}{reason if len(strides) > 1 else '.'}"
        )
