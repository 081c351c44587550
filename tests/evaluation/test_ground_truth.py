import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.data.dataset import Dataset
from mrcnn.evaluation.ground_truth import coco_ground_truth


class Scenes(Dataset):
    """Images whose masks are given: a list of (masks, class ids)."""

    def __init__(self, scenes, names=("cat", "dog, hound"), size=(20, 30)):
        super().__init__()
        self.scenes, self.size = scenes, size
        for number, name in enumerate(names, 1):
            self.add_class("animals", number * 10, name)
        for number in range(len(scenes)):
            self.add_image("animals", f"photo{number}", f"photo{number}.png")
        self.prepare()

    def load_image(self, image_id):
        return np.zeros((*self.size, 3), np.uint8)

    def load_mask(self, image_id):
        masks, class_ids = self.scenes[image_id]
        return masks, np.array(class_ids, np.int32)


def ell(size=(20, 30)):
    """An L of 5 + 3 pixels: rows 4 to 8 of column 2, and columns 3 to 5 of row 8."""
    mask = np.zeros(size, bool)
    mask[4:9, 2] = mask[8, 3:6] = True
    return mask


def block(y1, x1, y2, x2, size=(20, 30)):
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def stack(*masks, size=(20, 30)):
    return np.stack(masks, axis=-1) if masks else np.zeros((*size, 0), bool)


@pytest.fixture
def dataset():
    empty = np.zeros((20, 30), bool)
    scenes = [
        (stack(ell(), empty, block(10, 20, 20, 30)), [2, 1, -1]),
        (stack(), []),
        (stack(block(0, 0, 2, 3)), [1]),
    ]
    return Scenes(scenes)


def test_boxes_areas_crowds_and_categories_by_hand(dataset):
    coco = coco_ground_truth(dataset)
    assert coco.dataset["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    sizes = [(image["id"], image["height"], image["width"]) for image in coco.dataset["images"]]
    assert sizes == [(0, 20, 30), (1, 20, 30), (2, 20, 30)]
    names = ("id", "image_id", "category_id", "iscrowd", "bbox", "area")
    rows = [tuple(annotation[name] for name in names) for annotation in coco.anns.values()]
    assert rows == [
        (1, 0, 2, 0, [2, 4, 4, 5], 8),
        (2, 0, 1, 1, [20, 10, 10, 10], 100),
        (3, 2, 1, 0, [0, 0, 3, 2], 6),
    ]
    np.testing.assert_array_equal(coco_mask.decode(coco.anns[1]["segmentation"]), ell())
    np.testing.assert_array_equal(coco.annToMask(coco.anns[3]), block(0, 0, 2, 3))


def test_chosen_images(dataset):
    coco = coco_ground_truth(dataset, np.array([2]))
    assert coco.getImgIds() == [2]
    assert [annotation["image_id"] for annotation in coco.anns.values()] == [2]


def test_masks_need_not_be_bool(dataset):
    expected = coco_ground_truth(dataset).anns
    masks, class_ids = dataset.scenes[0]
    dataset.scenes[0] = masks.astype(np.float64), class_ids
    for number, annotation in coco_ground_truth(dataset).anns.items():
        assert annotation == expected[number]


def test_bad_masks_are_named(dataset):
    dataset.scenes[2] = stack(ell()), [1, 2]
    with pytest.raises(ValueError, match=r"image 2 \(photo2.png\): .* \(20, 30, 1\) and 2 class"):
        coco_ground_truth(dataset)
    dataset.scenes[2] = ell(), [1]
    with pytest.raises(ValueError, match="image 2 .* expected masks .height, width, instances."):
        coco_ground_truth(dataset)


@pytest.mark.parametrize("class_id", [0, 3, -3])
def test_unknown_classes_are_named(dataset, class_id):
    dataset.scenes[0] = stack(ell()), [class_id]
    message = f"image 0 .* class id {abs(class_id)}; the dataset has the classes 1 to 2"
    with pytest.raises(ValueError, match=message):
        coco_ground_truth(dataset)
