"""Normalization: the rules of batch norm, folding into the convolution, and groups."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.conv import Conv2D, RoIConv2D
from mrcnn.layers.norm import BatchNorm, FrozenBatchNorm, GroupNorm, conv_norm, make_norm
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


# Frozen


def test_frozen_is_batch_norm_that_never_learns(images, statistics):
    layer, plain = FrozenBatchNorm(epsilon=1e-3), make(statistics, train_bn=False)
    layer.build(images.shape)
    layer.set_weights(statistics)
    np.testing.assert_array_equal(layer(images, training=True), plain(images))
    layer.trainable = False
    layer.trainable = True
    assert layer.trainable_weights == []
    # A checkpoint of either fills the other.
    assert [w.name for w in layer.weights] == [w.name for w in plain.weights]


def test_frozen_is_folded(statistics, rng):
    conv, bn = Conv2D(CHANNELS, 1), FrozenBatchNorm(epsilon=0.5)
    image = keras.Input((2, 2, 3))
    model = keras.Model(image, conv_norm(image, conv, bn))
    bn.set_weights(statistics)
    x = rng.normal(size=(1, 2, 2, 3)).astype(np.float32)
    scale = statistics[0] / np.sqrt(statistics[3] + 0.5)
    expected = (conv(x) - statistics[2]) * scale + statistics[1]
    np.testing.assert_allclose(model(x, training=True), expected, rtol=1e-5, atol=1e-5)
    # The kernel learns through it, and the activations between them are not computed.
    assert [w.path.split("/")[-1] for w in model.trainable_weights] == ["kernel", "bias"]
    nowhere = np.full((1, 2, 2, CHANNELS), np.nan, np.float32)
    np.testing.assert_allclose(bn(nowhere, conv_input=x), expected, rtol=1e-5, atol=1e-5)


# Groups


def grouped_by_hand(x, groups, epsilon, gamma, beta):
    """Normalize `[n, h, w, channels]` group by group."""
    x, size = np.asarray(x, np.float64), x.shape[-1] // groups
    result = np.empty_like(x)
    for image in range(len(x)):
        for start in range(0, x.shape[-1], size):
            part = x[image, ..., start : start + size]
            spread = np.sqrt(part.var() + epsilon)
            result[image, ..., start : start + size] = (part - part.mean()) / spread
    return result * gamma + beta


@pytest.fixture
def group_norm(rng):
    layer = GroupNorm(groups=3, epsilon=0.1)
    layer.build((None, None, None, 6))
    layer.set_weights([rng.uniform(0.5, 1.5, 6), rng.normal(size=6)])
    return layer


def test_groups_of_an_image(rng, group_norm):
    # A mean far from 0, which would spoil a variance from squares: E[x^2] - E[x]^2.
    x = rng.normal(300, 1, (2, 7, 5, 6)).astype(np.float32)
    weights = [w.numpy() for w in group_norm.weights]
    np.testing.assert_allclose(group_norm(x), grouped_by_hand(x, 3, 0.1, *weights), atol=1e-3)
    # Two groups of two numbers, of mean 2 and 6 and variance 1 and 4.
    layer = GroupNorm(groups=2, epsilon=0)
    result = layer(np.float32([1, 3, 4, 8]).reshape(1, 1, 1, 4))
    np.testing.assert_allclose(np.ravel(result), [-1, 1, -1, 1], rtol=1e-6)


def test_groups_equal_those_of_torch():
    # torch.nn.functional.group_norm(x, 2, weight, bias, 1e-5), torch 2.13, of
    # x = torch.arange(24.).sin().view(1, 4, 2, 3), weight = 1, 2, 3, 4, bias = 0, 1, 2, 3.
    x = np.sin(np.arange(24, dtype=np.float32)).reshape(4, 2, 3).transpose(1, 2, 0)[None]
    layer = GroupNorm(groups=2, epsilon=1e-5)
    layer.build(x.shape)
    layer.set_weights([np.arange(1, 5), np.arange(4)])
    expected = [
        [0.151272, 2.069847, 4.627802, 7.586801],
        [-1.119913, -0.637359, 0.538625, 2.673192],
        [-1.406056, -1.928386, -2.396851, -2.193123],
    ]
    np.testing.assert_allclose(layer(x)[0, 1, :, :], expected, rtol=1e-5, atol=1e-5)


def test_groups_of_each_roi(rng, group_norm):
    x = rng.normal(2, 3, (2, 4, 7, 5, 6)).astype(np.float32)
    flat = group_norm(x.reshape(8, 7, 5, 6))
    np.testing.assert_allclose(np.reshape(group_norm(x), flat.shape), flat, rtol=1e-6)
    rois = keras.Input((None, 7, 5, 6))
    assert group_norm(rois).shape == (None, None, 7, 5, 6)
    assert group_norm(np.zeros((1, 0, 7, 5, 6), np.float32)).shape == (1, 0, 7, 5, 6)


def test_gradient_of_groups(rng, group_norm):
    x = rng.normal(size=(1, 3, 2, 6)).astype(np.float32)
    dy = rng.normal(size=x.shape).astype(np.float32)
    ours = value_and_gradients(keras.Sequential([group_norm]), x, dy, True)[1:]
    gamma, beta = (w.numpy().astype(np.float64) for w in group_norm.weights)

    def loss(gamma, beta, x):
        return np.sum(grouped_by_hand(x, 3, 0.1, gamma, beta) * dy)

    values = [gamma, beta, x.astype(np.float64)]
    for place, gradient in enumerate(ours):
        numeric = np.empty(values[place].shape)
        for index in np.ndindex(numeric.shape):
            ends = []
            for step in (1e-4, -1e-4):
                moved = [v.copy() for v in values]
                moved[place][index] += step
                ends.append(loss(*moved))
            numeric[index] = (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


def test_groups_of_bfloat16_have_float32_statistics(rng):
    x = tf.cast(rng.normal(20, 1, (1, 16, 16, 4)), tf.bfloat16)
    exact = GroupNorm(groups=2)(tf.cast(x, tf.float32))
    result = GroupNorm(groups=2, dtype="mixed_bfloat16")(x)
    assert result.dtype == tf.bfloat16
    # The rounding of the result alone: 1/256 of its value.
    np.testing.assert_allclose(tf.cast(result, tf.float32), exact, rtol=1 / 256, atol=1e-6)


def test_groups_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match='"gn" has 32 groups and an input of 48 channels; the'):
        GroupNorm(name="gn")(np.zeros((1, 2, 2, 48), np.float32))


# Choice by name


def test_kinds_of_normalization():
    assert make_norm(None) is None
    frozen, batch, group = (
        make_norm(kind, True, 0.25)(name=kind) for kind in ("frozen", "batch", "group")
    )
    assert [type(x) for x in (frozen, batch, group)] == [FrozenBatchNorm, BatchNorm, GroupNorm]
    assert [x.epsilon for x in (frozen, batch, group)] == [0.25] * 3
    assert [x.name for x in (frozen, batch, group)] == ["frozen", "batch", "group"]
    assert batch.train_bn is True
    assert group.groups == 32
    with pytest.raises(ValueError, match="is 'layer'; it must be None or 'frozen' or 'batch' or"):
        make_norm("layer")


def test_keras_contract_of_frozen(tmp_path):
    weights = [np.full(2, 3), np.full(2, 1), np.full(2, 5), np.full(2, 3)]
    run_layer_test(
        lambda: FrozenBatchNorm(epsilon=1, name="bn"),
        (np.full((1, 2, 2, 2), 9, np.float32),),
        np.full((1, 2, 2, 2), 7),
        tmp_path,
        weights=weights,
    )


def test_keras_contract_of_groups(tmp_path):
    run_layer_test(
        lambda: GroupNorm(groups=1, epsilon=0, name="gn"),
        (np.float32([1, 3]).reshape(1, 1, 2, 1),),
        np.float32([-2, 6]).reshape(1, 1, 2, 1),
        tmp_path,
        weights=[np.full(1, 4), np.full(1, 2)],
    )
