"""Batches of images of different sizes."""

import numpy as np
import pytest

from mrcnn.config import PaperConfig
from mrcnn.data.pipeline import make_dataset
from mrcnn.data.uneven import spread_targets, stack_padded
from mrcnn.legacy.generator import data_generator
from mrcnn.model import MaskRCNN
from mrcnn.ops.boxes import decode_boxes
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


class UnevenPaperConfig(PaperConfig):
    """40x80 and 80x40 pixels, in 64x96 and 96x64."""

    NAME = "uneven"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = 48, 80
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    USE_MINI_MASK = False
    MAX_GT_INSTANCES = 4
    LOADER_WORKERS = 1


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


def labels_by_box(generator, labels, size, full):
    """Labels of the anchors of a padded image, found by their boxes; 0 for those not in `size`."""
    boxes = map(tuple, generator.of_image(size))
    known = dict(zip(boxes, labels, strict=True))
    expected = np.array([known.get(tuple(box), [0]) for box in generator.of_image(full)])
    assert set(expected.ravel()) == {-1, 0, 1}
    return expected


@pytest.mark.parametrize("mode", ["pipeline", "data_generator"])
@pytest.mark.parametrize("spacing", [1, 2])
def test_each_image_keeps_its_pixels_and_the_labels_of_its_anchors(mode, spacing):
    config = UnevenConfig()
    config.RPN_ANCHOR_STRIDE = spacing
    together, alone = batches(config, mode)
    assert together["input_image"].shape == (2, 128, 128, 3)
    generator = config.recipe().anchors(config)
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
        expected = labels_by_box(generator, one["input_rpn_match"], (height, width), (128, 128))
        np.testing.assert_array_equal(together["input_rpn_match"][index], expected)
        for name in ("input_rpn_bbox", "input_gt_boxes", "input_gt_class_ids", "input_image_meta"):
            np.testing.assert_array_equal(together[name][index], one[name])


@pytest.mark.parametrize("mode", ["pipeline", "data_generator"])
def test_batches_of_the_paper_are_padded_with_the_mean_colour(mode):
    """Sides are multiples of 32; P6 has 2x2 cells of the batch, 1x2 and 2x1 of its images."""
    config = UnevenPaperConfig()
    together, alone = batches(config, mode)
    assert together["input_image"].shape == (2, 96, 96, 3)
    generator = config.recipe().anchors(config)
    assert len(generator.of_image((96, 96))) == 3 * (24**2 + 12**2 + 6**2 + 3**2 + 2**2)
    for index, (height, width) in enumerate([(40, 80), (80, 40)]):
        one = {name: array[0] for name, array in alone[index].items()}
        image, size = together["input_image"][index], one["input_image"].shape[:2]
        assert size == [(64, 96), (96, 64)][index]
        np.testing.assert_array_equal(image[: size[0], : size[1]], one["input_image"])
        # The photo, resized to 5/8 by hand at one pixel: from 0.5 * 1.6 - 0.5 = 0.3 on both axes.
        photo = UnevenShapes().load_image(index).astype(float)
        value = 0.7 * photo[0] + 0.3 * photo[1]
        value = np.rint(0.7 * value[0] + 0.3 * value[1])
        value = (value - np.array(config.MEAN_PIXEL)) / config.STD_PIXEL
        np.testing.assert_allclose(image[0, 0], value, rtol=1e-5)
        assert (image[:height, :width] != 0).all()
        assert not image[height:].any() and not image[:, width:].any()
        assert together["input_image_meta"][index, 7:11].tolist() == [0, 0, height, width]
        expected = labels_by_box(generator, one["input_rpn_match"], size, (96, 96))
        np.testing.assert_array_equal(together["input_rpn_match"][index], expected)
        masks = together["input_gt_masks"][index]
        np.testing.assert_array_equal(masks[: size[0], : size[1]], one["input_gt_masks"])
        assert masks.sum() == one["input_gt_masks"].sum()


def test_anchors_that_move_with_the_batch_are_matched_again():
    """P6 has a stride of 64 on 64 pixels, and of 48 on 96."""
    config = UnevenPaperConfig()
    config.RPN_STRIDES_FITTED = True
    generator = config.recipe().anchors(config)
    targets, rng = config.recipe().rpn_targets(config), np.random.default_rng(0)
    sizes, class_ids = np.array([(96, 64), (96, 96)]), np.array([[1, 0], [2, 1]])
    boxes = np.float32([[[24, 0, 72, 56], [0] * 4], [[24, 30, 70, 72], [4, 4, 12, 12]]])
    alone = [targets(*image, rng) for image in zip(sizes, class_ids, boxes, strict=True)]
    matches, deltas = (stack_padded(column) for column in zip(*alone, strict=True))
    matches, deltas = spread_targets(
        matches[..., None], deltas, sizes, class_ids, boxes, generator, targets
    )
    anchors = generator.of_image((96, 96))
    # Only in the batch, a square of 48 pixels is in the middle of the first image.
    assert anchors[-2].tolist() == [24, 24, 72, 72]
    assert matches[0, -2] == 1
    (positive,) = np.flatnonzero(matches[0] == 1)
    found = decode_boxes(anchors[[positive]], deltas[0, :1] * config.RPN_BBOX_STD_DEV)
    np.testing.assert_allclose(found, boxes[0, :1], atol=1e-4)
    # The second has the size of the batch, and keeps its targets.
    np.testing.assert_array_equal(matches[1, :, 0], alone[1][0])
    np.testing.assert_array_equal(deltas[1], alone[1][1])


@pytest.mark.parametrize("mode", ["pipeline", "data_generator"])
def test_batches_match_again_where_anchors_move(mode):
    config = UnevenPaperConfig()
    config.RPN_TRAIN_ANCHORS_PER_IMAGE = 5000
    last = {}
    for config.RPN_STRIDES_FITTED in (False, True):
        together, _ = batches(config, mode)
        # The last anchor is at the corner of the batch, beyond both images.
        last[config.RPN_STRIDES_FITTED] = together["input_rpn_match"][:, -1, 0].tolist()
    assert last == {False: [0, 0], True: [-1, -1]}


def test_an_image_with_other_channels_is_named():
    class Mixed(UnevenShapes):
        def load_image(self, image_id):
            image = super().load_image(image_id)
            return image[..., [0, 1, 2, 0]] if image_id else image

    config = UnevenPaperConfig()
    config.MAX_LOAD_ERRORS = 0
    with pytest.raises(
        RuntimeError, match=r"image 1 \(.*the shape \(128, 64, 4\); expected is .* 3\]"
    ):
        list(make_dataset(Mixed(), config, repeat=False))


def test_training_on_images_of_different_shapes(tmp_path):
    config = UnevenConfig()
    config.USE_MINI_MASK = True
    model = MaskRCNN("training", config, str(tmp_path))
    dataset = UnevenShapes(4)
    history = model.train(dataset, dataset, 0.002, epochs=3, layers="all").history
    assert np.isfinite(history["val_loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
