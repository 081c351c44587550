"""Configs that fit a data set: the three presets of `mrcnn train`."""

import math

import numpy as np

from mrcnn.config import Config, PaperConfig, SmallConfig

PRESETS = {"small": SmallConfig, "default": Config, "paper": PaperConfig}

# Sides of images that "small" chooses from, and the side of an object, in pixels of the network's
# input, that nine of ten objects should have.
_SIDES, _SMALLEST = (256, 320, 384, 512), 12
# Anchor sides of P2; each further level has twice the side. With less than twice the stride, too
# few cells of a level would lie on an object.
_FIRST_SCALES = (8, 11, 16, 23, 32)
# Steps that a training has if nothing else is said, per preset.
_STEPS = {"small": 2000, "default": 2000, "paper": 5000}
_FEWEST_STEPS, _MOST_STEPS = 20, 1000


def fitted_config(preset, name, num_classes, survey, image_size=None, adapts=True):
    """Return a Config for a data set.

    Args:
        preset: "small", "default" or "paper".
        name: `NAME` of the Config.
        num_classes: with the background.
        survey: `Survey` of the training images.
        image_size: longer side of the network's input in pixels; None for the preset's choice.
        adapts: choose anchors by the sizes of the objects; False for weights that have learnt
            their anchors.

    Returns:
        An instance of `Config`.
    """
    config = PRESETS[preset]()
    config.NAME, config.NUM_CLASSES = name, num_classes
    if preset == "small":
        _fit_small(config, survey, image_size)
    elif image_size:
        set_image_size(config, image_size)
    if adapts and preset != "paper" and len(survey.shares):
        config.RPN_ANCHOR_SCALES = anchor_scales(survey.shares * config.IMAGE_MAX_DIM)
    return config


def _fit_small(config, survey, image_size):
    set_image_size(config, image_size or input_side(survey))
    config.MINI_MASK_SHAPE = (28, 28)
    # Augmentation may move the only object of a photo out of it.
    config.TRAIN_WITH_EMPTY_IMAGES = True
    most = int(survey.objects.max()) if survey.looked_at else 0
    config.MAX_GT_INSTANCES = min(max(20, most), 200)
    config.DETECTION_MAX_INSTANCES = min(max(50, 2 * most), 400)
    if survey.looked_at and survey.objects.mean() < 6:
        # Few objects have few anchors, which would hardly count among many others.
        config.RPN_TRAIN_ANCHORS_PER_IMAGE = 64


def input_side(survey):
    """Return the smallest side at which nine of ten objects have twelve pixels."""
    if not len(survey.shares):
        return _SIDES[0]
    low = np.percentile(survey.shares, 10)
    return next((side for side in _SIDES if low * side >= _SMALLEST), _SIDES[-1])


def set_image_size(config, side):
    """Set the longer side of the network's input; PaperConfig keeps its ratio of the sides.

    Raises:
        ValueError: if it is no multiple of 64, where that is needed.
    """
    if config.IMAGE_RESIZE_MODE == "pad32":
        config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM = max(32, round(side * 0.6)), side
        return
    if side % 64:
        raise ValueError(f"--image-size is {side}; it must be a multiple of 64.")
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = side


def anchor_scales(sides):
    """Return five anchor sides, each twice the one before, that are nearest to objects' sides.

    Args:
        sides: `[n]`, in pixels of the network's input.
    """
    levels = 2.0 ** np.arange(5)
    logs = np.log2(np.maximum(sides, 1.0))[:, None]

    def distance(first):
        return np.abs(logs - np.log2(first * levels)).min(axis=1).mean()

    # The first of equals: small objects are what is missed.
    first = min(_FIRST_SCALES, key=distance)
    return tuple(int(first * level) for level in levels)


def fit_schedule(config, preset, images, val_images, epochs=None, steps=None):
    """Set batch, steps, validation and decay by the number of images; return the epochs.

    Args:
        config: the Config, which is changed.
        preset: "small", "default" or "paper".
        images, val_images: numbers of images.
        epochs, steps: as given; None to choose them: one pass over the images per epoch, but 20
            to 1000 steps.
    """
    config.IMAGES_PER_GPU = max(1, min(config.IMAGES_PER_GPU, images // config.GPU_COUNT))
    passes = math.ceil(images / config.BATCH_SIZE)
    config.STEPS_PER_EPOCH = steps or min(max(passes, _FEWEST_STEPS), _MOST_STEPS)
    config.VALIDATION_STEPS = min(math.ceil(val_images / config.BATCH_SIZE), 50)
    epochs = epochs or max(4, math.ceil(_STEPS[preset] / config.STEPS_PER_EPOCH))
    total = epochs * config.STEPS_PER_EPOCH
    config.WARMUP_STEPS = min(config.WARMUP_STEPS, total // 4)
    # The last quarter settles.
    last = epochs - epochs // 4
    config.LEARNING_RATE_DECAY_EPOCHS = (last,) if last < epochs else ()
    # Runs of hundreds of short epochs would fill the disk.
    config.KEEP_CHECKPOINTS = 3
    config.BEST_METRIC = "val_loss" if config.VALIDATION_STEPS else None
    return epochs
