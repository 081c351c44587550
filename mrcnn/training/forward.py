"""The forward pass of a training step and its gradient, in one go or in pieces to save memory.

The backward pass needs the outputs of every layer, so a step keeps them all. With checkpointing it
keeps only the ends of pieces of the backbone, and the backward pass computes each piece a second
time (Chen et al. 2016, section 3).

`keras.RematScope` recomputes single layers and keeps their inputs. It is built on TensorFlow's
`recompute_grad`, which refuses the argument `training` of a BatchNormalization.
"""

import threading

import keras
import tensorflow as tf

from mrcnn.training.selection import backbone_taps


class Forward:
    """A forward pass through a training graph, and its gradient.

    It works within a `tf.function`, and in the replicas of a `tf.distribute.Strategy`. Make a new
    one after layers have been frozen or unfrozen.

    Args:
        keras_model: a training graph.
        outputs: list of KerasTensors that come after the pyramid: outputs of the graph, or inputs
            of its losses.
        checkpointing: compute twice the pieces of the backbone that learn, and those above them.
            Moving statistics are updated once, and random layers draw the same numbers twice.

    Raises:
        ValueError: with checkpointing, if a stage of a user's backbone needs more than the stage
            before it.
    """

    def __init__(self, keras_model, outputs, checkpointing=False):
        self.keras_model, self.pieces = keras_model, []
        # Each replica of a strategy runs in a thread of its own.
        self.thread = threading.local()
        # Only checkpointing needs a backbone's stages, which are the ends of the pieces.
        kept = self._add_pieces() if checkpointing else []
        self.known, self.outputs = [*keras_model.inputs, *kept], outputs
        # Keras accepts no output twice, and no input as an output, in a graph that starts inside
        # another one.
        known = set(map(id, self.known))
        computed = {id(tensor): tensor for tensor in outputs if id(tensor) not in known}
        self.computed = list(computed.values())
        self.rest = keras.Model(self.known, self.computed)

    def _add_pieces(self):
        """Cut the backbone at the ends of its stages, and return these ends."""
        model = self.keras_model
        stages = list(backbone_taps(model).values())
        # The maps before the first pooling are the largest, so it ends a piece too.
        ends = [layer.output for layer in model.layers if layer.name == "pool1"] + stages
        places = {id(variable): i for i, variable in enumerate(model.trainable_variables)}
        try:
            for start, end in zip([model.inputs[0], *ends[:-1]], ends, strict=True):
                passes_on = any(piece.learns for piece in self.pieces)
                self.pieces.append(_Piece(start, end, passes_on, places))
        except ValueError as error:
            raise ValueError(
                "GRADIENT_CHECKPOINTING needs a BACKBONE that computes each of the stages C2 to C5 "
                "from the stage before it alone; set it to False for this one."
            ) from error
        return stages

    def __call__(self, inputs, training, tape=None):
        """Return the values of `outputs`.

        Args:
            inputs: list of tensors for the inputs of the model.
            training: whether layers act as in training.
            tape: the `tf.GradientTape` around this call, for `gradient`; None without a gradient.
        """
        values = {id(t): value for t, value in zip(self.keras_model.inputs, inputs, strict=True)}
        self.thread.calls, self.thread.added = [], []
        for piece in self.pieces:
            call = _Call(piece, values[id(piece.input)], training)
            values[id(piece.output)], *added = call.ends
            self.thread.added += added
            if tape is not None and piece.learns:
                tape.watch(call.ends)
                self.thread.calls.append(call)
        results = self.rest([values[id(tensor)] for tensor in self.known], training=training)
        values.update(zip(map(id, self.computed), tf.nest.flatten(results), strict=True))
        return [values[id(tensor)] for tensor in self.outputs]

    def losses(self):
        """Return the list of losses that layers and regularizers added in the last call."""
        return [*self.thread.added, *self.keras_model.losses]

    def gradient(self, tape, target):
        """Return the gradients of the model's trainable variables, 0 where `target` needs none.

        Args:
            tape: the tape of the last call.
            target: a scalar.
        """
        variables = [variable.value for variable in self.keras_model.trainable_variables]
        calls = self.thread.calls
        # This backward pass stops at the ends of the pieces. They continue it, the last one first,
        # so that only one piece at a time has its outputs in memory.
        found = tape.gradient(target, [variables, [call.ends for call in calls]])
        gradients, upstream = found
        for i in reversed(range(len(calls))):
            of_input, of_trained = calls[i].backward(upstream[i])
            if i:
                upstream[i - 1][0] = _sum(upstream[i - 1][0], of_input)
            for place, gradient in zip(calls[i].piece.places, of_trained, strict=True):
                gradients[place] = _sum(gradients[place], gradient)
        # A user's backbone may have layers whose outputs nothing uses.
        pairs = zip(gradients, variables, strict=True)
        return [tf.zeros_like(v) if gradient is None else gradient for gradient, v in pairs]


