"""Batch normalization: its three rules, and folding into the convolution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.conv import Conv2D, RoIConv2D
from mrcnn.layers.norm import BatchNorm, conv_norm
from tests.layer_contract import run_layer_test

CHANNELS = 5


@pytest.fixture
def statistics(rng):
    """Return gamma, beta, moving mean and moving variance."""
    return [
        rng.uniform(0.5, 1.5, CHANNELS).astype(np.float32),
        rng.normal(size=CHANNELS).astype(np.float32),
        rng.normal(size=CHANNELS).astype(np.float32),
        rng.uniform(0.5, 2, CHANNELS).astype(np.float32),
    ]


@pytest.fixture
def images(rng):
    return rng.normal(3, 2, (4, 6, 7, CHANNELS)).astype(np.float32)


def normalized(x, mean, variance, statistics):
    return (x - mean) / np.sqrt(variance + 1e-3) * statistics[0] + statistics[1]


def make(statistics, **arguments):
    layer = BatchNorm(**arguments)
    layer.build((None, None, None, CHANNELS))
    layer.set_weights(statistics)
    return layer


# The rule, the mode of Keras, and whether the statistics of the batch are used.
RULES = [
    (False, True, False),
    (False, False, False),
    (None, True, True),
    (None, False, False),
    (None, None, False),
    (True, True, True),
    (True, False, True),
]


@pytest.mark.parametrize(("train_bn", "training", "of_batch"), RULES)
def test_rules(images, statistics, train_bn, training, of_batch):
    layer = make(statistics, train_bn=train_bn)
    result = layer(images, training=training)
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    if not of_batch:
        mean, variance = statistics[2:]
    np.testing.assert_allclose(result, normalized(images, mean, variance, statistics), atol=2e-5)
    # Stored statistics move towards those of the batch, where they are used, by a tenth.
    moved = 0.1 * mean + 0.9 * statistics[2] if of_batch else statistics[2]
    np.testing.assert_allclose(layer.moving_mean, moved, rtol=1e-5)


def test_training_argument_of_the_graph_holds(images, statistics):
    # `BatchNorm(name="bn")(x, training=False)` is how old backbones freeze the layer.
    image = keras.Input((6, 7, CHANNELS))
    layer = BatchNorm(name="bn")
    model = keras.Model(image, layer(image, training=False))
    layer.set_weights(statistics)
    expected = normalized(images, *statistics[2:], statistics)
    np.testing.assert_allclose(model(images, training=True), expected, atol=2e-5)
    np.testing.assert_array_equal(layer.moving_mean, statistics[2])


def test_frozen_gamma_and_beta_learn(images, statistics):
    layer = make(statistics, train_bn=False)
    assert [v.name for v in layer.trainable_variables] == ["gamma", "beta"]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(images, training=True))
    gradients = tape.gradient(total, [v.value for v in layer.trainable_variables])
    mean, variance = statistics[2:]
    to_gamma = ((images - mean) / np.sqrt(variance + 1e-3)).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(gradients[0], to_gamma, rtol=1e-4)
    np.testing.assert_allclose(gradients[1], [4 * 6 * 7] * CHANNELS)


def folded_and_plain(statistics, rng, conv_class=Conv2D, shape=(6, 7, 3), **arguments):
    """Return a folded pair of layers, and Keras's own two with the same weights."""
    conv = conv_class(CHANNELS, 3, padding="same", **arguments)
    image = keras.Input(shape)
    bn = BatchNorm(train_bn=False)
    folded = keras.Model(image, conv_norm(image, conv, bn))
    plain = keras.layers.Conv2D(CHANNELS, 3, padding="same", **arguments)
    plain_bn = keras.layers.BatchNormalization()
    plain_image = keras.Input(shape[-3:])
    plain = keras.Model(plain_image, plain_bn(plain(plain_image)))
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in conv.weights] + statistics
    for model in (folded, plain):
        model.set_weights(weights)
    return folded, plain


def value_and_gradients(model, x, dy, training):
    """Return the output, and the gradients of the trainable weights and the input."""
    x = tf.convert_to_tensor(x)
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=training)
    return [y, *tape.gradient(y, [*variables, x], output_gradients=dy)]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("compiled", [True, False])
