"""Pictures as arrays written to files, and titles above them."""

from pathlib import Path

import numpy as np

from mrcnn.drawing.paint import text_pixels
from mrcnn.drawing.text import line_of_text
from mrcnn.files import replacing

# Suffixes of files that Pillow writes; Matplotlib writes all others, such as ".svg".
_PIXELS = {"": "png", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def is_raster(path) -> bool:
    """Return whether `save_picture` can write a path or an open file."""
    return hasattr(path, "write") or Path(path).suffix.lower() in _PIXELS


def save_picture(picture: np.ndarray, path) -> None:
    """Write a [height, width, 3] uint8 picture to a file, whole or not at all.

    Args:
        path: ends in .png, .jpg, .jpeg, .webp or nothing (png); missing folders are made. An open
            binary file gets a png.
    """
    from PIL import Image

    image = Image.fromarray(picture)
    if hasattr(path, "write"):
        image.save(path, "png")
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The usual level of PNG takes three times as long, for a few percent of the size.
    options = {"quality": 95, "compress_level": 2}
    with replacing(path) as partial:
        image.save(partial, _PIXELS[path.suffix.lower()], **options)


def with_title(picture: np.ndarray, title: str) -> np.ndarray:
    """Return a [height, width, 3] uint8 picture with a line of text on a white band above it.

    A long title gets smaller, down to 8 pixels, and is cut at the right.
    """
    if not title:
        return picture
    width, largest = picture.shape[1], round(max(1.3 * text_pixels(picture.shape), 16))
    text = line_of_text(title, largest)
    if text.shape[1] > width:
        text = line_of_text(title, max(8, largest * width // text.shape[1]))[:, :width]
    band = np.full((2 * largest, width, 3), 255, np.uint8)
    top, left = (len(band) - len(text)) // 2, (width - text.shape[1]) // 2
    band[top : top + len(text), left : left + text.shape[1]] -= text[..., np.newaxis]
    return np.concatenate([band, picture])
