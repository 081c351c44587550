"""Unpacking of zip files: each entry appears whole and checked, or not at all."""

import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from mrcnn import limits
from mrcnn.files import one_line, open_regular

_BLOCK = 1 << 20
# Bytes of the list of entries: half a million of them, which take half a gigabyte of memory.
_MAX_LISTING = 1 << 25
_MAX_NAME, _MAX_DEPTH = 1000, 32
_ENCRYPTED = 1
# The others inflate without bounds, or not at all.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Bytes before the content of an entry, without its name.
_LOCAL_HEADER = 30
# Kinds of files by their mode; 0 where the program that packed them does not know modes.
_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
# Errors of zipfile on damaged data.
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, OverflowError, LookupError),
)


def unpack(archive, folder, inside="", verbose=1):
    """Unpack a zip file. Each entry appears in `folder` whole or not at all.

    Args:
        archive: the zip file.
        folder: target, created if missing. Its existing entries stay as they are.
        inside: folder of the archive whose entries are unpacked; "" for its top.
        verbose: 1 for a progress bar if standard error is a terminal.

    Raises:
        ValueError: the file is not a zip file, is damaged or encrypted, has no folder `inside`, has
            names that lead elsewhere or links, or holds more than `limits.MAX_UNPACKED_BYTES`.
        OSError: the archive cannot be read, or the disk not be written.
    """
    archive, folder = Path(archive), Path(folder)
    wanted = _parts(str(inside))
    if wanted is None:
        raise ValueError(f"{inside!r} is no folder in {archive}; give one without '..' and root.")
    folder.mkdir(parents=True, exist_ok=True)
    with _reading(archive) as source:
        entries = _checked(archive, source)
        size = sum(entry.file_size for entry, _ in entries)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise OSError(f"{archive} unpacks to {size} bytes; {folder} has {free} bytes free.")
        prefix = f".{archive.stem[:50]}."
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
            with bytes_bar(f"Unpacking {archive.name}", size, verbose) as bar:
                for entry, parts in entries:
                    _extract(archive, source, entry, Path(temporary, *parts), bar)
            top = Path(temporary, *wanted)
            if not top.is_dir():
                raise ValueError(f"{archive} has no folder {inside}.")
            for found in top.iterdir():
                if not os.path.lexists(folder / found.name):
                    found.rename(folder / found.name)


def bytes_bar(name, size, verbose, start=0):
    """Return a progress bar of bytes, for terminals only: a file would get each redrawing."""
    disable = None if verbose else True
    return tqdm(desc=name, total=size, initial=start, unit="B", unit_scale=True, disable=disable)


@contextmanager
def _reading(archive):
    """Yield the open `ZipFile`."""
    try:
        file = open_regular(archive)
    except OSError as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{archive} cannot be unpacked: {error}.") from None
    with file:
        if listing_bytes(file) > _MAX_LISTING:
            raise ValueError(f"{archive} lists more than the accepted half a million entries.")
        with _damages(archive):
            source = zipfile.ZipFile(file)
        with source:
            yield source


def listing_bytes(file):
    """Return the length of the list of entries, which zipfile reads whole."""
    file.seek(max(os.fstat(file.fileno()).st_size - (1 << 16) - 128, 0))
    tail, length = file.read(), 0
    for signature, place, form in ((b"PK\5\6", 12, "<L"), (b"PK\6\6", 40, "<Q")):
        end = tail.rfind(signature)
        if end >= 0 and len(tail) >= end + place + struct.calcsize(form):
            (found,) = struct.unpack_from(form, tail, end + place)
            length = found if form == "<Q" or found < 0xFFFFFFFF else length
    return length


@contextmanager
def _damages(archive):
    """Turn errors of a damaged archive into a ValueError that names it."""
    try:
        yield
    except _DAMAGES as error:
        reason = one_line(error)
        raise ValueError(
            f"{archive} is not a whole zip file ({reason}): delete it and fetch it again."
        ) from error


def _checked(archive, source):
    """Return the entries with the parts of their names, after looking at all of them.

    Raises:
        ValueError: for the reasons that `unpack` lists.
    """
    entries = source.infolist()
    if sum(entry.file_size for entry in entries) > limits.MAX_UNPACKED_BYTES:
        raise ValueError(
            f"{archive} unpacks to more than mrcnn.limits.MAX_UNPACKED_BYTES = "
            f"{limits.MAX_UNPACKED_BYTES}; raise that if it is right."
        )
    found, files, folders, end = [], set(), set(), 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        # What zipfile shows as the name ends at a NUL.
        parts, name = _parts(entry.orig_filename), entry.orig_filename[:200]
        fault = _fault(entry, parts)
        if entry.header_offset < end:
            fault = "begins within another one"
        end = entry.header_offset + _LOCAL_HEADER + entry.compress_size
        # Some file systems do not tell apart large and small letters.
        plain = tuple(part.casefold() for part in parts or ())
        if not entry.is_dir() and plain in files:
            fault = fault or "comes twice"
        if fault:
            raise ValueError(f"{archive} cannot be unpacked: its entry {name!r} {fault}.")
        folders.update(plain[:length] for length in range(1, len(plain)))
        (folders if entry.is_dir() else files).add(plain)
        found.append((entry, parts))
    if both := files & folders:
        name = "/".join(min(both))[:200]
        raise ValueError(f"{archive} cannot be unpacked: {name!r} is a file and a folder in it.")
    return found


def _fault(entry, parts):
    """Return a reason not to unpack an entry, or None."""
    if parts is None or not (parts or entry.is_dir()):
        return "has a name that leads elsewhere or is no name of a file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return "is compressed by another method than deflate"
    if stat.S_IFMT(entry.external_attr >> 16) not in _KINDS:
        return "is a link or device"
    return None


def _parts(name):
    """Return the parts of a name in an archive; None if it may lead out of the folder."""
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or re.search(r"[\0-\x1f\\\x7f]", name):
        return None
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    lengths = [len(part.encode(errors="replace")) for part in parts]
    if ".." in parts or len(parts) > _MAX_DEPTH or max(lengths, default=0) > 255:
        return None
    return parts if sum(lengths) <= _MAX_NAME else None


def _extract(archive, source, entry, target, bar):
    """Write an entry to the path `target`."""
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _damages(archive):
        content = source.open(entry)
    with content, open(target, "xb") as file:
        while True:
            with _damages(archive):
                block = content.read(_BLOCK)
            if not block:
                break
            file.write(block)
            bar.update(len(block))
        if file.tell() != entry.file_size:
            raise ValueError(
                f"{archive} is not a whole zip file ({entry.filename!r} has {file.tell()} bytes "
                f"of {entry.file_size}): delete it and fetch it again."
            )
