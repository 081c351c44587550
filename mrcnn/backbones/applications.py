"""Networks of `keras.applications` as backbones."""

import inspect

import keras

from mrcnn.layers.norm import BatchNorm


def build(image, architecture, taps, train_bn):
    """Apply a network of `keras.applications` with random weights, without its classifier.

    Its batch normalization is replaced by ours, with the same names and weights, because Keras's
    would update its statistics with batches of one or two images.

    Args:
        image: `[batch, height, width, channels]`, normalized for the network, sides divisible by
            32.
        architecture: name of the function in `keras.applications`.
        taps: names of the layers whose outputs are C2 to C5.
        train_bn: see `BatchNorm`.

    Returns:
        `[None, C2, C3, C4, C5]`.

    Raises:
        ValueError: if there is no such network, or it lacks a layer in `taps`.
    """
    application = getattr(keras.applications, architecture, None)
    if application is None:
        raise ValueError(f'keras.applications has no network "{architecture}".')
    # Keras would warn of an `input_shape` with four channels.
    like_image = keras.Input((None, None, image.shape[-1]))
    options = {"weights": None, "include_top": False, "input_tensor": like_image}
    if "include_preprocessing" in inspect.signature(application).parameters:
        options["include_preprocessing"] = False
    network, outputs = application(**options), {}

    def clone(layer):
        kind, settings = type(layer), layer.get_config()
        if kind is keras.layers.BatchNormalization:
            kind, settings = BatchNorm, {**settings, "train_bn": train_bn}
        return kind.from_config(settings)

    # Keras passes a mask, which BatchNorm does not accept.
    def call(layer, *args, mask=None, **kwargs):
        outputs[layer.name] = layer(*args, **kwargs)
        return outputs[layer.name]

    keras.models.clone_model(network, [image], clone_function=clone, call_function=call)
    for name in taps:
        if name not in outputs:
            raise ValueError(f'taps of {architecture} has "{name}", which is not a layer of it.')
    return [None, *(outputs[name] for name in taps)]
