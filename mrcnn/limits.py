"""Limits on what a file may ask for, so that no broken or hostile one fills memory or disk.

Each is a number here that a program may replace (`mrcnn.limits.MAX_IMAGE_PIXELS = 10**9`), or
an environment variable of the same name after `MRCNN_`. They are read whenever they are used.
docs/security.md says what each one protects.

Attributes:
    MAX_IMAGE_PIXELS: height times width of an image that is read.
    MAX_MASK_BYTES: height times width times number of the masks of one image.
    MAX_JSON_BYTES: of an annotation file.
    MAX_DOWNLOAD_BYTES: of a download whose size is not known beforehand.
    MAX_UNPACKED_BYTES: of all files of an archive together.
    MIN_DOWNLOAD_RATE: bytes per second over a minute, below which a download is given up.
"""

import os

_DEFAULTS = {
    "MAX_IMAGE_PIXELS": 1 << 26,
    "MAX_MASK_BYTES": 1 << 30,
    "MAX_JSON_BYTES": 1 << 32,
    "MAX_DOWNLOAD_BYTES": 1 << 36,
    "MAX_UNPACKED_BYTES": 1 << 37,
    "MIN_DOWNLOAD_RATE": 1000,
}


def _chosen(name):
    """Return a limit from the environment, or the default."""
    text = os.environ.get(f"MRCNN_{name}", "").strip()
    if not text:
        return _DEFAULTS[name]
    if not text.isdecimal():
        raise ValueError(f"MRCNN_{name} is {text!r} in the environment; give a whole number.")
    return int(text)


MAX_IMAGE_PIXELS = _chosen("MAX_IMAGE_PIXELS")
MAX_MASK_BYTES = _chosen("MAX_MASK_BYTES")
MAX_JSON_BYTES = _chosen("MAX_JSON_BYTES")
MAX_DOWNLOAD_BYTES = _chosen("MAX_DOWNLOAD_BYTES")
MAX_UNPACKED_BYTES = _chosen("MAX_UNPACKED_BYTES")
MIN_DOWNLOAD_RATE = _chosen("MIN_DOWNLOAD_RATE")
