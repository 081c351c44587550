"""Reading of TIFF files: photos with Pillow, numbers of more than 8 bits and stacks with tifffile.

Pillow knows the colour spaces and the compressions of photos, but has at most four channels of
8 bits. tifffile returns the numbers as they are stored; most compressions need its companion, the
package imagecodecs.
"""

from __future__ import annotations

import importlib.util
import lzma
import math
import os
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

from mrcnn import limits
from mrcnn.data.decoding import Refused, check_pixels, open_picture, to_pixels, turn_back

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_PAGES = 4096
# Bytes of a value by its type, 1 for the unknown.
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PREDICTOR, _SAMPLE_FORMAT = 274, 277, 317, 339
# What tifffile decodes by itself: nothing, PackBits, deflate, LZMA.
_INFLATERS = {8: zlib.decompressobj, 32946: zlib.decompressobj, 34925: lzma.LZMADecompressor}
_OWN_COMPRESSIONS = {1, 32773, *_INFLATERS}
_FLOAT_PREDICTOR = 3
# Most that LZMA inflates a byte to; deflate has about 1,000.
_MAX_RATIO = 7000
# Black or white at 0, and RGB. tifffile converts no other colours.
_GRAY_OR_RGB, _PALETTE = (0, 1, 2), 3
# Layouts that tifffile completes from other files, whose names stand in this one.
_MULTIFILE = ("ome", "mmstack", "ndtiff")


class Tiff(NamedTuple):
    """A TIFF file that is open but not decoded.

    Attributes:
        shape: `(height, width, ...)` as stored.
        orientation: by EXIF.
        decode: function that returns the pixels as stored.
    """

    shape: tuple[int, ...]
    orientation: int
    decode: Callable[[], np.ndarray]


def open_tiff(file: BinaryIO, keep_numbers: bool = False) -> Tiff:
    """Return a `Tiff`.

    Args:
        file: open for reading. It must stay open until the pixels are decoded.
        keep_numbers: see `mrcnn.data.decoding.to_pixels`.

    Raises:
        Refused: it is too large, or made to take up time or memory.
        Exception: any of Pillow and tifffile, if it is damaged.
    """
    check_directories(file)
    picture = _with_pillow(file)
    if picture is not None and not keep_numbers and _is_photo(picture):
        return _of_pillow(picture, keep_numbers)
    import tifffile

    known = tifffile.TIFF.FILE_FLAGS
    flags = {f"is_{name}": False for name in _MULTIFILE if name in known}
    file.seek(0)
    source = tifffile.TiffFile(file, name="image.tif", **flags)
    page = source.pages[0]
    if page.compression in _OWN_COMPRESSIONS and page.predictor != _FLOAT_PREDICTOR:
        return _of_tifffile(source, keep_numbers)
    if importlib.util.find_spec("imagecodecs"):
        return _of_tifffile(source, keep_numbers)
    if picture is not None and (_is_8_bit(picture) or picture.mode not in ("RGB", "RGBA")):
        return _of_pillow(picture, keep_numbers)
    raise Refused("a TIFF file of this depth and compression needs the package imagecodecs")


def check_directories(file):
    """Check the lists of tags, of which the libraries copy all data, however often referred to."""
    file.seek(0)
    header = file.read(16)
    order, is_big = "<" if header[:2] == b"II" else ">", header[2:4] in (b"+\0", b"\0+")
    head, entry, link = ("Q", "HHQ8x", "Q") if is_big else ("H", "HHL4x", "L")
    budget = 2 * os.fstat(file.fileno()).st_size + (1 << 20)
    seen = set()
    try:
        (offset,) = struct.unpack_from(order + link, header, 8 if is_big else 4)
        while offset and offset not in seen:
            seen.add(offset)
            file.seek(offset)
            (count,) = struct.unpack(order + head, file.read(struct.calcsize(order + head)))
            length = struct.calcsize(order + entry)
            if count > 65535 or len(seen) > _MAX_PAGES:
                raise Refused(f"it is a TIFF file of more than {_MAX_PAGES} pages")
            entries = file.read(count * length)
            for _, kind, number in struct.iter_unpack(order + entry, entries):
                budget -= number * _TYPE_BYTES.get(kind, 1)
            if budget < 0:
                raise Refused("the tags of this TIFF file refer to more bytes than it has")
            (offset,) = struct.unpack(order + link, file.read(struct.calcsize(order + link)))
    # A file that is cut off or damaged: the libraries say where.
    except (struct.error, OSError, OverflowError):
        pass
    finally:
        file.seek(0)


