"""Reading of picture files: photos as RGB, masks and label images as the stored numbers."""

from __future__ import annotations

import os

import numpy as np

from mrcnn.ops.pixels import as_image

# Pillow's modes that NumPy takes as they are; the others are palettes and other colour spaces.
_PLAIN_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "F", "RGB", "RGBA"}
_PILLOW_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
_EXIF_ORIENTATION = 274
# The values of the EXIF orientation that exchange rows and columns.
_TRANSPOSED = range(5, 9)


def read_image(path: str | os.PathLike, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a photo, turned as viewers and annotation tools show it.

    Args:
        path: of a file.
        size: `(height, width)` in pixels that its annotations are for. A photo is turned by its
            EXIF orientation, unless it has this size only as it is stored.

    Returns:
        `[height, width, 3]` uint8, RGB; files with more than four channels keep them all. See
        `mrcnn.ops.pixels.as_image`.

    Raises:
        FileNotFoundError, OSError: if the file is missing or damaged.
        ValueError: if it holds another kind of image.
        All name the path.
    """
    stored, turned = _decode(path)
    is_as_stored = size is not None and stored.shape[:2] == tuple(size) != turned.shape[:2]
    return as_image(stored if is_as_stored else turned, str(path), channels=None)


def read_stored(path: str | os.PathLike) -> np.ndarray:
    """Read the numbers in a mask or label image.

    A palette image gives the indices, not the colours that they stand for. Nothing is scaled or
    turned; an alpha channel is dropped.

    Returns:
        `[height, width]`, or `[height, width, 3]` for an image with colours.

    Raises:
        FileNotFoundError, OSError, ValueError: see `read_image`.
    """
    pixels, _ = _decode(path, keep_numbers=True)
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise ValueError(f"{path} has the shape {pixels.shape}; a mask has rows and columns.")
    return pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return the `(height, width)` of `read_image`, if possible without decoding the file.

    Raises:
        FileNotFoundError, OSError, ValueError: see `read_image`.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            # Without this test, Pillow would decode a PNG file to look for EXIF.
            exif = picture.getexif() if "exif" in picture.info else {}
            transposed = exif.get(_EXIF_ORIENTATION) in _TRANSPOSED
    except Exception:
        # scikit-image reads more formats than Pillow, and very large files, which Pillow refuses.
        return read_image(path).shape[:2]
    return (width, height) if transposed else (height, width)


def _decode(path, keep_numbers=False):
    """Return the pixels as they are stored, and turned by the EXIF orientation."""
    from PIL import Image, ImageOps

    try:
        # scikit-image reads scientific formats and web addresses.
        if not str(path).lower().endswith(_PILLOW_SUFFIXES) or "://" in str(path):
            import skimage.io

            stored = np.asarray(skimage.io.imread(path))
            return stored, stored
        with Image.open(path) as picture:
            plain = keep_numbers or picture.mode in _PLAIN_MODES
            plain = picture if plain else picture.convert("RGBA")
            stored = np.array(plain)
            if "exif" not in picture.info:
                return stored, stored
            return stored, np.array(ImageOps.exif_transpose(plain))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    except Exception as error:
        raise OSError(f"{path} cannot be read as an image: {error}") from error
