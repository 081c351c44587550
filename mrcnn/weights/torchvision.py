"""torchvision's `MaskRCNN` with a ResNet and FPN, and its ImageNet classifiers.

Names are those of torchvision 0.13 and later, after them those of earlier files.
"""

from mrcnn.weights.state_dict import blocks, delta_rows, dense, line


def trunk_table(prefix=""):
    """Return `{our layer: Line}` of a ResNet, whose names have a prefix in a detector."""
    table = {"conv1": line(f"{prefix}conv1"), "bn_conv1": line(f"{prefix}bn1")}
    for ours, stage, number in blocks():
        block = f"{prefix}layer{stage - 1}.{number}"
        table |= {
            f"res{ours}_branch2a": line(f"{block}.conv1"),
            f"bn{ours}_branch2a": line(f"{block}.bn1"),
            f"res{ours}_branch2b": line(f"{block}.conv2"),
            f"bn{ours}_branch2b": line(f"{block}.bn2"),
            f"res{ours}_branch2c": line(f"{block}.conv3"),
            f"bn{ours}_branch2c": line(f"{block}.bn3"),
            f"res{ours}_branch1": line(f"{block}.downsample.0"),
            f"bn{ours}_branch1": line(f"{block}.downsample.1"),
        }
    return table


def detector_table(layers):
    """Return `{our layer: Line}` of a Mask R-CNN with FPN.

    Args:
        layers: names of the layers of our model.
    """
    fpn, rpn, heads = "backbone.fpn", "rpn.head", "roi_heads"
    # Of a head with four convolutions it is the module after them and a flattening.
    first_dense = "5" if "mrcnn_bbox_conv1" in layers else "fc6"
    table = trunk_table("backbone.body.")
    for level in (2, 3, 4, 5):
        inner, outer = f"{fpn}.inner_blocks.{level - 2}", f"{fpn}.layer_blocks.{level - 2}"
        table |= {
            f"fpn_c{level}p{level}": line(f"{inner}.0", inner),
            f"fpn_c{level}p{level}_norm": line(f"{inner}.1"),
            f"fpn_p{level}": line(f"{outer}.0", outer),
            f"fpn_p{level}_norm": line(f"{outer}.1"),
        }
    table |= {
        "fpn_p6": line(f"{fpn}.extra_blocks.p6"),
        "rpn_conv_shared": line(f"{rpn}.conv.0.0", f"{rpn}.conv"),
        "rpn_conv_shared2": line(f"{rpn}.conv.1.0"),
        "rpn_conv_shared3": line(f"{rpn}.conv.2.0"),
        "rpn_conv_shared4": line(f"{rpn}.conv.3.0"),
        "rpn_class_raw": line(f"{rpn}.cls_logits"),
        "rpn_bbox_pred": line(f"{rpn}.bbox_pred", rows=delta_rows),
        "mrcnn_class_conv1": dense(f"{heads}.box_head.{first_dense}"),
        "mrcnn_class_conv2": dense(f"{heads}.box_head.fc7"),
        "mrcnn_class_logits": dense(f"{heads}.box_predictor.cls_score"),
        "mrcnn_bbox_fc": dense(f"{heads}.box_predictor.bbox_pred", rows=delta_rows),
        "mrcnn_mask_deconv": line(f"{heads}.mask_predictor.conv5_mask"),
        "mrcnn_mask": line(f"{heads}.mask_predictor.mask_fcn_logits"),
    }
    for number in (1, 2, 3, 4):
        box, mask = f"{heads}.box_head.{number - 1}", f"{heads}.mask_head"
        table |= {
            f"mrcnn_bbox_conv{number}": line(f"{box}.0"),
            f"mrcnn_bbox_norm{number}": line(f"{box}.1"),
            f"mrcnn_mask_conv{number}": line(f"{mask}.{number - 1}.0", f"{mask}.mask_fcn{number}"),
            f"mrcnn_mask_norm{number}": line(f"{mask}.{number - 1}.1"),
        }
    return table
