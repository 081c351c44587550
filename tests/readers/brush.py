"""An encoder of Label Studio's packed run lengths, written from the description of the format."""

import itertools

import numpy as np

# Bits of the counts.
LENGTHS = (3, 4, 8, 16)


def packed(mask, literal):
    """Return the bytes of a mask as an RGBA image: in blocks of equal values, or of any values."""
    values = np.repeat(np.where(mask, 255, 0).ravel(), 4).tolist()
    text = f"{len(values):032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in LENGTHS)
    if literal:
        # Blocks of 5 values end within pixels.
        blocks = [values[at : at + 5] for at in range(0, len(values), 5)]
        parts = ["0" + count(block) + "".join(f"{v:08b}" for v in block) for block in blocks]
    else:
        runs = (list(group) for _, group in itertools.groupby(values))
        parts = ["1" + count(run) + f"{run[0]:08b}" for run in runs]
    text += "".join(parts)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def count(block):
    """The number of a length, and the size of the block less 1 in so many bits."""
    index = next(i for i, length in enumerate(LENGTHS) if len(block) <= 1 << length)
    return f"{index:02b}{len(block) - 1:0{LENGTHS[index]}b}"
