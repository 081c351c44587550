"""ResNets with the layer names that checkpoints know."""

from keras import layers

from mrcnn.layers.conv import Conv2D
from mrcnn.layers.norm import BatchNorm, conv_norm

# Bottlenecks in stages 2 to 5 (He et al. 2016, table 1).
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def _conv_bn(
    x, filters, kernel_size, names, use_bias, train_bn, strides=1, padding="valid", gamma="ones"
):
    conv_name, bn_name = names
    conv = Conv2D(
        filters, kernel_size, strides=strides, padding=padding, use_bias=use_bias, name=conv_name
    )
    bn = BatchNorm(train_bn=train_bn, gamma_initializer=gamma, name=bn_name)
    return conv_norm(x, conv, bn)


def _bottleneck(x, kernel_size, filters, stage, block, strides, project, use_bias, train_bn):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al. 2016, figure 5)."""

    def names(branch):
        return f"res{stage}{block}_branch{branch}", f"bn{stage}{block}_branch{branch}"

    def relu(y, branch):
        return layers.Activation("relu", name=f"res{stage}{block}_branch{branch}_relu")(y)

    bias_and_bn = use_bias, train_bn
    y = relu(_conv_bn(x, filters[0], 1, names("2a"), *bias_and_bn, strides), "2a")
    y = relu(_conv_bn(y, filters[1], kernel_size, names("2b"), *bias_and_bn, padding="same"), "2b")
    # Where batch norm learns, a block begins as its shortcut (Goyal et al. 2017, section 5.1), so
    # that random weights do not add up over the blocks.
    gamma = "ones" if train_bn is False else "zeros"
    y = _conv_bn(y, filters[2], 1, names("2c"), *bias_and_bn, gamma=gamma)
    shortcut = _conv_bn(x, filters[2], 1, names("1"), *bias_and_bn, strides) if project else x
    y = layers.Add(name=f"res{stage}{block}_add")([y, shortcut])
    return layers.Activation("relu", name=f"res{stage}{block}_out")(y)


def identity_block(input_tensor, kernel_size, filters, stage, block, use_bias=True, train_bn=True):
    """A bottleneck whose shortcut is the input itself.

    Arguments:
        input_tensor: `[batch, h, w, filters[2]]`.
        kernel_size: of the middle convolution.
        filters: three numbers of channels.
        stage, block: a number and a letter for the layer names.
        use_bias: whether convolutions have a bias.
        train_bn: see `BatchNorm`.

    Returns:
        `[batch, h, w, filters[2]]`.
    """
    return _bottleneck(
        input_tensor, kernel_size, filters, stage, block, 1, False, use_bias, train_bn
    )


def conv_block(
    input_tensor,
    kernel_size,
    filters,
    stage,
    block,
    strides=(2, 2),
    use_bias=True,
    train_bn=True,
):
    """A bottleneck with a convolution in its shortcut, and its stride in the first 1x1.

    Arguments as in `identity_block`; returns `[batch, h / stride, w / stride, filters[2]]`.
    """
    return _bottleneck(
        input_tensor, kernel_size, filters, stage, block, strides, True, use_bias, train_bn
    )


def resnet_graph(input_image, architecture, stage5=False, train_bn=True):
    """A ResNet without its classifier (He et al. 2016).

    Arguments:
        input_image: `[batch, height, width, channels]`, sides divisible by 64.
        architecture: "resnet50" or "resnet101".
        stage5: whether to build the last stage.
        train_bn: see `BatchNorm`.

    Returns:
        `[C1, C2, C3, C4, C5]` at strides 4, 4, 8, 16 and 32 (C1 is after pooling, as in the
        original); C5 is None without `stage5`.
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(input_image)
    x = _conv_bn(x, 64, 7, ("conv1", "bn_conv1"), True, train_bn, strides=2)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    stages = [x]
    for stage, blocks in enumerate(BLOCKS[architecture][: 4 if stage5 else 3], start=2):
        width = 64 * 2 ** (stage - 2)
        filters = [width, width, 4 * width]
        x = conv_block(x, 3, filters, stage, "a", strides=1 if stage == 2 else 2, train_bn=train_bn)
        for number in range(1, blocks):
            letter = chr(ord("a") + number)
            x = identity_block(x, 3, filters, stage, letter, train_bn=train_bn)
        stages.append(x)
    return stages if stage5 else [*stages, None]
