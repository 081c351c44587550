"""Reading a state: what is in it is known to be sound before anything is restored from it."""

import io
import json
import math
import os
import random
import re
import zipfile

import numpy as np

from mrcnn.weights.finite import count_non_finite

_NUMBERED = re.compile(r"(.+)/(0|[1-9]\d*)", re.DOTALL)
_MAX_DEPTH = 32
_MAX_HEADER = 10_000
_FACTS = ("epoch", "step", "place", "means", "call", "optimizer", "random", "callbacks")


def read_state(path, place):
    """Return the facts and the arrays of a state file.

    It is an archive of arrays, uncompressed, so that it never takes more memory than it has bytes;
    no array is unpickled.

    Args:
        path: of the file.
        place: epoch and step in its name.

    Raises:
        Exception: of any type, if something is wrong. Depending on the damaged byte, zipfile and
            NumPy raise errors of a dozen kinds.
    """
    _require(os.path.isfile(path), "it is not a regular file")
    with open(path, "rb") as opened, zipfile.ZipFile(opened) as archive:
        entries = archive.infolist()
        is_stored = all(
            entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
            for entry in entries
        )
        size = sum(entry.file_size for entry in entries)
        _require(
            is_stored and size <= os.path.getsize(path), "it is compressed, or says it is larger"
        )
        # `read` compares the checksum.
        arrays = {
            entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries
        }
    _require(len(arrays) == len(entries), "it has two arrays of one name")
    facts = json.loads(str(arrays.pop("facts")))
    _require(_is_shallow(facts), "its facts are nested too deeply")
    _check_facts(facts, place)
    _check_random(facts["random"], arrays.get("numpy_random"))
    _check_arrays(facts, arrays)
    return facts, arrays


def _require(condition, reason):
    if not condition:
        raise ValueError(reason)


def _array(content):
    """Return the array in the content of an `.npy` file; read-only, without a copy."""
    buffer = io.BytesIO(content)
    version = np.lib.format.read_magic(buffer)
    _require(version in ((1, 0), (2, 0)), f"it has an array of version {version}")
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, is_fortran, dtype = read[version[0]](buffer, max_header_size=_MAX_HEADER)
    _require(dtype.kind in "biufcU" and dtype.itemsize, f"it has an array of type {dtype}")
    start, count = buffer.tell(), math.prod(shape)
    _require(
        all(side >= 0 for side in shape) and count * dtype.itemsize == len(content) - start,
        "an array has another size than it says",
    )
    if not count:
        return np.zeros(shape, dtype)
    array = np.frombuffer(content, dtype, offset=start)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _is_shallow(tree):
    """Return whether a tree of JSON is not so deep that a recursion over it would fail."""
    level = [tree]
    for _ in range(_MAX_DEPTH):
        below = []
        for node in level:
            if isinstance(node, dict | list):
                below += node.values() if isinstance(node, dict) else node
        level = below
    return not level


def is_count(value):
    """Return whether a value is a whole number that a float holds exactly, and not negative."""
    return type(value) is int and 0 <= value < 1 << 53


def _is_finite(value):
    return type(value) in (int, float) and math.isfinite(value)


def _check_facts(facts, place):
    """Raise ValueError unless all facts have the types and ranges that training relies on."""
    _require(type(facts) is dict, "its facts are not a dict")
    missing = [name for name in (*_FACTS, "arrays", "callback_arrays") if name not in facts]
    _require(not missing, f"it lacks {', '.join(missing)}")
    for name in ("epoch", "step", "place"):
        _require(is_count(facts[name]), f"its {name} is not a count")
    _require((facts["epoch"], facts["step"]) == place, "its name says another epoch or step")
    means, call = facts["means"], facts["call"]
    _require(
        type(means) is list
        and len(means) == 2
        and is_count(means[0])
        and type(means[1]) is dict
        and all(map(_is_finite, means[1].values())),
        "its means are not a count and finite numbers",
    )
    _require(type(call) is dict and is_count(call.get("epochs")), "it does not say its epochs")
    _require(is_count(call.get("seed", 0)), "its seed is not a count")
    _require(type(facts["optimizer"]) is str, "its optimizer is not a name")
    callbacks = facts["callbacks"]
    _require(
        type(callbacks) is dict and all(type(state) is dict for state in callbacks.values()),
        "the states of its callbacks are not dicts",
    )


def _check_random(states, keys):
    """Raise an error unless random states are complete. NumPy would read beyond the end of one."""
    kind, _, position, has_gauss, gauss = states["numpy"]
    is_sound = (
        keys is not None
        and keys.shape == (624,)
        and keys.dtype == np.uint32
        and is_count(position)
        and position <= 624
        and type(has_gauss) is int
        and has_gauss in (0, 1)
        and _is_finite(gauss)
    )
    _require(kind == "MT19937" and is_sound, "its random state of NumPy is not whole")
    version, internal, gauss = states["python"]
    is_sound = gauss is None or _is_finite(gauss)
    _require(is_sound and all(map(is_count, internal)), "its random state of Python is not whole")
    random.Random().setstate((version, tuple(internal), gauss))


def _check_arrays(facts, arrays):
    """Raise ValueError unless all arrays are there, numbered without gaps, and finite."""
    _require(sorted(arrays) == facts["arrays"], "it does not have all its arrays")
    groups = {}
    for name in arrays:
        match = _NUMBERED.fullmatch(name)
        _require(match or name == "numpy_random", f"it has an array {name[:80]!r}")
        if match:
            groups.setdefault(match[1], set()).add(int(match[2]))
    for group, numbers in groups.items():
        _require(numbers == set(range(len(numbers))), f"arrays of {group[:80]!r} are missing")
    listed = facts["callback_arrays"]
    _require(
        type(listed) is dict
        and all(type(names) is list for names in listed.values())
        and {f"{key}.{name}" for key, names in listed.items() for name in names} | {"model"}
        == set(groups) - {"optimizer"},
        "it does not have the arrays of its callbacks",
    )
    for name, array in arrays.items():
        group = name.split("/")[0]
        _require(array.dtype.kind in "biufc", f"{name[:80]!r} is text")
        if group in ("model", "optimizer"):
            _require(array.dtype.kind in "biuf", f"{name} is of type {array.dtype}")
            bad = count_non_finite(array)
            _require(not bad, f"{name} has {bad} values that are NaN or infinite")
        if group == "optimizer" and array.dtype.kind == "i":
            _require((array >= 0).all(), f"{name} has a negative count")
