"""ResNets and ResNeXts with the layer names of the original's weights."""

import string
from functools import partial
from typing import NamedTuple

from keras import layers

from mrcnn.layers.conv import Conv2D, RoIConv2D
from mrcnn.layers.norm import BatchNorm, conv_norm, make_norm


class Architecture(NamedTuple):
    """Bottlenecks in stages 2 to 5, and the groups of their 3x3 convolutions.

    (He et al. 2016, table 1; Xie et al. 2017, table 1.) A bottleneck of stage 2 is
    `groups * group_width` channels wide.
    """

    blocks: tuple[int, int, int, int]
    groups: int = 1
    group_width: int = 64

    def filters(self, stage):
        """Return the channels of the three convolutions of a bottleneck."""
        inner = self.groups * self.group_width * 2 ** (stage - 2)
        return [inner, inner, 64 * 2**stage]


ARCHITECTURES = {
    "resnet50": Architecture((3, 4, 6, 3)),
    "resnet101": Architecture((3, 4, 23, 3)),
    "resnet152": Architecture((3, 8, 36, 3)),
    "resnext50_32x4d": Architecture((3, 4, 6, 3), 32, 4),
    "resnext101_32x8d": Architecture((3, 4, 23, 3), 32, 8),
    "resnext101_64x4d": Architecture((3, 4, 23, 3), 64, 4),
    "resnext152_32x8d": Architecture((3, 8, 36, 3), 32, 8),
}


class Style(NamedTuple):
    """One of the ways in which programs build the same ResNet.

    Attributes:
        stride_in_3x3: whether the 3x3 convolution of a block has its stride, or the first 1x1.
        use_bias: of all convolutions.
        symmetric: pad 3x3 windows of stride 2 by one cell on all sides. TensorFlow's "same" pads
            maps of even sides at the bottom and at the right only.
    """

    stride_in_3x3: bool
    use_bias: bool
    symmetric: bool


STYLES = {
    "matterport": Style(stride_in_3x3=False, use_bias=True, symmetric=False),
    "torchvision": Style(stride_in_3x3=True, use_bias=False, symmetric=True),
    "msra": Style(stride_in_3x3=False, use_bias=False, symmetric=True),
}


