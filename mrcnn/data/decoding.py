"""Decoding of pictures with Pillow: accepted formats, colours, and the turning by EXIF."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np

from mrcnn import limits

# Formats of pixels whose decoders are part of Pillow. Others run programs (EPS) or draw (WMF).
_FORMATS = (
    *("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "TGA"),
    *("DIB", "PCX", "SGI", "AVIF"),
)
# Modes that NumPy takes as they are. Of the others, some have an alpha channel.
_PLAIN = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "RGB", "RGBA", "RGBX"}
_WITH_ALPHA = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
_EXIF_ORIENTATION = 274
# Formats of `struct` by the type of a number in EXIF.
_EXIF_NUMBERS = {1: "B", 3: "H", 4: "L"}
# Decoding goes over the whole picture once per scan of a JPEG file. Usual files have up to ten.
_MAX_SCANS = 20


class Refused(ValueError):
    """A file that is no damaged picture, but too large, or made to take up time or memory."""


def open_picture(file: BinaryIO) -> Any:
    """Return the `PIL.Image` of an open file, not decoded yet; errors are Pillow's.

    Raises:
        Refused: it is larger than `limits.MAX_IMAGE_PIXELS`.
    """
    from PIL import Image, UnidentifiedImageError

    # Pillow has a limit of its own, for the whole process. A program that raises ours means both.
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limits.MAX_IMAGE_PIXELS)
    try:
        picture = Image.open(file, formats=_FORMATS)
    # The latter, where a program turns warnings into errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(f"it has {_too_many()}") from None
    except UnidentifiedImageError:
        names = ", ".join(_FORMATS)
        raise UnidentifiedImageError(f"it is damaged, or none of {names}") from None
    check_pixels(*picture.size[::-1])
    if picture.format in ("JPEG", "MPO"):
        _check_scans(picture, file)
    return picture


def check_pixels(height: int, width: int) -> None:
    """Raise `Refused` for a picture larger than `limits.MAX_IMAGE_PIXELS`, or without pixels."""
    if height < 1 or width < 1:
        raise Refused(f"it has {height}x{width} pixels (height x width)")
    if height * width > limits.MAX_IMAGE_PIXELS:
        raise Refused(f"it has {height}x{width} pixels (height x width), {_too_many()}")


def _too_many():
    limit = limits.MAX_IMAGE_PIXELS
    return f"more than mrcnn.limits.MAX_IMAGE_PIXELS = {limit}; raise that to read it"


def _check_scans(picture, file):
    """Refuse JPEG files that repeat cheap scans, each of which takes the time of a picture."""
    here, layers = file.tell(), picture.layers
    # Pillow has stopped behind the header of the first scan. If that holds all layers, it is alone.
    file.seek(max(here - 6 - 2 * layers, 0))
    is_whole = file.read(3)[2:] == bytes([layers])
    if picture.info.get("progressive") or not is_whole:
        file.seek(0)
        scans = file.read().count(b"\xff\xda")
        if scans * picture.width * picture.height > _MAX_SCANS * limits.MAX_IMAGE_PIXELS:
            raise Refused(f"it is a JPEG file of {scans} scans, which are too many for its size")
    file.seek(here)


def to_pixels(picture: Any, keep_numbers: bool = False) -> np.ndarray:
    """Decode a picture, its first one if there are several.

    Args:
        picture: of `open_picture`.
        keep_numbers: return the numbers of the file: the indices of a palette, not its colours.

    Returns:
        `[height, width]` or `[height, width, channels]`: gray or RGB, with alpha or without.
    """
    # Before the conversion: decoding may change the mode of a GIF.
    picture.load()
    if keep_numbers or picture.mode in _PLAIN:
        return np.array(picture)
    if picture.mode == "LAB":
        return np.array(_lab_to_rgb(picture))
    return np.array(picture.convert(_WITH_ALPHA.get(picture.mode, "RGB")))


def _lab_to_rgb(picture):
    """Convert CIELAB with the white of print, D50, to sRGB."""
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(picture, *profiles, outputMode="RGB")


def orientation_of(picture: Any, file: BinaryIO) -> int:
    """Return the EXIF orientation of a picture that is not a TIFF file, 1 if it has none.

    The tags are read here, because Pillow copies the data of all of them, and each may refer to all
    of the file.
    """
    data = picture.info.get("exif") or b""
    if not data and picture.format == "PNG":
        data = _late_png_exif(file)
    data = data.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        (begin,) = struct.unpack_from(f"{order}L", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, begin)
        for index in range(count):
            entry = begin + 2 + 12 * index
            tag, kind, number = struct.unpack_from(f"{order}HHL", data, entry)
            if tag == _EXIF_ORIENTATION and kind in _EXIF_NUMBERS and number == 1:
                return struct.unpack_from(order + _EXIF_NUMBERS[kind], data, entry + 8)[0]
    except struct.error:
        pass
    return 1


def _late_png_exif(file):
    """Return the EXIF data of a PNG file that come after its pixels, where Pillow only sees them
    once it has decoded these."""
    here, data = file.tell(), b""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, name = struct.unpack(">L4s", header)
        if name == b"eXIf":
            data = file.read(length)
        if name in (b"eXIf", b"IEND"):
            break
        file.seek(length + 4, 1)
    file.seek(here)
    return data


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn `[height, width, ...]` as an EXIF orientation says. Unknown ones leave it as it is."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def turn_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo `turn`."""
    return turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def turned_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return the `(height, width)` after `turn`."""
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
