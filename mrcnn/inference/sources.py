"""Photos of files, folders, patterns, videos and cameras, one by one and in a stable order."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from mrcnn.inference.video import Video, is_video

# Of the formats that `read_image` decodes.
_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .tif .tiff .bmp .dib .webp .gif .ppm .pgm .pnm .jp2 .j2k .tga "
    ".pcx .sgi .avif".split()
)
_PATHS = (str, os.PathLike)
_ADDRESSES = ("http://", "https://")


class Photo(NamedTuple):
    """A picture that is read when it is needed.

    Attributes:
        name: a path with "/" that no other photo of its sources has, such as "a/b.jpg".
        stem: the name without its suffix, made different where two photos differ by that alone.
        load: function that returns the picture, see `read_image`, which names its errors.
        path: of its file, or its web address; None for a frame of a video.
        video: the `Video` that it is a frame of, or None.
    """

    name: str
    stem: str
    load: Callable[[], np.ndarray]
    path: str | None = None
    video: Video | None = None


class Sources:
    """Photos and frames of videos, in the order given; files of a folder sorted by their names.

    Args:
        given: one or several of: paths of photos, videos and folders, patterns such as
            "photos/*.jpg" or "photos/**/*.png", web addresses of photos, and numbers of cameras,
            "0" for the first. A file that is not there is among the photos, and fails when it is
            loaded. A file that is found twice counts once.
        recursive: search in the folders of folders as well.
        leave_out: a folder that is not searched as one of the folders of others, such as that of
            the results.
        read: function from a path to a photo; None for `read_image`.

    Attributes:
        videos: list of the `Video`s.

    Raises:
        FileNotFoundError: if a folder holds no photo, or a pattern fits no file; names it.
        ValueError: if nothing is given.
    """

    def __init__(
        self,
        given: str | os.PathLike | Iterable[str | os.PathLike],
        recursive: bool = False,
        leave_out: str | os.PathLike | None = None,
        read: Callable[[str], np.ndarray] | None = None,
    ):
        given = [given] if isinstance(given, _PATHS) else given
        given = [os.fspath(each) for each in given]
        if not given:
            raise ValueError("No photos are given: name files, folders, patterns or a camera.")
        found = {}
        for each in given:
            for path, root in _expand(each, recursive, leave_out):
                found.setdefault(_key(path), (path, root))
        self._entries = list(_entries(list(found.values()), read or _read))
        self.videos = [each for each in self._entries if isinstance(each, Video)]

    def __len__(self):
        """Return the number of photos and frames, 0 if it is not known, as with cameras."""
        counts = [each.count if isinstance(each, Video) else 1 for each in self._entries]
        return 0 if None in counts else sum(counts)

    def __iter__(self) -> Iterator[Photo]:
        """Yield each `Photo`. Videos are read as far as they go; see `Video.fault`."""
        for each in self._entries:
            if isinstance(each, Photo):
                yield each
                continue
            for number, frame in enumerate(each.frames()):
                name = f"{each.name}_frames/{number:06d}"
                yield Photo(f"{name}.jpg", name, partial(_same, frame), None, each)
            if each.fault and not each.read:
                name = PurePath(str(each.path)).name
                yield Photo(name, each.name, partial(_fail, each.fault), None, each)

    @property
    def faults(self) -> list[str]:
        """Sentences on the videos that ended early, so far."""
        return [video.fault for video in self.videos if video.fault and video.read]


def as_photos(photos, read=None) -> Iterable[Photo]:
    """Return the `Sources` of a path or of a list of paths, and any other iterable as it is."""
    is_listed = isinstance(photos, list | tuple) and all(isinstance(p, _PATHS) for p in photos)
    return Sources(photos, read=read) if is_listed or isinstance(photos, _PATHS) else photos


def _same(frame):
    return frame


def _fail(sentence):
    raise OSError(sentence)


def _read(path):
    # Pillow and what else reads files is not needed to list them.
    from mrcnn.data.photos import read_image

    return read_image(path)


def _expand(given, recursive, leave_out):
    """Yield the files and cameras that an argument stands for, each with its folder."""
    if given.lower().startswith(_ADDRESSES):
        yield given, given
    elif os.path.isdir(given):
        found = list(_in_folder(given, recursive, leave_out))
        if not found:
            deeper = not recursive and next(_in_folder(given, True, leave_out), None)
            hint = "; its folders do: search them with --recursive" if deeper else ""
            raise FileNotFoundError(f'The folder "{given}" holds no photos{hint}.')
        yield from ((path, given) for path in found)
    elif os.path.lexists(given):
        yield given, os.path.dirname(given)
    elif given.isdecimal():
        yield given, given
    elif glob.has_magic(given):
        found = [
            path
            for path in sorted(glob.glob(given, recursive=True))
            if os.path.isfile(path) and (_is_photo(path) or is_video(path))
        ]
        if not found:
            raise FileNotFoundError(f'No photo or video fits the pattern "{given}".')
        yield from ((path, os.path.dirname(path)) for path in found)
    else:
        yield given, os.path.dirname(given)


def _in_folder(folder, recursive, leave_out):
    """Yield the photos in a folder; `os.walk` goes on with what is left in its list of folders."""
    left_out = None if leave_out is None else _key(leave_out)
    for where, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in sorted(folders)
            if recursive
            and not name.startswith(".")
            and _key(os.path.join(where, name)) != left_out
        ]
        yield from (os.path.join(where, name) for name in sorted(files) if _is_photo(name))


def _is_photo(path):
    # Names with a dot are hidden; macOS puts one beside each photo on foreign disks.
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES


def _key(path):
    path = os.fspath(path)
    return path if path.lower().startswith(_ADDRESSES) else os.path.normcase(os.path.abspath(path))


def _is_camera(path):
    return path.isdecimal() and not os.path.lexists(path)


def _entries(found, read):
    """Yield a `Photo` or `Video` per pair of a path and the folder that it was found in."""
    on_disk = [
        os.path.abspath(root)
        for path, root in found
        if not _is_camera(path) and not path.lower().startswith(_ADDRESSES)
    ]
    try:
        base = os.path.commonpath(on_disk) if on_disk else None
    # Windows: on several drives.
    except ValueError:
        base = None
    names = distinct([_name(path, base) for path, _ in found])
    for (path, _), name, stem in zip(found, names, distinct_stems(names), strict=True):
        if _is_camera(path) or is_video(path):
            yield Video(int(path) if _is_camera(path) else path, stem)
        else:
            yield Photo(name, stem, partial(read, path), path)


def _name(path, base):
    if _is_camera(path):
        return f"camera{int(path)}"
    if path.lower().startswith(_ADDRESSES):
        last = path.partition("?")[0].rstrip("/").rpartition("/")[2]
        return last or "photo"
    if base is None:
        return os.path.basename(path)
    return Path(os.path.relpath(path, base)).as_posix()


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names of which no two are equal, with "_2", "_3" before the suffix where needed.

    Capital and small letters count as equal, as for the file systems of Windows and macOS.
    """
    taken, result = set(taken), []
    for name in names:
        stem, suffix = os.path.splitext(name)
        other, number = name, 1
        while other.casefold() in taken:
            number += 1
            other = f"{stem}_{number}{suffix}"
        taken.add(other.casefold())
        result.append(other)
    return result


def distinct_stems(names: Iterable[str]) -> list[str]:
    """Return the names without suffixes; "a.jpg" beside "a.png" becomes "a_jpg"."""
    names = list(names)
    plain = [os.path.splitext(name)[0] for name in names]
    folded = [stem.casefold() for stem in plain]
    counts = Counter(folded)
    alone = {stem for stem in folded if counts[stem] == 1}
    taken, result = set(alone), []
    for name, stem, low in zip(names, plain, folded, strict=True):
        if low in alone:
            result.append(stem)
        else:
            root, suffix = os.path.splitext(name)
            result += distinct([f"{root}_{suffix[1:]}"], taken)
            taken.add(result[-1].casefold())
    return result