class _Piece:
    """A part of a graph as a function without side effects, which can be computed twice.

    Args:
        input, output: KerasTensors.
        passes_on: whether weights before it learn, so that its input needs a gradient.
        places: `{id: place}` of the model's trainable variables.

    Attributes:
        places: those of the variables that learn here.
        learns: whether weights learn in this piece or before it.
    """

    def __init__(self, input, output, passes_on, places):
        self.input, self.output = input, output
        self.model = keras.Model([input], [output])
        self.trained = list(self.model.trainable_variables)
        self.state = list(self.model.non_trainable_variables)
        self.places = [places[id(variable)] for variable in self.trained]
        self.passes_on, self.learns = passes_on, passes_on or bool(self.trained)

    def run(self, x, trained, state, training):
        """Return `[output, *added losses]`, and `{index: value}` of the state that has changed."""
        mapping = zip([*self.trained, *self.state], [*trained, *state], strict=True)
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            (output,) = tf.nest.flatten(self.model([x], training=training))
            new = [scope.get_current_value(variable) for variable in self.state]
        pairs = enumerate(zip(state, new, strict=True))
        changes = {index: value for index, (old, value) in pairs if value is not old}
        return [output, *scope.losses], changes


class _Call:
    """One computation of a piece, and the values that a second one needs.

    Attributes:
        ends: output of the piece, then the losses that its layers add. No gradient flows through.
    """

    def __init__(self, piece, x, training):
        self.piece, self.x, self.training = piece, x, training
        # The state from before: a second computation draws the same random numbers from it.
        self.trained, self.state = _values(piece.trained), _values(piece.state)
        ends, changes = piece.run(x, self.trained, self.state, training)
        for index, value in changes.items():
            piece.state[index].assign(tf.stop_gradient(value))
        self.ends = [tf.stop_gradient(end) for end in ends]

    def backward(self, upstream):
        """Return the gradients of the input, or None, and of the weights that learn.

        Args:
            upstream: list of gradients of the ends, None for 0.
        """
        pairs = zip(upstream, self.ends, strict=True)
        upstream = [tf.zeros_like(end) if up is None else up for up, end in pairs]
        # The second computation has to wait for the gradients from above. Otherwise TensorFlow
        # would merge it with the first one, whose outputs would then stay in memory.
        with tf.control_dependencies(upstream):
            x = tf.identity(self.x)
            with tf.GradientTape() as tape:
                tape.watch([x, self.trained])
                ends, _ = self.piece.run(x, self.trained, self.state, self.training)
            sources = [[x] if self.piece.passes_on else [], self.trained]
            of_x, of_trained = tape.gradient(ends, sources, output_gradients=upstream)
        return of_x[0] if of_x else None, of_trained


def _values(variables):
    return [tf.stop_gradient(tf.convert_to_tensor(variable.value)) for variable in variables]


def _sum(*gradients):
    gradients = [gradient for gradient in gradients if gradient is not None]
    return tf.add_n(gradients) if gradients else None
