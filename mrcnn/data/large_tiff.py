"""TIFF files as memory-mapped arrays, of which only the parts that are used are read."""

from __future__ import annotations

import os

import numpy as np

from mrcnn.data.tiff import SIGNATURES, check_directories
from mrcnn.files import open_regular

_BLACK_IS_0, _RGB = 1, 2
_KINDS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


def map_tiff(path: str | os.PathLike) -> np.ndarray | None:
    """Return the picture of an uncompressed TIFF file, gray or RGB, as a `np.memmap`.

    Returns:
        `[height, width]` or `[height, width, 3]`, uint8, uint16 or float32, equal to the pixels
        that `read_image` converts; None for another file, missing and damaged ones too.
    """
    if not str(path).lower().endswith((".tif", ".tiff")):
        return None
    import tifffile

    # What is wrong with the file, if anything is, says `read_image`. tifffile has errors of many
    # kinds.
    try:
        with open_regular(path) as file:
            if file.read(4) not in SIGNATURES:
                return None
            check_directories(file)
            with tifffile.TiffFile(file, name=os.path.basename(path)) as tiff:
                page = tiff.pages[0]
                is_plain = (
                    len(tiff.pages) == 1
                    and page.is_memmappable
                    and page.photometric in (_BLACK_IS_0, _RGB)
                    and page.dtype in _KINDS
                    and (page.ndim == 2 or (page.ndim == 3 and page.shape[2] == 3))
                    and ("Orientation" not in page.tags or page.tags["Orientation"].value == 1)
                )
                offset, shape = page.dataoffsets[0], page.shape
                dtype = page.dtype.newbyteorder(tiff.byteorder)
        if is_plain:
            return np.memmap(path, dtype, "r", offset, shape)
    except Exception:
        pass
    return None
