"""Search for the images that annotation files name."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path


def find_image(folder: str | os.PathLike, name: str, outside: bool = False) -> Path | None:
    """Return the file of an image by its name in an annotation file, or None.

    Annotation files move between systems: names may have the backslashes of Windows, the decomposed
    letters of macOS (letter and accent apart), and folders that no longer exist.

    Args:
        folder: of the images.
        name: a path relative to the folder, or an absolute one.
        outside: accept names that lead out of the folder, by `..` or from the root. Otherwise only
            the last part of such a name counts. Links in the folder are followed in any case: its
            owner has set them.
    """
    name = name.replace("\\", "/")
    whole = name if outside else name_inside(folder, name)
    for candidate in (whole, os.path.basename(name)):
        for form in _forms(candidate):
            path = Path(folder, form)
            if _is_regular(path):
                return path
    return None


def name_inside(folder: str | os.PathLike, name: str) -> str | None:
    """Return a name relative to a folder; None if it leads out of the folder."""
    plain = os.path.normpath(name.replace("\\", "/"))
    if os.path.isabs(plain) or os.path.splitdrive(plain)[0]:
        root = os.path.join(os.path.abspath(folder), "")
        return plain[len(root) :] if plain.startswith(root) else None
    return None if plain.split(os.sep)[0] == os.pardir else plain


def _forms(name):
    """Yield a name with composed and decomposed letters, if it has others than those of ASCII."""
    if name is not None:
        yield name
        if not name.isascii():
            yield from (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))


def _is_regular(path):
    """Return True for a file with content; pipes and devices might never end."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    # ValueError for names that no file can have, with a zero byte or half a character.
    except (OSError, ValueError):
        return False
