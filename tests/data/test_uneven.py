"""Batches of images of different sizes."""

import numpy as np
import pytest

from mrcnn.data.pipeline import make_dataset
from mrcnn.legacy.generator import data_generator
from mrcnn.model import MaskRCNN
from tests.mini import MiniConfig, MiniShapes

SIZES = [(64, 128), (128, 64)]


class UnevenShapes(MiniShapes):
    """Squares and discs in images of two shapes in turn."""

    def __init__(self, count=2):
        super().__init__(count, size=128)

    def _cut(self, array, image_id):
        height, width = SIZES[image_id % 2]
        return array[:height, :width]

    def load_image(self, image_id):
        return self._cut(super().load_image(image_id), image_id)

    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        masks = self._cut(masks, image_id).copy()
        # Each image has its object, wherever the square or disc of the larger image was.
        masks[8:40, 8:40] = True
        return masks, class_ids


class UnevenConfig(MiniConfig):
    IMAGE_RESIZE_MODE = "pad64"
    IMAGE_MIN_DIM = None
    USE_MINI_MASK = False


def batches(config, mode):
    """A batch of both images, and one of each alone, as dicts by the inputs' names."""
    dataset = UnevenShapes()

    def take(count):
        options = {"shuffle": False}
        if mode == "pipeline":
            data = iter(make_dataset(dataset, config, seed=0, batch_size=count, **options))
            return [{k: v.numpy() for k, v in next(data).items()} for _ in range(2 // count)]
        from mrcnn.inputs import model_inputs

        names = [spec.name for spec in model_inputs(config, "training")]
        data = data_generator(dataset, config, batch_size=count, seed=0, **options)
        return [dict(zip(names, next(data)[0], strict=True)) for _ in range(2 // count)]

    return take(2)[0], take(1)


@pytest.mark.parametrize("mode", ["pipeline", "data_generator"])
@pytest.mark.parametrize("spacing", [1, 2])
def test_each_image_keeps_its_pixels_and_the_labels_of_its_anchors(mode, spacing):
    config = UnevenConfig()
    config.RPN_ANCHOR_STRIDE = spacing
    together, alone = batches(config, mode)
    assert together["input_image"].shape == (2, 128, 128, 3)
    generator = config.recipe().anchors(config)
    boxes = [tuple(box) for box in generator.of_image((128, 128))]
    for index, (height, width) in enumerate(SIZES):
        one = {name: array[0] for name, array in alone[index].items()}
        image = together["input_image"][index]
        np.testing.assert_array_equal(image[:height, :width], one["input_image"])
        # The padding is black, as that of "pad64": minus the mean colour.
        beyond = np.concatenate([image[height:].reshape(-1, 3), image[:, width:].reshape(-1, 3)])
        np.testing.assert_allclose(beyond, np.tile(-config.MEAN_PIXEL, (len(beyond), 1)), rtol=1e-6)
        masks = together["input_gt_masks"][index]
        np.testing.assert_array_equal(masks[:height, :width], one["input_gt_masks"])
        assert masks.sum() == one["input_gt_masks"].sum()
        # The label of an anchor, found by its box.
        labels = dict(
            zip(
                map(tuple, generator.of_image((height, width))), one["input_rpn_match"], strict=True
            )
        )
        expected = np.array([labels.get(box, [0]) for box in boxes])
        assert set(expected.ravel()) == {-1, 0, 1}
        np.testing.assert_array_equal(together["input_rpn_match"][index], expected)
        for name in ("input_rpn_bbox", "input_gt_boxes", "input_gt_class_ids", "input_image_meta"):
            np.testing.assert_array_equal(together[name][index], one[name])


def test_training_on_images_of_different_shapes(tmp_path):
    config = UnevenConfig()
    config.USE_MINI_MASK = True
    model = MaskRCNN("training", config, str(tmp_path))
    dataset = UnevenShapes(4)
    history = model.train(dataset, dataset, 0.002, epochs=3, layers="all").history
    assert np.isfinite(history["val_loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
