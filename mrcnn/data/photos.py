"""Reading of picture files: photos as RGB, masks and label images as the stored numbers."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mrcnn import limits
from mrcnn.data.decoding import (
    Refused,
    open_picture,
    orientation_of,
    to_pixels,
    turn,
    turned_size,
)
from mrcnn.data.tiff import SIGNATURES, Tiff, open_tiff
from mrcnn.download import DownloadError, download
from mrcnn.files import open_regular
from mrcnn.ops.pixels import as_image


def read_image(path: str | os.PathLike, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a photo, turned as viewers and annotation tools show it.

    Formats are JPEG, PNG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000, TGA, PCX, SGI and AVIF; of a file
    with several pictures it is the first one. All colours become RGB. `limits.MAX_IMAGE_PIXELS`
    bounds the size.

    Args:
        path: of a file, or a web address that begins with http:// or https://.
        size: `(height, width)` in pixels that its annotations are for. A photo is turned by its
            EXIF orientation, unless it has this size only as it is stored.

    Returns:
        `[height, width, 3]` uint8, RGB; files with more than four channels keep them all. See
        `mrcnn.ops.pixels.as_image`.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is damaged, empty, or no file but a folder, pipe or device.
        ValueError: if it holds another kind of image, or is too large.
        All name the path.
    """
    with _reading(path) as file:
        stored = _open(file)
        pixels = stored.decode()
    turned = turned_size(*pixels.shape[:2], stored.orientation) if pixels.ndim > 1 else ()
    is_as_stored = size is not None and pixels.shape[:2] == tuple(size) != turned
    if not is_as_stored and pixels.ndim > 1:
        pixels = np.ascontiguousarray(turn(pixels, stored.orientation))
    return as_image(pixels, str(path), channels=None)


def read_stored(path: str | os.PathLike) -> np.ndarray:
    """Read the numbers in a mask or label image.

    A palette image gives the indices, not the colours that they stand for. Nothing is scaled or
    turned; an alpha channel is dropped.

    Returns:
        `[height, width]`, or `[height, width, 3]` for an image with colours.

    Raises:
        FileNotFoundError, OSError, ValueError: see `read_image`.
    """
    with _reading(path) as file:
        pixels = _open(file, keep_numbers=True).decode()
    return _rows_and_columns(pixels, path)


def read_stored_bytes(content: bytes) -> np.ndarray:
    """As `read_stored`, for the content of a file; ValueError if it cannot be read."""
    try:
        pixels = _open(io.BytesIO(content), keep_numbers=True).decode()
    # Decoders raise errors of many kinds.
    except Exception as error:
        raise ValueError(f"the picture cannot be read: {_reason(error)}") from error
    return _rows_and_columns(pixels, "the picture")


def _rows_and_columns(pixels, name):
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise ValueError(f"{name} has the shape {pixels.shape}; a mask has rows and columns.")
    return pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return the `(height, width)` of `read_image`, without decoding the file.

    Raises:
        FileNotFoundError, OSError, ValueError: see `read_image`.
    """
    with _reading(path) as file:
        stored = _open(file)
        return turned_size(*stored.shape[:2], stored.orientation)


def _open(file, keep_numbers=False):
    """Return the `Tiff` of an open file, whatever its format."""
    signature = file.read(4)
    file.seek(0)
    if signature in SIGNATURES:
        return open_tiff(file, keep_numbers)
    picture = open_picture(file)
    orientation = orientation_of(picture, file)
    return Tiff(picture.size[::-1], orientation, lambda: to_pixels(picture, keep_numbers))


@contextmanager
def _reading(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a picture file, and name it in all errors of the block."""
    try:
        with _opened(path) as file:
            yield file
    except FileNotFoundError as error:
        reason = str(error)
        end = "." if reason == "there is no such file" else f" ({reason})."
        raise FileNotFoundError(f"there is no file {path}{end}") from None
    except Refused as error:
        raise ValueError(f"{path} cannot be read as an image: {error}.") from None
    # Decoders raise errors of many kinds.
    except Exception as error:
        raise OSError(f"{path} cannot be read as an image: {_reason(error)}") from error


def _reason(error):
    """Return the text of an error as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 300 else f"{text[:300]}..."


@contextmanager
def _opened(path):
    """Open a file, or what is at a web address, which is fetched into a temporary file."""
    if not str(path).lower().startswith(("http://", "https://")):
        with open_regular(path) as file:
            yield file
        return
    with tempfile.TemporaryDirectory(prefix="mrcnn_") as folder:
        copy = Path(folder, "photo")
        try:
            download(path, copy, limit=4 * limits.MAX_IMAGE_PIXELS, verbose=0)
        except DownloadError as error:
            raise OSError(error.reason) from None
        with open_regular(copy) as file:
            yield file
