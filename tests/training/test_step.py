"""One step: the total of the losses, weight decay, clipping and momentum."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import LOSS_NAMES
from mrcnn.data.pipeline import make_dataset
from mrcnn.graph import build_graph
from mrcnn.layers.batch_part import batch_part
from mrcnn.layers.losses import LossLayer
from mrcnn.training.optimizer import make_optimizer
from mrcnn.training.step import Steps
from tests.mini import MiniShapes, mini_backbone, mini_config


class Linear(keras.layers.Layer):
    """A loss: the sum of all entries of slope * kernel.

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
        return tf.reduce_sum(self.kernel * self.slope) + 0.0 * tf.reduce_sum(x)

    def compute_output_shape(self, shape):
        return ()


@LossLayer.register(count=lambda value: tf.constant(1.0))
def toy_loss(value):
    return value


def compile_model(model, config, learning_rate, momentum):
    optimizer = make_optimizer(config, learning_rate, momentum)
    model.compile(optimizer=optimizer, jit_compile=False)


def test_steps_of_many_stages_are_no_retracing(caplog):
    """Each stage compiles its own steps, which TensorFlow must not take for one function."""
    steps = Steps.__new__(Steps)
    steps.strategy = tf.distribute.get_strategy()
    for number in range(12):
        compiled = steps._compiled(lambda x, number=number: {"loss": number * x})
        assert [float(compiled(tf.constant(x))["loss"]) for x in (1.0, 2.0)] == [number, 2 * number]
    assert "retracing" not in caplog.text


def test_one_step_for_images_of_any_size():
    """Three sizes of images compile one step, and get the losses of steps for one size each."""
    config = mini_config(IMAGE_RESIZE_MODE="pad64", TRAIN_BN=False)
    model = build_graph(config, "training")
    any_size = Steps(model, weight_decay=0, any_size=True)
    for size in (64, 100, 150):
        batch = next(iter(make_dataset(MiniShapes(2, size=size), config, shuffle=False, seed=0)))
        one_size = Steps(model, weight_decay=0)
        pairs = zip(
            *(steps.evaluate(batch).values() for steps in (any_size, one_size)), strict=True
        )
        np.testing.assert_allclose(*np.array(list(pairs)).T, rtol=1e-5)
    assert any_size._evaluate_one.experimental_get_tracing_count() == 1


def toy_network(slope, kernel):
    """A model whose two losses, of weights that sum to 1, are both the value of `Linear`."""
    x = keras.Input((1,), name="x")
    value = Linear(slope, kernel)(x)
    weights = {"a_loss": 0.25, "b_loss": 0.75}
    losses = [LossLayer("toy_loss", weight, name=name)(value) for name, weight in weights.items()]
    return keras.Model([x], losses)


def toy_model(slope, kernel, clip_norm, momentum=0.0, rate=0.1):
    model = toy_network(slope, kernel)
    compile_model(model, mini_config(GRADIENT_CLIP_NORM=clip_norm), rate, momentum)
    return model


BATCH = {"x": tf.zeros((1, 1))}


def test_gradients_are_clipped_by_their_global_norm():
    # The gradient [30, 40] has the norm 50; clipped to 5 it is [3, 4], times the rate 0.1.
    model = toy_model([30.0, 40.0], [1.0, 2.0], clip_norm=5.0)
    losses = Steps(model, weight_decay=0).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], [0.7, 1.6], rtol=1e-6)
    assert float(losses["loss"]) == 30 * 1 + 40 * 2
    # Reported losses are without their weights, and the norm is from before clipping.
    assert {name: float(loss) for name, loss in losses.items()} == {
        "loss": 110,
        "a_loss": 110,
        "b_loss": 110,
        "gradient_norm": 50,
    }


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
    """The penalty 0.5 * |w|^2 / 4 has the gradient w / 4; gamma and beta have no penalty."""
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    model = toy_model(np.zeros((2, 2)), kernel, clip_norm=None)
    losses = Steps(model, weight_decay=0.5).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.1 * kernel / 4, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[1], [3, 4])
    np.testing.assert_array_equal(model.get_weights()[2], [5, 6])
    assert float(losses["loss"]) == pytest.approx(0.5 * (1 + 4 + 9 + 16) / 4)


def test_weight_decay_of_the_paper():
    """The gradient is 0.5 * w, as of PyTorch's SGD; gamma and beta have no penalty."""
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    model = toy_model(np.ones((2, 2)), kernel, clip_norm=None)
    losses = Steps(model, weight_decay=0.5, divide_decay=False).train(BATCH)
    expected = kernel - 0.1 * (1 + 0.5 * kernel)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[1], [3, 4])
    np.testing.assert_array_equal(model.get_weights()[2], [5, 6])
    assert float(losses["loss"]) == pytest.approx(10 + 0.5 * (1 + 4 + 9 + 16) / 2)


def test_weight_decay_skips_all_normalization():
    x = keras.Input((4, 4, 16), name="x")
    y = keras.layers.Conv2D(16, 1, bias_initializer="ones", name="conv")(x)
    y = keras.layers.GroupNormalization(8, name="group")(y)
    y = keras.layers.LayerNormalization(name="layer")(y)
    y = keras.layers.BatchNormalization(name="batch")(y)
    total = LossLayer("toy_loss", name="loss")(Linear([0.0], [1.0])(y))
    model = keras.Model(x, total)
    batch = {"x": tf.zeros((1, 4, 4, 16))}
    gradients, _ = Steps(model, weight_decay=0.25, divide_decay=False).gradients(batch)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        decayed = variable.path.split("/")[-1] in ("kernel", "bias")
        expected = 0.25 * variable.numpy() if decayed else np.zeros(variable.shape)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)
    assert len(gradients) == 2 + 3 * 2 + 3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weight_decay_once_a_step(accumulate):
    """Batches of one step share the penalty."""
    model = toy_model([0.0, 0.0], [2.0, 4.0], clip_norm=None)
    steps = Steps(model, weight_decay=0.5, divide_decay=False, accumulate=accumulate)
    losses = steps.train(*[BATCH] * accumulate)
    np.testing.assert_allclose(model.get_weights()[0], [2 * 0.95, 4 * 0.95], rtol=1e-6)
    assert float(losses["loss"]) == pytest.approx(0.5 * (4 + 16) / 2)


