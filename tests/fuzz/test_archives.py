"""Hostile zip files: damaged bytes, and valid ones with odd names, kinds and sizes."""

import io
import shutil
import stat
import struct
import zipfile

import numpy as np
import pytest

from mrcnn.archives import unpack
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes

NAMES = [
    *("a.jpg", "A.JPG", "images/1.jpg", "images/", "images", "images/1.jpg/x", "", ".", "..", "/"),
    *("/etc/x", "../x", "a/../../x", "a\\..\\x", "C:\\x", "c:x", "\\\\host\\x", "~/x", "$HOME/x"),
    *(
        "a\nb",
        "\x01",
        "é" * 200,
        "x" * 5000,
        "a/" * 300,
        "con",
        "a.",
        " ",
        "\u202egpj.exe",
        "\ud7ff",
    ),
    *(".hidden", "-rf", "a//b", "./a", "%2e%2e/x", "...", "a:b"),
]


def valid(rng, odd):
    """A zip file of a few entries; with `odd` of any names, kinds and methods."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(int(rng.integers(1, 6))):
            name = NAMES[rng.integers(len(NAMES))] if odd else f"images/{number}.jpg"
            info = zipfile.ZipInfo(name or "x")
            info.compress_type = zipfile.ZIP_DEFLATED if rng.random() < 0.7 else 0
            if odd:
                kinds = [0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK]
                info.external_attr = int(rng.choice(kinds)) << 16 | int(rng.integers(256))
                methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]
                info.compress_type = int(rng.choice(methods))
            content = bytes(rng.integers(0, 4, int(rng.choice([0, 1, 100, 5000])), np.uint8))
            file.writestr(info, b"../../x" if rng.random() < 0.2 else content)
    return buffer.getvalue()


def with_odd_fields(data, rng):
    """Return a zip file with odd numbers in the headers of entries and of the archive."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        signature = rng.choice([b"PK\3\4", b"PK\1\2", b"PK\5\6"])
        places = [n for n in range(len(data)) if data.startswith(bytes(signature), n)]
        if not places:
            continue
        at = int(rng.choice(places)) + 4 + 2 * int(rng.integers(20))
        value = int(rng.choice([0, 1, 8, 12, 99, 0x41, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
        packed = struct.pack("<L", value)[: int(rng.choice([1, 2, 4]))]
        if at + len(packed) <= len(data):
            data[at : at + len(packed)] = packed
    return bytes(data)


def snapshot(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_archives(tmp_path):
    rng = np.random.default_rng([SEED, 3])
    home = tmp_path / "home"
    (home / "mine").mkdir(parents=True)
    (home / "mine" / "x").write_text("mine")
    path = home / "a.zip"
    unpacked = 0
    for case in range(CASES):
        kind = case % 3
        data = valid(rng, odd=kind == 2)
        data = data if kind == 2 else (mutate_bytes, with_odd_fields)[kind](data, rng)
        path.write_bytes(data)
        before, out = snapshot(home), home / f"out{case}"
        inside = ["", "", "images", "..", "../mine", str(home / "mine"), "images/.."][case % 7]
        with guarded(home, documented=(ValueError, OSError)) as errors:
            unpack(path, out, inside, verbose=0)
            unpacked += 1
        if errors:
            assert type(errors[0]) in (ValueError, OSError), errors
            assert str(path) in str(errors[0]) and "\n" not in str(errors[0])
            assert not out.exists() or not list(out.iterdir())
        after = {entry for entry in snapshot(home) if entry.parts[0] != out.name}
        assert after == before
        assert all(entry.is_file() or entry.is_dir() for entry in out.rglob("*"))
        assert not any(entry.is_symlink() for entry in out.rglob("*"))
        assert (home / "mine" / "x").read_text() == "mine"
        shutil.rmtree(out, ignore_errors=True)
    assert snapshot(tmp_path) - {p for p in snapshot(tmp_path) if p.parts[0] == "home"} == set()
    assert unpacked > CASES // 20
