"""The values that a Config accepts: the range of each setting, and settings that must agree."""

import difflib
import importlib.util
import numbers
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mrcnn.registry import find_backbone

RESIZE_MODES = ("none", "square", "pad64", "pad32", "crop")
ROI_ALIGN_MODES = ("crop", "align", "align_max", "pool", "warp")
OPTIMIZERS = ("SGD", "Adam", "AdamW")

# The names that a recipe provides; `mrcnn.recipes` says what each of them is.
RECIPE_NAMES = ("SPACE", "WEIGHT_SETTINGS", "anchors", "rpn_targets", "network_parts", "operators")

# Settings that give the sides of the images, by resize mode.
SIDES = {
    "none": (),
    "square": ("IMAGE_MAX_DIM",),
    "pad64": (),
    "pad32": (),
    "crop": ("IMAGE_MIN_DIM",),
}

# A name this similar to a setting (difflib ratio) is a typing error. A lower ratio would refuse
# constants that users add, such as VALIDATION_SPLIT or IMAGE_SIZE.
TYPO_RATIO = 0.9

# Parts of a network: an unknown setting with one of these words looks as if it changed something.
_SUBJECTS = frozenset(
    "ANCHOR ANCHORS BACKBONE BBOX BN CLIP CONFIDENCE DECAY DETECTION FPN GT IMAGE IOU "
    "LOSS MASK MOMENTUM NMS OPTIMIZER PROPOSAL PROPOSALS PYRAMID RESIZE RESNET ROI ROIS RPN SCORE "
    "STRIDE STRIDES WARMUP".split()
)


