"""The part of a COCO RLE inside its box, in memory that grows with the object, not the image."""

from __future__ import annotations

import numpy as np


def run_lengths(rle: dict) -> np.ndarray:
    """Return the lengths of the runs of a COCO RLE, `[n]` int64; background and object in turn.

    A character of compressed counts holds five bits of a number, the lowest first; from the fourth
    number on, it is the difference to the number two before. Source: `rleFrString` of the COCO API.

    Raises:
        ValueError: if the runs do not add up to the size.
    """
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        codes = counts.encode() if isinstance(counts, str) else counts
        runs = _decompress(np.frombuffer(codes, np.uint8).astype(np.int64) - 48)
    else:
        runs = np.asarray(counts, np.int64)
    height, width = rle["size"]
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(f"the counts of an RLE do not add up to its size, {height} x {width}")
    return runs


def _decompress(codes):
    ends = np.flatnonzero((codes & 32) == 0)
    if not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        return np.array([-1])
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 11:
        return np.array([-1])
    runs = np.add.reduceat((codes & 31) << (5 * places), starts)
    # The highest bit of the last character is the sign.
    runs -= np.where(codes[ends] & 16, 1 << (5 * (places[ends] + 1)), 0)
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs


def crop_rle(rle: dict) -> tuple[int, int, np.ndarray]:
    """Decode the box of the object in a COCO RLE, and nothing else.

    Args:
        rle: dict of `size` (height, width) and `counts`, compressed or a list.

    Returns:
        Row and column of the upper left corner, and the mask `[h, w]` bool of the tight box; an
        empty object gives `0, 0` and `[0, 0]`.

    Raises:
        ValueError: if the runs do not add up to the size.
    """
    height = int(rle["size"][0])
    borders = run_lengths(rle).cumsum()
    starts, stops = borders[:-1:2], borders[1::2]
    starts, stops = starts[: len(stops)], stops
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    if not len(starts):
        return 0, 0, np.zeros((0, 0), bool)
    left, right = int(starts[0] // height), int((stops[-1] - 1) // height) + 1
    # +1 where a run begins, -1 where one ends: the running sum is 1 inside.
    steps = np.zeros((right - left) * height + 1, np.int8)
    np.add.at(steps, starts - left * height, 1)
    np.add.at(steps, stops - left * height, -1)
    mask = steps[:-1].cumsum(dtype=np.int8).astype(bool).reshape(right - left, height).T
    rows = np.flatnonzero(mask.any(axis=1))
    # A copy: a view would keep whole columns of the image in memory.
    return int(rows[0]), left, mask[rows[0] : rows[-1] + 1].copy()
