"""The five losses and gradients of kernels at five depths against the original.

`golden/matterport_r50_losses.npz` holds what Matterport's program computed for given targets and
RoIs, all of which are used, so that no random choice is left.
"""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.constants import LOSS_NAMES
from mrcnn.graph import build_graph
from mrcnn.training.selection import trainable_layers
from mrcnn.training.step import Steps
from tests.golden_weights import GOLDEN, set_golden_weights

KERNELS = ("conv1", "res5c_branch2c", "fpn_c2p2", "mrcnn_class_conv1", "mrcnn_mask_conv1")


class LossConfig(Config):
    NAME = "golden"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 4
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    POST_NMS_ROIS_TRAINING = 24
    TRAIN_ROIS_PER_IMAGE = 30
    MAX_GT_INSTANCES = 8
    USE_RPN_ROIS = False


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "matterport_r50_losses.npz")


@pytest.fixture(scope="module")
def results(golden):
    """Losses, and norms of the gradients by layer."""
    config = LossConfig()
    model = build_graph(config, "training")
    set_golden_weights(trainable_layers(model))
    # The original takes these rows of zeros for RoIs: it normalizes padding, too, which moves it a
    # pixel to the left and up. A box of nearly no size has the same (lack of) overlap with others.
    rois = np.where(golden["rois"].any(axis=1, keepdims=True), golden["rois"], [0, 0, 1e-6, 1e-6])
    masks = np.zeros((56, 56, config.MAX_GT_INSTANCES), bool)
    masks[..., :3] = golden["gt_masks_mini"]
    missing = config.MAX_GT_INSTANCES - 3
    batch = {
        "input_image": golden["image"] - config.MEAN_PIXEL,
        "input_image_meta": golden["meta"],
        "input_rpn_match": golden["rpn_match"][:, None],
        "input_rpn_bbox": golden["rpn_bbox"],
        "input_gt_class_ids": np.pad(golden["gt_class_ids"], (0, missing)),
        "input_gt_boxes": np.pad(golden["gt_boxes"], ((0, missing), (0, 0))),
        "input_gt_masks": masks,
        "input_roi": rois,
    }
    batch = {
        tensor.name: tf.cast(batch[tensor.name][None], tensor.dtype) for tensor in model.inputs
    }
    gradients, losses = tf.function(Steps(model, weight_decay=0).gradients, autograph=False)(batch)
    paths = [variable.path for variable in model.trainable_variables]
    norms = {
        path.split("/")[-2]: float(tf.norm(gradient))
        for path, gradient in zip(paths, gradients, strict=True)
        if path.endswith("/kernel")
    }
    yield {name: float(loss) for name, loss in losses.items()}, norms
    del model
    keras.utils.clear_session()
    gc.collect()


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_loss(results, golden, name):
    np.testing.assert_allclose(results[0][name], golden[name], rtol=1e-4)


def test_total_is_the_sum(results, golden):
    total = sum(float(golden[name]) for name in LOSS_NAMES)
    np.testing.assert_allclose(results[0]["loss"], total, rtol=1e-4)


@pytest.mark.parametrize("layer", KERNELS)
def test_norm_of_the_gradient(results, golden, layer):
    # The original's gradient of RoI features loses some of its sums, so it is not exact itself.
    np.testing.assert_allclose(results[1][layer], golden[f"grad_norm/{layer}"], rtol=2e-3)
