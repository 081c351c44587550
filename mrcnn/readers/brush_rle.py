"""Masks that were painted in Label Studio: its packed run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

# A pixel is object from this opacity on, of 255.
_OPAQUE = 128
_CHANNELS = 4


def decode_brush(rle: Any, height: int, width: int) -> np.ndarray:
    """Return the runs of a painted mask, row by row: of background, object, background, ...

    The bytes of `rle` are a stream of bits, the highest first. It begins with the number of values
    (32 bits), the bits per value less 1 (5) and four lengths of counts in bits, each less 1 (4).
    Blocks follow: a bit that is 1 if all values of the block are equal, the number of a length
    (2 bits), a count of this length, less 1, and one value or as many as the count says. The values
    are those of an RGBA image, row by row; opacity makes the mask. Source: the format `rle-pack` of
    the library thi.ng/umbrella, which Label Studio uses.

    Args:
        rle: list of bytes, of any content.
        height, width: of the image that was painted, in pixels.

    Returns:
        int64 lengths that add up to `height * width`.

    Raises:
        ValueError: with the reason, if it is no list of bytes, ends early or has another size.
    """
    try:
        # A number would make a list of so many zeros, and a text has no bytes.
        stream = _Bits(bytes(rle) if isinstance(rle, list) else b"")
    except (TypeError, ValueError):
        raise ValueError("a brush whose RLE is no list of bytes") from None
    count = stream.read(32)
    if count != height * width * _CHANNELS:
        raise ValueError("a brush of another size than its image")
    bits = stream.read(5) + 1
    lengths = [stream.read(4) + 1 for _ in range(4)]
    values, ends, done = [], [], 0
    while done < count:
        is_run = stream.read(1)
        block = min(stream.read(lengths[stream.read(2)]) + 1, count - done)
        if is_run:
            values.append(np.array([stream.read(bits)]))
            ends.append(np.array([done + block]))
        else:
            values.append(stream.read_many(block, bits))
            ends.append(np.arange(done + 1, done + block + 1))
        done += block
    return _opaque_runs(np.concatenate(values), np.concatenate(ends))


def _opaque_runs(values, ends):
    """Return runs of pixels from runs of channels, given by value and end."""
    # The run that ends at value `end` covers the opacity of all pixels before `end // 4`.
    pixels = ends // _CHANNELS
    some = np.diff(pixels, prepend=0) > 0
    is_object, pixels = values[some] >= _OPAQUE, pixels[some]
    last = np.append(is_object[1:] != is_object[:-1], True)
    runs = np.diff(pixels[last], prepend=0)
    return np.concatenate([[0], runs]) if is_object[0] else runs


class _Bits:
    """Numbers of any count of bits in bytes."""

    def __init__(self, content: bytes):
        self._bits = np.unpackbits(np.frombuffer(content, np.uint8))
        self._content, self._at = content, 0

    def read(self, size):
        """Return the next number."""
        start, end = self._at, self._at + size
        if end > len(self._bits):
            raise ValueError("a brush whose RLE ends early")
        self._at = end
        piece = int.from_bytes(self._content[start // 8 : (end + 7) // 8], "big")
        return piece >> -end % 8 & (1 << size) - 1

    def read_many(self, count, size):
        """Return the next numbers, int64."""
        start, end = self._at, self._at + count * size
        if end > len(self._bits):
            raise ValueError("a brush whose RLE ends early")
        self._at = end
        digits = self._bits[start:end].reshape(count, size).astype(np.int64)
        return digits @ (1 << np.arange(size - 1, -1, -1))
