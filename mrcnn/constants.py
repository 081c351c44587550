"""Codes that every part of the package shares, and the conventions behind them.

Boxes
    Always `(y1, x1, y2, x2)`. In pixels, `y2` and `x2` are exclusive: the box of one pixel at the
    origin is `(0, 0, 1, 1)`. Normalized boxes are in the `BoxSpace` of a recipe; in that of the
    original, 0 is the centre of the first row or column and 1 the centre of the last one.
Deltas
    `(dy, dx, log dh, log dw)`: the shift of the centre in units of the box size, then the logarithm
    of the ratio of the sizes.
Anchor matches (`rpn_match`)
    `POSITIVE`, `NEGATIVE` or `NEUTRAL`. Detectron2 and torchvision swap the last two values:
    convert what comes from there.
Class ids
    `BACKGROUND` is the first class. A negative class id in ground truth marks a crowd, that is, a
    box around many objects.
Padding
    Unused rows of boxes, class ids, deltas and masks are zeros.
"""

POSITIVE, NEGATIVE, NEUTRAL = 1, -1, 0

BACKGROUND = 0

# The five losses, in the order of the training model's last outputs.
LOSS_NAMES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)
