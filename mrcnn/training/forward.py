"""How a training step runs its model: in one piece, or the backbone apart to save memory or time.

For the gradient a step keeps what every layer put out until the backward pass has used it. With
checkpointing only what lies between pieces of the backbone is kept, and each piece is computed once
more when the backward pass comes to it (Chen et al. 2016, section 3).
"""

import threading

import keras
import tensorflow as tf

LEVELS = (2, 3, 4, 5)


def make_forward(keras_model, outputs, checkpointing=False, jit_compile=False):
    """A function that computes tensors of a training graph, in its layers and weights.

    Make it anew when layers are frozen or freed.

    Arguments:
        keras_model: of `build_graph(config, "training")`.
        outputs: list of KerasTensors of it that come after the pyramid: its outputs, or inputs of
            its losses.
        checkpointing: compute the pieces of the backbone that learn, and those above them, twice.
            Moving statistics are updated once, and random layers draw the same numbers.
        jit_compile: compile backbone and pyramid with XLA, for each image size anew. What follows
            has shapes that depend on values (proposals, positive RoIs), and the gradient of the
            RPN, which visits few places, would visit all.

    Returns:
        `forward(inputs, training)`: takes a list of tensors as `keras_model.inputs`, returns a list
        as `outputs`. `forward.losses()` is then the list of what layers and regularizers add to the
        loss. It may run within a `tf.function`, and in the replicas of a `tf.distribute.Strategy`.

    Raises:
        ValueError: with either, if a stage of an own backbone needs more than the stage before it.
    """
    return _Forward(keras_model, list(outputs), checkpointing, jit_compile)


class _Forward:
    """See `make_forward`."""

    def __init__(self, keras_model, outputs, checkpointing, jit_compile):
        self.keras_model, self.pieces = keras_model, []
        # Each replica of a strategy runs in a thread of its own.
        self.thread = threading.local()
        kept = []
        if checkpointing or jit_compile:
            # Graphs that are run in one piece need not have a pyramid.
            kept = [keras_model.get_layer(f"fpn_c{level}p{level}").input for level in LEVELS]
            self._add_stages(kept, checkpointing, jit_compile)
        if jit_compile:
            pyramid = [keras_model.get_layer(f"fpn_p{level}").output for level in (*LEVELS, 6)]
            self._add(kept, pyramid, False, True)
            kept = pyramid
        self.known, self.outputs = [*keras_model.inputs, *kept], outputs
        # In a graph that begins in the middle, Keras takes no tensor twice, nor an input as output.
        known = set(map(id, self.known))
        computed = {id(tensor): tensor for tensor in outputs if id(tensor) not in known}
        self.computed = list(computed.values())
        self.rest = keras.Model(self.known, self.computed)

    def _add_stages(self, stages, checkpointing, jit_compile):
        # The maps before the first pooling are the largest of all.
        ends = [layer.output for layer in self.keras_model.layers if layer.name == "pool1"]
        start = self.keras_model.inputs[0]
        for end in (*ends, *stages):
            self._add([start], [end], checkpointing, jit_compile)
            start = end

    def _add(self, inputs, outputs, recompute, jit_compile):
        learns = any(piece.learns for piece in self.pieces)
        try:
            piece = _Piece(inputs, outputs, learns, recompute, jit_compile)
        except ValueError as error:
            raise ValueError(
                "GRADIENT_CHECKPOINTING and JIT_COMPILE need a BACKBONE whose stages C2 to C5 are "
                "each made from the stage before alone; set both to False for this one."
            ) from error
        self.pieces.append(piece)

    def __call__(self, inputs, training):
        values = {id(t): value for t, value in zip(self.keras_model.inputs, inputs, strict=True)}
        self.thread.added = []
        for piece in self.pieces:
            results, added = piece([values[id(tensor)] for tensor in piece.inputs], training)
            values.update(zip(map(id, piece.outputs), results, strict=True))
            self.thread.added += added
        results = self.rest([values[id(tensor)] for tensor in self.known], training=training)
        values.update(zip(map(id, self.computed), tf.nest.flatten(results), strict=True))
        return [values[id(tensor)] for tensor in self.outputs]

    def losses(self):
        return [*self.thread.added, *self.keras_model.losses]


class _Piece:
    """A part of a graph as a function without side effects of its inputs and weights.

    So it can be computed twice, or within XLA, and no variable is touched in there.

    Arguments:
        inputs, outputs: lists of KerasTensors.
        learns: whether weights before it do, so that its inputs need a gradient.
        recompute: keep nothing for the gradient but the inputs.
    """

    def __init__(self, inputs, outputs, learns, recompute, jit_compile):
        self.inputs, self.outputs = inputs, outputs
        self.model = keras.Model(inputs, outputs)
        self.trained = list(self.model.trainable_variables)
        self.state = list(self.model.non_trainable_variables)
        self.pass_on, self.learns = learns, learns or bool(self.trained)
        self.recompute = recompute
        self.run, self.backward = self._run, self._backward
        if jit_compile:
            self.run = tf.function(self._run, jit_compile=True, autograph=False)
            self.backward = tf.function(self._backward, jit_compile=True, autograph=False)

    def __call__(self, inputs, training):
        """Outputs and added losses; the variables get their new values."""
        trained, state = _values(self.trained), _values(self.state)
        function = self._recomputed if self.recompute and self.learns else self.run
        outputs, added, updates = function(inputs, trained, state, training)
        for index, value in updates.items():
            self.state[int(index)].assign(tf.stop_gradient(value))
        if not self.learns:
            # TensorFlow watches all variables, and of a function it computes all gradients or none.
            outputs = [tf.stop_gradient(tensor) for tensor in outputs]
            added = [tf.stop_gradient(tensor) for tensor in added]
        return outputs, added

    def _run(self, inputs, trained, state, training):
        """Outputs, added losses, and new values of `state` by index."""
        state = [tf.stop_gradient(value) for value in state]
        mapping = zip([*self.trained, *self.state], [*trained, *state], strict=True)
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            outputs = tf.nest.flatten(self.model(inputs, training=training))
            new = [scope.get_current_value(variable) for variable in self.state]
        pairs = enumerate(zip(state, new, strict=True))
        updates = {str(index): value for index, (old, value) in pairs if value is not old}
        return outputs, list(scope.losses), updates

    def _recomputed(self, inputs, trained, state, training):
        """`run` with a gradient that calls `_run` again."""
        counts = len(inputs), len(inputs) + len(trained)

        @tf.custom_gradient
        def call(*tensors):
            arguments = (
                list(tensors[: counts[0]]),
                list(tensors[counts[0] : counts[1]]),
                list(tensors[counts[1] :]),
            )
            results = self.run(*arguments, training)

            def grad(*upstream):
                outputs, added, _ = tf.nest.pack_sequence_as(results, upstream)
                # Without this order it would all be computed at once, and TensorFlow would see
                # that it was computed before.
                with tf.control_dependencies(outputs):
                    found = iter(self.backward(*arguments, outputs + added, training))
                wanted = [self.pass_on] * len(inputs) + [True] * len(trained)
                return [next(found) if want else None for want in wanted] + [None] * len(state)

            return results, grad

        return call(*inputs, *trained, *state)

    def _backward(self, inputs, trained, state, upstream, training):
        """Gradients of the inputs, where weights before learn, and of the trained weights."""
        inputs = [tf.identity(tensor) for tensor in inputs]
        sources = [*(inputs if self.pass_on else []), *trained]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs, added, _ = self._run(inputs, trained, state, training)
        return tape.gradient(
            outputs + added,
            sources,
            output_gradients=upstream,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )


def _values(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]