def _with_pillow(file):
    """Return the `PIL.Image` of the first page, or None if Pillow does not know the layout."""
    from PIL import UnidentifiedImageError

    try:
        return open_picture(file)
    except UnidentifiedImageError:
        return None


def _is_8_bit(picture):
    tags = picture.tag_v2
    bits, formats = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    return max(bits) <= 8 and set(formats) == {1}


def _is_photo(picture):
    """Return True for one page of up to four channels of 8 bits, or several in other colours."""
    if not _is_8_bit(picture) or picture.tag_v2.get(_SAMPLES, 1) > 4:
        return False
    if picture.tag_v2.get(_PHOTOMETRIC) not in _GRAY_OR_RGB:
        return True
    try:
        # The number of pages would take the time to read all of them.
        picture.seek(1)
    except EOFError:
        return True
    picture.seek(0)
    return False


def _of_pillow(picture, keep_numbers):
    """Return the `Tiff` of a picture."""
    tags = picture.tag_v2
    orientation = _number(tags.get(_ORIENTATION))
    is_inverted = keep_numbers and tags.get(_PHOTOMETRIC) == 0 and picture.mode in ("1", "L")

    def decode():
        pixels = to_pixels(picture, keep_numbers)
        # Pillow turns TIFF files while it decodes them, and then drops the tag.
        if _ORIENTATION not in picture.getexif():
            pixels = turn_back(pixels, orientation)
        # Where 0 is white, Pillow exchanges black and white.
        return ~pixels if is_inverted else pixels

    return Tiff((tags[_LENGTH], tags[_WIDTH]), orientation, decode)


def _of_tifffile(source, keep_numbers):
    """Return the `Tiff` of the first series of pages of a `tifffile.TiffFile`."""
    series, page = source.series[0], source.pages[0]
    samples = page.samplesperpixel
    is_odd = page.photometric == _PALETTE or samples in (3, 4)
    if not keep_numbers and is_odd and page.photometric not in _GRAY_OR_RGB:
        name = getattr(page.photometric, "name", page.photometric)
        raise Refused(f"a TIFF file of this depth is read as gray or RGB, not as {name}")
    shape = series.shape
    # Some programs write the channels as pages.
    are_pages = len(shape) > 2 and shape[-1] not in (3, 4) and shape[-3] in (3, 4)
    if are_pages:
        shape = (*shape[:-3], *shape[-2:], shape[-3])
    if len(shape) in (2, 3):
        check_pixels(*shape[:2])
    if series.dtype is None or math.prod(shape) * series.dtype.itemsize > _max_bytes():
        raise Refused(
            f"it has the shape {shape}, more than 8 bytes for each of "
            f"mrcnn.limits.MAX_IMAGE_PIXELS = {limits.MAX_IMAGE_PIXELS}; raise that to read it"
        )
    tag = page.tags.get(_ORIENTATION)

    def decode():
        _check_strips(source, series)
        pixels = np.asarray(series.asarray(maxworkers=1))
        return np.moveaxis(pixels, -3, -1) if are_pages else pixels

    return Tiff(shape, _number(tag.value if tag else 1), decode)


def _number(orientation):
    """Return the value of the tag, 1 if it is missing or damaged."""
    return int(orientation) if isinstance(orientation, int) else 1


def _max_bytes():
    return 8 * limits.MAX_IMAGE_PIXELS


def _check_strips(source, series):
    """Refuse strips that are missing, or inflate to much more than the picture.

    tifffile fills missing ones with zeros, and inflates each one whole.
    """
    strips = []
    for page in series.pages:
        # None stands for pages that follow the first one without tags of their own.
        if page is None:
            continue
        found = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        # One strip may hold all rows.
        if len(found) < math.prod(page.chunked) and not (found and page.is_contiguous):
            raise ValueError("strips of this TIFF file are missing")
        if page.compression in _INFLATERS:
            strips += [(page.compression, strip) for strip in found]
    if sum(count for _, (_, count) in strips) * _MAX_RATIO < _max_bytes():
        return
    budget = 2 * series.nbytes + (1 << 26)
    for compression, (offset, count) in strips:
        source.filehandle.seek(offset)
        data = source.filehandle.read(count)
        inflater = _INFLATERS[compression]()
        budget -= len(inflater.decompress(data, max_length=budget + 1))
        if budget < 0:
            raise Refused("the strips of this TIFF file hold more than its pixels")
