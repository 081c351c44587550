"""Ready datasets: read the annotations that common tools write. See docs/your_data.md."""

from mrcnn.data.dataset import Dataset
from mrcnn.data.merge import merge
from mrcnn.data.photos import read_image
from mrcnn.readers.coco import CocoJsonDataset
from mrcnn.readers.cvat import CvatDataset
from mrcnn.readers.label_studio import LabelStudioDataset
from mrcnn.readers.labelme import LabelMeDataset
from mrcnn.readers.mask_files import LabelImageDataset, MaskFolderDataset
from mrcnn.readers.recognize import Found, open_folder
from mrcnn.readers.via import ViaDataset
from mrcnn.readers.voc import VocDataset
from mrcnn.readers.yolo import YoloDataset
