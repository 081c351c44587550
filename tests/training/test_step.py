"""One step: the total of the losses, weight decay, clipping and momentum."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import LOSS_NAMES
from mrcnn.graph import build_graph
from mrcnn.training.optimizer import make_optimizer
from mrcnn.training.step import Steps
from tests.mini import mini_config


class Linear(keras.layers.Layer):
    """Five losses, the sum of which is the sum of all entries of slope * kernel.

    gamma and beta are there for the weight decay to leave alone.
    """

    def __init__(self, slope, kernel):
        super().__init__(name="toy")
        self.slope, self.start = np.asarray(slope, np.float32), np.asarray(kernel, np.float32)

    def build(self, shape):
        def add(name, value):
            return self.add_weight(name=name, shape=np.shape(value), initializer="zeros")

        self.kernel, self.gamma, self.beta = (
            add("kernel", self.start),
            add("gamma", [0.0, 0.0]),
            add("beta", [0.0, 0.0]),
        )
        self.kernel.assign(self.start)
        self.gamma.assign([3.0, 4.0])
        self.beta.assign([5.0, 6.0])

    def call(self, x):
        loss = tf.reduce_sum(self.kernel * self.slope) + 0.0 * tf.reduce_sum(x)
        self.add_loss(loss)
        return [tf.reshape(loss * share, [1]) for share in (0.1, 0.2, 0.3, 0.3, 0.1)]

    def compute_output_shape(self, shape):
        return [(1,)] * 5


def compile_model(model, config, learning_rate, momentum):
    optimizer = make_optimizer(config, learning_rate, momentum)
    model.compile(optimizer=optimizer, jit_compile=False)


def toy_model(slope, kernel, clip_norm, momentum=0.0, rate=0.1):
    x = keras.Input((1,), name="x")
    model = keras.Model([x], Linear(slope, kernel)(x))
    compile_model(model, mini_config(GRADIENT_CLIP_NORM=clip_norm), rate, momentum)
    return model


BATCH = {"x": tf.zeros((1, 1))}


def test_gradients_are_clipped_by_their_global_norm():
    # The gradient [30, 40] has the norm 50; clipped to 5 it is [3, 4], times the rate 0.1.
    model = toy_model([30.0, 40.0], [1.0, 2.0], clip_norm=5.0)
    losses = Steps(model, weight_decay=0).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], [0.7, 1.6], rtol=1e-6)
    assert float(losses["loss"]) == 30 * 1 + 40 * 2
    assert [float(losses[name]) for name in LOSS_NAMES] == pytest.approx([11, 22, 33, 33, 11])


@pytest.mark.parametrize("clip_norm", [50.0, None])
def test_gradients_within_the_norm_stay_as_they_are(clip_norm):
    model = toy_model([30.0, 40.0], [1.0, 2.0], clip_norm)
    Steps(model, weight_decay=0).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], [1 - 3, 2 - 4], rtol=1e-6)


def test_momentum_carries_on():
    model = toy_model([1.0, -2.0], [0.0, 0.0], clip_norm=5.0, momentum=0.9)
    steps = Steps(model, weight_decay=0)
    expected, velocity = np.zeros(2), np.zeros(2)
    for _ in range(3):
        steps.train(BATCH)
        velocity = 0.9 * velocity - 0.1 * np.array([1.0, -2.0])
        expected = expected + velocity
        np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-6)


def test_weight_decay():
    """The penalty is 0.5 * |w|^2 / 4: the gradient is w / 4, but of gamma and beta nothing."""
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    model = toy_model(np.zeros((2, 2)), kernel, clip_norm=None)
    losses = Steps(model, weight_decay=0.5).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.1 * kernel / 4, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[1], [3, 4])
    np.testing.assert_array_equal(model.get_weights()[2], [5, 6])
    assert float(losses["loss"]) == pytest.approx(0.5 * (1 + 4 + 9 + 16) / 4)


def test_weight_decay_is_clipped_with_the_rest():
    # The gradient is [3 + 2 * 1 * 8 / 2, 0] = [11, 0], clipped to norm 1.
    model = toy_model([3.0, 0.0], [8.0, 0.0], clip_norm=1.0)
    Steps(model, weight_decay=1.0).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], [8 - 0.1, 0], rtol=1e-6)


def test_a_step_is_compiled_once():
    """Variables of the optimizer that were made within the first step would have it done twice."""
    model = toy_model([1.0, 1.0], [1.0, 2.0], clip_norm=5.0, momentum=0.9)
    calls, layer = [], model.get_layer("toy")
    call = layer.call
    layer.call = lambda x: calls.append(1) or call(x)
    steps = Steps(model, weight_decay=0)
    for _ in range(3):
        steps.train(BATCH)
    assert len(calls) == 1


def test_validation_changes_nothing():
    model = toy_model([1.0, 1.0], [1.0, 2.0], clip_norm=5.0)
    losses = Steps(model, weight_decay=0).evaluate(BATCH)
    assert float(losses["loss"]) == 3
    np.testing.assert_array_equal(model.get_weights()[0], [1, 2])


@pytest.fixture
def eagerly():
    """A single step needs no compiling."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_total_is_the_weighted_sum_and_the_decay(batch):
    weights = dict(zip(LOSS_NAMES, (2.0, 0.5, 3.0, 0.25, 4.0), strict=True))
    keras.utils.set_random_seed(0)
    model = build_graph(mini_config(LOSS_WEIGHTS=weights), "training")
    gradients, losses = Steps(model, weight_decay=0.01).gradients(batch)
    assert len(gradients) == len(model.trainable_variables)
    values = {name: float(losses[name]) for name in LOSS_NAMES}
    assert min(values.values()) > 0
    decay = sum(
        0.01 * np.mean(np.square(variable.numpy()))
        for variable in model.trainable_variables
        if variable.path.split("/")[-1] not in ("gamma", "beta")
    )
    expected = sum(weights[name] * values[name] for name in LOSS_NAMES) + decay
    assert float(losses["loss"]) == pytest.approx(expected, rel=1e-5)
    assert decay > 0.01 * expected / 100


