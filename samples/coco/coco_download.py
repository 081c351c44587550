"""The parts of COCO: their files on the disk, and how to get them from COCO's servers."""

from pathlib import Path
from typing import NamedTuple

from mrcnn.download import download, unpack

# Name, length in bytes and SHA-256 of each zip file.
_FILES = """
train2014 13510573713 ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775
val2014 6645013297 fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0
train2017 19336861798 69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929
val2017 815585330 4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05
annotations_trainval2014 252872794 031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009
annotations_trainval2017 252907541 113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268
"""
_MINIVAL = "https://dl.dropboxusercontent.com/s/"


class Archive(NamedTuple):
    """A zip file: address, length in bytes, SHA-256, and its folder with the files to unpack."""

    url: str
    size: int | None = None
    sha256: str | None = None
    inside: str = ""


def _archives():
    """Archives of the images by folder, and archives of the annotations by part."""
    images, annotations = {}, {}
    for name, size, sha256 in map(str.split, _FILES.strip().splitlines()):
        inside = "annotations" if name.startswith("annotations") else ""
        url = f"http://images.cocodataset.org/{inside or 'zips'}/{name}.zip"
        archive = Archive(url, int(size), sha256, inside)
        parts = ("train", "val") if inside else ()
        annotations |= {f"{part}{name[-4:]}": archive for part in parts}
        images |= {} if inside else {name: archive}
    for part, key in (("minival", "o43o90bna78omob"), ("valminusminival", "s3tw5zcg7395368")):
        url = f"{_MINIVAL}{key}/instances_{part}2014.json.zip?dl=0"
        annotations[f"{part}2014"] = Archive(url)
    return images, annotations


IMAGES, ANNOTATIONS = _archives()


def places(dataset_dir, subset, year):
    """Return the paths of the annotations and of the images of a part, such as "val" of 2017."""
    # Both parts of "val" have their images in its folder.
    folder = "val" if subset in ("minival", "valminusminival") else subset
    root = Path(dataset_dir)
    return root / "annotations" / f"instances_{subset}{year}.json", root / f"{folder}{year}"


def fetch(dataset_dir, subset, year):
    """Download and unpack the images and annotations of a part, unless they are there already.

    A broken download resumes where it stopped. Zip files are deleted after unpacking. A zip file
    that lies in `dataset_dir` already is used instead of a download.

    Raises:
        DownloadError: says what to fetch by hand.
        ValueError: there is no such part of COCO, or a zip file is damaged.
    """
    if f"{subset}{year}" not in ANNOTATIONS:
        raise ValueError(f"COCO has no {subset}{year}; there are {', '.join(ANNOTATIONS)}.")
    annotations, images = places(dataset_dir, subset, year)
    wanted = (annotations, ANNOTATIONS[f"{subset}{year}"]), (images, IMAGES[images.name])
    for target, archive in wanted:
        if target.exists():
            continue
        path = Path(dataset_dir, archive.url.rsplit("/", 1)[1].partition("?")[0])
        if not path.exists():
            download(archive.url, path, size=archive.size, sha256=archive.sha256, resume=True)
        unpack(path, target.parent, archive.inside)
        path.unlink()
