"""Writing of pictures and videos: whole files, or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mrcnn.files import replacing, unwritable

_JPEG_QUALITY = 92
# Less than zlib's usual level, which takes several times as long for a few percent of the size.
_PNG_LEVEL = 2


def write_picture(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write a picture in the format of its suffix, into a folder that is made if need be.

    Args:
        path: ends with .jpg, .jpeg or .png.
        image: `[height, width, 3]` uint8 RGB; for PNG also `[height, width]` uint8 or uint16.

    Raises:
        OSError: names the file, if it cannot be written.
    """
    import cv2

    path = Path(path)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    is_png = path.suffix.lower() == ".png"
    png, jpeg = (cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    options = png if is_png else jpeg
    # Encoding in memory: `imwrite` gives no reason where it fails.
    encoded = cv2.imencode(path.suffix.lower(), pixels, options)[1]
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def make_folder(folder: Path) -> None:
    """Make a folder and those that it is in; an OSError names it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


@contextmanager
def writing_video(path: str | os.PathLike, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that adds a frame, `[height, width, 3]` uint8 RGB, to an MP4 file.

    The file appears when the block ends, and not if it raises an error. All frames have the size of
    the first one; without a frame there is no file.

    Args:
        path: ends with .mp4.
        rate: frames per second.

    Raises:
        OSError: if the file cannot be written.
        ValueError: for a frame of another size.
    """
    import cv2

    path, writer, size = Path(path), None, None

    def add(frame):
        nonlocal writer, size
        if writer is None:
            make_folder(path.parent)
            size = frame.shape[1::-1]
            writer = cv2.VideoWriter(
                str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), float(rate), size
            )
            if not writer.isOpened():
                raise OSError(
                    f'"{path}" cannot be written as a video of {size[0]}x{size[1]} pixels.'
                )
        if frame.shape[1::-1] != size:
            raise ValueError(
                f'A frame for "{path}" has {frame.shape[1]}x{frame.shape[0]} pixels (width x '
                f"height), the first one {size[0]}x{size[1]}."
            )
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    class _NoFrame(Exception):
        pass

    try:
        with replacing(path) as temporary:
            try:
                yield add
                if writer is None:
                    raise _NoFrame
            finally:
                if writer is not None:
                    writer.release()
    except _NoFrame:
        pass
