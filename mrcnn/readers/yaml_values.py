"""Reading of YAML files, whose values may be of any type in any place."""

from __future__ import annotations

import os
from typing import Any

from mrcnn.readers.json_values import read_bytes

# Lists of classes are short and flat. PyYAML takes seconds for a megabyte, or for deep nesting.
_MOST_BYTES = 1 << 18
_DEEPEST = 20


def read_yaml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a YAML file that holds a dict of plain values.

    Tags that make Python objects are refused by `yaml.SafeLoader`, and references (`*name`) here:
    a few lines of them can stand for more values than fit into memory.

    Raises:
        FileNotFoundError, OSError: see `read_bytes`.
        ValueError: if it is no YAML, too large, nested too deeply, has references or is no dict.
        All name the path.
    """
    import yaml

    content = read_bytes(path)
    if len(content) > _MOST_BYTES:
        raise ValueError(
            f"{path} has {len(content)} bytes; a file of classes has at most {_MOST_BYTES}."
        )
    try:
        depth = 0
        for event in yaml.parse(content, yaml.SafeLoader):
            depth += isinstance(event, yaml.events.CollectionStartEvent)
            depth -= isinstance(event, yaml.events.CollectionEndEvent)
            if depth > _DEEPEST:
                raise RecursionError
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"{path} has references (*name), which are not read.")
        data = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {_reason(error)}.") from None
    except RecursionError:
        raise ValueError(f"{path} is not usable: its YAML is nested too deeply.") from None
    # Numbers and dates of impossible size, and halves of characters.
    except (OverflowError, TypeError, UnicodeError) as error:
        raise ValueError(f"{path} is not YAML: {_reason(error)}.") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no names with values, as data.yaml does.")
    return data


def _reason(error):
    return " ".join(str(error).split())[:200].rstrip(".")
