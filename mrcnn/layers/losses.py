"""Loss arithmetic that heads share, and the layer that makes a loss a named node of the graph."""

import keras
import tensorflow as tf


def smooth_l1_loss(y_true, y_pred, beta=1.0):
    """Return the smooth L1 of two tensors, element by element (Fast R-CNN, equation 3).

    Args:
        y_true, y_pred: tensors.
        beta: difference where the parabola turns to a line; 0 for L1.
    """
    diff = tf.abs(y_true - y_pred)
    if beta == 0:
        return diff
    return tf.where(diff < beta, (0.5 / beta) * tf.square(diff), diff - 0.5 * beta)


def masked_mean(values, mask):
    """Return the scalar mean of `values` where `mask`, of the same shape, is not 0; else 0."""
    mask = tf.cast(mask, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * mask), tf.reduce_sum(mask))


def count_true(mask):
    """Return the number of entries of `mask` that are not 0, as a scalar float32."""
    return tf.reduce_sum(tf.cast(mask, tf.float32))


def count_positive_rois(targets, target_class_ids, *_):
    """Return the number of RoIs with a class above 0, given `target_class_ids` `[B, R]`."""
    return count_true(target_class_ids > 0)


@keras.saving.register_keras_serializable(package="mrcnn")
class LossLayer(keras.layers.Layer):
    """A loss as a named node of the graph.

    It returns the loss as `[1]` float32, without its weight. The loss times its weight is added to
    the losses of the model, so that `compile()` and `fit()` need no loss function.

    Args:
        loss: name of a registered function, see `register`.
        weight: factor of the loss in the total (`LOSS_WEIGHTS`).
        options: keyword arguments for the function.
    """

    LOSSES, COUNTS = {}, {}

    def __init__(self, loss, weight=1.0, options=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.loss, self.weight, self.options = loss, weight, dict(options or {})

    @classmethod
    def register(cls, count):
        """Register a decorated loss function by its name, by which saved models find it.

        Args:
            count: function of the same tensors; returns how many anchors or RoIs the loss averages.
        """

        def decorate(function):
            cls.LOSSES[function.__name__], cls.COUNTS[function.__name__] = function, count
            return function

        return decorate

    def count(self, *tensors):
        """Return how many anchors or RoIs the loss averages, a scalar float32.

        Each replica, and each accumulated batch, computes a mean over its own anchors or RoIs.
        Weighted by these counts, the means combine to the mean over the whole step.
        """
        return self.COUNTS[self.loss](*tensors)

    def call(self, *tensors):
        loss = self.LOSSES[self.loss](*tensors, **self.options)
        self.add_loss(self.weight * loss)
        return tf.reshape(loss, [1])

    def compute_output_shape(self, *shapes):
        return (1,)

    def get_config(self):
        names = ("loss", "weight", "options")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
