"""Downloads of trained weights."""

import os
from pathlib import Path

from mrcnn.download import DownloadError, download, file_digest
from mrcnn.weights import matterport

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
COCO_MODEL_SIZE = 257_557_808

IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"


TORCHVISION_URL = "https://download.pytorch.org/models/"
# ImageNet classifiers of torchvision, version 1. Their names end with the start of their SHA-256.
TORCHVISION_TRUNKS = {
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
    "resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
    "resnext101_32x8d": "resnext101_32x8d-8ba56ff5.pth",
    "resnext101_64x4d": "resnext101_64x4d-173b62eb.pth",
}


def download_trained_weights(
    coco_model_path: str | os.PathLike, verbose: int = 1, sha256: str | None = None
) -> None:
    """Fetch the original's COCO weights, 246 MB, to the file `coco_model_path`.

    Their length is checked. Their publisher gives no digest; `sha256` is one from elsewhere, such
    as that of a copy that you trust.

    Raises:
        DownloadError: the file could not be fetched, or is another one; no partial file is left.
    """
    download(COCO_MODEL_URL, coco_model_path, size=COCO_MODEL_SIZE, sha256=sha256, verbose=verbose)


def resnet50_weights(architecture, verbose=1) -> str:
    """Return the path of Keras's ImageNet weights for ResNet-50, downloaded once.

    As in the original they serve all ResNets (`architecture`): blocks that a ResNet-50 lacks stay
    random. They were trained on BGR images; fine-tuning adapts them to RGB.

    Raises:
        DownloadError: the file could not be fetched; no partial file is left.
    """
    path = models_folder() / IMAGENET_URL.rsplit("/", 1)[1]
    if not (path.is_file() and file_digest(path, "md5") == IMAGENET_MD5):
        download(IMAGENET_URL, path, md5=IMAGENET_MD5, verbose=verbose)
    return str(path)


def torchvision_trunk(architecture, verbose=1) -> str:
    """Return the path of torchvision's ImageNet classifier for a ResNet, downloaded once.

    Raises:
        DownloadError: the file could not be fetched, or is another one; no partial file is left.
    """
    name = TORCHVISION_TRUNKS[architecture]
    start, path = name.rsplit("-", 1)[1].removesuffix(".pth"), models_folder() / name
    if not (path.is_file() and file_digest(path, "sha256").startswith(start)):
        download(TORCHVISION_URL + name, path, sha256=start, verbose=verbose)
    return str(path)


def application_weights(architecture: str) -> str:
    """Return the path of the ImageNet weights of a network of `keras.applications`.

    Keras downloads them once; beside its file they are saved in the layout of our `.h5` files.

    Raises:
        DownloadError: Keras could not fetch them.
    """
    path = models_folder() / f"mrcnn_{architecture}_imagenet.h5"
    if not path.is_file():
        # Here, because `mrcnn.utils` can be imported without TensorFlow.
        import keras

        application = getattr(keras.applications, architecture)
        try:
            network = application(weights="imagenet", include_top=False)
        except Exception as error:  # Keras raises this class itself.
            raise DownloadError(
                f"Keras could not fetch the ImageNet weights of {architecture}: {error}"
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        matterport.save(network, path)
    return str(path)


def models_folder():
    """Return the folder where Keras keeps weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "models")
