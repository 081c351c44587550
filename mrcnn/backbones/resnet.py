"""ResNets with the layer names of the original's weights."""

import string

from keras import layers

from mrcnn.layers.conv import Conv2D
from mrcnn.layers.norm import BatchNorm, conv_norm

# Bottlenecks in stages 2 to 5 (He et al. 2016, table 1).
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}


def _bottleneck(x, kernel_size, filters, stage, block, strides, project, use_bias, train_bn):
    """Apply 1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al. 2016, figure 5)."""
    name = f"{stage}{block}"

    def conv_bn(x, filters, branch, gamma="ones", **options):
        options = {"kernel_size": 1, "use_bias": use_bias, **options}
        conv = Conv2D(filters, name=f"res{name}_branch{branch}", **options)
        bn_name = f"bn{name}_branch{branch}"
        # With stored statistics this costs one convolution: see `BatchNorm`.
        return conv_norm(x, conv, BatchNorm(train_bn, gamma_initializer=gamma, name=bn_name))

    def relu(y, branch):
        return layers.Activation("relu", name=f"res{name}_branch{branch}_relu")(y)

    y = relu(conv_bn(x, filters[0], "2a", strides=strides), "2a")
    y = relu(conv_bn(y, filters[1], "2b", kernel_size=kernel_size, padding="same"), "2b")
    # With trained batch norm, a block starts as its shortcut (Goyal et al. 2017, section 5.1), so
    # that random weights do not add up over the blocks.
    gamma = "ones" if train_bn is False else "zeros"
    y = conv_bn(y, filters[2], "2c", gamma)
    shortcut = conv_bn(x, filters[2], "1", strides=strides) if project else x
    y = layers.Add(name=f"res{name}_add")([y, shortcut])
    return layers.Activation("relu", name=f"res{name}_out")(y)


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
    return _bottleneck(
        input_tensor, kernel_size, filters, stage, block, 1, False, use_bias, train_bn
    )


def conv_block(
    input_tensor, kernel_size, filters, stage, block, strides=(2, 2), use_bias=True, train_bn=True
):
    """Apply a bottleneck with a convolution in its shortcut and its stride in the first 1x1.

    Arguments are as in `identity_block`; returns `[batch, h / stride, w / stride, filters[2]]`.
    """
    return _bottleneck(
        input_tensor, kernel_size, filters, stage, block, strides, True, use_bias, train_bn
    )


def block_letters(number):
    """Return the name of a block within its stage: a to z for 0 to 25, then aa, ab, ..."""
    letters = string.ascii_lowercase
    return letters[number] if number < 26 else letters[number // 26 - 1] + letters[number % 26]


def resnet_graph(input_image, architecture, stage5=False, train_bn=True):
    """Apply a ResNet without its classifier (He et al. 2016).

    Args:
        input_image: `[batch, height, width, channels]`, sides divisible by 64.
        architecture: "resnet50", "resnet101" or "resnet152".
        stage5: whether to build the last stage.
        train_bn: see `BatchNorm`.

    Returns:
        `[C1, C2, C3, C4, C5]` at strides 4, 4, 8, 16 and 32 (C1 is after pooling, as in the
        original); C5 is None without `stage5`.
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(input_image)
    x = conv_norm(x, Conv2D(64, 7, strides=2, name="conv1"), BatchNorm(train_bn, name="bn_conv1"))
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    stages = [x]
    for stage, blocks in enumerate(BLOCKS[architecture][: 4 if stage5 else 3], start=2):
        width = 64 * 2 ** (stage - 2)
        filters = [width, width, 4 * width]
        x = conv_block(x, 3, filters, stage, "a", strides=1 if stage == 2 else 2, train_bn=train_bn)
        for number in range(1, blocks):
            x = identity_block(x, 3, filters, stage, block_letters(number), train_bn=train_bn)
        stages.append(x)
    return stages if stage5 else [*stages, None]
