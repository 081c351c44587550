"""Backbones: from an image to feature maps C2 to C5, usually at strides 4, 8, 16 and 32."""

import inspect

from mrcnn.registry import find_backbone


def build_backbone(
    backbone,
    image,
    train_bn,
    first_stride=4,
    mean_pixel=0.0,
    std_pixel=1.0,
    stage5=True,
    **options,
):
    """Apply a backbone to an image.

    Args:
        backbone: a name of `mrcnn.registry.BACKBONES`, or a function that returns
            `[C1, C2, C3, C4, C5]` for `(image, stage5=True, train_bn=...)`, as in the original, or
            for the image alone. C1 is not used.
        image: KerasTensor `[batch, height, width, channels]`, molded.
        train_bn: the `TRAIN_BN` rule of all named backbones, see `BatchNorm`. It has no effect on
            `keras.layers.BatchNormalization` in a function.
        first_stride: of C2; "small" accepts 2.
        mean_pixel: subtracted by molding, one number or one per channel.
        std_pixel: by which molding divided then, one number or one per channel.
        stage5: False leaves C5 out; ResNets then build no last stage.
        **options: of named backbones, each for those that know it: `norm` ("frozen", "batch" or
            "group") and `epsilon` of the normalization; `style` and `dilation5` of ResNets, see
            `mrcnn.backbones.resnet.resnet_graph`.

    Returns:
        `{"C2": ..., "C3": ..., "C4": ..., "C5": ...}`.

    Raises:
        ValueError: if the name is unknown, or the function returns something else.
    """
    entry = find_backbone(backbone)
    build, arguments = entry.function("build"), {"stage5": stage5, "train_bn": train_bn}
    if not callable(backbone):
        own = {"architecture": backbone, "taps": entry.taps, "first_stride": first_stride}
        arguments |= options | own
    if entry.mean is not None:
        image = _normalized(image, entry, mean_pixel, std_pixel)
    stages = build(image, **_accepted(build, **arguments))
    if not isinstance(stages, (list, tuple)) or len(stages) != 5:
        raise ValueError(
            f"The BACKBONE function {getattr(build, '__name__', build)} must return a "
            "list of five tensors, C1 to C5, at strides 2, 4, 8, 16 and 32; it returned "
            f"{len(stages) if isinstance(stages, (list, tuple)) else type(stages).__name__}."
        )
    return dict(zip(("C2", "C3", "C4", "C5")[: 4 if stage5 else 3], stages[1:], strict=False))


def _normalized(image, entry, mean_pixel, std_pixel):
    """Return what a network expects of a molded image, `(rgb - mean_pixel) / std_pixel`."""
    import keras
    import numpy as np

    mean, std = entry.mean, entry.std
    if image.shape[-1] != 3:
        # It is not known which channels are colours.
        mean, std = np.mean(mean), np.mean(std)
    scale = np.asarray(std_pixel, float) / std
    offset = (np.asarray(mean_pixel, float) - mean) / std
    layer = keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="normalized_image")
    image = layer(image)
    return keras.ops.flip(image, axis=-1) if entry.bgr and image.shape[-1] == 3 else image


def _accepted(function, **arguments):
    """Return those of the keyword arguments that a function accepts."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}
