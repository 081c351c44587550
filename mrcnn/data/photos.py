"""Picture files: photos as RGB, masks and label images as the numbers that are stored."""

from __future__ import annotations

import os

import numpy as np

from mrcnn.ops.pixels import as_image

# Pillow's names for what NumPy can take as it is; the rest is palettes and other colour spaces.
_PLAIN_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "F", "RGB", "RGBA"}
_PILLOW_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
_EXIF_ORIENTATION = 274
# From this value of the EXIF orientation on, rows and columns change places.
_FIRST_TRANSPOSED = 5


def read_image(path: str | os.PathLike, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a photo the way up that viewers and annotation tools show it.

    Args:
        path: of a file.
        size: `(height, width)` in pixels that its annotations are for. A photo is turned as its
            EXIF orientation says, unless it has this size only as it is stored.

    Returns:
        `[height, width, 3]` uint8, RGB; files with more than four channels keep them all. See
        `mrcnn.ops.pixels.as_image`.

    Raises:
        FileNotFoundError, OSError: where the file is missing or damaged.
        ValueError: where it holds no image of this kind.
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
    if pixels.ndim == 3 and pixels.shape[2] in (1, 2):
        pixels = pixels[..., 0]
    elif pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., :3]
    elif pixels.ndim != 2:
        raise ValueError(f"{path} has the shape {pixels.shape}; a mask has rows and columns.")
    return pixels


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return the `(height, width)` that `read_image` gives, if possible without decoding the file.

    Raises:
        FileNotFoundError, OSError, ValueError: see `read_image`.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            transposed = _FIRST_TRANSPOSED <= _orientation(picture) <= 8
    except Exception:
        # Pillow does not know all that scikit-image reads, and refuses very large files.
        return read_image(path).shape[:2]
    return (width, height) if transposed else (height, width)


def _decode(path, keep_numbers=False):
    """Pixels as they are stored, and turned as the EXIF orientation says."""
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


def _orientation(picture):
    # Pillow would decode a PNG file without EXIF to look for it.
    return picture.getexif().get(_EXIF_ORIENTATION, 1) if "exif" in picture.info else 1
