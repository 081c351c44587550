"""Backbones: from an image to feature maps C2 to C5, usually at strides 4, 8, 16 and 32."""

import inspect

from mrcnn.backbones.resnet import BLOCKS, resnet_graph
from mrcnn.backbones.small import small_resnet

NAMES = (*BLOCKS, "small")


def build_backbone(backbone, image, train_bn, first_stride=4):
    """Apply a backbone to an image.

    Arguments:
        backbone: a word of `NAMES`, or a function that returns `[C1, C2, C3, C4, C5]` for
            `(image, stage5=True, train_bn=...)`, as in the original, or for the image alone. C1 is
            not used.
        image: KerasTensor `[batch, height, width, channels]`, molded.
        train_bn: the `TRAIN_BN` rule of the built-in backbones, see `BatchNorm`.
        first_stride: of C2; "small" can have 2.

    Returns:
        `{"C2": ..., "C3": ..., "C4": ..., "C5": ...}`.

    Raises:
        ValueError: if the word is unknown, or the function returns something else.
    """
    if callable(backbone):
        stages = backbone(image, **_accepted(backbone, stage5=True, train_bn=train_bn))
        if not isinstance(stages, (list, tuple)) or len(stages) != 5:
            raise ValueError(
                f"The BACKBONE function {getattr(backbone, '__name__', backbone)} has to return a "
                "list of five tensors, C1 to C5, at strides 2, 4, 8, 16 and 32; it returned "
                f"{len(stages) if isinstance(stages, (list, tuple)) else type(stages).__name__}."
            )
    elif backbone in BLOCKS:
        stages = resnet_graph(image, backbone, stage5=True, train_bn=train_bn)
    elif backbone == "small":
        stages = small_resnet(image, first_stride, stage5=True, train_bn=train_bn)
    else:
        raise ValueError(
            f'BACKBONE is "{backbone}"; accepted are {", ".join(NAMES)}, or a function.'
        )
    return dict(zip(("C2", "C3", "C4", "C5"), stages[1:], strict=True))


def _accepted(function, **arguments):
    """The keyword arguments that a function takes."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}
