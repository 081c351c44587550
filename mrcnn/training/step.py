"""One training step and one validation step."""

import math

import tensorflow as tf

from mrcnn.constants import LOSS_NAMES


class Steps:
    """The compiled steps of a training model.

    Arguments:
        keras_model: of `build_graph(config, "training")`, compiled with an optimizer.
        weight_decay: factor of the L2 penalty. As in the original it is divided by the number of
            elements of each weight tensor, and leaves batch normalization alone.
    """

    def __init__(self, keras_model, weight_decay):
        self.keras_model, self.weight_decay = keras_model, weight_decay
        optimizer = getattr(keras_model, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            # Variables made within a step would have it traced twice.
            optimizer.build(keras_model.trainable_variables)
        self.train = tf.function(self._train, autograph=False, reduce_retracing=True)
        self.evaluate = tf.function(self._evaluate, autograph=False, reduce_retracing=True)

    def losses(self, batch, training):
        """The total without weight decay, and the five losses by name, scalars.

        Arguments:
            batch: a dict of the model's inputs by name.
        """
        model = self.keras_model
        outputs = model([batch[tensor.name] for tensor in model.inputs], training=training)
        named = {
            name: tf.squeeze(loss) for name, loss in zip(LOSS_NAMES, outputs[-5:], strict=True)
        }
        # The layers add the same losses with their weights; those of own backbones are there too.
        return tf.add_n([tf.cast(loss, tf.float32) for loss in model.losses]), named

    def _decay_factors(self):
        """Factor of the squared norm of each trainable variable in the penalty."""
        return [
            0.0
            if variable.path.endswith(("/gamma", "/beta"))
            else self.weight_decay / math.prod(variable.shape)
            for variable in self.keras_model.trainable_variables
        ]

    def gradients(self, batch):
        """Gradients of the trainable variables in their order, and the losses with the total."""
        variables = [variable.value for variable in self.keras_model.trainable_variables]
        with tf.GradientTape() as tape:
            total, named = self.losses(batch, training=True)
        # An own backbone may have layers that lead nowhere.
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(total, variables, unconnected_gradients=zero)
        for i, factor in enumerate(self._decay_factors()):
            if factor:
                total = total + factor * 2.0 * tf.nn.l2_loss(variables[i])
                # Without this order, TensorFlow would make the decay of all weights first and keep
                # it until the gradients come.
                with tf.control_dependencies([gradients[i]]):
                    gradients[i] = gradients[i] + 2.0 * factor * variables[i]
        return gradients, {"loss": total, **named}

    def _train(self, batch):
        gradients, losses = self.gradients(batch)
        self.keras_model.optimizer.apply(gradients, self.keras_model.trainable_variables)
        return losses

    def _evaluate(self, batch):
        total, named = self.losses(batch, training=False)
        return {"loss": total, **named}
