"""Every setting of Config changes names, shapes, counts or values that can be observed."""

import functools
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.pipeline import make_dataset
from mrcnn.recipes import matterport
from mrcnn.watching.pictures import DetectionPictures
from tests import tiny_graph
from tests.mini import MiniShapes, mini_config
from tests.trained_model import *  # noqa: F403

DIFFERENT = object()

# The defaults of the tests here, made once.
MINI, tiny = mini_config(), functools.cache(tiny_graph.tiny)


class Change(NamedTuple):
    """Observations before and after a setting has changed.

    Attributes:
        value: the other value of the setting; None for one that follows those in `also`.
        observe: function from what the test makes with a configuration to a value.
        before, after: the observed values, or DIFFERENT for arrays that only have to differ.
        common: further settings of both configurations.
        also: further settings of the changed one.
    """

    value: Any
    observe: Callable
    before: Any = DIFFERENT
    after: Any = DIFFERENT
    common: dict = {}
    also: dict = {}


def check(change, name, make):
    """Observe what `make` makes of the settings, without and with the change."""
    changed = {} if change.value is None else {name: change.value}
    before = change.observe(make(**change.common))
    after = change.observe(make(**change.common, **changed, **change.also))
    if change.before is DIFFERENT:
        assert not np.array_equal(before, after)
    else:
        assert (before, after) == (change.before, change.after)


# Samples: what the input pipeline makes of a dataset, one batch or an epoch of it.


@functools.cache
def batch(config, size=64):
    """The first batch by name, from two images."""
    return next(iter(make_dataset(MiniShapes(2, size=size), config, shuffle=False, seed=0)))


def shape(name, *axes, **options):
    """Observe lengths of axes of an array of the batch."""
    return lambda config: [batch(config, **options)[name].shape[axis] for axis in axes]


def values(name, **options):
    return lambda config: batch(config, **options)[name].numpy()


def scale(config):
    """Factor of a 32x32 image, the last number of its meta before the classes."""
    return float(batch(config, size=32)["input_image_meta"][0, 11])


def epoch(config):
    """Ids of the images of one epoch, of which image 1 is empty."""
    data = make_dataset(MiniShapes(3, empty=[1]), config, shuffle=False, repeat=False, seed=0)
    return [int(row[0]) for batch in data for row in batch["input_image_meta"]]


def unreadable(config):
    """Batches of an epoch in which two of four images are unreadable, or the error."""
    data = make_dataset(MiniShapes(4, broken=[2, 3]), config, shuffle=False, repeat=False, seed=0)
    try:
        return len(list(data))
    except RuntimeError as error:
        return type(error)


def busy_threads(config):
    """Images that are loaded at the same time, at most."""
    dataset, busy, counts = MiniShapes(8), [], []

    def slow(image_id):
        busy.append(image_id)
        counts.append(len(busy))
        time.sleep(0.1)
        busy.remove(image_id)
        return MiniShapes.load_image(dataset, image_id)

    dataset.load_image = slow
    list(make_dataset(dataset, config, repeat=False, seed=0))
    return max(counts)


# The original's, but for smaller anchors to train the RPN with.
SMALLER = mini_config(RPN_ANCHOR_SCALES=(6, 12, 24, 48, 64))
OWN_RECIPE = SimpleNamespace(
    **vars(matterport) | {"rpn_targets": lambda config: matterport.rpn_targets(SMALLER)}
)

