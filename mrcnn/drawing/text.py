"""Lines of text as arrays, in a font of any size that has most alphabets."""

from functools import lru_cache
from pathlib import Path

import numpy as np


@lru_cache(maxsize=32)
def _font(pixels: int):
    import matplotlib
    from PIL import ImageFont

    # Pillow's own font has only Latin letters.
    path = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(path), pixels)


@lru_cache(maxsize=512)
def line_of_text(text: str, pixels: int) -> np.ndarray:
    """Return a line of text with a margin, `[height, width]` uint8, 255 where ink covers a pixel.

    Args:
        text: line breaks become spaces.
        pixels: size of the font. All lines of one size have one height.
    """
    from PIL import Image, ImageDraw

    font, text = _font(pixels), " ".join(text.split())
    # From the top of a capital to below a "g"; accents on capitals reach into the margin.
    top, bottom = font.getbbox("Hg", anchor="ls")[1::2]
    margin = max(2, round(0.25 * pixels))
    size = round(font.getlength(text)) + 2 * margin, bottom - top + 2 * (margin - 1)
    picture = Image.new("L", size)
    ImageDraw.Draw(picture).text((margin, margin - 1 - top), text, 255, font, anchor="ls")
    return np.asarray(picture)
