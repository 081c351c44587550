"""Networks of `keras.applications` as backbones."""

import inspect
from functools import partial

import keras

from mrcnn.layers.conv import Conv2D
from mrcnn.layers.norm import make_norm


@keras.saving.register_keras_serializable(package="mrcnn")
class LayerScale(keras.layers.Layer):
    """Keras's `LayerScale` of ConvNeXts, a factor per channel, with a weight that has a name.

    Args:
        init_values: the factor at first.
        projection_dim: number of channels.
    """

    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.init_values)
        self.gamma = self.add_weight((self.projection_dim,), initializer, name="gamma")

    def call(self, inputs):
        return inputs * self.gamma

    def get_config(self):
        own = {"init_values": self.init_values, "projection_dim": self.projection_dim}
        return {**super().get_config(), **own}


def build(image, architecture, taps, train_bn, norm="batch"):
    """Apply a network of `keras.applications` with random weights, without its classifier.

    Its batch normalization is replaced by ours, with the same names, weights and epsilon, because
    Keras's would update its statistics with batches of one or two images.

    Args:
        image: `[batch, height, width, channels]`, normalized for the network, sides divisible by
            32.
        architecture: name of the function in `keras.applications`.
        taps: names of the layers whose outputs are C2 to C5. With ">" before a name it is what the
            next operation makes of this output: a sum or an activation that Keras does not name.
        train_bn: see `BatchNorm`.
        norm: what its batch normalization becomes, "frozen" or "batch".

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
    network, outputs, names = application(**options), {}, {}

    # Keras passes a mask, which BatchNorm does not accept.
    def call(layer, *args, mask=None, **kwargs):
        result = layer(*args, **kwargs)
        outputs[layer.name], names[id(result)] = result, layer.name
        for tensor in args:
            if id(tensor) in names:
                outputs.setdefault(f">{names[id(tensor)]}", result)
        return result

    clone = partial(_clone, train_bn=train_bn, norm=norm)
    images = keras.tree.map_structure(lambda _: image, network.input)
    keras.models.clone_model(network, images, clone_function=clone, call_function=call)
    for name in taps:
        if name not in outputs:
            raise ValueError(f'taps of {architecture} has "{name}", which is not a layer of it.')
    return [None, *(outputs[name] for name in taps)]


def _clone(layer, train_bn, norm):
    """Return a layer that does the work of `layer` in a backbone."""
    kind, settings = type(layer), layer.get_config()
    if kind is keras.layers.BatchNormalization:
        new_norm = make_norm(norm, train_bn, settings["epsilon"])
        kind, settings = new_norm.func, {**settings, **new_norm.keywords}
    elif kind is keras.layers.Conv2D and layer.groups > 1:
        # Keras would compile it with XLA on CPU.
        kind = Conv2D
    elif kind.__name__ == "LayerScale":
        kind = LayerScale
    elif kind in (keras.layers.Rescaling, keras.layers.Normalization):
        # EfficientNets begin with these; the image is normalized before them.
        return keras.layers.Identity(name=layer.name)
    return kind.from_config(settings)
