"""The graph: what is wired to what, what learns, and what settings change."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import LOSS_NAMES
from mrcnn.legacy.layers import DetectionLayer, ProposalLayer
from mrcnn.training.step import Steps
from tests.tiny_graph import (
    INFERENCE,
    TRAINING,
    GivenRois,
    copy_weights,
    feed,
    inference_batch,
    named,
    run,
    tiny,
    tiny_backbone,
    training_batch,
)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).normal(size=(2, 64, 64, 3))


@pytest.fixture(scope="module")
def inference():
    return tiny("inference")


@pytest.fixture(scope="module")
def inferred(inference, images):
    """Inputs and outputs of two images."""
    config, model = inference
    inputs = inference_batch(config, images)
    return inputs, dict(zip(INFERENCE, run(model, inputs), strict=True))


@pytest.fixture(scope="module")
def given_rois():
    return tiny("training", GivenRois)


@pytest.fixture(scope="module")
def trained(given_rois):
    """Outputs of the training graph for two images."""
    config, model = given_rois
    batch = training_batch(config, np.random.default_rng(4), count=2)
    return batch, dict(zip(TRAINING, run(model, feed(model, batch), training=True), strict=True))


def softmax(logits):
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_inference_outputs_belong_together(inference, inferred):
    (_, metas, anchors), out = inferred
    config, _ = inference
    propose = ProposalLayer(40, config.RPN_NMS_THRESHOLD, config)
    proposals = propose([out["rpn_class"], out["rpn_bbox"], anchors])
    np.testing.assert_allclose(out["rpn_rois"], proposals, atol=1e-6)
    assert out["rpn_rois"].any(axis=2).all()
    parts = [out[name] for name in ("rpn_rois", "mrcnn_class", "mrcnn_bbox")]
    detections = DetectionLayer(config)([*parts, metas])
    np.testing.assert_allclose(out["detections"], detections, atol=1e-6)
    for name in ("rpn_class", "mrcnn_class"):
        np.testing.assert_allclose(out[name].sum(axis=-1), 1, atol=1e-6)


def test_masks_are_those_of_detections(inferred):
    _, out = inferred
    detected = out["detections"][..., 4] > 0
    # Of thirty places some are taken and some are not, or this would show little.
    assert 0 < detected.sum() < detected.size
    has_mask = out["mrcnn_mask"].any(axis=(2, 3, 4))
    np.testing.assert_array_equal(has_mask, detected)


def test_batch_equals_its_images(inference, inferred):
    config, model = inference
    inputs, together = inferred
    for image in range(2):
        alone = run(model, [x[image : image + 1] for x in inputs])
        for name, values in zip(INFERENCE, alone, strict=True):
            np.testing.assert_allclose(together[name][image], values[0], rtol=1e-4, atol=1e-5)
    assert np.abs(together["mrcnn_class"][0] - together["mrcnn_class"][1]).max() > 1e-3


def test_training_outputs_belong_together(trained):
    batch, out = trained
    np.testing.assert_allclose(out["rpn_class"], softmax(out["rpn_class_logits"]), atol=1e-6)
    np.testing.assert_allclose(out["mrcnn_class"], softmax(out["mrcnn_class_logits"]), atol=1e-6)
    # The given RoIs in normalized coordinates of 64 pixels, zero padded as before.
    rois = (batch["input_roi"] - [0, 0, 1, 1]) / 63 * batch["input_roi"].any(axis=2)[..., None]
    np.testing.assert_allclose(out["rpn_rois"], rois, atol=1e-6)
    for sampled, given in zip(out["output_rois"], rois, strict=True):
        distance = np.abs(sampled[:, None] - given[None]).max(axis=2).min(axis=1)
        np.testing.assert_allclose(distance, 0, atol=1e-6)
    # int(20 * 0.33) of the ten RoIs near an instance are positive in each image, so that the masks
    # of 12 are there, and none is empty.
    assert out["mrcnn_mask"].shape == (1, 12, 28, 28, 4)
    assert (out["output_rois"].any(axis=2).sum(axis=1) == 18).all()


def test_masks_are_made_for_positives_only(given_rois):
    config, model = given_rois
    batch = training_batch(config, np.random.default_rng(4), count=2)
    # Two of the ten RoIs near an instance are left in the first image, one in the second; the rest
    # becomes padding.
    batch["input_roi"][0, 2:10] = batch["input_roi"][1, 1:10] = 0
    out = dict(zip(TRAINING, run(model, feed(model, batch), training=True), strict=True))
    assert out["mrcnn_mask"].shape == (1, 3, 28, 28, 4)


def test_losses_of_outputs(trained):
    # Two of the five follow from the other outputs with NumPy alone.
    batch, out = trained
    match = batch["input_rpn_match"][..., 0]
    probs = np.where(match == 1, out["rpn_class"][..., 1], out["rpn_class"][..., 0])
    np.testing.assert_allclose(
        out["rpn_class_loss"], [-np.log(probs[match != 0]).mean()], rtol=1e-4
    )
    difference = np.abs(out["rpn_bbox"][match == 1] - batch["input_rpn_bbox"][:, :2].reshape(-1, 4))
    smooth = np.where(difference < 1, difference**2 / 2, difference - 0.5)
    np.testing.assert_allclose(out["rpn_bbox_loss"], [smooth.mean()], rtol=1e-4)
    assert all(np.isfinite(out[name]).all() and out[name] > 0 for name in LOSS_NAMES)


@pytest.fixture(scope="module")
def step(given_rois):
    """A function of a batch: gradients in the order of the variables, and losses."""
    _, model = given_rois
    gradients = tf.function(Steps(model, 0).gradients, autograph=False)
    return lambda batch: gradients(named(model, batch))


@pytest.fixture(scope="module")
def first_step(given_rois, step):
    """Gradients by variable, and losses, of one image."""
    config, model = given_rois
    gradients, losses = step(training_batch(config, np.random.default_rng(4)))
    paths = [variable.path for variable in model.trainable_variables]
    return dict(zip(paths, gradients, strict=True)), losses


def test_everything_learns(given_rois, first_step):
    gradients, _ = first_step
    norms = {path: float(tf.norm(gradient)) for path, gradient in gradients.items()}
    assert len(norms) == len(given_rois[1].trainable_variables) == 70
    assert [path for path, norm in norms.items() if not 0 < norm < 1e4] == []


def test_total_is_the_weighted_sum():
    weights = dict(zip(LOSS_NAMES, (0.5, 0, 2, 3, 0.25), strict=True))
    config, model = tiny("training", GivenRois, LOSS_WEIGHTS=weights)
    batch = training_batch(config, np.random.default_rng(4))
    total, losses = Steps(model, 0).losses(named(model, batch), training=True)
    expected = sum(weights[name] * float(loss) for name, loss in losses.items())
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert list(losses) == list(LOSS_NAMES)


def test_boxes_without_area_do_no_harm(given_rois, step):
    batch = training_batch(given_rois[0], np.random.default_rng(4))
    # Ground truth of one row and of one pixel, and RoIs without height, without width, and of a
    # single point: their normalized extent is 0.
    batch["input_gt_boxes"][0, :2] = [[10, 10, 11, 50], [30, 30, 31, 31]]
    batch["input_roi"][0, :4] = [[10, 10, 11, 50], [30, 30, 31, 31], [5, 5, 5, 40], [9, 9, 9, 9]]
    gradients, losses = step(batch)
    assert all(np.isfinite(loss) for loss in losses.values())
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_image_without_instances(given_rois, step):
    batch = training_batch(given_rois[0], np.random.default_rng(4))
    for name in ("input_gt_boxes", "input_gt_class_ids", "input_gt_masks"):
        batch[name] = np.zeros_like(batch[name])
    batch["input_rpn_match"] = np.minimum(batch["input_rpn_match"], 0)
    gradients, losses = step(batch)
    assert [float(losses[name]) for name in LOSS_NAMES[1:2] + LOSS_NAMES[3:]] == [0, 0, 0]
    assert float(losses["rpn_class_loss"]) > 0
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_both_modes_propose_the_same(inference, inferred):
    _, infer = inference
    config, train = tiny("training")
    assert config.POST_NMS_ROIS_TRAINING == config.POST_NMS_ROIS_INFERENCE
    copy_weights(infer, train)
    inputs, expected = inferred
    batch = training_batch(config, np.random.default_rng(4), count=2)
    batch["input_image"] = inputs[0]
    out = dict(zip(TRAINING, run(train, feed(train, batch), training=True), strict=True))
    # The anchors come from the layer here and from NumPy there.
    for name in ("rpn_rois", "rpn_class", "rpn_bbox"):
        np.testing.assert_allclose(out[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5])
def test_image_channels(inference, inferred, channels):
    config, model = tiny("inference", IMAGE_CHANNEL_COUNT=channels)
    assert model.inputs[0].shape == (None, None, None, channels)
    inputs, expected = inferred
    _, rgb = inference
    weights = rgb.get_weights()
    # A grey model with the sum over the colours sees a grey photo as the colour model does; two
    # more channels without weight change nothing.
    if channels == 1:
        image = np.repeat(inputs[0][..., :1], 3, axis=3)
        expected = dict(zip(INFERENCE, run(rgb, [image, *inputs[1:]]), strict=True))
        weights[0], image = weights[0].sum(axis=2, keepdims=True), image[..., :1]
    else:
        weights[0] = np.pad(weights[0], ((0, 0), (0, 0), (0, 2), (0, 0)))
        image = np.concatenate([inputs[0], inputs[0][..., :2]], axis=3)
    model.set_weights(weights)
    for name, values in zip(INFERENCE, run(model, [image, *inputs[1:]]), strict=True):
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4)


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_in_inference(mixed_precision, inference, inferred):
    inputs, expected = inferred
    _, model = tiny("inference")
    copy_weights(inference[1], model)
    out = dict(zip(INFERENCE, run(model, inputs), strict=True))
    assert model.get_layer("fpn_p2").output.dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {value.dtype for value in out.values()} == {np.dtype(np.float32)}
    for name in ("rpn_class", "rpn_bbox"):
        # 8 bits of mantissa through a few layers.
        error = np.abs(out[name] - expected[name]).max()
        assert 0 < error < 0.05 * np.abs(expected[name]).max()
    # Boxes and probabilities are not rounded to 8 bits.
    for name in ("rpn_rois", "rpn_class", "mrcnn_class"):
        rounded = tf.cast(tf.cast(out[name], tf.bfloat16), tf.float32).numpy()
        assert (rounded != out[name]).mean() > 0.5
    np.testing.assert_allclose(out["mrcnn_class"].sum(axis=-1), 1, atol=1e-6)


def test_mixed_precision_in_training(mixed_precision, given_rois, first_step):
    config, model = tiny("training", GivenRois)
    copy_weights(given_rois[1], model)
    batch = training_batch(config, np.random.default_rng(4))
    gradients, losses = Steps(model, 0).gradients(named(model, batch))
    exact_gradients, exact = first_step
    assert {gradient.dtype for gradient in gradients} == {tf.float32}
    for name in LOSS_NAMES:
        assert losses[name].dtype == tf.float32
        if name.startswith("rpn"):
            # Those of the heads depend on which RoIs were drawn.
            np.testing.assert_allclose(losses[name], exact[name], rtol=0.02)
    for gradient, reference in zip(gradients, exact_gradients.values(), strict=True):
        assert np.isfinite(gradient).all()
        assert float(tf.norm(gradient)) < 10 * float(tf.norm(reference)) + 1e-3


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_saved_model(request, mode, tmp_path):
    """Every layer is found by Keras itself, without a list of custom objects."""
    _, model = request.getfixturevalue("inference" if mode == "inference" else "given_rois")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    if mode == "inference":
        inputs, expected = request.getfixturevalue("inferred")
        names = INFERENCE
    else:
        batch, expected = request.getfixturevalue("trained")
        # The choice of RoIs is random; what the RPN says is not.
        inputs, names = feed(model, batch), TRAINING[:3]
    values = run(loaded, inputs)
    for name, value in zip(names, values, strict=False):
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)


def test_backbone_gets_the_rule_for_batch_norm(images):
    seen = []

    def backbone(image, stage5, train_bn):
        seen.append((stage5, train_bn))
        return tiny_backbone(image, stage5, train_bn)

    config, model = tiny("inference", BACKBONE=staticmethod(backbone), TRAIN_BN=None)
    assert seen == [(True, None)]
    rules = {x.name: x.train_bn for x in model.layers if hasattr(x, "train_bn")}
    assert set(rules.values()) == {None}
    assert {"bn2", "bn5", "mrcnn_class_bn1", "mrcnn_mask_bn4"} <= rules.keys()


def test_roi_method_changes_features(inference, inferred):
    inputs, expected = inferred
    config, model = tiny("inference", ROI_ALIGN="align")
    copy_weights(inference[1], model)
    out = dict(zip(INFERENCE, run(model, inputs), strict=True))
    np.testing.assert_allclose(out["rpn_rois"], expected["rpn_rois"], atol=1e-6)
    assert np.abs(out["mrcnn_class"] - expected["mrcnn_class"]).max() > 1e-3


def test_wrong_backbone():
    with pytest.raises(ValueError, match="must return a list of five tensors"):
        tiny("inference", BACKBONE=staticmethod(lambda image: [image]))
