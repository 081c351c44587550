"""Networks of the paper's recipe learn: each neck, normalization and head, on small drawn images.

Their trunks are ResNets of one narrow block per stage.
"""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.backbones import resnet
from mrcnn.config import PaperConfig
from mrcnn.constants import LOSS_NAMES
from mrcnn.data.pipeline import make_dataset
from mrcnn.graph import build_graph
from mrcnn.model import MaskRCNN
from mrcnn.registry import BACKBONES
from mrcnn.training.step import Steps
from tests.mini import MiniShapes, silent

NORMS = ("BACKBONE_NORM", "FPN_NORM", "HEAD_NORM")
# Groups of channels need 32 of them.
TRUNK_GROUPS = {"BACKBONE": "tiny_wide", "BACKBONE_NORM": "group"}
GROUPS = {**TRUNK_GROUPS, "FPN_NORM": "group", "HEAD_NORM": "group"}
VARIANTS = {
    "fpn": {},
    "c4": {"NECK": "c4", "RESNET_STYLE": "msra", **TRUNK_GROUPS},
    "c5": {"NECK": "c5", **TRUNK_GROUPS},
    "dc5": {"NECK": "dc5", "RESNET_STYLE": "msra", **TRUNK_GROUPS},
    "group": GROUPS,
    "batch": {**dict.fromkeys(NORMS, "batch"), "TRAIN_BN": None},
    "second": {"RPN_CONVS": 2, "BOX_HEAD": "4conv1fc", "FPN_EXTRA_LEVEL": "c5", **GROUPS},
    "resnext": {"BACKBONE": "tiny_resnext"},
    "matterport": {"RESNET_STYLE": "matterport"},
}


class Tiny(resnet.Architecture):
    """One block per stage; C2 has 32 channels and C5 256, an eighth of the usual number."""

    def filters(self, stage):
        inner, _, outer = super().filters(stage)
        return [inner, inner, outer // 8]


@pytest.fixture(scope="module", autouse=True)
def tiny_trunks():
    with pytest.MonkeyPatch.context() as patch:
        for name, widths in (("tiny", (1, 8)), ("tiny_wide", (1, 32)), ("tiny_resnext", (4, 2))):
            patch.setitem(resnet.ARCHITECTURES, name, Tiny((1, 1, 1, 1), *widths))
            patch.setitem(BACKBONES, name, BACKBONES["resnet50"])
        yield


@pytest.fixture(autouse=True)
def no_leftovers():
    yield
    keras.utils.clear_session()
    gc.collect()


class TinyPaper(PaperConfig):
    NAME = "tiny"
    NUM_CLASSES = 3
    BACKBONE = "tiny"
    TOP_DOWN_PYRAMID_SIZE = 32
    FPN_CLASSIF_FC_LAYERS_SIZE = 64
    IMAGES_PER_GPU = 2
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 16
    PRE_NMS_ROIS_TRAINING = PRE_NMS_ROIS_INFERENCE = 200
    POST_NMS_ROIS_TRAINING = 100
    POST_NMS_ROIS_INFERENCE = 40
    TRAIN_ROIS_PER_IMAGE = 16
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    MINI_MASK_SHAPE = (28, 28)
    MAX_GT_INSTANCES = 4
    DETECTION_MAX_INSTANCES = 10
    TENSORBOARD_IMAGES = 0
    VALIDATION_STEPS = 0
    LOADER_WORKERS = 1
    WARMUP_STEPS = 0
    GRADIENT_CLIP_NORM = 5.0


def tiny_paper(variant, **settings):
    config = type("Tiny", (TinyPaper,), VARIANTS[variant] | settings)()
    config.validate()
    return config


# test_necks.py has such tests of necks.
QUICK = ("batch", "second")


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=[] if v in QUICK else pytest.mark.slow) for v in VARIANTS],
)
def test_every_variable_gets_a_gradient(variant):
    # All anchors, so that some of each level count.
    config = tiny_paper(variant, RPN_TRAIN_ANCHORS_PER_IMAGE=4000)
    keras.utils.set_random_seed(3)
    model = build_graph(config, "training")
    for variable in model.trainable_variables:
        # The last one of a residual branch is 0 at first, which keeps gradients from the branch.
        if variable.path.endswith("/gamma"):
            variable.assign(tf.ones(variable.shape))
    batch = next(iter(make_dataset(MiniShapes(2), config, shuffle=False, seed=0)))
    gradients, losses = Steps(model, weight_decay=0).gradients(batch)
    for name in LOSS_NAMES:
        assert float(losses[name]) > 0, name
    still = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if not np.any(gradient)
    ]
    assert not still


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_learns_saves_detects_and_resumes(variant, tmp_path):
    keras.utils.set_random_seed(1)
    config = tiny_paper(variant, STEPS_PER_EPOCH=25, LEARNING_RATE=0.02)
    data = MiniShapes(2)
    model = MaskRCNN("training", config, str(tmp_path))
    history = silent(model.train, data, None, config.LEARNING_RATE, 6, "all").history
    for name in LOSS_NAMES:
        # Means of the first 25 steps, and of the last.
        assert 0 < history[name][-1] < 0.95 * history[name][0], (name, history[name])

    inference = MaskRCNN.from_run(tmp_path)
    trained = {weight.path: weight for weight in model.keras_model.weights}
    for weight in inference.keras_model.weights:
        np.testing.assert_array_equal(weight, trained.pop(weight.path))
    assert not [path for path in trained if "seed_generator" not in path]
    results = inference.detect([data.load_image(image) for image in data.image_ids])
    assert all(len(result["scores"]) for result in results)

    resumed = MaskRCNN.from_run(tmp_path, mode="training")
    assert resumed.epoch == 6
    more = silent(resumed.train, data, None, config.LEARNING_RATE, 7, "all")
    assert more.epoch == [6]
    assert more.history["loss"][0] < history["loss"][1]
