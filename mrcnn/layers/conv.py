"""Convolutions: of images, of RoIs, and one with a sparse gradient."""

from functools import cache

import keras
import tensorflow as tf


def _flat(x):
    """Reshape `[batch, num_rois, h, w, c]` to `[batch * num_rois, h, w, c]`."""
    return tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], axis=0))


def _unflat(y, like):
    """Undo `_flat`, with the leading axes of `like`."""
    shape = tf.concat([tf.shape(like)[:2], tf.shape(y)[1:]], axis=0)
    result = tf.reshape(y, shape)
    result.set_shape(like.shape[:2].concatenate(y.shape[1:]))
    return result


@keras.saving.register_keras_serializable(package="mrcnn")
class Conv2D(keras.layers.Conv2D):
    """Keras's convolution, with weights that stay float32 under a mixed precision policy.

    A folded `BatchNorm` scales them in float32, before they are rounded; see there. On CPU, a
    convolution of groups takes a tenth of the time of Keras's.
    """

    def add_weight(self, *args, **kwargs):
        return super().add_weight(*args, **{**kwargs, "autocast": False})

    def convolution_op(self, inputs, kernel):
        kernel = tf.cast(kernel, inputs.dtype)
        if self.groups == 1:
            return super().convolution_op(inputs, kernel)
        # Keras would compile it with XLA on CPU.
        return _grouped_conv(
            inputs, kernel, self.groups, self.strides, self.padding, self.dilation_rate
        )

    def call(self, inputs):
        outputs = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            # TensorFlow fuses this form of the sum with the convolution.
            outputs = tf.nn.bias_add(outputs, tf.cast(self.bias, outputs.dtype))
        return self.activation(outputs)


def _grouped_conv(x, kernel, groups, strides, padding, dilations):
    options = {"padding": padding.upper(), "dilations": dilations}
    if _has_grouped_gradient(x.dtype):
        return tf.nn.conv2d(x, kernel, strides, **options)
    if kernel.shape[2] == 1:
        kernel = tf.reshape(kernel, [*kernel.shape[:2], groups, -1])
        return tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], **options)
    parts = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    return tf.concat([tf.nn.conv2d(*part, strides, **options) for part in parts], axis=-1)


@cache
def _has_grouped_gradient(dtype):
    """Return whether TensorFlow can train a convolution of groups here.

    Its GPU kernels can, and oneDNN's on CPU, which it uses for float32 and bfloat16.
    """
    try:
        # Outside of any graph that is being built.
        with tf.init_scope():
            x, kernel = tf.ones([1, 3, 3, 4], dtype), [3, 3, 2, 4]
            tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=kernel, out_backprop=x, strides=[1] * 4, padding="SAME"
            )
    except tf.errors.OpError:
        return False
    return True


@keras.saving.register_keras_serializable(package="mrcnn")
class RoIConv2D(Conv2D):
    """A convolution applied to each RoI.

    Shapes: `[batch, num_rois, h, w, channels]` -> `[batch, num_rois, h', w', filters]`. Weights are
    those of a plain `Conv2D`, as in the original, which wrapped one in `TimeDistributed`.
    """

    def convolution_op(self, inputs, kernel):
        x, kernel = _flat(inputs), tf.cast(kernel, inputs.dtype)
        is_whole = tuple(self.kernel_size) == tuple(x.shape[1:3])
        if is_whole and self.padding == "valid" and self.groups == 1:
            # A kernel as large as the crop is a fully connected layer, that is, a matrix product.
            x = tf.reshape(x, [-1, kernel.shape[0] * kernel.shape[1] * kernel.shape[2]])
            y = tf.matmul(x, tf.reshape(kernel, [-1, self.filters]))[:, None, None]
        else:
            y = super().convolution_op(x, kernel)
        return _unflat(y, inputs)

    def compute_output_shape(self, input_shape):
        batch, num_rois, *roi = input_shape
        return (batch, num_rois, *super().compute_output_shape((batch, *roi))[1:])


