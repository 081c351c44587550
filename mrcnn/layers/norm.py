"""Batch normalization with the original's `TRAIN_BN` rule."""

import weakref

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mrcnn")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization that can be frozen.

    `train_bn` (constructor, or `training=` when the layer is applied to a symbolic tensor, as old
    backbone functions do):
        False: the stored statistics are used, in training too. Gamma and beta stay trainable.
            Batches of one or two images have statistics too noisy to normalize with.
        None: batch statistics in training, stored ones in inference, as Keras does.
        True: always batch statistics, but for layers that are frozen (`trainable = False`).

    A frozen layer is affine, so it can be computed inside the convolution before it:
    `fold_into(conv)`, a `layers.conv.Conv2D`, and its input as `conv_input` let the layer scale
    the kernel, which has thousands of numbers, instead of the activations, which have millions.
    Results differ by rounding only, and so do gradients.

    Shapes: `[..., channels]` -> the same.
    """

    def __init__(self, train_bn=None, **kwargs):
        # Keras's 0.99 needs hundreds of steps to forget the statistics of random weights.
        super().__init__(**{"momentum": 0.9, **kwargs})
        self.train_bn = train_bn
        # A weak reference, because Keras would count the weights of a tracked layer twice.
        self._conv = None

    def fold_into(self, conv):
        """Name the convolution whose output this layer will normalize."""
        self._conv = weakref.ref(conv)

    def __call__(self, inputs, training=None, conv_input=None):
        if training is not None and isinstance(inputs, keras.KerasTensor):
            # Keras passes its own `training` to every layer when a functional model runs, so what
            # was said when the graph was built has to be kept here.
            self.train_bn = training
        return super().__call__(inputs, training=training, conv_input=conv_input)

    def call(self, inputs, training=None, conv_input=None):
        if self.train_bn is not None:
            training = self.train_bn
        if training:
            return super().call(inputs, training=True)
        scale = tf.convert_to_tensor(self.gamma) * tf.math.rsqrt(
            tf.convert_to_tensor(self.moving_variance) + self.epsilon
        )
        shift = self.beta - self.moving_mean * scale
        conv = self._conv() if self._conv is not None else None
        if conv is None or conv_input is None:
            return inputs * tf.cast(scale, inputs.dtype) + tf.cast(shift, inputs.dtype)
        if conv.use_bias:
            shift = shift + conv.bias * scale
        # Scaled in float32 and rounded after that: rounded scales would move every output.
        kernel = tf.cast(tf.convert_to_tensor(conv.kernel) * scale, conv_input.dtype)
        outputs = conv.convolution_op(conv_input, kernel)
        return tf.nn.bias_add(outputs, tf.cast(shift, outputs.dtype))

    def build(self, inputs_shape, conv_input_shape=None):
        super().build(inputs_shape)

    def compute_output_spec(self, inputs, training=None, conv_input=None):
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "train_bn": self.train_bn}


def conv_norm(x, conv, norm=None):
    """Return `norm(conv(x))`, computed as one convolution where `norm` is a frozen BatchNorm."""
    if norm is None:
        return conv(x)
    if not isinstance(norm, BatchNorm):
        return norm(conv(x))
    norm.fold_into(conv)
    return norm(conv(x), conv_input=x)
