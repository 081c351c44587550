"""The graphs of one network have one set of weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.graph import build_graph
from mrcnn.layers.norm import BatchNorm
from mrcnn.model import MaskRCNN
from mrcnn.recipes import matterport
from mrcnn.training.step import Steps
from tests.mini import MiniConfig, mini_config
from tests.tiny_graph import (
    GivenRois,
    copy_weights,
    inference_batch,
    named,
    run,
    tiny_network,
    training_batch,
)


@pytest.fixture(params=[False, None], ids=["TRAIN_BN=False", "TRAIN_BN=None"], scope="module")
def models(request):
    """Config, training graph and inference graph of a network."""
    config, network = tiny_network("training", GivenRois, TRAIN_BN=request.param)
    return config, network.graph("training"), network.graph("inference")


class Reads(MiniConfig):
    """A Config that notes which settings are read."""

    def __getattribute__(self, name):
        if name.isupper() and not name.startswith("_"):
            object.__getattribute__(self, "__dict__").setdefault("read", set()).add(name)
        return object.__getattribute__(self, name)


def test_settings_that_decide_on_weights_are_those_that_the_parts_read():
    config = Reads()
    config.read.clear()
    parts = matterport.network_parts(config)
    parts.backbone(keras.Input((64, 64, 3)))
    # The others change what is computed, but neither names nor shapes of weights. Ratios count by
    # their number, and channels are those of the image.
    others = {
        "TRAIN_BN",
        "LOSS_WEIGHTS",
        "MEAN_PIXEL",
        "STD_PIXEL",
        "COMPUTE_BACKBONE_SHAPE",
        "RPN_ANCHOR_SCALES",
    }
    expected = {*matterport.WEIGHT_SETTINGS} - {"IMAGE_CHANNEL_COUNT"}
    assert config.read - others == expected


@pytest.fixture
def batch(models):
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)) * 30
    return inference_batch(models[0], image)


def expected(config, training, batch):
    """Outputs of an inference graph of its own, with a copy of the weights."""
    own = build_graph(config, "inference")
    copy_weights(training, own)
    return run(own, batch)


def assert_detects_alike(outputs, wanted):
    for output, want in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(output, want, rtol=1e-4, atol=1e-5)
    assert (wanted[0][..., 4] > 0).sum() > 5


def test_no_weight_exists_twice(models):
    _, training, shared = models
    assert {id(weight) for weight in shared.weights} == {id(weight) for weight in training.weights}
    assert len(shared.variables) == len(training.weights) > 50
    assert type(shared) is type(training)


def test_it_detects_what_a_model_with_copied_weights_detects(models, batch):
    config, training, shared = models
    assert_detects_alike(run(shared, batch), expected(config, training, batch))


def test_what_is_trained_it_detects_with(models, batch):
    config, training, shared = models
    training.compile(keras.optimizers.SGD(0.01, global_clipnorm=5.0), jit_compile=False)
    probabilities = tf.function(lambda *x: shared(list(x), training=False)[1], autograph=False)
    inputs = [tf.constant(array) for array in batch]
    before = probabilities(*inputs).numpy()
    steps = Steps(training, 0.0001)
    data = named(training, training_batch(config, np.random.default_rng(1), count=2))
    losses = [float(steps.train(data)["loss"]) for _ in range(4)]
    assert losses[-1] < losses[0]
    wanted = expected(config, training, batch)
    assert_detects_alike(run(shared, batch), wanted)
    # A function that was compiled before sees the weights of now.
    after = probabilities(*inputs).numpy()
    np.testing.assert_allclose(after, wanted[1], rtol=1e-3, atol=1e-5)
    assert abs(after - before).max() > 0.01


def test_in_bfloat16_it_detects_what_a_model_with_copied_weights_detects():
    config, network = tiny_network("training", GivenRois, PRECISION="mixed_bfloat16")
    training, shared = network.graph("training"), network.graph("inference")
    assert shared.get_layer("fpn_p2").compute_dtype == "bfloat16"
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)) * 30
    batch = inference_batch(config, image)
    outputs, wanted = run(shared, batch), expected(config, training, batch)
    # The same numbers in the same order, rounded alike.
    for output, want in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(output, want, rtol=1e-2, atol=1e-3)
    # Another precision gives others: class probabilities differ by more than float32 rounds.
    config.PRECISION = "float32"
    plain = build_graph(config, "inference")
    copy_weights(training, plain)
    assert abs(run(plain, batch)[5] - wanted[5]).max() > 1e-5


def test_another_graph_leaves_the_losses_as_they_are():
    config, network = tiny_network("training", GivenRois)
    training = network.graph("training")
    steps = Steps(training, 0.0001)
    data = named(training, training_batch(config, np.random.default_rng(1)))
    # Those of the RPN; the others depend on which RoIs are drawn.
    before = [float(loss) for loss in list(steps.losses(data, training=True)[1].values())[:2]]
    network.graph("inference")
    after = [float(loss) for loss in list(steps.losses(data, training=True)[1].values())[:2]]
    assert after == pytest.approx(before, rel=1e-6)
    assert min(before) > 0.01


def test_frozen_batch_normalization_stays_folded(models):
    _, training, shared = models
    norms = [layer for layer in shared.layers if isinstance(layer, BatchNorm)]
    assert len(norms) > 4
    for norm in norms:
        assert norm is training.get_layer(norm.name)
        # Layer bn2 is computed in the convolution res2 of the same model.
        conv = norm._conv() if norm._conv is not None else None
        if conv is not None:
            assert conv is training.get_layer(conv.name)
    assert sum(norm._conv is not None for norm in norms) >= 4


def test_what_a_mask_rcnn_gives(tmp_path, photo):
    config = mini_config(TRAIN_BN=None)
    trained = MaskRCNN("training", config, str(tmp_path))
    trained.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    path = str(tmp_path / "weights.h5")
    trained.keras_model.save_weights(path)
    own = MaskRCNN("inference", config, str(tmp_path))
    own.keras_model.load_weights(path)

    twin = trained.inference_model()
    assert (trained.mode, twin.mode, type(twin)) == ("training", "inference", MaskRCNN)
    images = [photo(64, 64), photo(50, 90, 1)]
    for result, want in zip(twin.detect(images), own.detect(images), strict=True):
        assert len(want["rois"])
        np.testing.assert_array_equal(result["rois"], want["rois"])
        np.testing.assert_array_equal(result["masks"], want["masks"])
        np.testing.assert_allclose(result["scores"], want["scores"], rtol=1e-5)

    scores = np.concatenate([result["scores"] for result in twin.detect(images)])
    between = float(np.median(scores))
    strict = trained.inference_model(mini_config(DETECTION_MIN_CONFIDENCE=between))
    left = np.concatenate([result["scores"] for result in strict.detect(images)])
    np.testing.assert_allclose(np.sort(left), np.sort(scores[scores >= between]), rtol=1e-5)
    assert 0 < len(left) < len(scores)

    trained.keras_model.get_layer("mrcnn_class_logits").bias.assign([9.0, 0.0, 0.0])
    assert [len(result["rois"]) for result in twin.detect(images)] == [0, 0]
    with pytest.raises(ValueError, match="whose TOP_DOWN_PYRAMID_SIZE is 32; .* made for 16"):
        trained.inference_model(mini_config(TOP_DOWN_PYRAMID_SIZE=32))


def test_an_own_backbone_with_a_function_in_a_layer(tmp_path, photo):
    def backbone(image, stage5=True, train_bn=None):
        image = keras.layers.Lambda(lambda x: x / 64.0, name="scale")(image)
        return mini_config().BACKBONE(image, stage5, train_bn)

    config = mini_config(BACKBONE=staticmethod(backbone))
    trained = MaskRCNN("training", config, str(tmp_path))
    twin = trained.inference_model()
    own = MaskRCNN("inference", config, str(tmp_path))
    copy_weights(trained.keras_model, own.keras_model)
    assert {id(v) for v in twin.keras_model.variables} <= {
        id(v) for v in trained.keras_model.variables
    }
    image = photo(64, 64)
    molded, metas, _ = own.mold_inputs([image])
    anchors = own.get_anchors(molded.shape[1:])[None]
    outputs = [model.keras_model([molded, metas, anchors]) for model in (twin, own)]
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
