"""Reading of XML files, whose values may be of any type in any place."""

from __future__ import annotations

import math
import os
from typing import Any

from mrcnn.readers.json_values import is_text, read_bytes


def read_xml(path: str | os.PathLike, root: str) -> Any:
    """Read an XML file, and return its root, an `xml.etree.ElementTree.Element`.

    Entities are never resolved: a few lines of them can stand for gigabytes, or for a file of this
    machine. Annotation tools write none.

    Args:
        path: of the file.
        root: the name that its root must have.

    Raises:
        FileNotFoundError, OSError: see `read_bytes`.
        ValueError: if it is no XML, has entities or another root. All name the path.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    content = read_bytes(path)
    try:
        found = ElementTree.fromstring(content)
    except DefusedXmlException:
        raise ValueError(f"{path} declares XML entities, which are never resolved.") from None
    # The latter for an encoding that Python does not have.
    except (ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{path} is not XML: {' '.join(str(error).split())[:200]}.") from None
    if found.tag != root:
        raise ValueError(f"{path} holds XML of an unknown layout; its root is not <{root}>.")
    return found


def text_of(element: Any, name: str) -> str | None:
    """Return the text in the first element of a name below another; None without one."""
    text = (element.findtext(name) or "").strip()
    return text if text and is_text(text) else None


def number(text: str | None) -> float | None:
    """Return the finite number in a text; None for another text."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def whole(text: str | None) -> int | None:
    """Return the whole number of at most 18 digits in a text; None for another text."""
    value = number(text)
    return int(value) if value is not None and abs(value) < 1e18 and value == int(value) else None
