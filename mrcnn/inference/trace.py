"""Evaluation of intermediate tensors of the graph."""

from collections import OrderedDict

import keras
import numpy as np
import tensorflow as tf

# The steps of the proposal layer by the names in old notebooks.
STEPS = {
    "ROI/pre_nms_anchors": "pre_nms_anchors",
    "ROI/refined_anchors": "refined_anchors",
    "ROI/refined_anchors_clipped": "refined_anchors_clipped",
    "ROI/rpn_non_max_suppression": "nms_indices",
    "ROI/rpn_non_max_suppression/NonMaxSuppressionV2": "nms_indices",
    "ROI/rpn_non_max_suppression/NonMaxSuppressionV3": "nms_indices",
}


def log(text, array=None):
    """Print a text, and the shape, minimum, maximum and type of an array."""
    if array is not None:
        array = np.asarray(array)
        limits = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "empty"
        text = f"{text:<25} shape: {array.shape!s:<20} {limits}  {array.dtype}"
    print(text)


def ancestor(keras_model, name):
    """Return the tensor of a historical name, for `run_graph`.

    Args:
        name: one of `STEPS`, or the name of a layer, each with or without ":0".

    Raises:
        KeyError: lists the names that are known.
    """
    plain = name.removesuffix(":0").strip("/")
    layer = keras_model.get_layer("ROI") if plain in STEPS else None
    # Proposals per level have no such steps.
    if hasattr(layer, "steps"):
        steps = keras.layers.Lambda(lambda inputs: layer.steps(*inputs), dtype="float32")
        return steps(layer.input)[STEPS[plain]]
    names = {layer.name for layer in keras_model.layers}
    for candidate in (plain, plain.split("/")[0]):
        if candidate in names:
            return keras_model.get_layer(candidate).output
    raise KeyError(
        f'There is no tensor "{name}" to look up: Keras 3 has no names inside its layers. Known '
        f"are the names of layers, and {', '.join(STEPS)}."
    )


def run_graph(keras_model, inputs, outputs):
    """Evaluate tensors of a model.

    Args:
        inputs: list of arrays, the inputs of the model.
        outputs: list of `(name, KerasTensor)`.

    Returns:
        An OrderedDict of NumPy arrays by name, in the order of `outputs`.

    Raises:
        ValueError: names the outputs that are None.
    """
    missing = [name for name, tensor in outputs if tensor is None]
    if missing:
        raise ValueError(f"run_graph got None instead of a tensor for {', '.join(missing)}.")
    # A dict, because Keras takes a single output out of its list.
    model = keras.Model(keras_model.inputs, dict(outputs))
    tensors = [tf.constant(array, tf.float32) for array in inputs]
    run = tf.function(lambda *arrays: model(list(arrays), training=False), autograph=False)
    # Calling `run` itself would make TensorFlow warn of retracing after a few different outputs.
    values = run.get_concrete_function(*tensors)(*tensors)
    return OrderedDict((name, values[name].numpy()) for name, _ in outputs)
