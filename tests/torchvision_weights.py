"""Weights of torchvision's Mask R-CNN in a model of the paper's recipe, name by name."""

HEADS = {
    "rpn_conv_shared": "rpn.head.conv.0.0",
    "rpn_class_raw": "rpn.head.cls_logits",
    "rpn_bbox_pred": "rpn.head.bbox_pred",
    "mrcnn_class_conv1": "roi_heads.box_head.fc6",
    "mrcnn_class_conv2": "roi_heads.box_head.fc7",
    "mrcnn_class_logits": "roi_heads.box_predictor.cls_score",
    "mrcnn_bbox_fc": "roi_heads.box_predictor.bbox_pred",
    "mrcnn_mask_deconv": "roi_heads.mask_predictor.conv5_mask",
    "mrcnn_mask": "roi_heads.mask_predictor.mask_fcn_logits",
}
HEADS |= {f"mrcnn_mask_conv{k}": f"roi_heads.mask_head.{k - 1}.0" for k in (1, 2, 3, 4)}
HEADS |= {f"fpn_c{k}p{k}": f"backbone.fpn.inner_blocks.{k - 2}.0" for k in (2, 3, 4, 5)}
HEADS |= {f"fpn_p{k}": f"backbone.fpn.layer_blocks.{k - 2}.0" for k in (2, 3, 4, 5)}
HEADS |= {"conv1": "backbone.body.conv1", "bn_conv1": "backbone.body.bn1"}
WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def module_of(name):
    """Return the torchvision module of a layer; `res4b_branch2c` is `layer3.1.conv3`."""
    if name in HEADS:
        return HEADS[name]
    place, branch = name.split("_branch")
    kind, stage, block = place[:-2], int(place[-2]), ord(place[-1]) - ord("a")
    if branch == "1":
        module = f"downsample.{['res', 'bn'].index(kind)}"
    else:
        module = f"{'conv' if kind == 'res' else 'bn'}{'abc'.index(branch[1]) + 1}"
    return f"backbone.body.layer{stage - 1}.{block}.{module}"


def set_torchvision_weights(layers, tensors):
    """Set the weights of layers; a KeyError or AssertionError if not each tensor has one."""
    left = {name for name in tensors if not name.endswith("num_batches_tracked")}
    for layer in layers:
        values = []
        for weight in layer.weights:
            name = f"{module_of(layer.name)}.{WEIGHTS[weight.path.split('/')[-1]]}"
            value = tensors[name]
            left.remove(name)
            if "bbox" in layer.name:
                # From (dx, dy, log dw, log dh) to (dy, dx, log dh, log dw).
                rows = value.reshape(-1, 4, *value.shape[1:])
                value = rows[:, [1, 0, 3, 2]].reshape(value.shape)
            if weight.path.endswith("/kernel"):
                if layer.name.startswith("mrcnn_class_conv"):
                    side = weight.shape[0]
                    value = value.reshape(len(value), -1, side, side)
                value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
            values.append(value)
        layer.set_weights(values)
    assert not left, left
