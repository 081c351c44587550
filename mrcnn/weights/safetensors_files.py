"""The safetensors format: the length of a header, the header in JSON, and the numbers.

https://github.com/huggingface/safetensors describes it.
"""

import json
import struct

from mrcnn.files import one_line
from mrcnn.weights.stored import Span, StoredTensor

_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 1 << 25
CODES = {
    **{f"F{bits}": f"float{bits}" for bits in (64, 32, 16)},
    **{f"I{bits}": f"int{bits}" for bits in (64, 32, 16, 8)},
    **{f"U{bits}": f"uint{bits}" for bits in (64, 32, 16, 8)},
    "BF16": "bfloat16",
    "BOOL": "bool",
}


def recognises(start, size):
    """Return whether the first 9 bytes of a file, and its size, are those of the format."""
    if len(start) < 9:
        return False
    (length,) = _LENGTH.unpack(start[:8])
    return 2 <= length <= size - 8 and start[8:9] == b"{"


def read_safetensors(source):
    """Return `({name: StoredTensor}, {name: text})`: the tensors, and the header's metadata.

    Raises:
        WeightFileError: the header does not account for every byte of the file, once.
    """
    with source.opened() as file:
        (length,) = _LENGTH.unpack(file.read(8))
        if length > min(_MAX_HEADER, source.size - 8):
            raise source.error(f"has a header of {length} bytes, which is longer than a header is")
        header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
    if type(header) is not dict:
        raise source.error("has a header that is no list of tensors")
    metadata = header.pop("__metadata__", {})
    tensors, first, places = {}, 8 + length, []
    for name, entry in header.items():
        try:
            tensors[name], place = _tensor(source, first, name, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise source.error(
                f"has a damaged entry for {name[:100]!r}: {one_line(error)}"
            ) from error
        places.append(place)
    end = 0
    for start, stop in sorted(places):
        if start != end:
            raise source.error(f"has tensors that overlap or leave gaps, at byte {first + start}")
        end = stop
    if first + end != source.size:
        raise source.error(f"should have {first + end} bytes, and has {source.size}")
    if type(metadata) is not dict or not all(type(text) is str for text in metadata.values()):
        raise source.error("has metadata that are no texts")
    if not tensors:
        raise source.error("has no tensors")
    return tensors, metadata


def _unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the header has a name twice")
    return found


def _tensor(source, first, name, entry):
    """Return the `StoredTensor` of an entry of the header, and where it begins and ends."""
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in CODES:
        raise ValueError(f"type {kind[:20]!r}; accepted are {', '.join(CODES)}")
    if not name.isprintable() or type(start) is not int or type(stop) is not int:
        raise ValueError("a name that is none, or offsets that are no whole numbers")
    if not 0 <= start <= stop <= source.size - first:
        raise ValueError("offsets outside of the file")
    tensor = StoredTensor(Span(source, first + start, stop - start), tuple(shape), CODES[kind])
    if tensor.nbytes != stop - start:
        raise ValueError(f"{stop - start} bytes for the shape {tensor.shape}")
    return tensor, (start, stop)
