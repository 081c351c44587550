"""Checkpointing gives the numbers of the model itself, in less memory."""

import subprocess
import sys
from collections import Counter
from resource import getpagesize

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mrcnn.backbones import build_backbone
from mrcnn.backbones.fpn import fpn
from mrcnn.training.forward import Forward
from tests.mini import mini_backbone


@keras.saving.register_keras_serializable(package="tests")
class Total(layers.Layer):
    """A layer that adds and returns a loss of all cells of the pyramid."""

    def call(self, levels, factor):
        levels = [tf.cast(level, tf.float32) for level in levels]
        loss = tf.add_n([tf.reduce_mean(tf.sin(3.0 * level)) for level in levels])
        loss = loss * tf.reduce_mean(factor)
        self.add_loss(loss)
        return tf.reshape(loss, [1])

    def compute_output_spec(self, levels, factor):
        return keras.KerasTensor((1,), "float32")


def pyramid_model(backbone="small", train_bn=False, seed=0):
    """Return a model of backbone and pyramid, with a loss in place of the heads."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((None, None, 3), name="input_image")
    factor = keras.Input((1,), name="factor")
    pyramid = fpn(build_backbone(backbone, image, train_bn), 8)
    loss = Total(dtype="float32", name="total")(list(pyramid.values()), factor)
    model = keras.Model([image, factor], [*pyramid.values(), loss])
    # Blocks start with a scale of zero, which would hide their gradients.
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith(("gamma", "beta", "bias", "moving_mean")):
            variable.assign(variable.numpy() * 0.5 + rng.uniform(0.1, 0.5, variable.shape))
    return model


@pytest.fixture
def inputs(rng):
    return [
        tf.constant(rng.uniform(-1, 1, (2, 64, 64, 3)), tf.float32),
        tf.constant([[2.0], [4.0]]),
    ]


def step(model, forward=None):
    """Return a function from inputs to outputs, total and gradients, without `forward` by Keras."""

    @tf.function(autograph=False)
    def run(*inputs):
        variables = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            if forward:
                outputs = forward(list(inputs), True, tape)
                total = tf.add_n(forward.losses())
            else:
                outputs = model(list(inputs), training=True)
                total = tf.add_n(model.losses)
        gradients = forward.gradient(tape, total) if forward else tape.gradient(total, variables)
        return outputs, total, gradients

    return run


def results(model, inputs, forward=None):
    """Return outputs, total, gradients and new state of one step; the state is restored."""
    before = [variable.numpy() for variable in model.non_trainable_variables]
    outputs, total, gradients = step(model, forward)(*inputs)
    after = [variable.numpy() for variable in model.non_trainable_variables]
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        variable.assign(value)
    return [*outputs, total, *gradients, *after]


def assert_equal(found, expected, rtol):
    """Assert that each tensor differs by `rtol` of its norm at most."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
        assert np.linalg.norm(one - other) <= rtol * np.linalg.norm(other)


@pytest.mark.parametrize(
    ("policy", "train_bn", "rtol"),
    [
        ("float32", False, 1e-6),
        ("mixed_bfloat16", False, 1e-6),
        # The order of sums over a batch varies.
        ("float32", None, 1e-4),
    ],
)
def test_checkpointing_changes_no_number(inputs, policy, train_bn, rtol):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = pyramid_model(train_bn=train_bn)
    finally:
        keras.config.set_dtype_policy(before)
    expected = results(model, inputs)
    forward = Forward(model, model.outputs, checkpointing=True)
    assert_equal(results(model, inputs, forward), expected, rtol)
    # There is something to compare.
    assert all(np.any(np.asarray(tensor, np.float32)) for tensor in expected)


def test_moving_statistics_move_once(inputs):
    """They move by a tenth of the difference from the mean of the batch."""
    model = pyramid_model(mini_backbone, train_bn=None)
    conv, norm = model.get_layer("conv1"), model.get_layer("bn_conv1")
    before, mean = norm.moving_mean.numpy(), np.mean(conv(inputs[0]), axis=(0, 1, 2))
    forward = Forward(model, model.outputs, checkpointing=True)
    step(model, forward)(*inputs)
    np.testing.assert_allclose(norm.moving_mean, 0.9 * before + 0.1 * mean, rtol=1e-5)


def operations(model, checkpointing, inputs):
    """Count the operations of a step by type, without those that nothing uses."""
    forward = Forward(model, model.outputs[-1:], checkpointing)
    concrete = step(model, forward).get_concrete_function(*inputs)
    return Counter(operation.type for operation in _needed(concrete.graph))


def _needed(graph):
    """Return the operations that outputs depend on."""
    todo, found = [tensor.op for tensor in graph.outputs], set()
    while todo:
        operation = todo.pop()
        if operation not in found:
            found.add(operation)
            todo += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return found


@pytest.mark.parametrize(
    ("first", "again"),
    # mini_backbone has one convolution per stage; C1 belongs to the piece of C2.
    [(1, 5), (3, 3), (4, 2), (6, 0)],
)
def test_frozen_stages_are_computed_once(inputs, first, again):
    """With the stages from `first` on trained, `again` convolutions are computed twice."""
    model = pyramid_model(mini_backbone)
    for layer in model.layers:
        stage = 1 if layer.name in ("conv1", "bn_conv1") else layer.name[-2:-1]
        if layer.name.startswith(("res", "bn", "conv1")):
            layer.trainable = int(stage) >= first
    plain, apart = (operations(model, checkpointing, inputs) for checkpointing in (False, True))
    assert apart["Conv2D"] - plain["Conv2D"] == again
    # Eight convolutions of the pyramid, and those of the stages that learn.
    assert apart["Conv2DBackpropFilter"] == plain["Conv2DBackpropFilter"] == 8 + max(0, 6 - first)
    assert apart["Conv2DBackpropInput"] == plain["Conv2DBackpropInput"]


