"""Selection of the layers that learn."""

import re

import keras

# Regular expressions of layer names.
SELECTIONS = {"heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", "all": ".*"}

# First stage of the backbone that learns; everything above it learns too.
STAGES = {"3+": 3, "4+": 4, "5+": 5}

ACCEPTED = "heads, 3+, 4+, 5+, all"

# Groups of layers, and the starts of their names; all other layers are the backbone.
_GROUPS = {
    "FPN": ("fpn_",),
    "RPN": ("rpn_",),
    "box head": ("mrcnn_class", "mrcnn_bbox"),
    "mask head": ("mrcnn_mask",),
    "other heads": ("mrcnn_",),
}


def trainable_layers(keras_model):
    """Return the layers with weights; of a nested model, its layers instead of the model."""
    found = []
    for layer in keras_model.layers:
        if isinstance(layer, keras.Model):
            found += trainable_layers(layer)
        elif layer.weights:
            found.append(layer)
    return found


def backbone_taps(keras_model):
    """Return the outputs of the backbone in a graph, `{"C2": KerasTensor, ...}`.

    Raises:
        ValueError: if the graph has neither `stages` nor a feature pyramid.
    """
    if stages := getattr(keras_model, "stages", None):
        return dict(stages)
    try:
        return {f"C{k}": keras_model.get_layer(f"fpn_c{k}p{k}").input for k in (2, 3, 4, 5)}
    except ValueError as error:
        raise ValueError(
            'layers "3+", "4+" and "5+" need a Mask R-CNN; this model has no layers "fpn_c2p2" to '
            '"fpn_c5p5".'
        ) from error


def layers_from_stage(keras_model, first, taps=None):
    """Return the layers with weights of the backbone's stage `first` and all above it.

    A layer belongs to the first stage that needs it: to stage 4 if C4 is computed from it and C2
    and C3 are not. This works for any backbone, whatever the names of its layers. With NECK "c4"
    the last stage is in the heads, so `first` 5 gives it with all other heads.

    Args:
        keras_model: the graph.
        first: 3, 4 or 5.
        taps: outputs of the backbone, as `backbone_taps` finds them.

    Raises:
        ValueError: if the stage has no layer of its own.
    """
    taps = taps or backbone_taps(keras_model)
    lower = [taps[f"C{k}"] for k in range(2, first)]
    # A model of some outputs has the layers that these are computed from.
    below = set(map(id, trainable_layers(keras.Model(keras_model.inputs, lower))))
    layers = trainable_layers(keras_model)
    end = taps.get(f"C{first}")
    stage = layers if end is None else trainable_layers(keras.Model(keras_model.inputs, end))
    if below.issuperset(map(id, stage)):
        raise ValueError(
            f'layers is "{first}+", but stage {first} of this backbone has no layer with weights '
            f"of its own: every layer that C{first} needs, an earlier stage needs too. A model "
            "inside the backbone counts as one layer; apply its layers to the image directly, as "
            "keras.applications do with input_tensor=image."
        )
    return [layer for layer in layers if id(layer) not in below]


def set_trainable(keras_model, layer_regex, indent=0, verbose=1, taps=None):
    """Choose the layers that learn, and freeze the others.

    Args:
        keras_model: any Keras model; for "3+" to "5+" a Mask R-CNN.
        layer_regex: "heads", "3+", "4+", "5+", "all", or a regular expression of whole layer names.
        indent: spaces before each printed layer.
        verbose: 0 prints nothing.
        taps: see `layers_from_stage`.

    Raises:
        ValueError: if no layer matches or the expression is invalid; no layer has changed then.
    """
    layers = trainable_layers(keras_model)
    if layer_regex in STAGES:
        chosen = layers_from_stage(keras_model, STAGES[layer_regex], taps)
    else:
        chosen = _matching(layers, layer_regex)
    for layer in keras_model.layers:
        if isinstance(layer, keras.Model):
            # A frozen container would freeze all its layers, even trainable ones.
            layer.trainable = True
    ids = set(map(id, chosen))
    for layer in layers:
        layer.trainable = id(layer) in ids
    if verbose:
        for layer in chosen:
            print(f"{' ' * indent}{layer.name:<24} ({type(layer).__name__})")


def summary(keras_model):
    """Return one sentence on the layers that learn, for people: numbers, and groups of layers."""
    layers = trainable_layers(keras_model)
    # Frozen batch norm has none, even where it is not frozen as a layer.
    learning = [layer for layer in layers if layer.trainable_variables]
    groups = {name: [] for name in ("backbone", *_GROUPS)}
    for layer in layers:
        fitting = (name for name, starts in _GROUPS.items() if layer.name.startswith(starts))
        groups[next(fitting, "backbone")].append(layer.trainable)
    parts = [
        name if all(flags) else f"{sum(flags)} of {len(flags)} layers of the {name}"
        for name, flags in groups.items()
        if any(flags)
    ]
    return (
        f"Training {len(learning)} of {len(layers)} layers with "
        f"{len(keras_model.trainable_variables)} variables: {', '.join(parts)}."
    )


def _matching(layers, regex):
    try:
        pattern = re.compile(SELECTIONS.get(regex, regex))
    except re.error as error:
        raise ValueError(
            f'layers is "{regex}"; accepted are {ACCEPTED}, or a regular expression of layer '
            f"names ({error})."
        ) from error
    chosen = [layer for layer in layers if pattern.fullmatch(layer.name)]
    if not chosen:
        raise ValueError(
            f'layers is "{regex}" and matches no layer; accepted are {ACCEPTED}, or a regular '
            f'expression of whole layer names such as "{layers[-1].name}".'
        )
    return chosen
