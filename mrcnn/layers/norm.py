"""Normalization: of batches, with the original's `TRAIN_BN` rule, frozen, and of groups."""

import weakref
from functools import partial

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


@keras.saving.register_keras_serializable(package="mrcnn")
class FrozenBatchNorm(BatchNorm):
    """Batch normalization whose numbers all stay as they are: a constant scale and shift.

    (Mask R-CNN, section 3.1: the published weights were fine-tuned with it.) It is folded as
    `BatchNorm` and has the same weights.

    Args:
        epsilon: added to the variance.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(train_bn=False, epsilon=epsilon, **kwargs)

    def add_weight(self, *args, **kwargs):
        # Unlike `layer.trainable`, this survives an unfreezing of the layer.
        return super().add_weight(*args, **{**kwargs, "trainable": False})

    def get_config(self):
        config = super().get_config()
        del config["train_bn"]
        return config


@keras.saving.register_keras_serializable(package="mrcnn")
class GroupNorm(keras.layers.Layer):
    """Normalize each image or RoI by the statistics of groups of channels (Wu and He 2018).

    Shapes: `[..., h, w, channels]` -> the same. Leading axes are those of images or RoIs, which do
    not mix. Statistics are float32.

    Args:
        groups: number of groups, which must divide the channels.
        epsilon: added to the variance.

    Raises:
        ValueError: when built, if `groups` does not divide the channels.
    """

    def __init__(self, groups=32, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.groups, self.epsilon = groups, epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(
                f'GroupNorm "{self.name}" has {self.groups} groups and an input of {channels} '
                "channels; the number of groups must divide that of channels."
            )

        def weight(name, initializer):
            return self.add_weight(
                shape=(channels,), initializer=initializer, name=name, autocast=False
            )

        self.gamma, self.beta = weight("gamma", "ones"), weight("beta", "zeros")

    def call(self, inputs):
        shape, channels = tf.shape(inputs), inputs.shape[-1]
        pixels = shape[-3] * shape[-2]
        x = tf.cast(tf.reshape(inputs, [-1, pixels, channels]), tf.float32)
        # Means of channels first: a reduction over all but two axes at once takes five times as
        # long. The variance of centred numbers, because E[x^2] - E[x]^2 loses digits.
        x -= self._group_means(tf.reduce_mean(x, axis=1))
        variance = self._group_means(tf.reduce_mean(tf.square(x), axis=1))
        x = x * (tf.convert_to_tensor(self.gamma) * tf.math.rsqrt(variance + self.epsilon))
        y = tf.reshape(tf.cast(x + self.beta, inputs.dtype), shape)
        y.set_shape(inputs.shape)
        return y

    def _group_means(self, of_channels):
        """Return `[n, 1, channels]`: the mean of each group, at all its channels."""
        size = of_channels.shape[-1] // self.groups
        groups = tf.reshape(of_channels, [-1, 1, self.groups, size])
        return tf.repeat(tf.reduce_mean(groups, axis=-1), size, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}


def make_norm(kind, train_bn=False, epsilon=1e-5):
    """Return a function from the keyword `name` to a new normalization layer, or None.

    Args:
        kind: "frozen", `FrozenBatchNorm`; "batch", `BatchNorm`; "group", `GroupNorm` of 32 groups;
            None for no normalization.
        train_bn: the rule of "batch", see `BatchNorm`.
        epsilon: added to the variance.

    Raises:
        ValueError: for another kind.
    """
    kinds = {
        None: None,
        "frozen": partial(FrozenBatchNorm, epsilon=epsilon),
        "batch": partial(BatchNorm, train_bn=train_bn, epsilon=epsilon),
        "group": partial(GroupNorm, epsilon=epsilon),
    }
    if kind not in kinds:
        raise ValueError(f"normalization is {kind!r}; it must be {' or '.join(map(repr, kinds))}.")
    return kinds[kind]


def conv_norm(x, conv, norm=None):
    """Return `norm(conv(x))`; with stored statistics it costs one convolution, see `BatchNorm`.

    Args:
        x: input of the convolution, `[..., channels]`.
        conv: `layers.conv.Conv2D` or a subclass.
        norm: any normalization layer, or None for none. Only a `BatchNorm` or `FrozenBatchNorm` is
            folded.
    """
    if norm is None:
        return conv(x)
    if not isinstance(norm, BatchNorm):
        return norm(conv(x))
    norm.fold_into(conv)
    return norm(conv(x), conv_input=x)
