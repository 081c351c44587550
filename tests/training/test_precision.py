"""Steps in mixed precision: loss scaling, skipped steps, and values that stay float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.graph import build_graph
from mrcnn.training.optimizer import make_optimizer
from mrcnn.training.step import Steps
from tests.mini import mini_config
from tests.training.test_step import BATCH, toy_network


def half_model(slope, kernel, clip_norm=None):
    """Return a model with scaled losses as in float16, by 2^15 at first."""
    model = toy_network(slope, kernel)
    config = mini_config(GRADIENT_CLIP_NORM=clip_norm)
    optimizer = make_optimizer(config, 0.1, 0.0, compute_dtype="float16")
    model.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)
    return model


def test_scaled_losses_give_the_same_step():
    """The decay of w = [1, 2] is w / 2; the gradient [3, 4] + [0.5, 1] is clipped to norm 1."""
    model = half_model([3.0, 4.0], [1.0, 2.0], clip_norm=1.0)
    losses = Steps(model, weight_decay=0.5).train(BATCH)
    gradient = np.array([3.5, 5.0])
    norm = np.linalg.norm(gradient)
    assert float(losses["gradient_norm"]) == pytest.approx(norm, rel=1e-6)
    assert float(losses["loss"]) == pytest.approx(3 + 8 + 0.5 * (1 + 4) / 2)
    expected = np.array([1.0, 2.0]) - 0.1 * gradient / norm
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-6)


def test_step_with_overflowing_gradients_is_skipped():
    """1e36 times 2^15 is beyond float32 too: no weight changes, and the scale is halved."""
    model = half_model([1e36, 0.0], [1.0, 2.0])
    losses = Steps(model, weight_decay=0).train(BATCH)
    np.testing.assert_array_equal(model.get_weights()[0], [1, 2])
    assert float(model.optimizer.dynamic_scale.numpy()) == 2.0**14
    # Training does not stop for it.
    assert float(losses["gradient_norm"]) == 0
    assert np.isfinite(float(losses["loss"]))


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_weights_and_losses_stay_float32(precision):
    model = build_graph(mini_config(PRECISION=precision), "training")
    computed = {layer.name: layer.compute_dtype for layer in model.layers}
    half = precision.removeprefix("mixed_")
    assert {computed["fpn_p2"], computed["mrcnn_mask_conv1"], computed["conv1"]} == {half}
    boxes = ("ROI", "proposal_targets", "rpn_class", "rpn_bbox", "mrcnn_class", "mrcnn_bbox")
    losses = [name for name in computed if name.endswith("_loss")]
    assert len(losses) == 5
    assert {computed[name] for name in (*boxes, *losses)} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_float16_step(batch):
    """The losses are those of float32 within 2 %, and the weights change likewise."""
    settings = {"USE_RPN_ROIS": False, "POST_NMS_ROIS_TRAINING": 8, "TRAIN_ROIS_PER_IMAGE": 24}
    # Four RoIs on the object of an image, four beside it.
    boxes = batch["input_gt_boxes"].numpy()[:, :1]
    shifts = np.array([[0] * 4, [1, 2, 1, 2], [-2, 1, -2, 1], [0, 0, 3, 3]] * 2)
    rois = boxes + shifts + np.repeat([0, 40], 4)[None, :, None]
    batch = batch | {"input_roi": tf.constant(np.clip(rois, 0, [63, 63, 64, 64]), tf.float32)}
    results, changes, weights = [], [], None
    for precision, dtype in (("float32", "float32"), ("mixed_float16", "float16")):
        keras.utils.set_random_seed(0)
        config = mini_config(PRECISION=precision, **settings)
        model = build_graph(config, "training")
        weights = weights or model.get_weights()
        model.set_weights(weights)
        optimizer = make_optimizer(config, 0.1, 0.9, compute_dtype=dtype)
        model.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)
        if dtype == "float16":
            # The usual scale of 2^15 is too large for the gradients of these random weights.
            model.optimizer.build(model.trainable_variables)
            model.optimizer.dynamic_scale.assign(2.0**8)
        kernel = model.get_layer("fpn_p3").kernel
        before = kernel.numpy()
        results.append(Steps(model, weight_decay=0.0001).train(batch))
        changes.append(kernel.numpy() - before)
    for name, loss in results[1].items():
        assert float(loss) == pytest.approx(float(results[0][name]), rel=0.02), name
    difference = np.linalg.norm(changes[1] - changes[0]) / np.linalg.norm(changes[0])
    assert difference < 0.05
