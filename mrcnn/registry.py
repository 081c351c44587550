"""The backbones that `Config.BACKBONE` can name, as one table that does not import Keras."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Backbone:
    """One row of `BACKBONES`. Functions may be strings "module:function", imported when needed.

    Attributes:
        build: function from an image tensor to the feature maps `[C1, C2, C3, C4, C5]`; C1 may be
            None. It is passed those of the arguments stage5, train_bn, architecture (the name of
            the row), taps, first_stride (of C2) and, by the paper's recipe, norm, epsilon, style
            and dilation5 that it accepts.
        taps: names of the layers whose outputs are C2 to C5, for builders that need them.
        strides: the accepted values of `BACKBONE_STRIDES`, pixels per cell of P2 to P6.
        mean, std: of RGB values from 0 to 255; the network expects `(rgb - mean) / std`. With None
            it expects the molded image, RGB minus MEAN_PIXEL, divided by STD_PIXEL.
        bgr: whether it expects the channels in the order blue, green, red.
        imagenet: function from the name of the row to the path of a weight file, or None.
        norms: the accepted values of `BACKBONE_NORM`.
        necks: the accepted values of `NECK`. Others need a last stage that can be built alone.
    """

    build: str | Callable
    taps: tuple[str, ...] = ()
    strides: tuple[tuple[int, ...], ...] = ((4, 8, 16, 32, 64),)
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] = 1.0
    bgr: bool = False
    imagenet: str | Callable | None = None
    norms: tuple[str, ...] = ("frozen", "batch", "group")
    necks: tuple[str, ...] = ("fpn", "c5")

    def function(self, name):
        """Return the function `build` or `imagenet`, imported if it is a string."""
        value = getattr(self, name)
        return pkgutil.resolve_name(value) if isinstance(value, str) else value


_RESNET50_WEIGHTS = "mrcnn.weights.download:resnet50_weights"
_RESNEXT = Backbone("mrcnn.backbones.resnet:resnet_graph", necks=("fpn", "c4", "c5", "dc5"))
_RESNET = replace(_RESNEXT, imagenet=_RESNET50_WEIGHTS)

# What keras.applications expect: the functions `preprocess_input` of their modules. A pair of mean
# and standard deviation for each way.
_MINUS_1_TO_1 = {"mean": 127.5, "std": 127.5}
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
_CAFFE = {"mean": (123.68, 116.779, 103.939), "bgr": True}


def _applications(names, *taps, **preprocessing):
    """Return the rows of networks whose functions in `keras.applications` have their names."""
    row = Backbone(
        "mrcnn.backbones.applications:build",
        taps,
        imagenet="mrcnn.weights.download:application_weights",
        # The normalization that a network has, whose weights are trained with it.
        norms=("frozen", "batch"),
        **preprocessing,
    )
    return dict.fromkeys(names.split(), row)


def _efficient_nets(family, last_blocks, **preprocessing):
    """Return the rows of EfficientNets by the letters of the last blocks of stages 2, 3 and 5."""
    rows = {}
    for size, (c2, c3, c4) in last_blocks.items():
        taps = f"block2{c2}_add", f"block3{c3}_add", f"block5{c4}_add", "top_activation"
        rows |= _applications(f"{family}{size}", *taps, **(preprocessing or _IMAGENET))
    return rows


def _conv_nexts(**blocks):
    """Return the rows of ConvNeXts by the number of blocks in their third stage."""
    rows = {}
    for size, number in blocks.items():
        name = f">convnext_{size.lower()}_stage_{{}}_block_{{}}_identity"
        taps = [name.format(i, last) for i, last in enumerate((2, 2, number - 1, 2))]
        rows |= _applications(f"ConvNeXt{size}", *taps, **_IMAGENET)
    return rows


def _res_nets(name, tap, last, **preprocessing):
    """Return the rows of ResNets by the numbers of blocks in stages 2 to 4."""
    rows = {}
    for depth, blocks in ((50, (3, 4, 6)), (101, (3, 4, 23)), (152, (3, 8, 36))):
        taps = [tap.format(stage, number) for stage, number in enumerate(blocks, start=2)]
        rows |= _applications(name.format(depth), *taps, last, **preprocessing)
    return rows


# Add your own by assignment: BACKBONES["mine"] = Backbone(build=my_function).
BACKBONES = {
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "resnet152": _RESNET,
    "small": Backbone(
        "mrcnn.backbones.small:small_resnet", strides=((4, 8, 16, 32, 64), (2, 4, 8, 16, 32))
    ),
    "resnext50_32x4d": _RESNEXT,
    "resnext101_32x8d": _RESNEXT,
    "resnext101_64x4d": _RESNEXT,
    "resnext152_32x8d": _RESNEXT,
    # The expanded feature maps before each halving (Sandler et al. 2018, section 6.2).
    **_applications(
        "MobileNet",
        "conv_pw_3_relu",
        "conv_pw_5_relu",
        "conv_pw_11_relu",
        "conv_pw_13_relu",
        **_MINUS_1_TO_1,
    ),
    **_applications(
        "MobileNetV2",
        "block_3_expand_relu",
        "block_6_expand_relu",
        "block_13_expand_relu",
        "out_relu",
        **_MINUS_1_TO_1,
    ),
    **_applications(
        "MobileNetV3Small",
        ">expanded_conv_1_expand_bn",
        ">expanded_conv_3_expand_bn",
        ">expanded_conv_8_expand_bn",
        ">conv_1_bn",
        **_MINUS_1_TO_1,
    ),
    **_applications(
        "MobileNetV3Large",
        ">expanded_conv_3_expand_bn",
        ">expanded_conv_6_expand_bn",
        ">expanded_conv_12_expand_bn",
        ">conv_1_bn",
        **_MINUS_1_TO_1,
    ),
    **_efficient_nets("EfficientNet", {"B0": "bbc", "B1": "ccd", "B2": "ccd", "B3": "cce"}),
    **_efficient_nets("EfficientNetV2", {"B0": "bbe", "B1": "ccf", "B2": "ccf", "B3": "ccg"}),
    **_efficient_nets("EfficientNetV2", {"S": "ddi", "M": "een"}, mean=128.0, std=128.0),
    **_conv_nexts(Tiny=9, Small=27, Base=27),
    **_applications(
        "DenseNet121 DenseNet169 DenseNet201",
        "pool2_relu",
        "pool3_relu",
        "pool4_relu",
        "relu",
        **_IMAGENET,
    ),
    **_res_nets("ResNet{}", "conv{}_block{}_out", "conv5_block3_out", **_CAFFE),
    # Keras halves the feature map in the last block of a stage, so a stage ends before that block.
    **_res_nets("ResNet{}V2", "conv{}_block{}_preact_relu", "post_relu", **_MINUS_1_TO_1),
    **_applications(
        "VGG16", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool", **_CAFFE
    ),
    **_applications(
        "VGG19", "block3_conv4", "block4_conv4", "block5_conv4", "block5_pool", **_CAFFE
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