SAMPLES = {
    "IMAGES_PER_GPU": Change(3, shape("input_image", 0), [2], [3]),
    "GPU_COUNT": Change(2, shape("input_image", 0), [2], [4]),
    "BATCH_SIZE": Change(1, shape("input_image", 0), [2], [1]),
    # 3 anchors on each of 16**2 + 8**2 + 4**2 + 2**2 + 1 cells.
    "RPN_ANCHOR_RATIOS": Change([1], shape("input_rpn_match", 1), [3 * 341], [341]),
    "RPN_ANCHOR_STRIDE": Change(2, shape("input_rpn_match", 1), [3 * 341], [3 * 86]),
    "COMPUTE_BACKBONE_SHAPE": Change(
        lambda *_: np.array([[8, 8], [4, 4], [2, 2], [1, 1], [1, 1]]),
        shape("input_rpn_match", 1),
        [3 * 341],
        [3 * 86],
    ),
    "RPN_ANCHOR_SCALES": Change((10, 20, 30, 40, 50), values("input_rpn_match")),
    "BACKBONE_STRIDES": Change([2, 4, 8, 16, 32], values("input_rpn_match")),
    "RPN_TRAIN_ANCHORS_PER_IMAGE": Change(32, shape("input_rpn_bbox", 1), [64], [32]),
    "RPN_BBOX_STD_DEV": Change([0.2, 0.2, 0.4, 0.4], values("input_rpn_bbox")),
    "USE_MINI_MASK": Change(False, shape("input_gt_masks", 1, 2), [28, 28], [64, 64]),
    "MINI_MASK_SHAPE": Change((14, 20), shape("input_gt_masks", 1, 2), [28, 28], [14, 20]),
    "MAX_GT_INSTANCES": Change(6, shape("input_gt_boxes", 1), [4], [6]),
    "IMAGE_RESIZE_MODE": Change("pad64", shape("input_image", 1, 2, size=100), [64] * 2, [128] * 2),
    "IMAGE_MIN_DIM": Change(32, scale, 2, 1),
    "IMAGE_MAX_DIM": Change(128, shape("input_image", 1, 2), [64, 64], [128, 128]),
    "IMAGE_MIN_SCALE": Change(2, scale, 1, 2, common={"IMAGE_MIN_DIM": 32}),
    "IMAGE_SHAPE": Change(None, shape("input_image", 1), [64], [128], also={"IMAGE_MAX_DIM": 128}),
    "MEAN_PIXEL": Change([0, 0, 0], values("input_image")),
    "STD_PIXEL": Change([1, 2, 3], values("input_image")),
    "TRAIN_WITH_EMPTY_IMAGES": Change(True, epoch, [0, 2], [0, 1, 2]),
    "MAX_LOAD_ERRORS": Change(1, unreadable, 1, RuntimeError),
    "LOADER_WORKERS": Change(2, busy_threads, 1, 2),
    "RECIPE": Change(OWN_RECIPE, values("input_rpn_match")),
}


# Graphs: layers, and outputs for seeded weights and images.


def output(number):
    """Observe an output of a graph."""
    return lambda graph: outputs(*graph)[number]


@functools.cache
def outputs(config, model):
    rng = np.random.default_rng(3)
    if len(model.inputs) == 3:
        images = rng.normal(size=(1, 64, 64, config.IMAGE_CHANNEL_COUNT))
        return tiny_graph.run(model, tiny_graph.inference_batch(config, images))
    inputs = tiny_graph.feed(model, tiny_graph.training_batch(config, rng))
    return tiny_graph.run(model, inputs, training=True)


def rows(number):
    """Observe how many rows of an output are not padding."""
    return lambda graph: int(outputs(*graph)[number].any(axis=-1).sum())


def length(number, axis):
    """Observe the length of an axis of an output, which is known without running the graph."""
    return lambda graph: graph[1].outputs[number].shape[axis]


def moving_mean(graph):
    """Return whether training changes the statistics of a batch normalization."""
    layer = graph[1].get_layer("mrcnn_class_bn1")
    before = np.array(layer.moving_mean)
    layer(np.ones([2] * (layer.input_spec.ndim - 1) + [32], np.float32), training=True)
    return not np.array_equal(before, layer.moving_mean)


def total_loss(graph):
    outputs(*graph)
    return float(sum(graph[1].losses))


ONE_LOSS = {**Config.LOSS_WEIGHTS, "rpn_class_loss": 3.0}

