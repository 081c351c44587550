"""Training with each neck of the paper's recipe: which layers learn, and checkpointing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.backbones import resnet
from mrcnn.config import PaperConfig
from mrcnn.graph import build_graph
from mrcnn.registry import BACKBONES
from mrcnn.training.selection import set_trainable, summary, trainable_layers
from mrcnn.training.step import Steps


class NeckConfig(PaperConfig):
    """A ResNet of one narrow block per stage, and few of everything."""

    NAME = "necks"
    NUM_CLASSES = 3
    BACKBONE = "one block"
    TOP_DOWN_PYRAMID_SIZE = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 8
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    POOL_SIZE, MASK_POOL_SIZE, MASK_SHAPE = 3, 3, (6, 6)
    USE_RPN_ROIS = False
    POST_NMS_ROIS_TRAINING = 12
    TRAIN_ROIS_PER_IMAGE = 64
    RPN_TRAIN_ANCHORS_PER_IMAGE = 2000
    MAX_GT_INSTANCES = 2
    MINI_MASK_SHAPE = (14, 14)


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    monkeypatch.setitem(resnet.ARCHITECTURES, "one block", resnet.Architecture((1,) * 4, 2, 4))
    monkeypatch.setitem(BACKBONES, "one block", BACKBONES["resnet50"])


def config_and_graph(neck):
    keras.utils.set_random_seed(0)
    config = type("Own", (NeckConfig,), {"NECK": neck})()
    config.validate()
    return config, build_graph(config, "training")


@pytest.mark.parametrize("neck", ["fpn", "c4", "c5", "dc5"])
def test_layers_from_a_stage_on(neck):
    _, graph = config_and_graph(neck)
    stages = {
        n: {f"{kind}{n}a_branch{b}" for kind in ("res", "bn") for b in ("2a", "2b", "2c", "1")}
        for n in (2, 3, 4, 5)
    }
    names = {layer.name for layer in trainable_layers(graph)}
    # With NECK "c4" they are on the RoIs, with the same names.
    assert names.issuperset(set.union(*stages.values()))
    below = {"conv1", "bn_conv1"}
    for first in (3, 4, 5):
        below |= stages[first - 1]
        set_trainable(graph, f"{first}+", verbose=0)
        chosen = {layer.name for layer in trainable_layers(graph) if layer.trainable}
        assert chosen == names - below
        # Frozen batch norm has no variable that learns, even where its stage does.
        paths = [v.path for v in graph.trainable_variables]
        assert not any(path.split("/")[-2].startswith("bn") for path in paths)
        assert any("res5a" in path for path in paths)
    set_trainable(graph, "all", verbose=0)
    norms = [name for name in names if name.startswith("bn")]
    assert len(norms) == 1 + 4 * 4
    layers = f"Training {len(names) - len(norms)} of {len(names)} layers"
    assert summary(graph).startswith(layers)


def batch_of(config, graph, rng):
    """An image of two objects, and RoIs near them and far from them. All RoIs and anchors count."""
    boxes, ids = np.array([[4, 8, 36, 40], [20, 30, 60, 62]]), np.array([1, 2])
    match, deltas = config.recipe().rpn_targets(config)((64, 64), ids, boxes, rng)
    near = np.repeat(boxes, 4, axis=0) + rng.integers(-2, 3, (8, 4))
    far = np.array([[0, 40, 12, 60], [44, 0, 60, 20], [50, 4, 62, 14], [2, 44, 14, 62]])
    arrays = {
        "input_image": rng.normal(size=(64, 64, 3)),
        "input_image_meta": [0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 1],
        "input_rpn_match": match[:, None],
        "input_rpn_bbox": deltas,
        "input_gt_class_ids": ids,
        "input_gt_boxes": boxes,
        "input_gt_masks": np.ones((14, 14, 2)),
        "input_roi": np.concatenate([near, far]),
    }
    return {x.name: tf.cast(arrays[x.name], x.dtype)[None] for x in graph.inputs}


@pytest.mark.parametrize("neck", ["c4", "dc5"])
def test_every_variable_learns_and_checkpointing_changes_no_number(rng, neck):
    config, graph = config_and_graph(neck)
    for variable in graph.trainable_variables:
        # Outputs near 0 would hide mistakes.
        if variable.path.endswith("kernel") and np.std(variable) < 0.02:
            variable.assign(10 * variable)
    batch = batch_of(config, graph, rng)
    results = []
    for checkpointing in (False, True):
        steps = Steps(graph, weight_decay=0, checkpointing=checkpointing)
        gradients, losses = steps.gradients(batch)
        results.append([np.asarray(x) for x in [*losses.values(), *gradients]])
    assert len(losses) >= 5
    names = [*losses, *(v.path for v in graph.trainable_variables)]
    for name, plain, twice in zip(names, *results, strict=True):
        size = np.linalg.norm(plain)
        assert size > 0, name
        assert np.linalg.norm(twice - plain) <= 1e-4 * size, name
