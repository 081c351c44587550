"""The losses of the paper's recipe, against torchvision and against NumPy.

`golden/torchvision_r50_losses.npz` has two drawn images of 128x160 pixels, their objects (masks as
packed bits), fixed proposals, and what torchvision's `maskrcnn_resnet50_fpn` computes for them with
the weights of `golden_state_dicts`, with the statistics of batch norm frozen: roles of the anchors
(1, 0, -1 for neutral), five losses and the norms of gradients. All anchors and all RoIs count, so
that nothing is random.
"""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config import PaperConfig
from mrcnn.constants import LOSS_NAMES, NEGATIVE, NEUTRAL, POSITIVE
from mrcnn.graph import build_graph
from mrcnn.training.step import Steps
from mrcnn.weights import foreign
from tests import paper_losses_numpy as by_numpy
from tests.golden_state_dicts import state_dict
from tests.golden_weights import GOLDEN

HEIGHT, WIDTH = 128, 160
INSTANCES = 3


class LossConfig(PaperConfig):
    NAME = "golden"
    NUM_CLASSES = 91
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = HEIGHT, WIDTH
    # All 36 proposals, three boxes and 5118 anchors have a place.
    USE_RPN_ROIS = False
    POST_NMS_ROIS_TRAINING = 36
    TRAIN_ROIS_PER_IMAGE = 160
    RPN_TRAIN_ANCHORS_PER_IMAGE = 12000
    RPN_STRIDES_FITTED = True
    MAX_GT_INSTANCES = INSTANCES
    USE_MINI_MASK = False


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "torchvision_r50_losses.npz")


@pytest.fixture(scope="module")
def truth(golden):
    """List of boxes in pixels, class ids and masks `[instances, height, width]` by image."""
    masks = np.unpackbits(golden["gt_masks"]).reshape(2, INSTANCES, HEIGHT, WIDTH)
    rows = zip(golden["gt_boxes"].astype(np.float64), golden["gt_class_ids"], masks, strict=True)
    return [(boxes[ids > 0], ids[ids > 0], masks[ids > 0]) for boxes, ids, masks in rows]


@pytest.fixture(scope="module")
def model():
    model = build_graph(LossConfig(), "training")
    foreign.load(model, "r50_v1", state_dict("torchvision", "r50_v1"), verbose=0)
    yield model
    del model
    keras.utils.clear_session()
    gc.collect()


@pytest.fixture(scope="module")
def batch(golden, truth, model):
    config = LossConfig()
    targets = config.recipe().rpn_targets(config)
    shape, rng = (HEIGHT, WIDTH, 3), np.random.default_rng(0)
    roles, deltas = zip(
        *(targets(shape, ids, boxes, rng) for boxes, ids, _ in truth),
        strict=True,
    )
    meta = [0, *shape, *shape, 0, 0, HEIGHT, WIDTH, 1] + [1] * config.NUM_CLASSES
    masks = np.unpackbits(golden["gt_masks"]).reshape(2, INSTANCES, HEIGHT, WIDTH)
    arrays = {
        "input_image": (golden["images"] - np.array(config.MEAN_PIXEL)) / config.STD_PIXEL,
        "input_image_meta": np.array([meta] * 2),
        "input_rpn_match": np.array(roles)[..., None],
        "input_rpn_bbox": np.array(deltas),
        "input_gt_class_ids": golden["gt_class_ids"],
        "input_gt_boxes": golden["gt_boxes"],
        "input_gt_masks": masks.transpose(0, 2, 3, 1),
        "input_roi": golden["proposals"],
    }
    return {tensor.name: tf.cast(arrays[tensor.name], tensor.dtype) for tensor in model.inputs}


@pytest.fixture(scope="module")
def results(model, batch):
    """Losses, and norms of the gradients by layer."""
    gradients, losses = Steps(model, weight_decay=0).gradients(batch)
    pairs = zip(model.trainable_variables, gradients, strict=True)
    norms = {v.path.split("/")[-2]: tf.norm(g) for v, g in pairs if v.path.endswith("/kernel")}
    return {name: float(loss) for name, loss in losses.items()}, norms


@pytest.fixture(scope="module")
def worked_out(model, batch, truth):
    """The losses that NumPy works out from the outputs of the network."""
    outputs = model([batch[tensor.name] for tensor in model.inputs], training=True)
    outputs = dict(zip(model.output_names, map(np.asarray, outputs), strict=True))
    anchors = by_numpy.anchors_of(HEIGHT, WIDTH)
    boxes = [boxes for boxes, _, _ in truth]
    rpn = by_numpy.rpn_losses(
        outputs["rpn_class_logits"][..., 0], outputs["rpn_bbox"], boxes, anchors
    )
    rois, counts = [], []
    for found, proposals, (boxes, _, _) in zip(
        outputs["output_rois"], batch["input_roi"].numpy(), truth, strict=True
    ):
        found = (found * [HEIGHT, WIDTH, HEIGHT, WIDTH])[found.any(axis=1)]
        # All proposals and all boxes of objects are among the RoIs, once.
        both = found, np.concatenate([proposals, boxes])
        np.testing.assert_allclose(*(x[np.lexsort(x.T.round(3))] for x in both), atol=1e-4)
        rois.append(found)
        counts.append((by_numpy.ious(found, boxes).max(axis=1) >= 0.5).sum())
    masks = outputs["mrcnn_mask"][0]
    assert len(masks) == sum(counts)
    heads = by_numpy.roi_losses(
        rois,
        *(
            [rows[: len(r)] for rows, r in zip(outputs[name], rois, strict=True)]
            for name in ("mrcnn_class_logits", "mrcnn_bbox")
        ),
        [masks[: counts[0]], masks[counts[0] :]],
        truth,
    )
    return dict(zip(LOSS_NAMES, (*rpn, *heads), strict=True))


def test_roles_of_anchors_are_those_of_torchvision(golden, batch):
    expected = np.choose(golden["rpn_match"] + 1, [NEUTRAL, NEGATIVE, POSITIVE])
    np.testing.assert_array_equal(batch["input_rpn_match"][..., 0], expected)
    assert [(roles == POSITIVE).sum() for roles in expected] == [13, 8]


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_loss_is_that_of_torchvision(results, golden, name):
    np.testing.assert_allclose(results[0][name], golden[name], rtol=1e-5)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_loss_is_that_of_numpy(results, worked_out, name):
    np.testing.assert_allclose(results[0][name], worked_out[name], rtol=1e-5)


def test_total_is_the_sum(results, golden):
    total = sum(float(golden[name]) for name in LOSS_NAMES)
    np.testing.assert_allclose(results[0]["loss"], total, rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        "res3a_branch2b",
        "res5c_branch2c",
        "fpn_c2p2",
        "rpn_conv_shared",
        "mrcnn_class_conv1",
        "mrcnn_bbox_fc",
        "mrcnn_mask_conv1",
        "mrcnn_mask_deconv",
    ],
)
def test_norm_of_the_gradient_is_that_of_torchvision(results, golden, layer):
    np.testing.assert_allclose(results[1][layer], golden[f"grad_norm/{layer}"], rtol=2e-3)
