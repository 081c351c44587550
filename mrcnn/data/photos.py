"""Picture files: photos as RGB, masks and label images as the numbers that are stored."""

from __future__ import annotations

import os

import numpy as np

# Pillow's names for what NumPy can take as it is; the rest is palettes and other colour spaces.
_PLAIN_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "F", "RGB", "RGBA"}
_PILLOW_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
# Channels of gray, without and with alpha.
_GRAY_LAYOUTS = (1, 2)
_EXIF_ORIENTATION = 274
# From this value on, rows and columns change places.
_FIRST_TRANSPOSED = 5


def read_image(path: str | os.PathLike, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a photo the way up that viewers and annotation tools show it.

    Arguments:
        path: of a file.
        size: `(height, width)` in pixels that its annotations are for. A photo is turned as its
            EXIF orientation says, unless it has this size only as it is stored.

    Returns:
        `[height, width, 3]` uint8, RGB. Gray becomes RGB and an alpha channel is dropped; files
        with more channels keep them all. 16-bit values are divided by 257, so that the full range
        stays the full range, and floats from 0 to 1 are multiplied by 255.

    Raises:
        FileNotFoundError, OSError: where the file is missing or damaged.
        ValueError: where it holds no image of this kind.
        All name the path.
    """
    pixels, orientation = _reading(path, _decode_photo)
    try:
        pixels = _to_rgb(_to_uint8(pixels))
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    turned = turn(pixels, orientation)
    if size is not None and pixels.shape[:2] == tuple(size) != turned.shape[:2]:
        return pixels
    return turned


def read_stored(path: str | os.PathLike) -> np.ndarray:
    """The numbers in a mask or label image: `[height, width]`, or `[height, width, 3]` of colours.

    A palette image gives the indices, not the colours that they stand for. Nothing is scaled or
    turned; an alpha channel is dropped. Raises FileNotFoundError, OSError or ValueError with the
    path.
    """

    pixels = _reading(path, _decode_numbers)
    if pixels.ndim == 3 and pixels.shape[2] in (1, 2):
        pixels = pixels[..., 0]
    elif pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., :3]
    elif pixels.ndim != 2:
        raise ValueError(f"{path} has the shape {pixels.shape}; a mask has rows and columns.")
    return pixels


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """`(height, width)` that `read_image` gives; where possible from the first bytes of the file.

    Raises what `read_image` raises.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            transposed = _orientation(picture) >= _FIRST_TRANSPOSED
    except Exception:
        # Pillow does not know all that scikit-image reads, and refuses very large files.
        return read_image(path).shape[:2]
    return (width, height) if transposed else (height, width)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`[height, width, ...]` as an EXIF orientation, 1 to 8, says that it has to be shown.

    Other values leave it as it is, as viewers do. Source: Exif 2.32, tag 0x0112.
    """
    if not 2 <= orientation <= 8:
        return pixels
    if orientation >= _FIRST_TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _reading(path, decode):
    """What `decode(path)` returns; its exceptions become one sentence with the path."""
    try:
        return decode(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    except Exception as error:
        raise OSError(f"{path} cannot be read as an image: {error}") from error


def _decode_photo(path):
    """Pixels as they are stored, and their EXIF orientation."""
    from PIL import Image

    if not _for_pillow(path):
        return _imread(path), 1
    with Image.open(path) as picture:
        plain = picture if picture.mode in _PLAIN_MODES else picture.convert("RGBA")
        return np.array(plain), _orientation(picture)


def _decode_numbers(path):
    """Pixels as they are stored, indices for palette images."""
    from PIL import Image

    if not _for_pillow(path):
        return _imread(path)
    with Image.open(path) as picture:
        return np.array(picture)


def _for_pillow(path):
    """Whether it is a photo on disk. scikit-image reads scientific formats and web addresses."""
    return str(path).lower().endswith(_PILLOW_SUFFIXES) and "://" not in str(path)


def _imread(path):
    import skimage.io

    return np.asarray(skimage.io.imread(path))


def _orientation(picture):
    # Asking PNG files without EXIF for it would decode them.
    if "exif" not in picture.info:
        return 1
    orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    return orientation if isinstance(orientation, int) else 1


def _to_uint8(pixels):
    """Pixels of any type on the 0..255 scale; ValueError says what is wrong with them."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0, 0)
    if pixels.dtype.kind == "f":
        limit, factor = 1, 255
    else:
        # Decoders hand out 16-bit files as int32 at times, and small values in wide integers.
        wide = pixels.dtype == np.uint16 or high > 255
        limit, factor = (65535, 1 / 257) if wide else (255, 1)
    if not (low >= 0 and high <= limit):
        raise ValueError(
            f"holds {pixels.dtype} values from {low} to {high}; accepted are 0..255, 0..65535 "
            "and floats 0..1, for others override load_image()."
        )
    return np.round(pixels * factor).astype(np.uint8)


def _to_rgb(pixels):
    """`[height, width, 3]` from gray, gray with alpha, RGB and RGBA; more channels stay."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.size == 0:
        raise ValueError(
            f"has the shape {pixels.shape}; accepted are [height, width] and "
            "[height, width, channels]."
        )
    channels = pixels.shape[-1]
    if channels in _GRAY_LAYOUTS:
        return np.repeat(pixels[..., :1], 3, axis=-1)
    return pixels[..., :3] if channels == 4 else pixels
