"""Convolutions against Keras's own, values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers import conv
from mrcnn.layers.conv import Conv2D, RoIConv2D, RoIConv2DTranspose, SparseGradConv2D
from tests.layer_contract import run_layer_test


def with_weights(layer, shape, rng):
    layer.build(shape)
    layer.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in layer.weights])
    return layer


def plain(layer_class, layer, **arguments):
    """Return Keras's own layer with the weights of `layer`."""
    kernel, bias = layer.get_weights()
    transposed = layer_class is keras.layers.Conv2DTranspose
    own = layer_class(kernel.shape[2 if transposed else 3], kernel.shape[:2], **arguments)
    own.build((None, None, None, kernel.shape[3 if transposed else 2]))
    own.set_weights([kernel, bias])
    return own


def gradients(layer, x, dy):
    """Return the gradients of input, kernel and bias."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return tape.gradient(y, [x, *(w.value for w in layer.weights)], output_gradients=dy)


def assert_all_close(ours, theirs, tolerance=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("activation", [None, "relu"])
def test_conv_equals_that_of_keras(rng, activation):
    layer = with_weights(
        Conv2D(4, 3, strides=2, padding="same", activation=activation), (None, 8, 9, 3), rng
    )
    own = plain(keras.layers.Conv2D, layer, strides=2, padding="same", activation=activation)
    x = rng.normal(size=(2, 8, 9, 3)).astype(np.float32)
    assert_all_close([layer(x)], [own(x)])
    dy = rng.normal(size=own(x).shape).astype(np.float32)
    assert_all_close(gradients(layer, x, dy), gradients(own, x, dy))


def sparse_dy(rng, active):
    """Return a gradient with `active` non-zero positions out of 2 * 9 * 10."""
    dy = rng.normal(size=(2 * 9 * 10, 4)).astype(np.float32)
    dy[rng.permutation(len(dy))[active:]] = 0
    return dy.reshape(2, 9, 10, 4)


# Of 180 positions, up to 22 take the sparse kernels, 23 and more the dense ones.
@pytest.mark.parametrize("active", [0, 1, 22, 23, 180])
@pytest.mark.parametrize("kernel", [1, 3, (2, 5)])
def test_sparse_gradient_equals_the_dense_one(rng, active, kernel):
    layer = SparseGradConv2D(4, kernel, padding="same")
    with_weights(layer, (None, None, None, 3), rng)
    own = plain(keras.layers.Conv2D, layer, padding="same")
    x = rng.normal(size=(2, 9, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(x), own(x), rtol=1e-5, atol=1e-5)
    dy = sparse_dy(rng, active)
    assert (np.abs(dy).sum(axis=-1) > 0).sum() == active
    ours = tf.function(gradients)(layer, x, dy)
    assert_all_close(ours, gradients(own, x, dy))
    if active == 0:
        assert not any(np.any(gradient) for gradient in ours)


def test_which_way_the_gradient_takes(rng):
    """Both give the same numbers. An eighth of the 2 x 9 x 10 positions is 22.5."""
    for active, few in ((22, True), (23, False)):
        dy = sparse_dy(rng, active)
        assert bool(conv._are_few(np.argwhere(dy.any(axis=-1)), dy)) == few


def test_sparse_gradient_at_corners_and_with_neighbours(rng):
    # Positions at the border see padding; neighbours share inputs, whose gradients add up.
    layer = with_weights(SparseGradConv2D(4, 3, padding="same"), (None, None, None, 3), rng)
    own = plain(keras.layers.Conv2D, layer, padding="same")
    x = rng.normal(size=(2, 9, 10, 3)).astype(np.float32)
    dy = np.zeros((2, 9, 10, 4), np.float32)
    for place in ((0, 0, 0), (0, 8, 9), (1, 0, 9), (1, 8, 0), (1, 4, 4), (1, 4, 5), (1, 5, 5)):
        dy[place] = rng.normal(size=4)
    assert_all_close(gradients(layer, x, dy), gradients(own, x, dy))


def test_sparse_gradient_behind_an_activation(rng):
    layer = SparseGradConv2D(4, 3, padding="same", activation="relu")
    with_weights(layer, (None, None, None, 3), rng)
    own = plain(keras.layers.Conv2D, layer, padding="same", activation="relu")
    x, dy = rng.normal(size=(2, 9, 10, 3)).astype(np.float32), sparse_dy(rng, 15)
    assert_all_close(gradients(layer, x, dy), gradients(own, x, dy))


def test_sparse_gradient_in_mixed_precision(rng):
    layer = SparseGradConv2D(4, 3, padding="same", dtype="mixed_bfloat16")
    with_weights(layer, (None, None, None, 3), rng)
    own = plain(keras.layers.Conv2D, layer, padding="same")
    x, dy = rng.normal(size=(2, 9, 10, 3)).astype(np.float32), sparse_dy(rng, 15)
    ours = gradients(layer, x, tf.cast(dy, tf.bfloat16))
    assert [gradient.dtype for gradient in ours[1:]] == [tf.float32, tf.float32]
    assert_all_close(ours, gradients(own, x, dy), tolerance=0.02)


@pytest.mark.parametrize("arguments", [{"padding": "valid"}, {"padding": "same", "strides": 2}])
def test_sparse_gradient_refuses_other_paddings_and_strides(arguments):
    layer = SparseGradConv2D(4, 3, name="rpn", **arguments)
    with pytest.raises(ValueError, match='"rpn" has .* accepted are "same" and'):
        layer(np.zeros((1, 8, 8, 3), np.float32))


# The kernel as large as the crop is a matrix product; the others are convolutions.
@pytest.mark.parametrize(
    ("kernel", "padding"),
    [(7, "valid"), (3, "same"), (1, "valid"), (3, "valid"), ((7, 3), "valid")],
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_convolution_of_each_roi(rng, kernel, padding, use_bias):
    layer = RoIConv2D(4, kernel, padding=padding, use_bias=use_bias)
    with_weights(layer, (None, None, 7, 7, 3), rng)
    x = rng.normal(size=(2, 5, 7, 7, 3)).astype(np.float32)
    kernel = layer.get_weights()[0]
    bias = layer.get_weights()[1] if use_bias else np.zeros(4, np.float32)
    result = layer(x).numpy()
    for image, roi in np.ndindex(2, 5):
        alone = tf.nn.conv2d(x[image, roi][None], kernel, 1, padding.upper())[0] + bias
        np.testing.assert_allclose(result[image, roi], alone, rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape((None, 5, 7, 7, 3)) == (None, *result.shape[1:])


@pytest.mark.parametrize(("kernel", "padding"), [(7, "valid"), (3, "same")])
def test_gradient_of_a_convolution_of_each_roi(rng, kernel, padding):
    layer = with_weights(RoIConv2D(4, kernel, padding=padding), (None, None, 7, 7, 3), rng)
    own = plain(keras.layers.Conv2D, layer, padding=padding)
    x = rng.normal(size=(2, 5, 7, 7, 3)).astype(np.float32)
    dy = rng.normal(size=layer(x).shape).astype(np.float32)
    ours = gradients(layer, x, dy)
    flat = (array.reshape(10, *array.shape[2:]) for array in (x, dy))
    assert_all_close(ours, gradients(own, *flat))


def test_transposed_convolution_of_each_roi(rng):
    layer = RoIConv2DTranspose(4, 2, strides=2, activation="relu")
    with_weights(layer, (None, None, 5, 6, 3), rng)
    own = plain(keras.layers.Conv2DTranspose, layer, strides=2, activation="relu")
    x = rng.normal(size=(2, 3, 5, 6, 3)).astype(np.float32)
    expected = own(x.reshape(6, 5, 6, 3)).numpy().reshape(2, 3, 10, 12, 4)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape((None, None, 5, 6, 3)) == (None, None, 10, 12, 4)
    # By hand: each input pixel becomes the 2x2 kernel, here of ones, times its value.
    layer.set_weights([np.ones((2, 2, 4, 3)), np.zeros(4)])
    sums = np.maximum(x.sum(axis=-1), 0)
    np.testing.assert_allclose(layer(x)[:, :, ::2, 1::2, 0], sums, rtol=1e-5, atol=1e-5)


ONES = np.ones((1, 3, 3, 1), np.float32)
# 3x3 ones summed with a border of zeros around them.
SUMS = np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]).reshape(1, 3, 3, 1)


@pytest.mark.parametrize("layer_class", [Conv2D, SparseGradConv2D, RoIConv2D])
def test_keras_contract(tmp_path, layer_class):
    rois = layer_class is RoIConv2D
    run_layer_test(
        lambda: layer_class(1, 3, padding="same", name="conv"),
        (ONES[None] if rois else ONES,),
        (SUMS[None] if rois else SUMS) + 0.5,
        tmp_path,
        weights=[np.ones((3, 3, 1, 1)), np.array([0.5])],
    )


def test_keras_contract_of_the_transposed_convolution(tmp_path):
    run_layer_test(
        lambda: RoIConv2DTranspose(1, 2, strides=2, name="deconv"),
        (ONES[None],),
        np.full((1, 1, 6, 6, 1), 2.5),
        tmp_path,
        weights=[np.full((2, 2, 1, 1), 2), np.array([0.5])],
    )


# Groups


def loop_over_groups(x, kernel, bias, groups, stride, dilation):
    """A "same" convolution of odd kernels by loops, in float64."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, inputs, outputs = kernel.shape[0], kernel.shape[2], kernel.shape[3] // groups
    reach = dilation * (size - 1) + 1
    y = np.zeros((len(x), *(-(-side // stride) for side in x.shape[1:3]), kernel.shape[3]))
    pads = [max(0, (y.shape[a] - 1) * stride + reach - x.shape[a]) for a in (1, 2)]
    x = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    for image, row, column, group in np.ndindex(*y.shape[:3], groups):
        top, left, first = row * stride, column * stride, group * inputs
        seen = x[image, top : top + reach : dilation, left : left + reach : dilation]
        seen = seen[..., first : first + inputs]
        filters = slice(group * outputs, (group + 1) * outputs)
        y[image, row, column, filters] = np.tensordot(seen, kernel[..., filters], 3)
    return y + bias


@pytest.fixture(params=[True, False], ids=["native", "one by one"])
def has_grouped_gradient(request, monkeypatch):
    """TensorFlow's own kernels, and convolutions of single groups where there are none."""
    if request.param and not conv._has_grouped_gradient(tf.float32):
        pytest.skip("TensorFlow cannot train a convolution of groups here")
    monkeypatch.setattr(conv, "_has_grouped_gradient", lambda dtype: request.param)


@pytest.mark.parametrize(
    ("inputs", "stride", "dilation"), [(12, 1, 1), (12, 2, 1), (12, 1, 2), (3, 2, 1)]
)
def test_groups(rng, has_grouped_gradient, inputs, stride, dilation):
    options = {"strides": stride, "dilation_rate": dilation, "groups": 3, "padding": "same"}
    layer = with_weights(Conv2D(6, 3, **options), (None, None, None, inputs), rng)
    kernel, bias = layer.get_weights()
    # As Keras's own.
    assert kernel.shape == (3, 3, inputs // 3, 6)
    x = rng.normal(size=(1, 5, 4, inputs)).astype(np.float32)
    expected = loop_over_groups(x, kernel, bias, 3, stride, dilation)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)
    dy = rng.normal(size=expected.shape).astype(np.float32)
    values, found = [x, kernel, bias], tf.function(gradients)(layer, x, dy)
    for place, gradient in enumerate(found):
        # The convolution is linear in each argument, so steps may be large. Some elements will do.
        for flat in rng.permutation(gradient.shape.num_elements())[:20]:
            index = np.unravel_index(flat, gradient.shape)
            moved = [np.array(value, np.float64) for value in values]
            moved[place][index] += 1
            change = loop_over_groups(*moved, 3, stride, dilation) - expected
            np.testing.assert_allclose(gradient[index], np.sum(change * dy), rtol=1e-4, atol=1e-4)


def test_groups_of_rois(rng, has_grouped_gradient):
    layer = with_weights(RoIConv2D(4, 3, groups=2), (None, None, 3, 3, 6), rng)
    x = rng.normal(size=(2, 3, 3, 3, 6)).astype(np.float32)
    kernel, bias = layer.get_weights()
    flat = loop_over_groups(x.reshape(6, 3, 3, 6), kernel, bias, 2, 1, 1)
    # The kernel is as large as the crop.
    np.testing.assert_allclose(layer(x)[..., 0, 0, :].numpy().reshape(6, 4), flat[:, 1, 1], 1e-5)


def test_groups_of_types_without_kernels_can_be_trained(rng):
    layer = Conv2D(8, 3, padding="same", groups=2, dtype="mixed_float16")
    x = tf.cast(rng.normal(size=(1, 4, 4, 6)), tf.float16)
    layer(x)
    found = gradients(layer, x, tf.ones((1, 4, 4, 8), tf.float16))
    assert [g.dtype for g in found] == [tf.float16, tf.float32, tf.float32]
    np.testing.assert_array_equal(found[2], np.full(8, 16))
