"""The backbones that `Config.BACKBONE` can name, as one table that imports nothing heavy."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """One row of `BACKBONES`.

    Functions may be given as "module:function", which is imported when it is needed.

    Attributes:
        build: returns the feature maps `[C1, C2, C3, C4, C5]` of an image tensor; C1 may be None.
            Of the arguments stage5 (True), train_bn, architecture (the name of the row), taps and
            first_stride (of C2) it gets those that it has.
        taps: names of the layers whose outputs are C2 to C5, for builders that need them. Stages,
            as in `layers="4+"`, need no row: they are read from the graph.
        strides: the accepted values of `BACKBONE_STRIDES`, pixels per cell of P2 to P6.
        mean, std: of the RGB values 0..255; the network expects `(rgb - mean) / std`. None if it
            expects the molded image itself, RGB minus MEAN_PIXEL.
        imagenet: returns the path of a weight file, given the name of the row. None if there is
            none.
    """

    build: str | Callable
    taps: tuple[str, ...] = ()
    strides: tuple[tuple[int, ...], ...] = ((4, 8, 16, 32, 64),)
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] = 1.0
    imagenet: str | Callable | None = None

    def function(self, name):
        """Return the function `build` or `imagenet`, imported where a string names it."""
        value = getattr(self, name)
        return pkgutil.resolve_name(value) if isinstance(value, str) else value


_RESNET50_WEIGHTS = "mrcnn.weights.download:resnet50_weights"
_RESNET = Backbone("mrcnn.backbones.resnet:resnet_graph", imagenet=_RESNET50_WEIGHTS)


def _application(*taps, mean=127.5, std=127.5):
    """A network of `keras.applications`, whose function has the name of the row."""
    weights = "mrcnn.weights.download:application_weights"
    build = "mrcnn.backbones.applications:build"
    return Backbone(build, taps, mean=mean, std=std, imagenet=weights)


# Own rows are added by assignment: BACKBONES["mine"] = Backbone(build=my_function).
BACKBONES = {
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "resnet152": _RESNET,
    "small": Backbone(
        "mrcnn.backbones.small:small_resnet", strides=((4, 8, 16, 32, 64), (2, 4, 8, 16, 32))
    ),
    # The expanded maps before each halving, as in Sandler et al. 2018, section 6.2.
    "MobileNetV2": _application(
        "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"
    ),
    "EfficientNetV2B0": _application(
        "block2b_add",
        "block3b_add",
        "block5e_add",
        "top_activation",
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
    ),
    # Keras halves the map in the last block of a stage, so a stage ends before that block.
    "ResNet50V2": _application(
        "conv2_block3_preact_relu",
        "conv3_block4_preact_relu",
        "conv4_block6_preact_relu",
        "post_relu",
    ),
}


def find_backbone(backbone) -> Backbone:
    """Return the row of a name; a function becomes a row of its own.

    Raises:
        ValueError: lists the names, if there is no such row.
    """
    if callable(backbone):
        # Functions of old scripts build ResNets with the original's layer names.
        return Backbone(backbone, imagenet=_RESNET50_WEIGHTS)
    if not isinstance(backbone, str) or backbone not in BACKBONES:
        names = ", ".join(map(repr, BACKBONES))
        raise ValueError(f"BACKBONE is {backbone!r}; it must be one of {names}, or a function.")
    return BACKBONES[backbone]
