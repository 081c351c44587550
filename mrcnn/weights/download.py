"""Trained weights from the internet: whole and checked, or not on the disk at all."""

import os
from pathlib import Path

from mrcnn.download import DownloadError, download, file_digest

__all__ = [
    "COCO_MODEL_URL",
    "DownloadError",
    "download",
    "download_trained_weights",
    "imagenet_weights",
]

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
COCO_MODEL_SIZE = 257_557_808

IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"


def download_trained_weights(coco_model_path: str | os.PathLike, verbose: int = 1) -> None:
    """Fetch the original's COCO weights, 246 MB, to the file `coco_model_path`.

    Raises DownloadError; no partial file is left then.
    """
    download(COCO_MODEL_URL, coco_model_path, size=COCO_MODEL_SIZE, verbose=verbose)


def imagenet_weights(verbose: int = 1) -> str:
    """Path of Keras' ImageNet weights for ResNet-50 without its top, fetched at the first call.

    The file lies where Keras keeps it, in the folder `models` of `KERAS_HOME` or `~/.keras`.

    Raises DownloadError; no partial file is left then.
    """
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    path = Path(home, "models", IMAGENET_URL.rsplit("/", 1)[1])
    if not (path.is_file() and file_digest(path, "md5") == IMAGENET_MD5):
        download(IMAGENET_URL, path, md5=IMAGENET_MD5, verbose=verbose)
    return str(path)