class Bottleneck:
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al. 2016, figure 5).

    Its layers are made once. Applied to images `[batch, h, w, channels]`, or to RoIs
    `[batch, num_rois, h, w, channels]` with `conv=RoIConv2D`, it returns them with `filters[2]`
    channels and sides divided by the stride.

    Args:
        filters: channels of the three convolutions.
        name: stage and block for the layer names, such as "4aa".
        norm: function from the keywords `name` and, for `BatchNorm`, `gamma_initializer` to a
            normalization layer.
        style: a `Style`.
        stride: of the block.
        project: whether the shortcut has a convolution.
        kernel_size, groups, dilation: of the middle convolution.
        conv: class of the convolutions.
    """

    def __init__(
        self,
        filters,
        name,
        norm,
        style,
        stride=1,
        project=False,
        kernel_size=3,
        groups=1,
        dilation=1,
        conv=Conv2D,
    ):
        strides = (1, stride) if style.stride_in_3x3 else (stride, 1)

        def conv_and_norm(filters, branch, norm, **options):
            options = {"kernel_size": 1, "use_bias": style.use_bias, **options}
            layer = conv(filters, name=f"res{name}_branch{branch}", **options)
            return layer, norm(name=f"bn{name}_branch{branch}")

        self.pad, padding = None, "same"
        if style.symmetric and strides[1] != 1:
            self.pad, padding = _padding(conv, f"res{name}_branch2b_pad"), "valid"
        self.branch = [
            conv_and_norm(filters[0], "2a", norm, strides=strides[0]),
            conv_and_norm(
                filters[1],
                "2b",
                norm,
                kernel_size=kernel_size,
                strides=strides[1],
                padding=padding,
                groups=groups,
                dilation_rate=dilation,
            ),
            conv_and_norm(filters[2], "2c", _starting_at_zero(norm)),
        ]
        self.shortcut = conv_and_norm(filters[2], "1", norm, strides=stride) if project else None
        self.relus = [
            layers.Activation("relu", name=f"res{name}_branch{branch}_relu")
            for branch in ("2a", "2b")
        ]
        self.add = layers.Add(name=f"res{name}_add")
        self.out = layers.Activation("relu", name=f"res{name}_out")

    def __call__(self, x):
        # With stored statistics `conv_norm` costs one convolution: see `BatchNorm`.
        y = self.relus[0](conv_norm(x, *self.branch[0]))
        y = self.pad(y) if self.pad else y
        y = self.relus[1](conv_norm(y, *self.branch[1]))
        y = conv_norm(y, *self.branch[2])
        shortcut = conv_norm(x, *self.shortcut) if self.shortcut else x
        return self.out(self.add([y, shortcut]))


def _padding(conv, name):
    """Return a layer that pads what `conv` is applied to by one cell on all sides."""
    if conv is RoIConv2D:
        # The first of its axes is the number of RoIs.
        return layers.ZeroPadding3D((0, 1, 1), name=name)
    return layers.ZeroPadding2D(1, name=name)


def _starting_at_zero(norm):
    """Return `norm`, with gamma 0 at first for batch norm that trains.

    A block then starts as its shortcut (Goyal et al. 2017, section 5.1), so that random weights do
    not add up over the blocks.
    """
    trains = norm.func is BatchNorm and norm.keywords["train_bn"] is not False
    return partial(norm, gamma_initializer="zeros") if trains else norm


def identity_block(input_tensor, kernel_size, filters, stage, block, use_bias=True, train_bn=True):
    """Apply a bottleneck whose shortcut is its input.

    Args:
        input_tensor: `[batch, h, w, filters[2]]`.
        kernel_size: of the middle convolution.
        filters: three numbers of channels.
        stage, block: a number and letters for the layer names.
        use_bias: whether convolutions have a bias.
        train_bn: see `BatchNorm`.

    Returns:
        `[batch, h, w, filters[2]]`.
    """
    style = STYLES["matterport"]._replace(use_bias=use_bias)
    norm = partial(BatchNorm, train_bn=train_bn)
    return Bottleneck(filters, f"{stage}{block}", norm, style, kernel_size=kernel_size)(
        input_tensor
    )


def conv_block(
    input_tensor, kernel_size, filters, stage, block, strides=(2, 2), use_bias=True, train_bn=True
):
    """Apply a bottleneck with a convolution in its shortcut and its stride in the first 1x1.

    Arguments are as in `identity_block`; returns `[batch, h / stride, w / stride, filters[2]]`.
    """
    style = STYLES["matterport"]._replace(use_bias=use_bias)
    norm = partial(BatchNorm, train_bn=train_bn)
    return Bottleneck(filters, f"{stage}{block}", norm, style, strides, True, kernel_size)(
        input_tensor
    )


def block_letters(number):
    """Return the name of a block within its stage: a to z for 0 to 25, then aa, ab, ..."""
    letters = string.ascii_lowercase
    return letters[number] if number < 26 else letters[number // 26 - 1] + letters[number % 26]


class ResNetStage:
    """The bottlenecks of one stage, made once and applied to images or RoIs.

    Stage 5 on RoIs, `[batch, num_rois, 14, 14, 1024]` -> `[batch, num_rois, 7, 7, 2048]`, is the
    trunk of the heads in the network without a pyramid (Mask R-CNN, figure 4, left).

    Args:
        architecture: a name in `ARCHITECTURES`.
        stage: 2 to 5.
        style, norm, train_bn, epsilon: see `resnet_graph`.
        dilation: of the 3x3 convolutions. With 2 the stage has stride 1, so that it has twice as
            many cells per axis (Dai et al. 2016, section 3).
        rois: whether it will be applied to RoIs.
    """

    def __init__(
        self,
        architecture,
        stage=5,
        style="matterport",
        norm="batch",
        train_bn=False,
        epsilon=1e-3,
        dilation=1,
        rois=False,
    ):
        table = ARCHITECTURES[architecture]
        stride = 1 if stage == 2 or dilation > 1 else 2
        self.blocks = [
            Bottleneck(
                table.filters(stage),
                f"{stage}{block_letters(number)}",
                make_norm(norm, train_bn, epsilon),
                STYLES[style],
                stride=1 if number else stride,
                project=number == 0,
                groups=table.groups,
                dilation=dilation,
                conv=RoIConv2D if rois else Conv2D,
            )
            for number in range(table.blocks[stage - 2])
        ]

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def resnet_graph(
    input_image,
    architecture,
    stage5=False,
    train_bn=True,
    style="matterport",
    norm="batch",
    epsilon=1e-3,
    dilation5=1,
):
    """Apply a ResNet or ResNeXt without its classifier (He et al. 2016, Xie et al. 2017).

    Args:
        input_image: `[batch, height, width, channels]`, sides divisible by 32.
        architecture: a name in `ARCHITECTURES`.
        stage5: whether to build the last stage.
        train_bn: the rule of batch normalization, see `BatchNorm`.
        style: "matterport", the original's: convolutions with a bias, the stride in the first 1x1
            convolution of a block; "msra", as the original without biases and with symmetric
            padding, as Detectron; "torchvision", as "msra" with the stride in the 3x3.
        norm, epsilon: see `make_norm`; the normalization of all convolutions.
        dilation5: 2 for a last stage with dilated 3x3 convolutions and C5 at stride 16.

    Returns:
        `[C1, C2, C3, C4, C5]` at strides 4, 4, 8, 16 and 32 (C1 is after pooling, as in the
        original); C5 is None without `stage5`.
    """
    rules = STYLES[style]
    x = layers.ZeroPadding2D(3, name="conv1_pad")(input_image)
    conv = Conv2D(64, 7, strides=2, use_bias=rules.use_bias, name="conv1")
    x = conv_norm(x, conv, make_norm(norm, train_bn, epsilon)(name="bn_conv1"))
    x = layers.Activation("relu", name="conv1_relu")(x)
    padding = "same"
    if rules.symmetric:
        # After the activation no number is below the zeros of the border.
        x, padding = layers.ZeroPadding2D(1, name="pool1_pad")(x), "valid"
    x = layers.MaxPooling2D(3, strides=2, padding=padding, name="pool1")(x)
    stages = [x]
    for stage in (2, 3, 4, 5)[: 4 if stage5 else 3]:
        dilation = dilation5 if stage == 5 else 1
        x = ResNetStage(architecture, stage, style, norm, train_bn, epsilon, dilation)(x)
        stages.append(x)
    return stages if stage5 else [*stages, None]