def test_losses_without_weight_teach_nothing(batch, eagerly):
    """With the RPN's class loss alone, the layers that only the other four reach stay put."""
    weights = dict.fromkeys(LOSS_NAMES, 0.0) | {"rpn_class_loss": 1.0}
    keras.utils.set_random_seed(0)
    config = mini_config(LOSS_WEIGHTS=weights)
    model = build_graph(config, "training")
    compile_model(model, config, learning_rate=0.1, momentum=0.9)
    before = {weight.path: weight.numpy() for weight in model.trainable_variables}
    Steps(model, weight_decay=0).train(batch)
    for weight in model.trainable_variables:
        layer = weight.path.split("/")[-2]
        stays = layer.startswith("mrcnn_") or layer == "rpn_bbox_pred"
        assert np.array_equal(weight.numpy(), before[weight.path]) == stays, weight.path


def test_bfloat16_step(batch, eagerly):
    """Losses are float32, and within 5 % of those of the same weights in float32."""
    # Without the RPN the RoIs are given, so a rounding cannot choose others.
    config = mini_config(USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=8, TRAIN_ROIS_PER_IMAGE=24)
    boxes = batch["input_gt_boxes"].numpy()[:, :1]
    shifts = np.array([[0] * 4, [1, 2, 1, 2], [-2, 1, -2, 1], [0, 0, 3, 3]] * 2)
    # Four RoIs on the object of an image, four beside it.
    rois = boxes + shifts + np.repeat([0, 40], 4)[None, :, None]
    batch = batch | {"input_roi": tf.constant(np.clip(rois, 0, [63, 63, 64, 64]), tf.float32)}
    keras.utils.set_random_seed(0)
    exact = build_graph(config, "training")
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_graph(config, "training")
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    mixed.set_weights(exact.get_weights())
    assert mixed.get_layer("fpn_p2").compute_dtype == "bfloat16"
    results = []
    for model in (exact, mixed):
        compile_model(model, config, learning_rate=0.01, momentum=0.9)
        results.append(Steps(model, weight_decay=config.WEIGHT_DECAY).train(batch))
    for name, loss in results[1].items():
        assert loss.dtype == tf.float32
        assert float(loss) == pytest.approx(float(results[0][name]), rel=0.05), name
        assert float(loss) > 0
    for weight in mixed.weights:
        assert weight.dtype == "float32"
        assert np.isfinite(weight.numpy()).all()
