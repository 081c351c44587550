"""The feature pyramid on top of a backbone."""

from keras import layers

from mrcnn.layers.conv import Conv2D


def fpn(stages, channels=256):
    """Apply a Feature Pyramid Network (Lin et al. 2017, section 3).

    Args:
        stages: `{"C2": ..., "C5": ...}`, `[batch, h, w, c]` at strides 4, 8, 16 and 32.
        channels: of each level (`TOP_DOWN_PYRAMID_SIZE`).

    Returns:
        `{"P2": ..., "P6": ...}`, `[batch, h, w, channels]` at strides 4 to 64. The RPN uses all of
        them; RoI features come from P2 to P5.
    """
    merged = {5: Conv2D(channels, 1, name="fpn_c5p5")(stages["C5"])}
    for level in (4, 3, 2):
        above = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(merged[level + 1])
        lateral = Conv2D(channels, 1, name=f"fpn_c{level}p{level}")(stages[f"C{level}"])
        merged[level] = layers.Add(name=f"fpn_p{level}add")([above, lateral])
    pyramid = {
        f"P{level}": Conv2D(channels, 3, padding="same", name=f"fpn_p{level}")(merged[level])
        for level in (2, 3, 4, 5)
    }
    # P6, every second cell of P5, is only for the largest anchors.
    pyramid["P6"] = layers.MaxPooling2D(1, strides=2, name="fpn_p6")(pyramid["P5"])
    return pyramid