@keras.saving.register_keras_serializable(package="mrcnn")
class RoIConv2DTranspose(keras.layers.Conv2DTranspose):
    """A transposed convolution applied to each RoI, with the shapes of `RoIConv2D`."""

    def call(self, inputs):
        return _unflat(super().call(_flat(inputs)), inputs)

    def compute_output_shape(self, input_shape):
        batch, num_rois, *roi = input_shape
        return (batch, num_rois, *super().compute_output_shape((batch, *roi))[1:])


@keras.saving.register_keras_serializable(package="mrcnn")
class SparseGradConv2D(Conv2D):
    """A stride-1 "same" convolution whose backward pass skips positions without a gradient.

    The losses of the RPN use 256 anchors per image out of hundreds of thousands, so the gradient of
    its convolution is zero at nearly every position. TensorFlow's dense kernels would multiply
    those zeros, and take twice as long as the forward pass. Here only the other positions take
    part; the sums are the same. If more than one position in eight has a gradient, the dense
    kernels do the work.

    Raises:
        ValueError: when applied, for other paddings and strides.
    """

    def convolution_op(self, inputs, kernel):
        if self.padding != "same" or tuple(self.strides) != (1, 1):
            raise ValueError(
                f'SparseGradConv2D "{self.name}" has padding "{self.padding}" and strides '
                f'{tuple(self.strides)}; accepted are "same" and (1, 1) only.'
            )
        outputs = _sparse_grad_conv(inputs, tf.cast(kernel, inputs.dtype))
        outputs.set_shape([*inputs.shape[:3], self.filters])
        return outputs


# A tf.function of the module, traced once: TensorFlow keeps every graph with a custom gradient
# until the process ends. Without this function it would keep each compiled training step.
@tf.function(autograph=False, reduce_retracing=True)
@tf.custom_gradient
def _sparse_grad_conv(x, kernel):
    def grad(dy):
        active = tf.where(tf.reduce_any(tf.not_equal(dy, 0), axis=-1))
        return tf.cond(
            _are_few(active, dy),
            lambda: _sparse_gradients(x, kernel, dy, active),
            lambda: _dense_gradients(x, kernel, dy),
        )

    return tf.nn.conv2d(x, kernel, 1, "SAME"), grad


def _are_few(active, dy):
    """Return whether `active` `[n, (image, row, column)]` has at most one position in eight."""
    return tf.shape(active)[0] * 8 <= tf.reduce_prod(tf.shape(dy)[:-1])


def _dense_gradients(x, kernel, dy):
    ones = [1, 1, 1, 1]
    dx = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, strides=ones, padding="SAME"
    )
    dk = tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=tf.shape(kernel), out_backprop=dy, strides=ones, padding="SAME"
    )
    return dx, dk


def _sparse_gradients(x, kernel, dy, active):
    """Return the gradients from the output positions `active` `[n, (image, row, column)]` alone."""
    kh, kw, channels, filters = tf.unstack(tf.shape(kernel))
    shape = tf.shape(x)
    batch, height, width = shape[0], shape[1] + kh - 1, shape[2] + kw - 1
    top, left = (kh - 1) // 2, (kw - 1) // 2
    pads = [[0, 0], [top, kh - 1 - top], [left, kw - 1 - left], [0, 0]]
    padded = tf.reshape(tf.pad(x, pads), [-1, channels])
    # Flat indices into the padded image of the kh * kw inputs that each output position saw.
    image, row, column = tf.unstack(tf.cast(active, tf.int32), axis=1)
    corner = (image * height + row) * width + column
    taps = tf.reshape(tf.range(kh)[:, None] * width + tf.range(kw), [-1])
    where = tf.reshape(corner[:, None] + taps, [-1])
    patches = tf.reshape(tf.gather(padded, where), [-1, kh * kw * channels])
    dy = tf.gather_nd(dy, active)
    flat_kernel = tf.reshape(kernel, [-1, filters])
    dk = tf.reshape(tf.matmul(patches, dy, transpose_a=True), tf.shape(kernel))
    d_patches = tf.reshape(tf.matmul(dy, flat_kernel, transpose_b=True), [-1, channels])
    dx = tf.math.unsorted_segment_sum(tf.cast(d_patches, tf.float32), where, batch * height * width)
    dx = tf.reshape(dx, [batch, height, width, channels])
    dx = dx[:, top : top + shape[1], left : left + shape[2]]
    return tf.cast(dx, x.dtype), dk
