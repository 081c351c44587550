"""Which layers learn."""

import re

import keras

_HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"

# From which stage of the backbone on; the heads and the pyramid always learn.
SELECTIONS = {
    "heads": _HEADS,
    "3+": rf"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|{_HEADS}",
    "4+": rf"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|{_HEADS}",
    "5+": rf"(res5.*)|(bn5.*)|{_HEADS}",
    "all": ".*",
}


def trainable_layers(keras_model):
    """Layers with weights, those of nested models instead of the models themselves."""
    found = []
    for layer in keras_model.layers:
        if isinstance(layer, keras.Model):
            found += trainable_layers(layer)
        elif layer.weights:
            found.append(layer)
    return found


def set_trainable(keras_model, layer_regex, indent=0, verbose=1):
    """Let the layers learn whose whole name matches, and freeze the others.

    Raises:
        ValueError: if no layer matches, or the expression is none.
    """
    try:
        pattern = re.compile(layer_regex)
    except re.error as error:
        raise ValueError(
            f'layers is "{layer_regex}"; accepted are {", ".join(SELECTIONS)}, or a regular '
            f"expression of layer names ({error})."
        ) from error
    for layer in keras_model.layers:
        if isinstance(layer, keras.Model):
            # A frozen container would freeze what is inside, whatever is said there.
            layer.trainable = True
    layers = trainable_layers(keras_model)
    chosen = [layer for layer in layers if pattern.fullmatch(layer.name)]
    if not chosen:
        raise ValueError(
            f'layers is "{layer_regex}" and matches no layer; accepted are '
            f"{', '.join(SELECTIONS)}, or a regular expression of whole layer names such as "
            f'"{layers[-1].name}".'
        )
    for layer in layers:
        layer.trainable = layer in chosen
    if verbose:
        for layer in chosen:
            print(f"{' ' * indent}{layer.name:<24} ({type(layer).__name__})")
