"""A small ResNet for training from random weights on small data, and on machines without a GPU."""

from keras import layers

from mrcnn.layers.conv import Conv2D
from mrcnn.layers.norm import conv_norm, make_norm

# Channels of stages 2 to 5, half of a ResNet-18's.
WIDTHS = (32, 64, 128, 256)
BLOCKS = 2


def small_resnet(
    input_image, first_stride=4, stage5=True, train_bn=True, norm="batch", epsilon=1e-3
):
    """Apply a residual network of 17 convolutions of 3x3 (He et al. 2016, table 1, ResNet-18).

    It has half the channels of a ResNet-18, a stem of 3x3, and a tenth of the multiplications of a
    ResNet-50.

    Args:
        input_image: `[batch, height, width, channels]`, sides divisible by 16 * first_stride.
        first_stride: of C2: 4, or 2 for small objects, so that images need not be enlarged. The
            pyramid then has strides 2 to 32.
        stage5: whether to build the last stage.
        train_bn: the rule of batch normalization, see `BatchNorm`.
        norm, epsilon: see `make_norm`; the normalization of all convolutions.

    Returns:
        `[C1, C2, C3, C4, C5]` at strides 2 and `first_stride` times 1, 2, 4, 8; C5 is None without
        `stage5`.
    """
    new_norm = make_norm(norm, train_bn, epsilon)
    # A block starts as its shortcut, so that random weights do not add up. Group norm trains better
    # without this, and frozen numbers could not grow from 0.
    last = {"gamma_initializer": "zeros"} if norm == "batch" else {}

    def conv(x, filters, stride, name, kernel_size=3, **norm_options):
        options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
        conv_name, bn_name = (f"res{name}", f"bn{name}") if name else ("conv1", "bn_conv1")
        layer = Conv2D(filters, kernel_size, strides=stride, name=conv_name, **options)
        return conv_norm(x, layer, new_norm(name=bn_name, **norm_options))

    def block(x, filters, stride, name):
        y = conv(x, filters, stride, f"{name}_branch2a")
        y = layers.Activation("relu", name=f"res{name}_branch2a_relu")(y)
        y = conv(y, filters, 1, f"{name}_branch2b", **last)
        if stride != 1 or x.shape[-1] != filters:
            x = conv(x, filters, stride, f"{name}_branch1", kernel_size=1)
        x = layers.Add(name=f"res{name}_add")([y, x])
        return layers.Activation("relu", name=f"res{name}_out")(x)

    x = layers.Activation("relu", name="conv1_relu")(conv(input_image, WIDTHS[0], 2, ""))
    stages = [x]
    if first_stride == 4:
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    for stage, filters in enumerate(WIDTHS[: 4 if stage5 else 3], start=2):
        for number in range(BLOCKS):
            stride = 2 if stage > 2 and number == 0 else 1
            x = block(x, filters, stride, f"{stage}{chr(ord('a') + number)}")
        stages.append(x)
    return stages if stage5 else [*stages, None]
