"""An inference graph on the weights of another model, for detecting while that one is trained."""

import gc

import keras


def share_weights(build, keras_model):
    """Build a graph whose layers with weights are those of another model.

    No weight exists twice: what trains one model changes the other. The layers belong to two graphs
    then, and their `output` is that of the graph they were made for.

    Arguments:
        build: function without arguments that builds the graph, with weights of its own, which are
            dropped.
        keras_model: the model whose layers to take, nested models included, by their names.

    Returns:
        A functional model of the class that `build` makes.

    Raises:
        ValueError: names the layer that `keras_model` does not have, or has with other weights.
    """
    layers = {layer.name: layer for layer in keras_model.layers}

    def counterpart(layer):
        # Slices of tensors are part of the graph, too, but no layers.
        weights = getattr(layer, "weights", [])
        if not weights:
            # The function of a Lambda layer cannot be made again from a config. Such a layer keeps
            # the first graph in memory.
            is_function = isinstance(layer, keras.layers.Lambda)
            return layer if is_function else type(layer).from_config(layer.get_config())
        twin = layers.get(layer.name)
        shapes = [tuple(weight.shape) for weight in weights]
        if twin is None or [tuple(weight.shape) for weight in twin.weights] != shapes:
            raise ValueError(
                f'The models cannot share weights: layer "{layer.name}" is missing in one of them '
                "or has weights of other shapes. Name all layers with weights in own backbones, "
                "and change no sizes in the Config."
            )
        return twin

    shared = keras.models.clone_model(build(), clone_function=counterpart)
    # The first graph is full of cycles, and its weights would stay until the next collection.
    gc.collect()
    return shared
