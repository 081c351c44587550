"""From the names and shapes of a state dict to its program, and to the settings of its model."""

import re
from types import MappingProxyType

import numpy as np

from mrcnn.weights.state_dict import BATCH_COUNT

_RGB_MEAN, _RGB_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

# What the two programs do differently and no weight shows.
DEFAULTS = MappingProxyType(
    {
        "torchvision": {
            "RESNET_STYLE": "torchvision",
            "MEAN_PIXEL": _RGB_MEAN,
            "STD_PIXEL": _RGB_STD,
            "RESIZE_FILTER": "bilinear",
            "RPN_ANCHORS_ROUNDED": True,
            "RPN_STRIDES_FITTED": True,
            "POST_NMS_ROIS_TRAINING": 2000,
            "ROI_SAMPLES": 2,
            "ROI_HALF_PIXEL": False,
            "RPN_LOSS_BETA": 1 / 9,
            "BOX_LOSS_BETA": 1 / 9,
            "MASK_TARGET_THRESHOLD": None,
            "MASK_PASTE": "expand",
        },
        "detectron2": {
            "RESNET_STYLE": "msra",
            "MEAN_PIXEL": _RGB_MEAN,
            "STD_PIXEL": (1.0, 1.0, 1.0),
            "RESIZE_FILTER": "antialias",
            "RPN_ANCHORS_ROUNDED": False,
            "RPN_STRIDES_FITTED": False,
            "POST_NMS_ROIS_TRAINING": 1000,
            "ROI_SAMPLES": 0,
            "ROI_HALF_PIXEL": True,
            "RPN_LOSS_BETA": 0.0,
            "BOX_LOSS_BETA": 0.0,
            "MASK_TARGET_THRESHOLD": 0.5,
            "MASK_PASTE": "exact",
        },
    }
)

# Detectron2's numbers of proposals for one level of features.
_ONE_LEVEL = {
    "PRE_NMS_ROIS_TRAINING": 12000,
    "PRE_NMS_ROIS_INFERENCE": 6000,
    "POST_NMS_ROIS_TRAINING": 2000,
}

# Blocks of stages 2 to 5, groups, and channels of a group in stage 2.
_TRUNKS = {
    ((3, 4, 6, 3), 1, 64): "resnet50",
    ((3, 4, 23, 3), 1, 64): "resnet101",
    ((3, 8, 36, 3), 1, 64): "resnet152",
    ((3, 4, 6, 3), 32, 4): "resnext50_32x4d",
    ((3, 4, 23, 3), 32, 8): "resnext101_32x8d",
    ((3, 4, 23, 3), 64, 4): "resnext101_64x4d",
    ((3, 8, 36, 3), 32, 8): "resnext152_32x8d",
}

# Channels, units or classes. More would fill the memory before a file is seen not to fit.
_MOST = 1 << 13

# Starts of the names of a program, of a detector or of an ImageNet trunk.
_STARTS = (
    ("torchvision", True, ("backbone.body.", "backbone.fpn.", "rpn.head.")),
    ("detectron2", True, ("backbone.bottom_up.", "backbone.res2.", "proposal_generator.")),
    ("torchvision", False, ("layer1.0.conv",)),
    ("detectron2", False, ("res2.0.conv",)),
)