def random_backbone(image, stage5=True, train_bn=None):
    """Return stages that are linear in the kernel of C1, with a random layer and a loss in C2."""
    x, stages = image, []
    for stage in range(1, 6):
        x = layers.AveragePooling2D(2)(x)
        x = layers.Conv2D(3, 1, use_bias=False)(x)
        if stage == 2:
            x = layers.Dropout(0.5, seed=1)(x)
            x = layers.ActivityRegularization(l1=0.25, name="extra")(x)
        stages.append(x)
    return stages


def test_random_layers_draw_the_same_numbers_twice(inputs):
    """The loss is linear in a kernel, so it equals gradient times kernel (Euler's theorem).

    With other numbers the second time, the gradient would belong to another loss.
    """
    model = pyramid_model(random_backbone)
    kernel = model.trainable_variables[0]
    forward = Forward(model, model.outputs, checkpointing=True)

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            forward(inputs, True, tape)
            losses = forward.losses()
        return losses, forward.gradient(tape, losses[0])[0]

    (extra, total), gradient = run()
    assert total.shape == ()
    assert np.sum(gradient * kernel.numpy()) == pytest.approx(float(extra), rel=1e-5)
    assert float(extra) > 0.1
    assert float(run()[0][0]) != float(extra)


@pytest.mark.skipif(keras.__version__ < "3.13", reason="this Keras accepts such graphs")
def test_a_stage_that_needs_more_than_the_one_before():
    def skipping(image, stage5=True, train_bn=None):
        stages = mini_backbone(image)
        x = layers.AveragePooling2D(32)(image)
        stages[4] = layers.Concatenate()([stages[4], x])
        return stages

    model = pyramid_model(skipping)
    with pytest.raises(ValueError, match="BACKBONE that computes each of the stages C2"):
        Forward(model, model.outputs, checkpointing=True)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_inputs_and_duplicates_among_the_outputs(inputs, checkpointing):
    model = pyramid_model(mini_backbone)
    p2, loss = model.outputs[0], model.outputs[-1]
    forward = Forward(model, [loss, model.inputs[1], p2, loss], checkpointing)
    found = forward(inputs, training=False)
    expected = model(inputs, training=False)
    for value, wanted in zip(
        found, [expected[-1], inputs[1], expected[0], expected[-1]], strict=True
    ):
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


REPLICAS = """
import sys, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from mrcnn.training.forward import Forward
from tests.mini import mini_backbone
from tests.training.test_forward import pyramid_model
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
with strategy.scope():
    model = pyramid_model(mini_backbone, train_bn=None)
for checkpointing in (False, True):
    forward = Forward(model, model.outputs, checkpointing)
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        image = tf.gather(tf.constant(images), [replica])
        with tf.GradientTape() as tape:
            forward([image, tf.ones((1, 1))], True, tape)
            total = tf.add_n(forward.losses())
        return total, forward.gradient(tape, total)
    before = [variable.numpy() for variable in model.non_trainable_variables]
    total, gradients = tf.function(lambda: strategy.run(step), autograph=False)()
    found = [np.stack(strategy.experimental_local_results(v)) for v in [total, *gradients]]
    found += [variable.numpy() for variable in model.non_trainable_variables]
    for variable, value in zip(model.non_trainable_variables, before):
        variable.assign(value)
    if not checkpointing:
        expected = found
    for one, other in zip(expected, found):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
assert expected[0][0] != expected[0][1]
assert any(np.any(a != b) for a, b in zip(before, found[-len(before):]))
print("equal")
"""


@pytest.mark.slow
def test_replicas_of_a_strategy():
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[-1:] == ["equal"], done.stderr[-3000:]


def deep_backbone(image, stage5=True, train_bn=None):
    """Return stages of ten layers, each with maps of 2 MiB for an image of 2048x2048."""
    x = layers.AveragePooling2D(2)(image)
    stages = [x]
    for stage in range(2, 6):
        x = layers.Conv2D(2 * 4 ** (stage - 2), 2, 2)(x)
        for _ in range(10):
            x = layers.Activation("tanh")(x)
        stages.append(x)
    return stages


PEAK = """
import sys, tensorflow as tf
from resource import RUSAGE_SELF, getrusage
from mrcnn.training.forward import Forward
from tests.training.test_forward import deep_backbone, pyramid_model, resident, step
model = pyramid_model(deep_backbone)
forward = Forward(model, model.outputs[-1:], checkpointing=sys.argv[1] == "True")
inputs = [tf.zeros((4, 2048, 2048, 3)), tf.ones((1, 1))]
start = resident()
step(model, forward)(*inputs)
print(getrusage(RUSAGE_SELF).ru_maxrss * 1024 - start)
"""


def resident():
    with open("/proc/self/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of a process")
def test_checkpointing_keeps_less():
    """A batch of four needs 80 MiB per stage: for four stages, or for one at a time."""
    peaks = []
    for checkpointing in (False, True):
        command = [sys.executable, "-c", PEAK, str(checkpointing)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 2**20)
    assert peaks[0] - peaks[1] > 0.75 * 3 * 80, peaks
