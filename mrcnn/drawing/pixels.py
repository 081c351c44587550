"""Pictures as arrays: RGB conversion, colours, masks and boxes. NumPy only."""

import colorsys

import numpy as np

from mrcnn.ops.pixels import as_image

# Multiples of the golden ratio never come close to one another on the circle of hues, whatever
# their number: neighbours in the list look different, and a longer list starts like a shorter one.
_HUE_STEP = 0.6180339887498949

# (saturation, brightness) of the first twelve colours, the next twelve, and so on in turn: the eye
# does not tell more hues apart.
_SHADES = ((1.0, 1.0), (0.5, 1.0), (1.0, 0.6))


def random_colors(N: int, bright: bool = True) -> list[tuple[float, float, float]]:
    """Return N distinct colours (red, green, blue) in [0, 1], each unlike the one before it.

    Only the name, the original's, is random: the same N always gives the same list, the first M of
    N colours are those of `random_colors(M)`, and no random state is touched. `bright=False` makes
    the colours darker by a factor of 0.7.
    """
    colors = []
    for i in range(N):
        saturation, brightness = _SHADES[i // 12 % len(_SHADES)]
        brightness *= 1.0 if bright else 0.7
        colors.append(colorsys.hsv_to_rgb(i * _HUE_STEP % 1.0, saturation, brightness))
    return colors


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return a copy of an image as [height, width, 3] uint8.

    The values are those that the model sees, by the rules of `as_image`; what detection refuses can
    still be looked at: values are cut to the accepted range, NaN becomes 0, and of more than three
    channels the first three are used.

    Raises:
        ValueError: if the array is not [height, width] or [height, width, channels].
    """
    image = np.asarray(image)
    if image.dtype.kind == "f":
        image = np.nan_to_num(image).clip(0, 255)
    elif image.dtype.kind in "iu" and image.dtype not in (np.uint8, np.uint16):
        image = image.astype(np.int64).clip(0, 65535)
    return as_image(image, "image", channels=None)[..., :3].copy()


def apply_mask(
    image: np.ndarray, mask: np.ndarray, color: tuple[float, ...], alpha: float = 0.5
) -> np.ndarray:
    """Mix a colour into the pixels of an image that a mask covers.

    Args:
        image: [height, width, channels >= 3], values 0..255. Changed in place; its first three
            channels are painted.
        mask: [height, width]; nonzero pixels are painted.
        color: (red, green, blue) in [0, 1]; a fourth number is ignored.
        alpha: share of the colour, from 0 to 1. Integer images round down.

    Returns:
        The given image.

    Raises:
        ValueError: if mask and image differ in size, or the image has fewer than three channels.
    """
    if image.ndim != 3 or image.shape[-1] < 3:
        raise ValueError(f"apply_mask paints [height, width, 3] images, not {image.shape}")
    mask = np.asarray(mask)
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask has shape {mask.shape} but the image {image.shape[:2]}")
    # Much faster than np.nonzero, which matters with a hundred masks of a large image.
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    paint = alpha * 255 * np.asarray(color[:3], np.float64)
    mixed = image[rows, columns, :3] * (1 - alpha) + paint
    image[rows, columns, :3] = mixed.astype(image.dtype)
    return image


def draw_box(image: np.ndarray, box: np.ndarray, color) -> np.ndarray:
    """Draw the four edges of a box, two pixels thick, into an image.

    The top and left edges lie inside the box, the bottom and right ones start at y2 and x2, the
    first pixels outside. Parts outside the image are left out.

    Args:
        image: [height, width, channels] or [height, width]; changed in place.
        box: (y1, x1, y2, x2) int pixels.
        color: one value per channel, in the units of the image.

    Returns:
        The given image.
    """
    y1, x1, y2, x2 = (int(v) for v in box)
    top, bottom = (y1, x1, y1 + 2, x2), (y2, x1, y2 + 2, x2)
    left, right = (y1, x1, y2, x1 + 2), (y1, x2, y2, x2 + 2)
    for edge in (top, bottom, left, right):
        # NumPy would count negative numbers from the other end.
        y1, x1, y2, x2 = (max(value, 0) for value in edge)
        image[y1:y2, x1:x2] = color
    return image
