"""One training step and one validation step, on one device or several."""

import functools
import math

import keras
import tensorflow as tf

from mrcnn.layers.batch_part import batch_part
from mrcnn.layers.losses import LossLayer
from mrcnn.training.forward import Forward
from mrcnn.training.selection import trainable_layers

_SUM = tf.distribute.ReduceOp.SUM


class Steps:
    """The compiled steps of a training model.

    The losses are the `LossLayer`s of the model, by their names. A step with several replicas or
    batches has the same losses and gradients as one replica with all the images in one batch: each
    loss is the mean over the anchors or RoIs of all images.

    Args:
        keras_model: of `build_graph(config, "training")`, compiled with an optimizer. With more
            than one replica, both made in the scope of the strategy.
        weight_decay: factor of the L2 penalty on kernels and biases, 0 for none. Gamma and beta of
            normalization have no penalty.
        strategy: tf.distribute.Strategy; that of the current scope by default.
        accumulate: batches per step. With more than one, each runs twice, the first time forward
            only, to count the anchors or RoIs that each loss averages.
        seed: whole number, for the random choice of RoIs.
        checkpointing: see `Forward`.
        divide_decay: whether the penalty of a tensor is `weight_decay` times the mean of its
            squares, as in the original. Else it is half the sum of its squares times
            `weight_decay`, so that its gradient is `weight_decay` times the tensor, as in the paper
            and in PyTorch's SGD.
        any_size: compile one step for batches of any size. Else each of the first three sizes of
            images compiles another. It has no effect on several replicas.
    """

    def __init__(
        self,
        keras_model,
        weight_decay,
        strategy=None,
        accumulate=1,
        seed=0,
        checkpointing=False,
        divide_decay=True,
        any_size=False,
    ):
        self.keras_model, self.seed = keras_model, seed
        self.weight_decay, self.divide_decay = weight_decay, divide_decay
        self.strategy = strategy or tf.distribute.get_strategy()
        self.accumulate = accumulate
        self._loss_layers = {
            layer.name: layer for layer in keras_model.layers if isinstance(layer, LossLayer)
        }
        self._wanted = {
            name: (layer.output, tf.nest.flatten(layer.input))
            for name, layer in self._loss_layers.items()
        }
        self._forward = Forward(keras_model, tf.nest.flatten(self._wanted), checkpointing)
        self._optimizer = getattr(keras_model, "optimizer", None)
        if self._optimizer is not None and not self._optimizer.built:
            # TensorFlow traces a step twice if it creates variables.
            with self.strategy.scope():
                self._optimizer.build(keras_model.trainable_variables)
        self._sums = self._make_sums() if accumulate > 1 else []
        signature = None
        if any_size and self._replicas == 1:
            shapes = {t.name: tf.TensorSpec(t.shape, t.dtype) for t in keras_model.inputs}
            signature = [shapes, tf.TensorSpec([2], tf.int64)]
        self._train_one = self._compiled(self._train, signature=signature)
        self._count_one = self._compiled(self._count, reduce=False)
        self._state = self._compiled(self._state_here, reduce=False)
        self._set_state = self._compiled(self._set_state_here, reduce=False)
        self._add_one = self._compiled(self._add)
        self._apply_sums = self._compiled(self._apply_sums_here)
        self._evaluate_one = self._compiled(self._evaluate, signature=signature)

    # Called by the loop

    def train(self, *batches, number=0):
        """Change the weights once; return the losses of the step by name, scalars.

        Args:
            batches: `accumulate` batches, each a dict of the model's inputs by name, or such a dict
                distributed by the strategy.
            number: of the step in the run; seed and number decide its random numbers.

        Returns:
            "loss", the total with weight decay; each loss by its name; "gradient_norm", the norm of
            the whole gradient before clipping.
        """
        seed = tf.constant([self.seed, number], tf.int64)
        if self.accumulate == 1:
            return self._train_one(batches[0], seed)
        # Two passes: the gradient of a mean over all batches needs the count of all of them, before
        # the gradient of the first one can be computed.
        places = [tf.constant(place) for place in range(len(batches))]
        state = self._state()
        counts = [
            self._count_one(batch, seed, place)
            for batch, place in zip(batches, places, strict=True)
        ]
        counts = self._total(counts)
        # Restored, so that the second pass draws the same random numbers, and each batch moves the
        # statistics once.
        self._set_state(state)
        parts = [
            self._add_one(batch, seed, place, counts)
            for batch, place in zip(batches, places, strict=True)
        ]
        losses = {name: tf.add_n([part[name] for part in parts]) for name in parts[0]}
        return losses | self._apply_sums()

    def evaluate(self, batch, number=0):
        """Return the losses of a batch by name, without weight decay, scalars.

        Arguments as in `train`. The seed is always 0, so that epochs can be compared.
        """
        return self._evaluate_one(batch, tf.constant([0, number], tf.int64))

    # Run on every replica

    def losses(self, batch, training, parts=1, counts=None, tape=None):
        """Return the total without weight decay, and the losses by name, scalars.

        Args:
            batch: a dict of the model's inputs by name.
            parts: number of parts of the step, this batch being one. The sum of the results of all
                parts is the result of the step.
            counts: of the `LossLayer`s by name, over all parts; over all replicas by default.
            tape: see `Forward`.
        """
        outputs, counted = self._outputs(batch, training, tape)
        named = {name: tf.squeeze(loss) for name, loss in outputs.items()}
        # Read them now: replicas share the layers and take turns, and the next exchange between
        # replicas lets another one overwrite these.
        added = self._forward.losses()
        if parts == 1:
            # Loss layers have added their weighted losses; layers of a backbone may add others.
            return tf.add_n([tf.cast(loss, tf.float32) for loss in added]), named
        ours = {id(loss) for layer in self._loss_layers.values() for loss in layer.losses}
        others = [tf.cast(loss, tf.float32) / parts for loss in added if id(loss) not in ours]
        # A loss here is a mean over one part. Weighted by the share of this part in the counts, the
        # parts add up to the mean over the whole step.
        here = self._counts(counted)
        counts = counts or _of_all_replicas(here)
        named = {
            name: loss * tf.math.divide_no_nan(here[name], counts[name])
            for name, loss in named.items()
        }
        weighted = [layer.weight * named[name] for name, layer in self._loss_layers.items()]
        return tf.add_n(weighted + others), named

    def gradients(self, batch, parts=1, counts=None):
        """Return the gradients of the trainable variables in their order, and all losses by name.

        An optimizer that scales losses gets scaled gradients. Arguments as in `losses`.
        """
        variables = [variable.value for variable in self.keras_model.trainable_variables]
        scale = 1.0 if self._optimizer is None else self._optimizer.scale_loss(1.0)
        with tf.GradientTape() as tape:
            total, named = self.losses(batch, True, parts, counts, tape)
            scaled = total * scale
        gradients = self._forward.gradient(tape, scaled)
        for i, factor in enumerate(self._decay_factors(parts)):
            if factor:
                total = total + factor * 2.0 * tf.nn.l2_loss(variables[i])
                # Without this order TensorFlow would compute the decay of all weights first, and
                # keep it in memory until the gradients are there.
                with tf.control_dependencies([gradients[i]]):
                    gradients[i] = gradients[i] + scale * 2.0 * factor * variables[i]
        return gradients, {"loss": total, **named}

    def _decay_factors(self, parts):
        """Return the factor of each trainable variable's squared norm in the penalty."""
        return [
            0.0
            if variable.path.endswith(("/gamma", "/beta"))
            else self.weight_decay / (math.prod(variable.shape) if self.divide_decay else 2) / parts
            for variable in self.keras_model.trainable_variables
        ]

    def _outputs(self, batch, training, tape=None):
        """Return the outputs and the inputs of the `LossLayer`s, two dicts by name."""
        inputs = [batch[tensor.name] for tensor in self.keras_model.inputs]
        found = tf.nest.pack_sequence_as(self._wanted, self._forward(inputs, training, tape))
        outputs = {name: output for name, (output, _) in found.items()}
        return outputs, {name: inputs for name, (_, inputs) in found.items()}

    def _counts(self, counted):
        """Return how many anchors or RoIs each loss averages, from the inputs of its layer."""
        return {
            name: tf.stop_gradient(layer.count(*counted[name]))
            for name, layer in self._loss_layers.items()
        }

    def _train(self, batch, seed):
        with self._part(seed, 0, self._replicas):
            gradients, losses = self.gradients(batch, self._replicas)
        return losses | self._apply(gradients)

    def _evaluate(self, batch, seed):
        with self._part(seed, 0, self._replicas):
            total, named = self.losses(batch, False, self._replicas)
        return {"loss": total, **named}

    def _count(self, batch, seed, place):
        with self._part(seed, place, self._parts):
            counts = self._counts(self._outputs(batch, True)[1])
        return _of_all_replicas(counts)

    def _state_here(self):
        """Return the values of the variables that layers change."""
        return [tf.identity(variable.value) for variable in self._changed_by_layers()]

    def _set_state_here(self, values):
        for variable, value in zip(self._changed_by_layers(), values, strict=True):
            variable.assign(value)

    def _changed_by_layers(self):
        names = ("/moving_mean", "/moving_variance", "/seed_generator_state")
        return [v for v in self.keras_model.variables if v.path.endswith(names)]

    def _add(self, batch, seed, place, counts):
        with self._part(seed, place, self._parts):
            gradients, losses = self.gradients(batch, self._parts, counts)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)
        return losses

    def _apply_sums_here(self):
        norm = self._apply([tf.identity(total) for total in self._sums])
        for total in self._sums:
            total.assign(tf.zeros_like(total))
        return norm

    def _apply(self, gradients):
        """Apply the gradients of a step; return the share of this replica in their norm."""
        variables, replicas = self.keras_model.trainable_variables, self._replicas
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(_SUM, gradients)
        norm = tf.linalg.global_norm(gradients) / self._optimizer.scale_loss(1.0)
        is_scaled = isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer)
        if is_scaled:
            # This optimizer skips a step whose scaled gradients overflow, and lowers its scale.
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
        if replicas > 1:
            # The optimizer clips on each replica, then adds up the replicas; see `share_clips`.
            gradients = [gradient / replicas for gradient in gradients]
            self._share_statistics()
        if is_scaled or tf.distribute.has_strategy():
            self._optimizer.apply(gradients, variables)
        else:
            # Outside of `merge_call` Keras sums the gradients over replicas, even over one, and
            # TensorFlow keeps every graph with such a sum until the process ends.
            replica = tf.distribute.get_replica_context()
            replica.merge_call(lambda strategy: self._optimizer.apply(gradients, variables))
        return {"gradient_norm": norm / replicas}

    def _share_statistics(self):
        """Set the moving statistics of all replicas to their mean.

        Keras leaves each replica its own, and a checkpoint would get those of the first.
        """
        moving = [
            variable
            for layer in trainable_layers(self.keras_model)
            if isinstance(layer, keras.layers.BatchNormalization)
            and getattr(layer, "train_bn", None) is not False
            for variable in (layer.moving_mean, layer.moving_variance)
        ]
        if moving:
            replica = tf.distribute.get_replica_context()
            values = [tf.identity(variable.value) for variable in moving]
            means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, values)
            for variable, mean in zip(moving, means, strict=True):
                variable.assign(mean)

    # Replicas and parts

    @property
    def _replicas(self):
        return self.strategy.num_replicas_in_sync

    @property
    def _parts(self):
        return self._replicas * self.accumulate

    def _part(self, seed, place, parts):
        """Return the context of the part of a step that batch `place` is on this replica."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return batch_part(seed, place * self._replicas + replica, parts)

    def _make_sums(self):
        """Make variables for the sums of the gradients, with a copy on every replica."""
        with self.strategy.scope():
            return [
                tf.Variable(
                    tf.zeros(variable.shape, variable.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for variable in self.keras_model.trainable_variables
            ]

    def _compiled(self, function, reduce=True, signature=None):
        """Compile a function for all replicas; with `reduce`, the scalars it returns are summed."""

        def run(*arguments):
            results = self.strategy.run(function, args=arguments)
            if not reduce or self._replicas == 1:
                return results
            names = list(results)
            # One message between replicas for all scalars, instead of one per scalar.
            stacked = self.strategy.run(
                lambda values: tf.stack(list(values)), args=([results[name] for name in names],)
            )
            total = self.strategy.reduce(_SUM, stacked, axis=None)
            return dict(zip(names, tf.unstack(total, len(names)), strict=True))

        # TensorFlow warns of a code object that is traced five times, such as this function's: each
        # stage of training compiles its own steps. It counts a partial by itself.
        return tf.function(
            functools.partial(run),
            input_signature=signature,
            autograph=False,
            reduce_retracing=signature is None,
        )

    def _total(self, counts):
        """Return the sums by name over the batches of a step, on every replica."""

        def add(*parts):
            return {name: tf.add_n([part[name] for part in parts]) for name in parts[0]}

        return self.strategy.run(add, args=tuple(counts))


def share_clips(optimizer, replicas):
    """Divide the clipping limits of an optimizer that gets `1 / replicas` of a gradient."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        if getattr(optimizer, name, None):
            setattr(optimizer, name, getattr(optimizer, name) / replicas)


def _of_all_replicas(counts):
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return counts
    total = replica.all_reduce(_SUM, tf.stack(list(counts.values())))
    return dict(zip(counts, tf.unstack(total, len(counts)), strict=True))
