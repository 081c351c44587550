"""Names and shapes of the state dicts of torchvision and Detectron2, as their modules nest.

Written from the two programs alone. `test_architecture.py` compares them with what the programs
themselves say.
"""

import zlib

import numpy as np

R50, R101, R152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)


def _conv(name, out, channels, side, bias=False):
    yield f"{name}.weight", (out, channels, side, side)
    if bias:
        yield f"{name}.bias", (out,)


def _dense(name, out, units):
    yield f"{name}.weight", (out, units)
    yield f"{name}.bias", (out,)


def _norm(name, channels, kind):
    leaves = {
        "BN": ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
        "FrozenBN": ("weight", "bias", "running_mean", "running_var"),
        "GN": ("weight", "bias"),
    }
    for leaf in leaves[kind]:
        yield f"{name}.{leaf}", () if leaf == "num_batches_tracked" else (channels,)


def _conv_norm(conv, norm, out, channels, side, kind):
    yield from _conv(conv, out, channels, side, bias=kind is None)
    if kind:
        yield from _norm(norm, out, kind)


def _torchvision_trunk(prefix, blocks, groups, width, norm):
    def pair(conv, bn, *shape):
        yield from _conv_norm(f"{prefix}{conv}", f"{prefix}{bn}", *shape, norm)

    yield from pair("conv1", "bn1", 64, 3, 7)
    channels = 64
    for stage, count in enumerate(blocks, start=1):
        inner, out = groups * width * 2 ** (stage - 1), 128 * 2**stage
        for number in range(count):
            name = f"layer{stage}.{number}"
            yield from pair(f"{name}.conv1", f"{name}.bn1", inner, channels, 1)
            yield from pair(f"{name}.conv2", f"{name}.bn2", inner, inner // groups, 3)
            yield from pair(f"{name}.conv3", f"{name}.bn3", out, inner, 1)
            if number == 0:
                yield from pair(f"{name}.downsample.0", f"{name}.downsample.1", out, channels, 1)
            channels = out


def torchvision_classifier(blocks=R50, groups=1, width=64):
    """`resnet50()` and its relatives."""
    return {
        **dict(_torchvision_trunk("", blocks, groups, width, "BN")),
        **dict(_dense("fc", 1000, 2048)),
    }


def torchvision_detector(blocks=R50, groups=1, width=64, norm="BN", v2=False, classes=91):
    """`maskrcnn_resnet50_fpn()`, with `v2` the second, and `MaskRCNN(resnet_fpn_backbone(...))`."""

    def parts():
        yield from _torchvision_trunk("backbone.body.", blocks, groups, width, norm)
        new, heads = ("BN" if v2 else None), "roi_heads"
        for number in range(4):
            inner, outer = (f"backbone.fpn.{kind}_blocks.{number}" for kind in ("inner", "layer"))
            yield from _conv_norm(f"{inner}.0", f"{inner}.1", 256, 256 * 2**number, 1, new)
            yield from _conv_norm(f"{outer}.0", f"{outer}.1", 256, 256, 3, new)
            mask = f"{heads}.mask_head.{number}"
            yield from _conv_norm(f"{mask}.0", f"{mask}.1", 256, 256, 3, new)
            if v2:
                box = f"{heads}.box_head.{number}"
                yield from _conv_norm(f"{box}.0", f"{box}.1", 256, 256, 3, new)
        for number in range(2 if v2 else 1):
            yield from _conv(f"rpn.head.conv.{number}.0", 256, 256, 3, bias=True)
        yield from _conv("rpn.head.cls_logits", 3, 256, 1, bias=True)
        yield from _conv("rpn.head.bbox_pred", 12, 256, 1, bias=True)
        if v2:
            yield from _dense(f"{heads}.box_head.5", 1024, 256 * 49)
        else:
            yield from _dense(f"{heads}.box_head.fc6", 1024, 256 * 49)
            yield from _dense(f"{heads}.box_head.fc7", 1024, 1024)
        yield from _dense(f"{heads}.box_predictor.cls_score", classes, 1024)
        yield from _dense(f"{heads}.box_predictor.bbox_pred", 4 * classes, 1024)
        yield from _conv(f"{heads}.mask_predictor.conv5_mask", 256, 256, 2, bias=True)
        yield from _conv(f"{heads}.mask_predictor.mask_fcn_logits", classes, 256, 1, bias=True)

    return dict(parts())


# Of torchvision before 0.13.
OLD_NAMES = (
    (r"(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1."),
    (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
    (r"roi_heads\.mask_head\.0\.0\.", "roi_heads.mask_head.mask_fcn1."),
    (r"roi_heads\.mask_head\.1\.0\.", "roi_heads.mask_head.mask_fcn2."),
    (r"roi_heads\.mask_head\.2\.0\.", "roi_heads.mask_head.mask_fcn3."),
    (r"roi_heads\.mask_head\.3\.0\.", "roi_heads.mask_head.mask_fcn4."),
)


def _detectron2_stage(prefix, stage, count, groups, width, norm):
    inner, out = groups * width * 2 ** (stage - 2), 64 * 2**stage
    channels = 64 if stage == 2 else out // 2
    for number in range(count):
        name = f"{prefix}res{stage}.{number}"
        for conv, shape in (
            ("shortcut", (out, channels, 1)),
            ("conv1", (inner, channels, 1)),
            ("conv2", (inner, inner // groups, 3)),
            ("conv3", (out, inner, 1)),
        ):
            if conv != "shortcut" or number == 0:
                yield from _conv_norm(f"{name}.{conv}", f"{name}.{conv}.norm", *shape, norm)
        channels = out


def _detectron2_trunk(prefix, blocks, groups, width, norm):
    yield from _conv_norm(f"{prefix}stem.conv1", f"{prefix}stem.conv1.norm", 64, 3, 7, norm)
    for stage, count in enumerate(blocks, start=2):
        yield from _detectron2_stage(prefix, stage, count, groups, width, norm)


def detectron2_detector(
    blocks=R50,
    groups=1,
    width=64,
    norm="FrozenBN",
    neck="fpn",
    new=None,
    rpn_convs=1,
    box_convs=0,
    classes=80,
    fpn=256,
    units=1024,
):
    """Models of the zoo; `new` is the normalization of FPN and heads, None for none.

    `fpn` and `units` are the channels of FPN and box head.
    """

    def parts():
        if neck == "fpn":
            yield from _detectron2_trunk("backbone.bottom_up.", blocks, groups, width, norm)
            for level in (2, 3, 4, 5):
                inner, outer = f"backbone.fpn_lateral{level}", f"backbone.fpn_output{level}"
                yield from _conv_norm(inner, f"{inner}.norm", fpn, 64 * 2**level, 1, new)
                yield from _conv_norm(outer, f"{outer}.norm", fpn, fpn, 3, new)
        else:
            inside = blocks[: 3 if neck == "c4" else 4]
            yield from _detectron2_trunk("backbone.", inside, groups, width, norm)
        channels, anchors = {"fpn": (fpn, 3), "c4": (1024, 15), "dc5": (2048, 15)}[neck]
        rpn, heads = "proposal_generator.rpn_head", "roi_heads"
        for number in range(rpn_convs):
            name = f"{rpn}.conv" if rpn_convs == 1 else f"{rpn}.conv.conv{number}"
            yield from _conv(name, channels, channels, 3, bias=True)
        yield from _conv(f"{rpn}.objectness_logits", anchors, channels, 1, bias=True)
        yield from _conv(f"{rpn}.anchor_deltas", 4 * anchors, channels, 1, bias=True)
        if neck == "c4":
            # Always three blocks, those of all ResNets here.
            yield from _detectron2_stage(f"{heads}.", 5, 3, groups, width, norm)
            box_channels, mask_channels = 2048, 2048
        else:
            last = channels
            for number in range(1, box_convs + 1):
                name = f"{heads}.box_head.conv{number}"
                yield from _conv_norm(name, f"{name}.norm", 256, last, 3, new)
                last = 256
            yield from _dense(f"{heads}.box_head.fc1", units, last * 49)
            if not box_convs:
                yield from _dense(f"{heads}.box_head.fc2", units, units)
            box_channels, mask_channels = units, channels
            for number in (1, 2, 3, 4):
                name = f"{heads}.mask_head.mask_fcn{number}"
                yield from _conv_norm(name, f"{name}.norm", 256, mask_channels, 3, new)
                mask_channels = 256
        yield from _dense(f"{heads}.box_predictor.cls_score", classes + 1, box_channels)
        yield from _dense(f"{heads}.box_predictor.bbox_pred", 4 * classes, box_channels)
        # A transposed convolution: channels in, channels out.
        yield f"{heads}.mask_head.deconv.weight", (mask_channels, 256, 2, 2)
        yield f"{heads}.mask_head.deconv.bias", (256,)
        yield from _conv(f"{heads}.mask_head.predictor", classes, 256, 1, bias=True)

    return dict(parts())


def caffe2_classifier(blocks=R50, norm="bn", groups=1, width=64):
    """Detectron2's ImageNet trunks, with the scale and shift of normalization alone."""

    def pair(conv, name, out, channels, side):
        yield f"{conv}_w", (out, channels, side, side)
        yield f"{name}_{norm}_s", (out,)
        yield f"{name}_{norm}_b", (out,)

    def parts():
        yield from pair("conv1", "res_conv1" if norm == "bn" else "conv1", 64, 3, 7)
        channels = 64
        for stage, count in enumerate(blocks, start=2):
            inner, out = groups * width * 2 ** (stage - 2), 64 * 2**stage
            for number in range(count):
                name = f"res{stage}_{number}_branch"
                if number == 0:
                    yield from pair(f"{name}1", f"{name}1", out, channels, 1)
                yield from pair(f"{name}2a", f"{name}2a", inner, channels, 1)
                yield from pair(f"{name}2b", f"{name}2b", inner, inner // groups, 3)
                yield from pair(f"{name}2c", f"{name}2c", out, inner, 1)
                channels = out
        yield "fc1000_w", (1000, 2048)
        yield "fc1000_b", (1000,)

    return dict(parts())


def random_state(layout):
    """A state dict of random numbers that depend on the names alone."""
    return {
        name: np.random.default_rng(zlib.crc32(name.encode())).random(shape, np.float32)
        if not name.endswith("num_batches_tracked")
        else np.zeros(shape, np.int64)
        for name, shape in layout.items()
    }