def test_folded_equals_unfolded(statistics, rng, use_bias, strides, compiled):
    folded, plain = folded_and_plain(statistics, rng, use_bias=use_bias, strides=strides)
    x = rng.normal(size=(2, 6, 7, 3)).astype(np.float32)
    dy = rng.normal(size=plain(x).shape).astype(np.float32)
    function = tf.function(value_and_gradients) if compiled else value_and_gradients
    # In training too: the rule freezes the layer. Keras's own needs an argument.
    ours, theirs = function(folded, x, dy, True), value_and_gradients(plain, x, dy, False)
    assert len(ours) == len(theirs) == (6 if use_bias else 5)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_folded_convolution_of_rois(statistics, rng):
    folded, plain = folded_and_plain(statistics, rng, RoIConv2D, (4, 6, 7, 3))
    x = rng.normal(size=(2, 4, 6, 7, 3)).astype(np.float32)
    dy = rng.normal(size=(2, 4, 6, 7, CHANNELS)).astype(np.float32)
    ours = value_and_gradients(folded, x, dy, True)
    flat = (array.reshape(8, *array.shape[2:]) for array in (x, dy))
    theirs = value_and_gradients(plain, *flat, False)
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a).reshape(b.shape), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_folding_is_used(statistics, rng):
    # The result does not depend on the output of the convolution, which need not be computed.
    conv = Conv2D(CHANNELS, 1)
    bn = make(statistics, train_bn=False)
    bn.fold_into(conv)
    x = rng.normal(size=(1, 2, 2, 3)).astype(np.float32)
    expected = make(statistics, train_bn=False)(conv(x))
    result = bn(np.full((1, 2, 2, CHANNELS), np.nan, np.float32), conv_input=x)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_batch_statistics_are_not_folded(statistics, rng):
    conv, bn = Conv2D(CHANNELS, 3, padding="same"), BatchNorm(train_bn=True)
    image = keras.Input((6, 7, 3))
    model = keras.Model(image, conv_norm(image, conv, bn))
    bn.set_weights(statistics)
    x = rng.normal(size=(4, 6, 7, 3)).astype(np.float32)
    y = conv(x).numpy()
    expected = normalized(y, y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2)), statistics)
    np.testing.assert_allclose(model(x, training=False), expected, atol=2e-5)


def test_weights_are_counted_once():
    conv, bn = Conv2D(2, 3), BatchNorm(train_bn=False)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, conv_norm(image, conv, bn))
    # 3 * 3 * 3 * 2 + 2 and 4 * 2.
    assert model.count_params() == 56 + 8
    assert len(bn.weights) == 4


def test_mixed_precision(statistics, rng):
    folded, _ = folded_and_plain(statistics, rng)
    x = rng.normal(size=(2, 6, 7, 3)).astype(np.float32)
    dy = rng.normal(size=(2, 6, 7, CHANNELS)).astype(np.float32)
    weights, exact = folded.get_weights(), value_and_gradients(folded, x, dy, True)
    image = keras.Input((6, 7, 3))
    conv = Conv2D(CHANNELS, 3, padding="same", dtype="mixed_bfloat16")
    mixed = keras.Model(image, conv_norm(image, conv, BatchNorm(False, dtype="mixed_bfloat16")))
    mixed.set_weights(weights)
    results = value_and_gradients(mixed, x, tf.cast(dy, tf.bfloat16), True)
    assert results[0].dtype == tf.bfloat16
    # Gradients of weights are float32, as the weights.
    assert [g.dtype for g in results[1:5]] == [tf.float32] * 4
    for a, b in zip(results, exact, strict=True):
        # 8 bits of mantissa: steps of 1/256.
        a, b = np.asarray(tf.cast(a, tf.float32)), np.asarray(b)
        assert np.abs(a - b).max() <= 0.02 * np.abs(b).max()


def test_saved_pair_of_layers(statistics, rng, tmp_path):
    folded, _ = folded_and_plain(statistics, rng)
    folded.save(tmp_path / "pair.keras")
    loaded = keras.models.load_model(tmp_path / "pair.keras")
    x = rng.normal(size=(2, 6, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(loaded(x, training=True), folded(x), rtol=1e-5, atol=1e-5)
    assert loaded.layers[-1].train_bn is False


@pytest.mark.parametrize("train_bn", [False, None])
def test_keras_contract(images, statistics, tmp_path, train_bn):
    expected = normalized(images, *statistics[2:], statistics)
    run_layer_test(
        lambda: BatchNorm(train_bn=train_bn, name="bn"),
        (images,),
        expected,
        tmp_path,
        weights=statistics,
        tolerance=2e-5,
    )
