"""The inputs of the model."""

from mrcnn.config import Config
from mrcnn.inputs import model_inputs


class OwnConfig(Config):
    NUM_CLASSES = 5
    IMAGE_CHANNEL_COUNT = 4
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    MAX_GT_INSTANCES = 7
    MINI_MASK_SHAPE = (14, 28)
    POST_NMS_ROIS_TRAINING = 300


def table(mode, **settings):
    config = type("Other", (OwnConfig,), settings)()
    return {row.name: (row.shape, row.dtype) for row in model_inputs(config, mode)}


def test_inference():
    # The meta vector has 12 numbers and one a class.
    assert list(table("inference").items()) == [
        ("input_image", ((None, None, 4), "float32")),
        ("input_image_meta", ((17,), "float32")),
        ("input_anchors", ((None, 4), "float32")),
    ]


def test_training():
    assert list(table("training").items()) == [
        ("input_image", ((None, None, 4), "float32")),
        ("input_image_meta", ((17,), "float32")),
        ("input_rpn_match", ((None, 1), "int32")),
        ("input_rpn_bbox", ((64, 4), "float32")),
        ("input_gt_class_ids", ((7,), "int32")),
        ("input_gt_boxes", ((7, 4), "float32")),
        ("input_gt_masks", ((14, 28, 7), "bool")),
    ]


def test_whole_masks_have_the_size_of_the_image():
    assert table("training", USE_MINI_MASK=False)["input_gt_masks"] == ((None, None, 7), "bool")


def test_given_rois():
    assert "input_roi" not in table("training")
    assert table("training", USE_RPN_ROIS=False)["input_roi"] == ((300, 4), "float32")
