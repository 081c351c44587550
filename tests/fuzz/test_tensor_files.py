"""Weight files of other programs, damaged or made to harm: read whole, or refused; nothing runs."""

import io
import json
import pickle
import pickletools
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.tensor_files import read_tensors
from mrcnn.weights.tensor_writers import write_safetensors
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes, mutate_tree

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ["zip", "legacy", "training", "pickle2", "pickle4", "pickle5", "safetensors"]
TENSORS = {
    "conv.weight": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "conv.bias": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "long": np.arange(2000, dtype="f4"),
    "count": np.array(3),
}
# Codes of pickles with what follows them, put where others are.
CODES = [
    *(pickle.GLOBAL + name for name in (b"os\nsystem\n", b"builtins\neval\n", b"numpy\nndarray\n")),
    *(pickle.GLOBAL + name for name in (b"numpy\ndtype\n", b"collections\nOrderedDict\n")),
    *(pickle.GLOBAL + b"torch\n" + name + b"\n" for name in (b"IntStorage", b"Size")),
    pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n",
    pickle.GLOBAL + b"torch._tensor\n_rebuild_from_type_v2\n",
    *(pickle.LONG_BINPUT + number for number in (b"\xff\xff\xff\xff", b"\0\0\0\x40")),
    *(pickle.BININT + number for number in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f")),
    pickle.LONG1 + b"\x09" + b"\xff" * 8 + b"\0",
    pickle.LONG4 + b"\xff\xff\xff\x7f",
    pickle.BINBYTES8 + b"\xff" * 7 + b"\x7f",
    pickle.FRAME + b"\xff" * 8,
    *(pickle.INST + b"os\nsystem\n", pickle.OBJ, pickle.NEWOBJ, pickle.EXT1 + b"\1", pickle.DUP),
]  # fmt: skip
PLAIN = [
    bytes([code]) for code in b"N()]}tlde.0123QRbas\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94K"
]

# What Python tells of code that runs: any unpickling by Python itself, and programs.
RUNS = {"pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}
_ran, _is_reading = [], False


def _audit(event, arguments):
    if _is_reading and event in RUNS:
        _ran.append((event, arguments))


sys.addaudithook(_audit)


def whole_files(folder):
    """Return `{kind: content of a sound file}`."""
    names = {"zip": "torch_zip.pth", "legacy": "torch_legacy.pth", "training": "torch_training.pth"}
    found = {kind: (GOLDEN / name).read_bytes() for kind, name in names.items()}
    top = {"model": TENSORS, "__author__": "someone", "iteration": 3}
    for protocol in (2, 4, 5):
        found[f"pickle{protocol}"] = pickle.dumps(top, protocol)
    write_safetensors(folder / "whole", TENSORS, {"format": "pt"})
    found["safetensors"] = (folder / "whole").read_bytes()
    return found


def change_codes(content, rng):
    """Return a pickle with one to four of its codes replaced, removed, doubled or moved."""
    try:
        starts = [place for _, _, place in pickletools.genops(content)]
    except ValueError:
        return content
    pieces = [content[a:b] for a, b in zip(starts, [*starts[1:], starts[-1] + 1], strict=True)]
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        at, other = (int(rng.integers(len(pieces))) for _ in range(2))
        kind, codes = rng.integers(6), CODES if rng.random() < 0.5 else PLAIN
        if kind < 2:
            pieces[at] = codes[rng.integers(len(codes))]
        elif kind == 2:
            pieces.insert(at, codes[rng.integers(len(codes))])
        elif kind == 3:
            pieces[at] = pieces[other]
        elif kind == 4:
            # As many tuples in tuples overflow Python's stack if they are used as a key.
            pieces[at] *= int(rng.choice([2, 1000, 50_000 if len(pieces[at]) == 1 else 2]))
        else:
            pieces[at] = b""
    return b"".join(pieces) + content[starts[-1] + 1 :]


def change_archive(content, rng, path):
    """Return an archive of torch with another pickle, other entries, or other packing."""
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in contents if name.endswith("/data.pkl"))
    names, kind = list(contents), rng.integers(8)
    name, other = (names[rng.integers(len(names))] for _ in range(2))
    if kind < 4:
        contents[pickled] = change_codes(contents[pickled], rng)
    elif kind == 4:
        contents[name] = mutate_bytes(contents[name], rng)
    elif kind == 5:
        contents[other] = contents.pop(name)
    elif kind == 6:
        contents[f"x/../{name}"] = contents[name]
    packed = zipfile.ZIP_DEFLATED if kind == 7 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path.read_bytes()


def change_header(content, rng):
    """Return a safetensors file with another header."""
    length = int.from_bytes(content[:8], "little")
    header = mutate_tree(json.loads(content[8 : 8 + length]), rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def changed(kind, content, rng, folder):
    """Return damaged content: of its parts, so that it is still a file of its kind."""
    if kind == "zip":
        return change_archive(content, rng, folder / "scratch")
    if kind == "safetensors":
        return change_header(content, rng)
    # The row of pickles in the older format of torch; the fourth is the state dict.
    file = io.BytesIO(content)
    for _ in range(3 if kind in ("legacy", "training") else 0):
        list(pickletools.genops(file))
    return content[: file.tell()] + change_codes(content[file.tell() :], rng)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("way", ["bytes", "parts"])
@pytest.mark.parametrize("kind", KINDS)
def test_tensor_files(tmp_path, kind, way):
    global _is_reading
    rng = np.random.default_rng([SEED, KINDS.index(kind), way == "bytes"])
    content, path, refused = whole_files(tmp_path)[kind], tmp_path / "x.pth", 0
    for number in range(CASES // len(KINDS)):
        if way == "bytes":
            path.write_bytes(mutate_bytes(content, rng))
        else:
            path.write_bytes(changed(kind, content, rng, tmp_path))
        try:
            with guarded(tmp_path, (WeightFileError,)) as errors:
                _is_reading = True
                for tensor in read_tensors(path).tensors.values():
                    array = np.asarray(tensor)
                    assert array.shape == tensor.shape and array.dtype == tensor.dtype
                    assert array.dtype.kind in "fiub" and array.nbytes <= 2 * path.stat().st_size
            _is_reading = False
            assert not _ran
            if errors:
                refused += 1
                text = str(errors[0])
                assert str(path) in text and len(text) < 1000 and text.isprintable(), text
        except AssertionError as error:
            raise AssertionError(f"case {number} of {kind}, {way}: {error}") from error
        finally:
            _is_reading = False
    assert refused > 0
