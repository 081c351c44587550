"""Ready datasets: read the annotations that common tools write. See docs/your_data.md."""

from mrcnn.data.coco_json import CocoJsonDataset
from mrcnn.data.dataset import Dataset
from mrcnn.data.labelme import LabelMeDataset
from mrcnn.data.mask_files import LabelImageDataset, MaskFolderDataset
from mrcnn.data.photos import read_image
from mrcnn.data.via import ViaDataset

__all__ = [
    "CocoJsonDataset",
    "Dataset",
    "LabelImageDataset",
    "LabelMeDataset",
    "MaskFolderDataset",
    "ViaDataset",
    "read_image",
]