# Patterns of names by what they show. The group of some is a count or a number.
_PATTERNS = {
    "torchvision": {
        "block": r"(?:backbone\.body\.)?layer{}\.(\d+)\.",
        "conv2": r"(?:backbone\.body\.)?layer1\.0\.conv2\.weight",
        "trunk_norm": r"(?:backbone\.body\.)?(?:bn1|layer\d\.\d+\.bn\d)\.",
        "fpn_norm": r"backbone\.fpn\.\w+_blocks\.\d\.1\.",
        "head_norm": r"roi_heads\.(?:mask|box)_head\.\d\.1\.",
        "fpn": r"backbone\.fpn\.inner_blocks\.0(?:\.0)?\.weight",
        "extra": r"backbone\.fpn\.extra_blocks\.p6\.",
        "rpn_conv": r"rpn\.head\.conv\.(\d)\.0\.",
        "box_convs": r"roi_heads\.box_head\.0\.0\.",
        "dense": r"roi_heads\.box_head\.(?:fc6|5)\.weight",
        "classes": r"roi_heads\.box_predictor\.cls_score\.weight",
    },
    "detectron2": {
        "block": r"(?:backbone\.(?:bottom_up\.)?|roi_heads\.)?res{}\.(\d+)\.",
        "conv2": r"(?:backbone\.(?:bottom_up\.)?)?res2\.0\.conv2\.weight",
        "trunk_norm": r"(?:backbone\.(?:bottom_up\.)?)?(?:stem|res\d\.\d+)\.conv\d\.norm\.",
        "fpn_norm": r"backbone\.fpn_\w+\.norm\.",
        "head_norm": r"roi_heads\.(?:mask|box)_head\.\w+\.norm\.",
        "fpn": r"backbone\.fpn_lateral2\.weight",
        "extra": r"backbone\.top_block\.p6\.",
        "rpn_conv": r"proposal_generator\.rpn_head\.conv\.conv(\d)\.",
        "box_convs": r"roi_heads\.box_head\.conv1\.",
        "dense": r"roi_heads\.box_head\.fc1\.weight",
        "classes": r"roi_heads\.box_predictor\.cls_score\.weight",
    },
}


def program_of(names):
    """Return "torchvision" or "detectron2", and whether tensors are a detector's or a trunk's.

    Returns:
        (None, False) for names of neither.
    """
    for program, is_detector, starts in _STARTS:
        if any(name.startswith(starts) for name in names):
            return program, is_detector
    return None, False


def are_bgr(tensors):
    """Return whether Detectron2's weights are for BGR images, as nearly all of them are.

    Not those of torchvision's trunks that a script of Detectron2 has renamed, and of models whose
    stored mean is of RGB.
    """
    mean = _stored(tensors, "pixel_mean")
    return not _is_renamed(tensors) and (not mean or mean[0] <= mean[-1])


def _is_renamed(tensors):
    """Return whether a trunk of Detectron2 is a renamed one of torchvision."""
    return "stem.fc.weight" in tensors


def _stored(tensors, name):
    """Return a stored constant as a tuple of numbers; () if it is not there."""
    array = tensors.get(name)
    return tuple(np.ravel(array).tolist()) if hasattr(array, "__array__") else ()


class _Facts:
    """What the names and shapes of a state dict show."""

    def __init__(self, program, tensors):
        self.patterns = _PATTERNS[program]
        self.shapes = {name: tuple(getattr(t, "shape", t)) for name, t in tensors.items()}

    def names(self, what, *arguments):
        pattern = re.compile(self.patterns[what].format(*arguments))
        return [(name, found) for name in self.shapes if (found := pattern.match(name))]

    def size(self, what, axis=0):
        """Return a side of the first tensor of a kind; None if there is none, or no such size."""
        for name, _ in self.names(what):
            if len(self.shapes[name]) > axis and 0 < self.shapes[name][axis] <= _MOST:
                return self.shapes[name][axis]
        return None

    def number(self, what, *arguments):
        """Return how many modules of a kind are numbered, from 0."""
        return max((int(m[1]) + 1 for _, m in self.names(what, *arguments)), default=0)

    def norm(self, what):
        """Return "batch", "frozen", "group" or None."""
        names = [name for name, _ in self.names(what)]
        if any(name.endswith(BATCH_COUNT) for name in names):
            return "batch"
        if any(name.endswith(".running_mean") for name in names):
            return "frozen"
        return "group" if names else None

    def trunk(self):
        """Return blocks by stage, groups, and channels of a group; None if they are not there."""
        width, channels = self.size("conv2"), self.size("conv2", axis=1)
        if not channels:
            return None
        # torchvision counts stages from 1.
        first = 1 if "layer" in self.patterns["block"] else 2
        blocks = tuple(self.number("block", stage) for stage in range(first, first + 4))
        return blocks, width // channels, channels

    def starts_with(self, *starts):
        """Return whether a name has one of these starts."""
        return any(name.startswith(starts) for name in self.shapes)


