"""The feature pyramid on top of a backbone."""

from keras import layers

from mrcnn.layers.conv import Conv2D
from mrcnn.layers.norm import conv_norm


def fpn(stages, channels=256, norm=None, extra_level="pool"):
    """Apply a Feature Pyramid Network (Lin et al. 2017, section 3).

    Args:
        stages: `{"C2": ..., "C5": ...}`, `[batch, h, w, c]` at strides 4, 8, 16 and 32.
        channels: of each level (`TOP_DOWN_PYRAMID_SIZE`).
        norm: function from the keyword `name` to a normalization layer, after each convolution;
            None for none.
        extra_level: origin of P6: "pool", every second cell of P5; "c5", a convolution of C5.

    Returns:
        `{"P2": ..., "P6": ...}`, `[batch, h, w, channels]` at strides 4 to 64. The RPN uses all of
        them; RoI features come from P2 to P5.
    """

    def conv(x, kernel_size, name):
        layer = Conv2D(channels, kernel_size, padding="same", use_bias=norm is None, name=name)
        return conv_norm(x, layer, norm and norm(name=f"{name}_norm"))

    merged = {5: conv(stages["C5"], 1, "fpn_c5p5")}
    for level in (4, 3, 2):
        above = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(merged[level + 1])
        lateral = conv(stages[f"C{level}"], 1, f"fpn_c{level}p{level}")
        merged[level] = layers.Add(name=f"fpn_p{level}add")([above, lateral])
    pyramid = {f"P{level}": conv(merged[level], 3, f"fpn_p{level}") for level in (2, 3, 4, 5)}
    # P6 is only for the largest anchors.
    if extra_level == "c5":
        # Padded on both sides, as other programs do; "same" would pad at the end.
        padded = layers.ZeroPadding2D(1, name="fpn_p6_pad")(stages["C5"])
        pyramid["P6"] = Conv2D(channels, 3, strides=2, name="fpn_p6")(padded)
    else:
        pyramid["P6"] = layers.MaxPooling2D(1, strides=2, name="fpn_p6")(pyramid["P5"])
    return pyramid
