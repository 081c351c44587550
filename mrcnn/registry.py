"""The backbones that `Config.BACKBONE` can name, as one table that does not import Keras."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """One row of `BACKBONES`. Functions may be strings "module:function", imported when needed.

    Attributes:
        build: function from an image tensor to the feature maps `[C1, C2, C3, C4, C5]`; C1 may be
            None. It is passed those of the arguments stage5 (True), train_bn, architecture (the
            name of the row), taps and first_stride (of C2) that it accepts.
        taps: names of the layers whose outputs are C2 to C5, for builders that need them.
        strides: the accepted values of `BACKBONE_STRIDES`, pixels per cell of P2 to P6.
        mean, std: of RGB values from 0 to 255; the network expects `(rgb - mean) / std`. With None
            it expects the molded image, RGB minus MEAN_PIXEL.
        imagenet: function from the name of the row to the path of a weight file, or None.
    """

    build: str | Callable
    taps: tuple[str, ...] = ()
    strides: tuple[tuple[int, ...], ...] = ((4, 8, 16, 32, 64),)
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] = 1.0
    imagenet: str | Callable | None = None

    def function(self, name):
        """Return the function `build` or `imagenet`, imported if it is a string."""
        value = getattr(self, name)
        return pkgutil.resolve_name(value) if isinstance(value, str) else value


_RESNET50_WEIGHTS = "mrcnn.weights.download:resnet50_weights"
_RESNET = Backbone("mrcnn.backbones.resnet:resnet_graph", imagenet=_RESNET50_WEIGHTS)


def _application(*taps, mean=127.5, std=127.5):
    """Return the row of a network whose function in `keras.applications` has the row's name."""
    weights = "mrcnn.weights.download:application_weights"
    build = "mrcnn.backbones.applications:build"
    return Backbone(build, taps, mean=mean, std=std, imagenet=weights)


# Add your own by assignment: BACKBONES["mine"] = Backbone(build=my_function).
BACKBONES = {
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "resnet152": _RESNET,
    "small": Backbone(
        "mrcnn.backbones.small:small_resnet", strides=((4, 8, 16, 32, 64), (2, 4, 8, 16, 32))
    ),
    # The expanded feature maps before each halving (Sandler et al. 2018, section 6.2).
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
    # Keras halves the feature map in the last block of a stage, so a stage ends before that block.
    "ResNet50V2": _application(
        "conv2_block3_preact_relu",
        "conv3_block4_preact_relu",
        "conv4_block6_preact_relu",
        "post_relu",
    ),
}


def find_backbone(backbone) -> Backbone:
    """Return the row of a name, or a new row for a function.

    Raises:
        ValueError: lists the names, if there is no such row.
    """
    if callable(backbone):
        # In old scripts, functions build ResNets with the original's layer names.
        return Backbone(backbone, imagenet=_RESNET50_WEIGHTS)
    if not isinstance(backbone, str) or backbone not in BACKBONES:
        names = ", ".join(map(repr, BACKBONES))
        raise ValueError(f"BACKBONE is {backbone!r}; it must be one of {names}, or a function.")
    return BACKBONES[backbone]
