"""Batch normalization with the original's `TRAIN_BN` rule."""

import weakref

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mrcnn")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization that can be frozen.

    With stored statistics the layer is affine, so the convolution before it can do its work:
    given `fold_into(conv)` and the input of `conv` as `conv_input`, the layer scales the kernel,
    which has thousands of numbers, instead of the activations, which have millions. Results and
    gradients differ by rounding only.

    Shapes: `[..., channels]` -> the same.

    Args:
        train_bn: the statistics to normalize with. Old backbone functions give it as `training=`
            when they apply the layer to a symbolic tensor.
            False: the stored ones, in training too, because those of one or two images are too
                noisy. Gamma and beta stay trainable.
            None: those of the batch in training, the stored ones in inference, as in Keras.
            True: always those of the batch, except if the layer is frozen (`trainable = False`).
    """

    def __init__(self, train_bn=None, **kwargs):
        # Keras's 0.99 takes hundreds of steps to forget the statistics of random weights.
        super().__init__(**{"momentum": 0.9, **kwargs})
        self.train_bn = train_bn
        # A weak reference, because Keras would track the layer and count its weights twice.
        self._conv = None

    def fold_into(self, conv):
        """Name the convolution whose output this layer will normalize."""
        self._conv = weakref.ref(conv)

    def __call__(self, inputs, training=None, conv_input=None):
        if training is not None and isinstance(inputs, keras.KerasTensor):
            # When a functional model runs, Keras passes its own `training` to every layer. The
            # value from building the graph has to be kept here.
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
        # Scale in float32, then round: rounded scales would shift every output of a channel.
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
    """Return `norm(conv(x))`; with stored statistics it costs one convolution, see `BatchNorm`.

    Args:
        x: input of the convolution, `[..., channels]`.
        conv: `layers.conv.Conv2D` or a subclass.
        norm: any normalization layer, or None for none. Only a `BatchNorm` is folded.
    """
    if norm is None:
        return conv(x)
    if not isinstance(norm, BatchNorm):
        return norm(conv(x))
    norm.fold_into(conv)
    return norm(conv(x), conv_input=x)