def test_weight_decay_is_clipped_with_the_rest():
    # The gradient is [3 + 2 * 1 * 8 / 2, 0] = [11, 0], clipped to norm 1.
    model = toy_model([3.0, 0.0], [8.0, 0.0], clip_norm=1.0)
    Steps(model, weight_decay=1.0).train(BATCH)
    np.testing.assert_allclose(model.get_weights()[0], [8 - 0.1, 0], rtol=1e-6)


def test_a_step_is_compiled_once():
    """The optimizer's variables exist before, else TensorFlow would trace the step twice."""
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
    """Run functions without compiling: the tests take single steps."""
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
    """With the RPN's class loss alone, layers that only the other four reach do not change."""
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
    # The RoIs are given: with proposals of an RPN, rounding could choose others.
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


# Several batches per step


def given_rois(**settings):
    """Return a model that gets its RoIs with the images, and draws 20 per image."""
    # The RoIs are given: with proposals of an RPN, rounding could choose others.
    config = mini_config(USE_RPN_ROIS=False, GRADIENT_CLIP_NORM=None, **settings)
    keras.utils.set_random_seed(0)
    model = build_graph(config, "training")
    compile_model(model, config, learning_rate=1.0, momentum=0.0)
    return model


@pytest.fixture(scope="module")
def eight():
    """Eight images with RoIs. Some are empty, so that pairs differ in their positives."""
    config = mini_config(USE_RPN_ROIS=False, TRAIN_WITH_EMPTY_IMAGES=True)
    dataset = MiniShapes(8, empty=[1, 4, 5])
    return next(iter(make_dataset(dataset, config, shuffle=False, seed=0, batch_size=8)))


def pieces(batch, count):
    """Split a batch into `count` smaller ones."""
    split = {name: tf.split(values, count) for name, values in batch.items()}
    return [{name: parts[i] for name, parts in split.items()} for i in range(count)]


def learned(batches):
    """Return what a step subtracts from the weights, the gradient by path, and the losses."""
    model = given_rois()
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    steps = Steps(model, 0.01, accumulate=len(batches), seed=5)
    losses = steps.train(*batches, number=3)
    gradients = {v.path: before[v.path] - v.numpy() for v in model.trainable_variables}
    return gradients, {name: float(loss) for name, loss in losses.items()}


def test_four_batches_of_two_are_a_batch_of_eight(eight, eagerly):
    batches = pieces(eight, 4)
    whole = learned([eight])
    ours = learned(batches)
    assert ours[1] == pytest.approx(whole[1], rel=1e-5)
    for path, gradient in whole[0].items():
        difference = np.linalg.norm(ours[0][path] - gradient)
        assert difference <= 1e-4 * np.linalg.norm(gradient), path
    length = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in whole[0].values()))
    assert ours[1]["gradient_norm"] == pytest.approx(length, rel=1e-4)
    # The mean over the batches is different, because their numbers of positives differ.
    steps, alone = Steps(given_rois(), 0), []
    for place, batch in enumerate(batches):
        with batch_part(tf.constant([5, 3], tf.int64), place, 4):
            alone.append(steps.losses(batch, True)[1])
    for name in ("rpn_bbox_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"):
        mean = np.mean([losses[name] for losses in alone])
        assert abs(mean - whole[1][name]) > 1e-3 * whole[1][name], name


def test_the_number_of_a_step_chooses_its_rois(eight, eagerly):
    model = given_rois()
    batch = pieces(eight, 4)[0]
    model.optimizer.learning_rate = 0.0
    losses = [
        float(Steps(model, 0, seed=seed).train(batch, number=number)["mrcnn_class_loss"])
        for seed, number in ((5, 3), (5, 3), (5, 4), (6, 3))
    ]
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3


def dropping_backbone(image, stage5=True, train_bn=None):
    *stages, last = mini_backbone(image, stage5, train_bn)
    return [*stages, keras.layers.Dropout(0.5, name="drop")(last)]


def test_counting_batches_changes_no_state(eight, eagerly):
    """Each batch moves statistics and random numbers once, although it runs twice."""
    model = given_rois(BACKBONE=staticmethod(dropping_backbone), TRAIN_BN=True)
    batches = pieces(eight, 4)[:2]
    model.optimizer.learning_rate = 0.0
    norm, images = model.get_layer("bn_conv1"), model.get_layer("conv1")
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    for batch in batches:
        maps = np.asarray(images(batch["input_image"]))
        mean += (1 - norm.momentum) * (maps.mean((0, 1, 2)) - mean)
        variance += (1 - norm.momentum) * (maps.var((0, 1, 2)) - variance)
    generator = keras.random.SeedGenerator()
    generator.state.assign(model.get_layer("drop").seed_generator.state)
    for _ in batches:
        generator.next()
    Steps(model, 0, accumulate=2).train(*batches)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-3)
    np.testing.assert_array_equal(model.get_layer("drop").seed_generator.state, generator.state)