def settings_of(tensors):
    """Return the settings of `PaperConfig` for a state dict.

    Args:
        tensors: `{name: array}`, or shapes; see `caffe2.as_detectron2` for names of Caffe2.

    Returns:
        A dict. Of a trunk alone it has the settings that concern the trunk. A setting that the
        names do not show, because tensors are missing, is left out.

    Raises:
        ValueError: the names are those of no program.
    """
    program, is_detector = program_of(tensors)
    if program is None:
        raise ValueError(
            "The names of the tensors are not those of a Mask R-CNN or ResNet of torchvision or "
            f"Detectron2: {', '.join(list(tensors)[:3])}, ..."
        )
    facts = _Facts(program, tensors)
    trained = "torchvision" if _is_renamed(tensors) else program
    trunk = _of_trunk(facts, trained, tensors)
    defaults = DEFAULTS[trained]
    if is_detector:
        return {**defaults, **trunk, **_of_detector(facts, program)}
    # Who fine-tunes a classifier for detection, with few images in a batch, freezes these.
    if trunk["BACKBONE_NORM"] == "batch":
        trunk["BACKBONE_NORM"] = "frozen"
    return {name: defaults[name] for name in ("RESNET_STYLE", "MEAN_PIXEL", "STD_PIXEL")} | trunk


def _of_trunk(facts, program, tensors):
    """Return the settings of the backbone and of the images that it was trained on."""
    blocks_and_groups, norm = facts.trunk(), facts.norm("trunk_norm")
    settings = {"BACKBONE_NORM": norm, "NORM_EPSILON": 1e-5}
    if backbone := _TRUNKS.get(blocks_and_groups):
        settings["BACKBONE"] = backbone
    if program == "torchvision":
        # The weights published first were trained without it, those of frozen ResNet-50s.
        if (backbone, norm) == ("resnet50", "frozen") and facts.names("classes"):
            settings["NORM_EPSILON"] = 0.0
        return settings
    is_grouped = blocks_and_groups is not None and blocks_and_groups[1] > 1
    # Only Microsoft's ResNets, the first, have their stride in the 1x1 convolution.
    if is_grouped or norm == "group":
        settings["RESNET_STYLE"] = "torchvision"
    if is_grouped:
        settings["STD_PIXEL"] = _RGB_STD
    for name, stored in (("MEAN_PIXEL", "pixel_mean"), ("STD_PIXEL", "pixel_std")):
        if values := _stored(tensors, stored):
            settings[name] = values[::-1] if are_bgr(tensors) else values
    return settings


def _of_detector(facts, program):
    """Return the settings of neck and heads."""
    norms = {None: None, "frozen": "batch", "batch": "batch", "group": "group"}
    settings = {
        "NECK": "fpn",
        "FPN_NORM": norms[facts.norm("fpn_norm")],
        "HEAD_NORM": norms[facts.norm("head_norm")],
        "FPN_EXTRA_LEVEL": "c5" if facts.names("extra") else "pool",
        "RPN_CONVS": max(1, facts.number("rpn_conv")),
        "BOX_HEAD": "4conv1fc" if facts.names("box_convs") else "2fc",
    }
    for name, what in (
        ("NUM_CLASSES", "classes"),
        ("TOP_DOWN_PYRAMID_SIZE", "fpn"),
        ("FPN_CLASSIF_FC_LAYERS_SIZE", "dense"),
    ):
        if size := facts.size(what):
            settings[name] = size
    if program == "detectron2" and not facts.starts_with("backbone.bottom_up.", "backbone.fpn_"):
        settings |= {"NECK": "dc5", **_ONE_LEVEL}
        if facts.starts_with("roi_heads.res5."):
            settings |= {"NECK": "c4", "MASK_POOL_SIZE": 7, "MASK_SHAPE": [14, 14]}
    return settings