INFERENCE = {
    "BACKBONE": Change("small", lambda graph: sorted(x.name for x in graph[1].layers)),
    "FPN_CLASSIF_FC_LAYERS_SIZE": Change(
        48, lambda graph: graph[1].get_layer("mrcnn_class_bn1").gamma.shape, (32,), (48,)
    ),
    "TOP_DOWN_PYRAMID_SIZE": Change(
        24, lambda graph: graph[1].get_layer("fpn_p2").output.shape[-1], 16, 24
    ),
    "NUM_CLASSES": Change(6, length(1, -1), 4, 6),
    "IMAGE_META_SIZE": Change(
        None, lambda graph: graph[1].inputs[1].shape[1], 12 + 4, 12 + 6, also={"NUM_CLASSES": 6}
    ),
    "IMAGE_CHANNEL_COUNT": Change(4, lambda graph: graph[1].inputs[0].shape[-1], 3, 4),
    "POOL_SIZE": Change(
        5, lambda graph: graph[1].get_layer("mrcnn_class_conv1").kernel.shape[0], 7, 5
    ),
    "MASK_POOL_SIZE": Change(7, length(3, 2), 28, 14, also={"MASK_SHAPE": [14, 14]}),
    "POST_NMS_ROIS_INFERENCE": Change(30, length(4, 1), 40, 30),
    "PRE_NMS_LIMIT": Change(20, rows(4), 40, 20, common={"RPN_NMS_THRESHOLD": 1}),
    "RPN_NMS_THRESHOLD": Change(0.1, output(4)),
    "BBOX_STD_DEV": Change([0.2, 0.2, 0.1, 0.1], output(0)),
    "DETECTION_MAX_INSTANCES": Change(5, length(0, 1), 30, 5),
    "DETECTION_MIN_CONFIDENCE": Change(1, lambda graph: rows(0)(graph) > 0, True, False),
    "DETECTION_NMS_THRESHOLD": Change(0.9, output(0)),
    "ROI_ALIGN": Change("align", output(1)),
    "TRAIN_BN": Change(True, moving_mean, False, True),
    "PRECISION": Change(
        "mixed_bfloat16",
        lambda graph: graph[1].get_layer("fpn_p2").compute_dtype,
        "float32",
        "bfloat16",
    ),
}
TRAINING = {
    "MASK_SHAPE": Change(
        [14, 14],
        lambda graph: graph[1].get_layer("proposal_targets").output[3].shape[2:4],
        (28, 28),
        (14, 14),
        also={"MASK_POOL_SIZE": 7},
    ),
    "POST_NMS_ROIS_TRAINING": Change(30, length(7, 1), 40, 30),
    "TRAIN_ROIS_PER_IMAGE": Change(10, length(8, 1), 20, 10),
    # int(20 * 0.33) and int(20 * 0.4) masks of RoIs that are given near the instances.
    "ROI_POSITIVE_RATIO": Change(
        0.4, lambda graph: outputs(*graph)[6].shape[1], 6, 8, common={"USE_RPN_ROIS": False}
    ),
    "USE_RPN_ROIS": Change(False, lambda graph: len(graph[1].inputs), 7, 8),
    "LOSS_WEIGHTS": Change(ONE_LOSS, total_loss),
}


# Runs: two epochs of two steps, which are played.


class Observed(NamedTuple):
    """Observations of a run with the defaults, and of one of `OTHER_RUNS`."""

    number: int
    observe: Callable
    before: Any
    after: Any


def optimizer(name):
    return lambda run: getattr(run.model.keras_model.optimizer, name)


def checkpoint(*ends):
    """Observe whether the run has a checkpoint whose name ends so."""
    return lambda run: any(name.endswith(ends) for name in os.listdir(run.model.log_dir))


# Settings that are changed together where what is observed of each depends on no other.
OTHER_RUNS = [
    {
        "NAME": "other",
        "STEPS_PER_EPOCH": 3,
        "VALIDATION_STEPS": 2,
        "LEARNING_RATE": 0.5,
        "LEARNING_MOMENTUM": 0.5,
        "GRADIENT_CLIP_NORM": 2.0,
        "EMA_MOMENTUM": 0.5,
        "SAVE_STEPS": 1,
        "KEEP_CHECKPOINTS": 1,
        "BEST_METRIC": "val_loss",
        "TENSORBOARD_IMAGES": 2,
        "GRADIENT_CHECKPOINTING": True,
    },
    {"OPTIMIZER": "AdamW", "WEIGHT_DECAY": 0.01, "ACCUMULATE_BATCHES": 3, "WARMUP_STEPS": 4},
    {
        "LEARNING_RATE_DECAY_EPOCHS": (1,),
        "LEARNING_RATE_DECAY": 0.5,
        "DIVIDE_WEIGHT_DECAY": False,
    },
]
RUNS = {
    "NAME": Observed(0, checkpoint("_other_0002.h5"), False, True),
    "STEPS_PER_EPOCH": Observed(0, lambda run: len(run.steps.trained), 4, 6),
    "VALIDATION_STEPS": Observed(0, lambda run: len(run.steps.evaluated), 2, 4),
    "LEARNING_RATE": Observed(0, lambda run: run.rates[0], 0.001, 0.5),
    "LEARNING_MOMENTUM": Observed(0, optimizer("momentum"), 0.9, 0.5),
    "GRADIENT_CLIP_NORM": Observed(0, optimizer("global_clipnorm"), 5.0, 2.0),
    "EMA_MOMENTUM": Observed(0, optimizer("use_ema"), False, True),
    "KEEP_CHECKPOINTS": Observed(0, checkpoint("_0001.h5"), True, False),
    "BEST_METRIC": Observed(0, checkpoint("_best.h5"), False, True),
    # When each step begins: is there the state of the epoch before, or of the step before?
    "SAVE_STEPS": Observed(
        0, lambda run: run.had_state, [False, False, True, True], [False] + 5 * [True]
    ),
    "TENSORBOARD_IMAGES": Observed(0, lambda run: run.steps.pictures, [], [2, 2]),
    # tests/training/test_forward.py shows that stages are then computed twice.
    "GRADIENT_CHECKPOINTING": Observed(
        0, lambda run: run.steps.options["checkpointing"], False, True
    ),
    "OPTIMIZER": Observed(
        1, lambda run: type(run.model.keras_model.optimizer).__name__, "SGD", "AdamW"
    ),
    # tests/training/test_step.py shows the step that follows.
    "DIVIDE_WEIGHT_DECAY": Observed(2, lambda run: run.steps.options["divide_decay"], True, False),
    "WEIGHT_DECAY": Observed(1, optimizer("weight_decay"), None, 0.01),
    "ACCUMULATE_BATCHES": Observed(1, lambda run: len(run.steps.trained), 4, 12),
    "WARMUP_STEPS": Observed(
        1, lambda run: run.rates, [0.001] * 4, [0.00025, 0.0005, 0.00075, 0.001]
    ),
    "LEARNING_RATE_DECAY_EPOCHS": Observed(2, lambda run: run.rates[2] < run.rates[1], False, True),
    "LEARNING_RATE_DECAY": Observed(
        2, lambda run: run.rates, [0.001] * 4, [0.001] * 2 + [0.0005] * 2
    ),
}


