"""Weight files of other programs: torch's, Detectron2's pickles, and safetensors.

They are read without those programs, and nothing in them is run. docs/security.md says more.
"""

from typing import NamedTuple

from mrcnn.weights import safetensors_files, torch_files
from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.pickled_arrays import read_pickle
from mrcnn.weights.stored import SourceFile, StoredTensor

_ZIP, _PICKLE, _HDF5, _TAR = b"PK\3\4", b"\x80", b"\x89HDF\r\n\x1a\n", b"ustar"


class TensorFile(NamedTuple):
    """What a weight file holds.

    Attributes:
        path: of the file.
        format: "torch", "pickle" or "safetensors".
        tensors: `{name: StoredTensor}` in the order of the file; `np.asarray` reads one, and
            `shape` and `dtype` are known before.
        metadata: plain values (texts, numbers) that are in the file beside the tensors, such as
            `__author__` and `matching_heuristics` of Detectron2.
    """

    path: str
    format: str
    tensors: dict[str, StoredTensor]
    metadata: dict


def recognises(path):
    """Return whether a file is there and begins like one that `read_tensors` reads."""
    try:
        return _reader(SourceFile(path)) is not None
    except (FileNotFoundError, WeightFileError):
        return False


def read_tensors(path):
    """Find the tensors in a file of `torch.save`, a pickle of arrays, or a safetensors file.

    A state dict may be at the top, or within a dict as "model", "state_dict" or "blobs". The format
    is that of the contents, whatever the name of the file ends with. Values are read when an array
    is made of a tensor.

    Args:
        path: of the file.

    Returns:
        A `TensorFile`.

    Raises:
        FileNotFoundError: there is no such file.
        WeightFileError: it is of another format, is damaged, has no tensors, or names functions or
            classes other than those of tensors and arrays. Nothing in it was run.
    """
    source = SourceFile(path)
    found = _reader(source)
    if found is None:
        raise source.error(
            "is of no known format; accepted are files of torch.save, pickles of NumPy arrays "
            f"(protocol 2 to 5) and safetensors{_hint(_start(source))}"
        )
    name, read = found
    tensors, metadata = read(source)
    return TensorFile(source.path, name, tensors, metadata)


def _reader(source):
    """Return the name of the format of a file and its reader, or None."""
    start = _start(source)
    if start.startswith(_ZIP):
        return "torch", torch_files.read_zip
    if start.startswith(torch_files.LEGACY_START):
        return "torch", torch_files.read_legacy
    if safetensors_files.recognises(start, source.size):
        return "safetensors", safetensors_files.read_safetensors
    if start.startswith(_PICKLE):
        return "pickle", read_pickle
    return None


def _start(source):
    with source.opened() as file:
        return file.read(512)


def _hint(start):
    if start.startswith(_HDF5):
        return ". It is an HDF5 file: load it with load_weights"
    if start.lstrip()[:1] == b"<":
        return ". It is a web page: the address of the download was wrong"
    if start[257:262] == _TAR:
        return ". It is of torch before 0.1.10: save it again with a newer one"
    return ""
