"""Detectron2's `GeneralizedRCNN` with a ResNet and FPN, C4 or dilated C5, and its trunks.

Its images are BGR, its classes begin with the first object and end with the background, and of the
deltas and masks the background has none.
"""

import numpy as np

from mrcnn.weights.state_dict import blocks, delta_rows, dense, line

# Anchors of one ratio at one level without FPN, `RPN_ANCHOR_SCALES`.
_SIZES = 5


def class_rows(count):
    """Return the order of our logits, background first, among theirs, background last."""
    return np.roll(np.arange(count), 1)


def mask_rows(count):
    """Return the order of our masks among theirs, which have none for the background."""
    return np.arange(count) - 1


def box_rows(count):
    """Return the order of our deltas (dy, dx, dh, dw) of all classes among theirs.

    Theirs are (dx, dy, dw, dh), and the background has none.
    """
    return np.maximum(delta_rows(count) - 4, -1)


def anchor_rows(count):
    """Return the order of our scores, sizes of one ratio together, among theirs, by size."""
    return np.arange(count).reshape(_SIZES, -1).T.ravel()


def anchor_delta_rows(count):
    """Return the order of our deltas of the anchors, see `anchor_rows`, among theirs."""
    return (4 * anchor_rows(count // 4)[:, None] + [1, 0, 3, 2]).ravel()


def trunk_table(prefix="", last="", flips_colours=True):
    """Return `{our layer: Line}` of a ResNet.

    Args:
        prefix: of the names in a detector.
        last: that of the last stage.
        flips_colours: False for trunks of other programs, which Detectron2 also accepts.
    """
    stem = f"{prefix}stem.conv1"
    table = {
        "conv1": line(stem, flips_colours=flips_colours),
        "bn_conv1": line(f"{stem}.norm"),
    }
    for ours, stage, number in blocks():
        block = f"{last if stage == 5 else prefix}res{stage}.{number}"
        table |= {
            f"res{ours}_branch2a": line(f"{block}.conv1"),
            f"bn{ours}_branch2a": line(f"{block}.conv1.norm"),
            f"res{ours}_branch2b": line(f"{block}.conv2"),
            f"bn{ours}_branch2b": line(f"{block}.conv2.norm"),
            f"res{ours}_branch2c": line(f"{block}.conv3"),
            f"bn{ours}_branch2c": line(f"{block}.conv3.norm"),
            f"res{ours}_branch1": line(f"{block}.shortcut"),
            f"bn{ours}_branch1": line(f"{block}.shortcut.norm"),
        }
    return table


def detector_table(layers, flips_colours=True):
    """Return `{our layer: Line}` of a Mask R-CNN.

    Args:
        layers: names of the layers of our model.
        flips_colours: see `trunk_table`.
    """
    has_pyramid, has_mask_convs = "fpn_c5p5" in layers, "mrcnn_mask_conv1" in layers
    prefix = "backbone.bottom_up." if has_pyramid else "backbone."
    # With C4 the last stage belongs to the heads, and the masks use its features.
    table = trunk_table(prefix, prefix if has_mask_convs else "roi_heads.", flips_colours)
    for level in (2, 3, 4, 5):
        inner, outer = f"backbone.fpn_lateral{level}", f"backbone.fpn_output{level}"
        table |= {
            f"fpn_c{level}p{level}": line(inner),
            f"fpn_c{level}p{level}_norm": line(f"{inner}.norm"),
            f"fpn_p{level}": line(outer),
            f"fpn_p{level}_norm": line(f"{outer}.norm"),
        }
    rpn, heads = "proposal_generator.rpn_head", "roi_heads"
    scores, deltas = (None, delta_rows) if has_pyramid else (anchor_rows, anchor_delta_rows)
    first = f"{rpn}.conv.conv0" if "rpn_conv_shared2" in layers else f"{rpn}.conv"
    table |= {
        "fpn_p6": line("backbone.top_block.p6"),
        "rpn_conv_shared": line(first),
        "rpn_conv_shared2": line(f"{rpn}.conv.conv1"),
        "rpn_conv_shared3": line(f"{rpn}.conv.conv2"),
        "rpn_conv_shared4": line(f"{rpn}.conv.conv3"),
        "rpn_class_raw": line(f"{rpn}.objectness_logits", rows=scores),
        "rpn_bbox_pred": line(f"{rpn}.anchor_deltas", rows=deltas),
        "mrcnn_class_conv1": dense(f"{heads}.box_head.fc1"),
        "mrcnn_class_conv2": dense(f"{heads}.box_head.fc2"),
        "mrcnn_class_logits": dense(f"{heads}.box_predictor.cls_score", rows=class_rows),
        "mrcnn_bbox_fc": dense(f"{heads}.box_predictor.bbox_pred", rows=box_rows),
        "mrcnn_mask_deconv": line(f"{heads}.mask_head.deconv"),
        "mrcnn_mask": line(f"{heads}.mask_head.predictor", rows=mask_rows),
    }
    for number in (1, 2, 3, 4):
        box, mask = f"{heads}.box_head.conv{number}", f"{heads}.mask_head.mask_fcn{number}"
        table |= {
            f"mrcnn_bbox_conv{number}": line(box),
            f"mrcnn_bbox_norm{number}": line(f"{box}.norm"),
            f"mrcnn_mask_conv{number}": line(mask),
            f"mrcnn_mask_norm{number}": line(f"{mask}.norm"),
        }
    return table