class PlayedSteps(ScriptedSteps):  # noqa: F405
    """Notes the options, too, and takes several batches a step."""

    def __call__(self, *args, **options):
        self.options, self.accumulate, self.pictures = options, options["accumulate"], []
        return super().__call__(*args, **options)

    def train(self, *batches, number):
        self.trained += batches[1:]
        return super().train(batches[0], number)


# What was observed of the runs that were made so far, by the number in OTHER_RUNS.
observed = {}


@pytest.fixture
def observe(model, monkeypatch, tmp_path):
    """A function from a number in `OTHER_RUNS`, None for the defaults, to a dict by setting."""

    def train(number):
        steps = PlayedSteps()
        monkeypatch.setattr(fit, "Steps", steps)  # noqa: F405
        monkeypatch.setattr(
            DetectionPictures, "_show", lambda self, _: steps.pictures.append(len(self.image_ids))
        )
        model.config = mini_config(**(OTHER_RUNS[number] if number is not None else {}))
        model.model_dir = str(tmp_path / str(number))
        model.set_log_dir()
        rates, had_state = [], []

        def begin(step, logs):
            rates.append(round(float(model.keras_model.optimizer.learning_rate), 9))
            had_state.append(
                os.path.isdir(model.log_dir)
                and any(name.startswith("state_") for name in os.listdir(model.log_dir))
            )

        watch = keras.callbacks.LambdaCallback(on_train_batch_begin=begin)
        rate, data = model.config.LEARNING_RATE, MiniShapes(2)
        model.train(data, data, rate, 2, "all", custom_callbacks=[watch])
        run = SimpleNamespace(model=model, steps=steps, rates=rates, had_state=had_state)
        return {
            name: entry.observe(run)
            for name, entry in RUNS.items()
            if number in (None, entry.number)
        }

    def get(number):
        if number not in observed:
            observed[number] = train(number)
        return observed[number]

    return get


def test_every_setting_is_here():
    settings = {name for name in vars(Config) if name.isupper()}
    assert settings == {*SAMPLES, *INFERENCE, *TRAINING, *RUNS}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name):
    check(SAMPLES[name], name, lambda **settings: mini_config(**settings) if settings else MINI)


@pytest.mark.parametrize(
    ("mode", "name"),
    [("inference", name) for name in INFERENCE] + [("training", name) for name in TRAINING],
)
def test_graphs(mode, name):
    def make(**settings):
        return tiny_graph.tiny(mode, **settings) if settings else tiny(mode)

    check({**INFERENCE, **TRAINING}[name], name, make)


@pytest.mark.parametrize("name", RUNS)
def test_runs(name, observe):
    entry = RUNS[name]
    assert (observe(None)[name], observe(entry.number)[name]) == (entry.before, entry.after)
