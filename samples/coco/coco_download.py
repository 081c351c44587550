"""The parts of COCO: where they lie on the disk, and how they get there from COCO's servers."""

import re
from pathlib import Path
from typing import NamedTuple

from mrcnn.download import download, unpack

COCO_SERVER = "http://images.cocodataset.org"
MINIVAL_SERVER = "https://dl.dropboxusercontent.com/s"


class Archive(NamedTuple):
    """A zip file: address, its folder that holds what we want, length in bytes, SHA-256."""

    url: str
    inside: str = ""
    size: int | None = None
    sha256: str | None = None


# By the name of the folder of images.
IMAGES = {
    "train2014": Archive(
        f"{COCO_SERVER}/zips/train2014.zip",
        size=13_510_573_713,
        sha256="ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    ),
    "val2014": Archive(
        f"{COCO_SERVER}/zips/val2014.zip",
        size=6_645_013_297,
        sha256="fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    ),
    "train2017": Archive(
        f"{COCO_SERVER}/zips/train2017.zip",
        size=19_336_861_798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "val2017": Archive(
        f"{COCO_SERVER}/zips/val2017.zip",
        size=815_585_330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
}

_TRAINVAL2014 = Archive(
    f"{COCO_SERVER}/annotations/annotations_trainval2014.zip",
    inside="annotations",
    size=252_872_794,
    sha256="031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
)
_TRAINVAL2017 = Archive(
    f"{COCO_SERVER}/annotations/annotations_trainval2017.zip",
    inside="annotations",
    size=252_907_541,
    sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)

# By the part that is annotated.
ANNOTATIONS = {
    "train2014": _TRAINVAL2014,
    "val2014": _TRAINVAL2014,
    "minival2014": Archive(f"{MINIVAL_SERVER}/o43o90bna78omob/instances_minival2014.json.zip?dl=0"),
    "valminusminival2014": Archive(
        f"{MINIVAL_SERVER}/s3tw5zcg7395368/instances_valminusminival2014.json.zip?dl=0"
    ),
    "train2017": _TRAINVAL2017,
    "val2017": _TRAINVAL2017,
}


def places(dataset_dir, subset, year):
    """Paths of the annotations and of the images of a part of COCO.

    Args:
        dataset_dir: folder of the data set.
        subset: "train", "val", or, in the images of "val", "minival" and "valminusminival".
        year: such as 2017.
    """
    folder = "val" if subset in ("minival", "valminusminival") else subset
    root = Path(dataset_dir)
    return root / "annotations" / f"instances_{subset}{year}.json", root / f"{folder}{year}"


def fetch(dataset_dir, subset, year):
    """Download and unpack the images and annotations of a part, unless they are there already.

    A broken download goes on where it stopped. Zip files are deleted when they are unpacked; one
    that was put into `dataset_dir` by hand is taken for the downloaded one.

    Raises:
        DownloadError: says what to fetch by hand.
        ValueError: if there is no such part of COCO, or a zip file is damaged.
    """
    if f"{subset}{year}" not in ANNOTATIONS:
        raise ValueError(f"COCO has no {subset}{year}; there are {', '.join(ANNOTATIONS)}.")
    annotations, images = places(dataset_dir, subset, year)
    if not annotations.exists():
        _fetch(ANNOTATIONS[f"{subset}{year}"], dataset_dir, annotations.parent)
    if not images.exists():
        _fetch(IMAGES[images.name], dataset_dir, images.parent)


def _fetch(archive, dataset_dir, target):
    name = re.sub(r"\?.*", "", archive.url.rsplit("/", 1)[1])
    path = Path(dataset_dir, name)
    if not path.exists():
        download(archive.url, path, size=archive.size, sha256=archive.sha256, resume=True)
    unpack(path, target, archive.inside)
    path.unlink()
