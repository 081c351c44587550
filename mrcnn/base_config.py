"""The settings of a model, with the defaults of the original: the class that all Configs extend."""

import importlib
import inspect
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from mrcnn.config_check import RECIPE_NAMES, check, missing_in_recipe, recipe_module
from mrcnn.files import replacing
from mrcnn.ops.meta import meta_size


class Computed:
    """A setting computed from others whenever it is read, until a value is assigned to it.

    It has no `__set__`, so a value on an instance or in a subclass hides it.
    """

    def __init__(self, rule: Callable[["Config"], Any]):
        self.rule = rule
        self.__doc__ = rule.__doc__

    def __get__(self, config, owner=None):
        return self if config is None else self.rule(config)


class Config:
    """Settings with the defaults of the original Mask_RCNN. Subclass it and override some.

    `class BalloonConfig(Config): NAME = "balloon"; NUM_CLASSES = 1 + 1` is a complete
    configuration. Settings may also be assigned on an instance; `BATCH_SIZE`, `IMAGE_SHAPE` and
    `IMAGE_META_SIZE` follow, unless they are assigned themselves.
    """

    # Name of the experiment, part of the names of log folders and checkpoints. Always set it.
    NAME = None

    # Replicas of the model, one per GPU. Also 1 on a machine without a GPU.
    GPU_COUNT = 1

    # Images per replica and training step. A GPU of 12 GB takes two of 1024x1024.
    IMAGES_PER_GPU = 2

    # Optimizer steps per epoch. An epoch ends with validation and a checkpoint, so this need not
    # match the size of the training set.
    STEPS_PER_EPOCH = 1000

    # Batches of validation data after each epoch, 0 for no validation.
    VALIDATION_STEPS = 50

    # "resnet50", "resnet101", "resnet152"; "small", a tenth of the computation, for training from
    # random weights; another name of `mrcnn.registry.BACKBONES`, such as "MobileNetV2"; or a
    # function that builds the stages C1 to C5 on an image tensor.
    BACKBONE = "resnet101"

    # For a function as BACKBONE whose levels do not have ceil(side / stride) cells: a function from
    # the image shape to [(height, width), ...] of the pyramid levels P2 to P6, in cells.
    COMPUTE_BACKBONE_SHAPE = None

    # Pixels of the image between neighbouring cells of P2, P3, P4, P5, P6. BACKBONE "small" also
    # accepts [2, 4, 8, 16, 32], for objects of ten pixels: they cover twice as many cells.
    BACKBONE_STRIDES = [4, 8, 16, 32, 64]

    # Units of the two fully connected layers of the box head.
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024

    # Channels per pyramid level.
    TOP_DOWN_PYRAMID_SIZE = 256

    # Classes, with the background counted as class 0.
    NUM_CLASSES = 1

    # Side of a square anchor on each of P2 to P6, in pixels.
    RPN_ANCHOR_SCALES = (32, 64, 128, 256, 512)

    # Width over height of the anchors. 1 is a square, 0.5 a tall anchor.
    RPN_ANCHOR_RATIOS = [0.5, 1, 2]

    # Cells between anchors: 1 for anchors on every cell, 2 on every second cell.
    RPN_ANCHOR_STRIDE = 1

    # IoU above which the lower-scored of two proposals is dropped. A higher value leaves more
    # proposals for training.
    RPN_NMS_THRESHOLD = 0.7

    # Anchors per image that enter the RPN losses, at most half of them positive.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256

    # Best-scored anchors of all levels together that enter non-maximum suppression (NMS).
    PRE_NMS_LIMIT = 6000

    # Proposals kept after NMS, in training and in inference.
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # Crop training masks to their boxes and resize them to MINI_MASK_SHAPE (height, width), in
    # pixels. It saves most of their memory and loses some detail of large objects.
    USE_MINI_MASK = True
    MINI_MASK_SHAPE = (56, 56)

    # How images are resized for the model:
    #   "none"    not at all: both sides must be multiples of 64.
    #   "square"  scaled up until the short side has IMAGE_MIN_DIM, unless the long side would
    #             exceed IMAGE_MAX_DIM, and padded with zeros to IMAGE_SHAPE: a square of
    #             IMAGE_MAX_DIM, rounded up to a multiple of 64, unless you set another.
    #   "pad64"   scaled to IMAGE_MIN_DIM and IMAGE_MIN_SCALE, then padded to multiples of 64, in
    #             training to those of the largest image of the batch.
    #   "pad32"   scaled, up or down, until the short side has IMAGE_MIN_DIM, unless the long side
    #             would exceed IMAGE_MAX_DIM, whatever IMAGE_MIN_SCALE is; padded below and at the
    #             right with the mean colour to multiples of 32, in training to those of the largest
    #             image of the batch; in detection without a pyramid (NECK) not padded.
    #   "crop"    scaled as "pad64", then a random square of IMAGE_MIN_DIM. Training only.
    IMAGE_RESIZE_MODE = "square"

    # Limits of the image sides, in pixels. With "pad32", IMAGE_MIN_DIM may be a sequence, such as
    # (640, 672, 704, 736, 768, 800): training draws one per image, detection takes the largest.
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024

    # Minimum factor by which images are scaled up, 0 for none; 2 doubles them even if IMAGE_MIN_DIM
    # is reached. IMAGE_MAX_DIM still limits "square". No effect in "none" and "pad32".
    IMAGE_MIN_SCALE = 0

    # Channels of an image: 3 for RGB, 1 for gray, 4 for RGB-D.
    IMAGE_CHANNEL_COUNT = 3

    # Subtracted from every pixel, one value per channel from 0 to 255. The default adapts to
    # IMAGE_CHANNEL_COUNT.
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])

    # RoIs per image that train the heads. The paper uses 512; with 200 the RPN finds enough
    # positives for the ratio below.
    TRAIN_ROIS_PER_IMAGE = 200

    # Maximum share of positives among them.
    ROI_POSITIVE_RATIO = 0.33

    # Side of the RoI features of the box head and the mask head, in cells.
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14

    # Shape of predicted masks (height, width), in pixels: the mask head doubles MASK_POOL_SIZE.
    MASK_SHAPE = [28, 28]

    # Instances used per training image; of more, a random choice.
    MAX_GT_INSTANCES = 100

    # Scale of the deltas (dy, dx, log dh, log dw) that the RPN and the box head learn: targets are
    # divided by it.
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    # Maximum number of detections per image.
    DETECTION_MAX_INSTANCES = 100

    # Minimum score of a detection, 0 to 1.
    DETECTION_MIN_CONFIDENCE = 0.7

    # IoU above which the lower-scored of two detections of one class is dropped.
    DETECTION_NMS_THRESHOLD = 0.3

    # Learning rate and momentum of SGD. The paper's 0.02 is for batches of 16 images; batches of
    # two diverge with it.
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9

    # Factor of the L2 penalty, see DIVIDE_WEIGHT_DECAY.
    WEIGHT_DECAY = 0.0001

    # Factors of the losses in the total by name; 1 for a loss that is not named. A recipe that adds
    # a loss adds its name.
    LOSS_WEIGHTS = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }

    # Train the heads on the RPN's proposals (True) or on RoIs from an extra input (False), for
    # experiments with the heads alone.
    USE_RPN_ROIS = True

    # Divisor of every pixel after MEAN_PIXEL is subtracted, one value or one per channel.
    STD_PIXEL = 1.0

    # Batch normalization in training: False uses the stored statistics, which small batches need;
    # None follows the mode of Keras; True always uses the statistics of the batch.
    TRAIN_BN = False

    # Maximum norm of gradients; larger ones are scaled down to it.
    GRADIENT_CLIP_NORM = 5.0

    # Settings that the original does not have.

    # The recipe that turns these settings into the parts of the model: "matterport", "paper"
    # (with `PaperConfig`), the name of your own module, or a module or object; see `mrcnn.recipes`.
    RECIPE = "matterport"

    # Number type of the network: "float32"; "mixed_bfloat16", which recent CPUs and GPUs compute in
    # half the time; "mixed_float16", for older GPUs, with automatic loss scaling. Weights, boxes
    # and losses stay float32. None for Keras's global policy.
    PRECISION = None

    # Keep only the outputs of the backbone's stages for the gradient and compute the layers between
    # them twice: less memory, more time. Your own backbone must compute each of C2 to C5 from the
    # previous one alone.
    GRADIENT_CHECKPOINTING = False

    # Divide WEIGHT_DECAY by the number of elements of each weight tensor, as the original. This
    # makes it practically zero; False for the weight decay of the paper.
    DIVIDE_WEIGHT_DECAY = True

    # "SGD", "Adam", "AdamW" (which uses WEIGHT_DECAY undivided), or an instance of a Keras
    # optimizer, whose learning rate is replaced.
    OPTIMIZER = "SGD"

    # Batches per optimizer step: equivalent to an N times larger batch, in the memory of one.
    ACCUMULATE_BATCHES = 1

    # Warm-up: steps at the start of a run over which the learning rate rises to its value. Random
    # weights need a few hundred; the full rate would spoil them.
    WARMUP_STEPS = 0

    # Numbers of epochs after which the learning rate is multiplied by LEARNING_RATE_DECAY, such as
    # (120, 160).
    LEARNING_RATE_DECAY_EPOCHS = ()
    LEARNING_RATE_DECAY = 0.1

    # Momentum of an exponential moving average of the weights, such as 0.999, for validation,
    # checkpoints and the trained model; 0 for none.
    EMA_MOMENTUM = 0

    # Steps within an epoch between savings of the whole training state; 0 saves it after epochs
    # only.
    SAVE_STEPS = 0

    # Number of checkpoints to keep per run, the newest; None for all.
    KEEP_CHECKPOINTS = None

    # Name of a value in the logs of an epoch, such as "val_loss" or "val_mask_mAP". The weights of
    # its best epoch are kept as well.
    BEST_METRIC = None

    # Validation images shown with their detections in TensorBoard after each epoch.
    TENSORBOARD_IMAGES = 2

    # Train on images without instances as background (True), or skip and count them (False).
    TRAIN_WITH_EMPTY_IMAGES = False

    # How RoI features are sampled: "crop", one point per bin, as the original and its weights;
    # "align", the mean of four points per bin, as the paper; "align_max", the largest of them;
    # "pool" and "warp", the earlier operators that the paper compares with (table 2c).
    ROI_ALIGN = "crop"

    # Threads that prepare training images; None for one per core.
    LOADER_WORKERS = None

    # Unreadable images that a training run skips; one more stops it, and all are listed.
    MAX_LOAD_ERRORS = 5

    @Computed
    def BATCH_SIZE(self):
        """Images per batch, of all replicas together."""
        return self.IMAGES_PER_GPU * self.GPU_COUNT

    @Computed
    def IMAGE_SHAPE(self):
        """Shape of the model's input, int array [height, width, channels].

        With IMAGE_RESIZE_MODE "square" you may set another, such as (512, 768, 3) for wide photos,
        which are made to fit into it. Both sides must be multiples of 64, and IMAGE_MAX_DIM not
        less than the longer one.
        """
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        if side and self.IMAGE_RESIZE_MODE == "square":
            multiple = int(max(self.BACKBONE_STRIDES))
            side = -(-side // multiple) * multiple
        return np.array([side, side, self.IMAGE_CHANNEL_COUNT])

    @Computed
    def IMAGE_META_SIZE(self):
        """Length of `image_meta`: id, two shapes, window, scale, one flag per class."""
        return meta_size(self.NUM_CLASSES)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # Else Python would pass the Config to the function as its first argument.
        for name in ("BACKBONE", "COMPUTE_BACKBONE_SHAPE"):
            if inspect.isfunction(vars(cls).get(name)):
                setattr(cls, name, staticmethod(vars(cls)[name]))

    def __init__(self):
        channels = self.IMAGE_CHANNEL_COUNT
        if self.MEAN_PIXEL is Config.MEAN_PIXEL and channels != 3:
            rgb = self.MEAN_PIXEL if channels > 3 else self.MEAN_PIXEL[:0]
            self.MEAN_PIXEL = np.append(rgb, np.full(channels - len(rgb), Config.MEAN_PIXEL.mean()))

    def recipe(self) -> Any:
        """Return the module or object that `RECIPE` names.

        Raises:
            ValueError: if it lacks something that a recipe provides.
        """
        recipe = self.RECIPE
        if isinstance(recipe, str):
            # Not at the top: recipes import all parts of the model, which are above Config.
            recipe = importlib.import_module(recipe_module(recipe) or recipe)
        if missing := missing_in_recipe(recipe):
            raise ValueError(
                f"RECIPE is {self.RECIPE!r}, which lacks {', '.join(missing)}; a recipe provides "
                f"{', '.join(RECIPE_NAMES)}."
            )
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Return all settings by name, sorted, with the constants that a subclass adds."""
        names = [name for name in dir(self) if not name.startswith("_")]
        values = {name: getattr(self, name) for name in names}
        return {name: v for name, v in values.items() if name.isupper() or not callable(v)}

    def display(self) -> None:
        """Print all settings, one per line."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")

    def to_json(self, path) -> None:
        """Write `to_dict()` to the file `path`, arrays as lists and functions as their names."""
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=2, default=_jsonable)
            file.write("\n")

    def validate(self) -> None:
        """Check the names and values of all settings, as `MaskRCNN` does.

        Constants that a subclass adds are accepted, unless their name is nearly that of a setting.

        Raises:
            ValueError: names the first setting that is misspelt, out of range, or contradicts
                another.
        """
        check(self, Config)


def _jsonable(value):
    """Convert a value that JSON cannot hold: arrays to lists, functions and modules to names."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, ModuleType):
        return value.__name__
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else str(value)