def recipe_module(name: str) -> str | None:
    """Return the module of a recipe, `mrcnn.recipes.<name>` or else `<name>`; None for neither.

    The module itself is not imported, but packages that it is in are.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    for module in (f"mrcnn.recipes.{name}", name):
        try:
            if module in sys.modules or importlib.util.find_spec(module):
                return module
        except ModuleNotFoundError as error:
            # Another module than the one asked for is missing: one that a package imports.
            if not f"{module}.".startswith(f"{error.name}."):
                raise
    return None


def missing_in_recipe(recipe: Any) -> list[str]:
    """Return those of `RECIPE_NAMES` that an object lacks."""
    return [name for name in RECIPE_NAMES if not hasattr(recipe, name)]


class Rule(NamedTuple):
    """The values of a setting: a test, and its description for the message."""

    accepts: Callable[[Any], bool]
    text: str


def _whole(low):
    text = f"a whole number, {low} or more"
    return Rule(lambda v: isinstance(v, numbers.Integral) and v >= low, text)


def _real(test, text):
    return Rule(lambda v: isinstance(v, numbers.Real) and test(v), text)


def _positives(count, text):
    """Accept `count` positive numbers; one or more if `count` is None."""

    def accepts(value):
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            return False
        return array.ndim == 1 and 0 < array.size == (count or array.size) and (array > 0).all()

    return Rule(accepts, text)


def _one_of(*options):
    # Identity first: arrays and functions need not know `==`.
    text = " or ".join(map(repr, options))
    return Rule(lambda v: any(v is option or v == option for option in options), text)


def _or_none(rule):
    return Rule(lambda v: v is None or rule.accepts(v), f"{rule.text}, or None")


_COUNT = _whole(1)
_SIDE = _or_none(_COUNT)
_FRACTION = _real(lambda v: 0 <= v <= 1, "a number from 0 to 1")
_POSITIVE = _real(lambda v: v > 0, "a number above 0")
_NOT_NEGATIVE = _real(lambda v: v >= 0, "a number, 0 or more")
_PER_LEVEL = _positives(5, "five positive numbers, one for each of P2 to P6")
_PER_DELTA = _positives(4, "four positive numbers, for (dy, dx, log dh, log dw)")
_FLAG = _one_of(True, False)

# Settings that share a rule.
_SHARED = {
    _COUNT: """
        GPU_COUNT IMAGES_PER_GPU BATCH_SIZE STEPS_PER_EPOCH FPN_CLASSIF_FC_LAYERS_SIZE
        TOP_DOWN_PYRAMID_SIZE RPN_ANCHOR_STRIDE RPN_TRAIN_ANCHORS_PER_IMAGE PRE_NMS_LIMIT
        POST_NMS_ROIS_TRAINING POST_NMS_ROIS_INFERENCE IMAGE_CHANNEL_COUNT TRAIN_ROIS_PER_IMAGE
        POOL_SIZE MASK_POOL_SIZE MAX_GT_INSTANCES DETECTION_MAX_INSTANCES ACCUMULATE_BATCHES
    """,
    _whole(0): "VALIDATION_STEPS WARMUP_STEPS SAVE_STEPS TENSORBOARD_IMAGES MAX_LOAD_ERRORS",
    _FRACTION: "RPN_NMS_THRESHOLD DETECTION_MIN_CONFIDENCE DETECTION_NMS_THRESHOLD",
    _FLAG: """
        USE_MINI_MASK USE_RPN_ROIS GRADIENT_CHECKPOINTING TRAIN_WITH_EMPTY_IMAGES
        DIVIDE_WEIGHT_DECAY
    """,
}

RULES = {name: rule for rule, names in _SHARED.items() for name in names.split()} | {
    "NAME": Rule(lambda v: isinstance(v, str) and v, "a name, for log folders and checkpoints"),
    "BACKBONE_STRIDES": _PER_LEVEL,
    "NUM_CLASSES": Rule(_whole(2).accepts, "2 or more, the background (class 0) counted"),
    "RPN_ANCHOR_SCALES": _PER_LEVEL,
    "RPN_ANCHOR_RATIOS": _positives(None, "one or more positive numbers"),
    "MINI_MASK_SHAPE": _positives(2, "two positive numbers, (height, width)"),
    "IMAGE_RESIZE_MODE": _one_of(*RESIZE_MODES),
    "IMAGE_MIN_DIM": Rule(
        lambda v: _SIDE.accepts(v) or (np.ndim(v) == 1 and len(v) and all(map(_COUNT.accepts, v))),
        f"{_SIDE.text}; with IMAGE_RESIZE_MODE 'pad32' also a sequence of such numbers",
    ),
    "IMAGE_MAX_DIM": _SIDE,
    "IMAGE_MIN_SCALE": _or_none(_NOT_NEGATIVE),
    "ROI_POSITIVE_RATIO": _real(lambda v: 0 < v <= 1, "a number above 0, 1 at most"),
    "MASK_SHAPE": _positives(2, "two positive numbers, [height, width]"),
    "RPN_BBOX_STD_DEV": _PER_DELTA,
    "BBOX_STD_DEV": _PER_DELTA,
    "LEARNING_RATE": _POSITIVE,
    "LEARNING_MOMENTUM": _real(lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "WEIGHT_DECAY": _NOT_NEGATIVE,
    "TRAIN_BN": _one_of(None, False, True),
    "GRADIENT_CLIP_NORM": _or_none(_POSITIVE),
    "RECIPE": Rule(
        lambda v: recipe_module(v) if isinstance(v, str) else not missing_in_recipe(v),
        "'matterport', 'paper', the name of a module that can be imported, or an object with "
        f"{', '.join(RECIPE_NAMES)}",
    ),
    "PRECISION": _one_of(None, "float32", "mixed_bfloat16", "mixed_float16"),
    "OPTIMIZER": Rule(
        lambda v: v in OPTIMIZERS if isinstance(v, str) else hasattr(v, "apply_gradients"),
        f"{' or '.join(map(repr, OPTIMIZERS))}, or an instance of a Keras optimizer",
    ),
    "LEARNING_RATE_DECAY_EPOCHS": Rule(
        lambda v: np.ndim(v) == 1 and all(map(_COUNT.accepts, v)),
        "a sequence of whole numbers above 0, such as (120, 160)",
    ),
    "LEARNING_RATE_DECAY": _POSITIVE,
    "EMA_MOMENTUM": _real(lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "KEEP_CHECKPOINTS": _or_none(_COUNT),
    "BEST_METRIC": _or_none(Rule(lambda v: isinstance(v, str), "the name of a logged value")),
    "ROI_ALIGN": _one_of(*ROI_ALIGN_MODES),
    "LOADER_WORKERS": _or_none(_COUNT),
}

_NORMS = _one_of(None, "batch", "group")

# Settings of PaperConfig alone.
PAPER_RULES = {
    "RESNET_STYLE": _one_of("torchvision", "msra", "matterport"),
    "BACKBONE_NORM": _one_of("frozen", "batch", "group"),
    "NORM_EPSILON": _NOT_NEGATIVE,
    "NECK": _one_of("fpn", "c4", "c5", "dc5"),
    "FPN_NORM": _NORMS,
    "HEAD_NORM": _NORMS,
    "FPN_EXTRA_LEVEL": _one_of("pool", "c5"),
    "RPN_CONVS": _COUNT,
    "BOX_HEAD": _one_of("2fc", "4conv1fc"),
    "RESIZE_FILTER": _one_of("bilinear", "antialias"),
    "RPN_ANCHORS_ROUNDED": _FLAG,
    "RPN_STRIDES_FITTED": _FLAG,
    "PRE_NMS_ROIS_TRAINING": _COUNT,
    "PRE_NMS_ROIS_INFERENCE": _COUNT,
    "ROI_SAMPLES": _whole(0),
    "ROI_HALF_PIXEL": _FLAG,
    "RPN_LOSS_BETA": _NOT_NEGATIVE,
    "BOX_LOSS_BETA": _NOT_NEGATIVE,
    "MASK_TARGET_THRESHOLD": _or_none(_real(lambda v: 0 < v <= 1, "a number above 0, 1 at most")),
    "MASK_PASTE": _one_of("expand", "exact"),
}


def check(config, base) -> None:
    """Raise ValueError with one sentence on the first setting of `config` that is not legal.

    `base` is the Config class itself, which has all settings.
    """
    _check_names(config, base)
    for name, rule in _rules(config).items():
        value = getattr(config, name)
        _require(rule.accepts(value), f"{name} is {value!r}; it must be {rule.text}.")
    _check_image_size(config)
    _check_computed(config, base)
    _check_backbone(config)
    for name, weight in config.LOSS_WEIGHTS.items():
        _require(
            _NOT_NEGATIVE.accepts(weight),
            f"LOSS_WEIGHTS[{name!r}] is {weight!r}; it must be {_NOT_NEGATIVE.text}.",
        )
    channels = config.IMAGE_CHANNEL_COUNT
    for name in ("MEAN_PIXEL", "STD_PIXEL"):
        values = np.size(getattr(config, name))
        _require(
            values in (1, channels),
            f"{name} has {values} values; it must have one, or one for each of the {channels} "
            "channels of IMAGE_CHANNEL_COUNT.",
        )
    mask, doubled = list(config.MASK_SHAPE), [2 * config.MASK_POOL_SIZE] * 2
    _require(
        mask == doubled,
        f"MASK_SHAPE is {mask}; with MASK_POOL_SIZE {config.MASK_POOL_SIZE} it must be {doubled}, "
        "because the mask head doubles its input.",
    )
    _require(
        config.ROI_ALIGN != "align_max" or getattr(config, "ROI_SAMPLES", 2),
        "ROI_SAMPLES is 0; with ROI_ALIGN 'align_max' it must be 1 or more.",
    )


def _rules(config):
    """Return the rules of all settings that a Config must have."""
    if config.RECIPE != "paper":
        return RULES
    if missing := [name for name in PAPER_RULES if not hasattr(config, name)]:
        raise ValueError(
            f"RECIPE is 'paper', and the Config lacks {', '.join(missing[:3])}, ...; it must be a "
            "subclass of mrcnn.config.PaperConfig."
        )
    return RULES | PAPER_RULES


def check_losses(weights, base, names) -> None:
    """Raise ValueError if `weights` has a loss that the original lacks, and the model too.

    Args:
        weights: LOSS_WEIGHTS.
        base: the Config class itself.
        names: of the layers of the model.
    """
    for name in weights:
        _require(
            name in base.LOSS_WEIGHTS or name in names,
            f"LOSS_WEIGHTS has {name!r}, but the model has no such loss; its losses are "
            f"{', '.join(n for n in names if n.endswith('_loss'))}.",
        )


def _require(holds, sentence):
    if not holds:
        raise ValueError(sentence)


def _check_names(config, base):
    legal, unread = [name for name in vars(base) if name.isupper()], []
    legal += PAPER_RULES if config.RECIPE == "paper" else ()
    for name in sorted(set(dir(config)).difference(legal)):
        if name == "IMAGE_PADDING":
            _check_image_padding(config)
        elif name.isupper() and not name.startswith("_"):
            for near in difflib.get_close_matches(name, legal, n=1, cutoff=TYPO_RATIO):
                raise ValueError(f"`{name}` is not a Config attribute; did you mean `{near}`?")
            unread += [name] if set(name.split("_")) & _SUBJECTS else []
    # The recipe of a user may read settings of its own.
    if unread and config.RECIPE == base.RECIPE:
        warnings.warn(
            f"The Config has {', '.join(unread)}, which mrcnn does not read. If this is not for "
            "your own code, remove it, or look for the setting that you mean in "
            "mrcnn/base_config.py.",
            stacklevel=4,
        )


def _check_image_padding(config):
    """Accept IMAGE_PADDING = True, of versions before 2.1, which "square" does anyway."""
    sentence = (
        f"IMAGE_PADDING is {config.IMAGE_PADDING!r}, but IMAGE_RESIZE_MODE has replaced it: write "
        '"square" (the default) for True, "pad64" or "none" for False.'
    )
    _require(config.IMAGE_PADDING and config.IMAGE_RESIZE_MODE == "square", sentence)
    warnings.warn(sentence, stacklevel=5)


def _check_image_size(config):
    """Require sides that are multiples of the largest stride, see `ops.pixels`."""
    mode = config.IMAGE_RESIZE_MODE
    _require(
        mode == "pad32" or np.ndim(config.IMAGE_MIN_DIM) == 0,
        f"IMAGE_MIN_DIM is {config.IMAGE_MIN_DIM}; with IMAGE_RESIZE_MODE {mode!r} it must be one "
        "number.",
    )
    multiple = int(max(config.BACKBONE_STRIDES))
    for name in SIDES[mode]:
        side = getattr(config, name)
        _require(
            side is not None and (mode == "square" or side % multiple == 0),
            f"{name} is {side}; with IMAGE_RESIZE_MODE {mode!r} it must be a multiple of "
            f"{multiple}, such as 512, 768 or 1024.",
        )
    if mode == "square":
        shape, channels = config.IMAGE_SHAPE, config.IMAGE_CHANNEL_COUNT
        is_shape = _positives(3, "").accepts(shape) and shape[2] == channels
        _require(
            is_shape and all(side % multiple == 0 for side in shape[:2]),
            f"IMAGE_SHAPE is {shape}; it must be [height, width, {channels}], both sides multiples "
            f"of {multiple}, such as [512, 768, {channels}]. Images are made to fit into it.",
        )
        _require(
            max(shape[:2]) - config.IMAGE_MAX_DIM < multiple,
            f"IMAGE_MAX_DIM is {config.IMAGE_MAX_DIM}, so that no image would fill the IMAGE_SHAPE "
            f"{shape}; set IMAGE_MAX_DIM to {max(shape[:2])} or more.",
        )


def _check_computed(config, base):
    """Require computed settings that agree with those they are computed from."""
    _require(
        config.BATCH_SIZE % config.GPU_COUNT == 0,
        f"BATCH_SIZE is {config.BATCH_SIZE}; it must be a multiple of GPU_COUNT, "
        f"{config.GPU_COUNT}.",
    )
    for name in ["IMAGE_META_SIZE"] + ["IMAGE_SHAPE"] * (config.IMAGE_RESIZE_MODE == "crop"):
        value, computed = getattr(config, name), vars(base)[name].rule(config)
        _require(
            np.array_equal(value, computed),
            f"{name} is {value}, but other settings make it {computed}; do not set it.",
        )


def _check_backbone(config):
    backbone = find_backbone(config.BACKBONE)
    if config.RECIPE == "paper":
        for name, accepted in (("NECK", backbone.necks), ("BACKBONE_NORM", backbone.norms)):
            value, owner = getattr(config, name), config.BACKBONE
            owner = "a function as BACKBONE" if callable(owner) else f"BACKBONE {owner!r}"
            _require(
                value in accepted,
                f"{name} is {value!r}; with {owner} it must be {' or '.join(map(repr, accepted))}.",
            )
    if callable(config.BACKBONE):
        shapes = config.COMPUTE_BACKBONE_SHAPE
        _require(
            shapes is None or callable(shapes),
            f"COMPUTE_BACKBONE_SHAPE is {shapes!r}; it must be a function that returns the shapes "
            "of P2 to P6, or None for ceil(side / stride).",
        )
    else:
        strides, accepted = list(config.BACKBONE_STRIDES), list(map(list, backbone.strides))
        _require(
            strides in accepted,
            f"BACKBONE_STRIDES is {strides}; those of {config.BACKBONE} are "
            f"{' or '.join(map(str, accepted))}.",
        )
