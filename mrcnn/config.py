"""The settings of a model: one flat class of words that projects subclass."""

import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from mrcnn.config_check import check
from mrcnn.files import replacing
from mrcnn.ops.meta import meta_size


class Computed:
    """An attribute worked out from others at each reading, until a value is assigned to it.

    It defines no `__set__`, so a value stored on an instance, or in a subclass, hides it.
    """

    def __init__(self, rule: Callable[["Config"], Any]):
        self.rule = rule
        self.__doc__ = rule.__doc__

    def __get__(self, config, owner=None):
        return self if config is None else self.rule(config)


class Config:
    """Settings with the defaults of the original Mask_RCNN. Subclass it and override words.

    `class BalloonConfig(Config): NAME = "balloon"; NUM_CLASSES = 1 + 1` is a complete
    configuration. Words may also be assigned to an instance; `BATCH_SIZE`, `IMAGE_SHAPE` and
    `IMAGE_META_SIZE` follow, unless they are assigned themselves.
    """

    # Name of the experiment: log folders and checkpoint files carry it. Every subclass sets one.
    NAME = None

    # Replicas of the model, one a GPU. 1 is also right for a machine without a GPU.
    GPU_COUNT = 1

    # Images each replica sees in one training step. A GPU of 12 GB takes two of 1024x1024.
    IMAGES_PER_GPU = 2

    # Optimizer steps of an epoch. An epoch ends with validation and a checkpoint, so this need
    # not match the size of the training set.
    STEPS_PER_EPOCH = 1000

    # Batches of validation data after each epoch, 0 for no validation.
    VALIDATION_STEPS = 50

    # "resnet50", "resnet101", "resnet152"; "small", a tenth of the work, for training from random
    # weights; another name of `mrcnn.registry.BACKBONES`, such as "MobileNetV2"; or a function that
    # builds the stages C1 to C5 on an image tensor (in a class body wrap it in staticmethod, or
    # Python makes a method of it).
    BACKBONE = "resnet101"

    # Needed with a function as BACKBONE: takes the image shape, returns [(height, width), ...]
    # of the pyramid levels P2 to P6, in cells.
    COMPUTE_BACKBONE_SHAPE = None

    # Pixels of the image between neighbouring cells of P2, P3, P4, P5, P6. With BACKBONE "small"
    # [2, 4, 8, 16, 32] is possible, too: for objects of ten pixels, which else were half as many
    # cells.
    BACKBONE_STRIDES = [4, 8, 16, 32, 64]

    # Units of the two fully connected layers of the box head.
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024

    # Channels of every pyramid level.
    TOP_DOWN_PYRAMID_SIZE = 256

    # Classes, with the background counted as class 0.
    NUM_CLASSES = 1

    # Side of a square anchor on each of P2 to P6, in pixels.
    RPN_ANCHOR_SCALES = (32, 64, 128, 256, 512)

    # Width over height of the anchors of a cell. 1 is a square, 0.5 a tall anchor.
    RPN_ANCHOR_RATIOS = [0.5, 1, 2]

    # Cells between anchors: 1 puts them on every cell, 2 on every other one.
    RPN_ANCHOR_STRIDE = 1

    # IoU above which the lower-scored of two proposals is dropped. Raising it leaves more
    # proposals to learn from.
    RPN_NMS_THRESHOLD = 0.7

    # Anchors of an image that enter the RPN losses, at most half of them positive.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256

    # Best-scored anchors, over all levels together, that enter non-maximum suppression.
    PRE_NMS_LIMIT = 6000

    # Proposals kept after it, in training and in inference.
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # Keep each training mask as its box's crop, resized to MINI_MASK_SHAPE (height, width), in
    # pixels. It saves most of the memory, at some loss of detail in large objects.
    USE_MINI_MASK = True
    MINI_MASK_SHAPE = (56, 56)

    # How images get the size of the model's input:
    #   "none"    not at all: both sides must be multiples of 64 already.
    #   "square"  scaled up until the short side has IMAGE_MIN_DIM, unless the long side would
    #             pass IMAGE_MAX_DIM, and padded with zeros to a square of IMAGE_MAX_DIM.
    #   "pad64"   scaled to IMAGE_MIN_DIM and IMAGE_MIN_SCALE, then padded to multiples of 64.
    #             Batches of one image only, since sizes differ.
    #   "crop"    scaled likewise, then a random square of IMAGE_MIN_DIM is cut out. Training only.
    IMAGE_RESIZE_MODE = "square"

    # Limits of the image sides, in pixels.
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024

    # Least factor to scale images up by, 0 for none: 2 doubles them even where IMAGE_MIN_DIM asks
    # for less. IMAGE_MAX_DIM still limits "square".
    IMAGE_MIN_SCALE = 0

    # Channels of an image: 3 for RGB, 1 for gray, 4 for RGB-D.
    IMAGE_CHANNEL_COUNT = 3

    # Subtracted from every pixel, a value a channel, on the 0..255 scale. Left alone, it adapts to
    # IMAGE_CHANNEL_COUNT.
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])

    # RoIs of an image that train the heads. The paper takes 512; with 200 the RPN finds enough
    # positives to keep the ratio below.
    TRAIN_ROIS_PER_IMAGE = 200

    # Share of them that may be positive.
    ROI_POSITIVE_RATIO = 0.33

    # Side of the RoI features that the box head and the mask head see, in cells.
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14

    # Predicted masks, in pixels (height, width): the mask head doubles MASK_POOL_SIZE.
    MASK_SHAPE = [28, 28]

    # Instances of a training image that are used; of more, a random choice.
    MAX_GT_INSTANCES = 100

    # Scale of the deltas (dy, dx, log dh, log dw) that the RPN and the box head learn: targets are
    # divided by it.
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    # Detections of an image, at most.
    DETECTION_MAX_INSTANCES = 100

    # Least score of a detection, 0..1.
    DETECTION_MIN_CONFIDENCE = 0.7

    # IoU above which the lower-scored of two detections of one class is dropped.
    DETECTION_NMS_THRESHOLD = 0.3

    # Step size and momentum of SGD. The paper's 0.02 goes with batches of 16 images: batches of
    # two diverge with it.
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9

    # Factor of the L2 penalty. It is divided by the number of elements of each weight tensor.
    WEIGHT_DECAY = 0.0001

    # Factors of the five losses in the total.
    LOSS_WEIGHTS = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }

    # Train the heads on the RPN's proposals (True), or on RoIs given as an extra input (False),
    # for experiments with the heads alone.
    USE_RPN_ROIS = True

    # Batch normalisation in training: False uses the stored statistics, which small batches need;
    # None follows the mode of Keras; True always uses those of the batch.
    TRAIN_BN = False

    # Gradients are scaled down to this norm where they are longer.
    GRADIENT_CLIP_NORM = 5.0

    # Settings that the original does not have.

    # The page that turns these settings into the parts of the model: "matterport", the dotted name
    # of a module of your own, or an object; see `mrcnn.recipes`.
    RECIPE = "matterport"

    # Numbers that the network computes with: "float32", or half as wide "mixed_bfloat16", which
    # new CPUs and GPUs compute in half the time, or "mixed_float16", for older GPUs, which needs
    # its losses scaled (that is done). Weights, boxes and losses stay float32. None for Keras's
    # global policy.
    PRECISION = None

    # Compile backbone and pyramid with XLA, for each image size anew. It takes more time and memory
    # on CPUs; see docs/memory.md.
    JIT_COMPILE = False

    # Keep only the ends of the backbone's stages for the gradient and compute what is between them
    # twice: less memory, more time. An own backbone must make each of C2 to C5 from the one before
    # alone.
    GRADIENT_CHECKPOINTING = False

    # What turns gradients into new weights: "SGD", "Adam", "AdamW", whose weight decay is
    # WEIGHT_DECAY as it stands, or an instance of a Keras optimizer, whose learning rate is
    # replaced.
    OPTIMIZER = "SGD"

    # Batches whose gradients are added up for one step: as one batch so many times as large, in
    # the memory of one.
    ACCUMULATE_BATCHES = 1

    # Steps from the start of a run over which the learning rate rises to its value. Random weights
    # need a few hundred, or the first steps at the full rate spoil them.
    WARMUP_STEPS = 0

    # Finished epochs after which the learning rate is multiplied by LEARNING_RATE_DECAY, such as
    # (120, 160).
    LEARNING_RATE_DECAY_EPOCHS = ()
    LEARNING_RATE_DECAY = 0.1

    # Momentum of a running mean of the weights, such as 0.999, which validation, checkpoints and
    # the trained model then use; 0 for none.
    EMA_MOMENTUM = 0

    # Steps from one saving of the whole state of training to the next within an epoch, 0 for the
    # ends of epochs alone.
    SAVE_STEPS = 0

    # Checkpoints of a run that are kept, the newest; None for all.
    KEEP_CHECKPOINTS = None

    # Name of a value in the logs of an epoch, such as "val_loss" or "val_mask_mAP". The weights of
    # the epoch where it was best are kept, too.
    BEST_METRIC = None

    # Validation images whose detections TensorBoard shows beside the ground truth after an epoch.
    TENSORBOARD_IMAGES = 2

    # Train on images without any instance, as background (True), or skip them and say how many
    # were skipped (False).
    TRAIN_WITH_EMPTY_IMAGES = False

    # How RoI features are sampled: "crop", one point a bin, as the original and its weights;
    # "align", four points a bin, averaged, as the paper.
    ROI_ALIGN = "crop"

    # Threads that prepare training images; None for one a core.
    LOADER_WORKERS = None

    # Unreadable images that a training run skips before it stops and lists them.
    MAX_LOAD_ERRORS = 5

    @Computed
    def BATCH_SIZE(self):
        """Images of a batch over all replicas."""
        return self.IMAGES_PER_GPU * self.GPU_COUNT

    @Computed
    def IMAGE_SHAPE(self):
        """Shape of the model's input, int array [height, width, channels]."""
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        return np.array([side, side, self.IMAGE_CHANNEL_COUNT])

    @Computed
    def IMAGE_META_SIZE(self):
        """Length of `image_meta`: id, original shape, shape, window, scale, a flag a class."""
        return meta_size(self.NUM_CLASSES)

    def __init__(self):
        channels = self.IMAGE_CHANNEL_COUNT
        if self.MEAN_PIXEL is Config.MEAN_PIXEL and channels != 3:
            rgb = self.MEAN_PIXEL if channels > 3 else self.MEAN_PIXEL[:0]
            self.MEAN_PIXEL = np.append(rgb, np.full(channels - len(rgb), Config.MEAN_PIXEL.mean()))

    def recipe(self) -> Any:
        """Return the module, or object, that `RECIPE` stands for."""
        if not isinstance(self.RECIPE, str):
            return self.RECIPE
        name = self.RECIPE if "." in self.RECIPE else f"mrcnn.recipes.{self.RECIPE}"
        # By name, because recipes import all parts of the model and Config is below them.
        return importlib.import_module(name)

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, sorted; a subclass's own constants too."""
        names = [name for name in dir(self) if not name.startswith("_")]
        values = {name: getattr(self, name) for name in names}
        return {name: v for name, v in values.items() if name.isupper() or not callable(v)}

    def display(self) -> None:
        """Print every setting, one a line."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")

    def to_json(self, path) -> None:
        """Write `to_dict()` to the file `path`, arrays as lists and functions as their names.

        The file appears whole or not at all.
        """
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=2, default=_jsonable)
            file.write("\n")

    def validate(self) -> None:
        """Check the names and values of all settings; `MaskRCNN` does so when it is made.

        Raises ValueError with one sentence on the first word that is misspelt, out of range, or at
        odds with another. Constants that a subclass adds for its own use pass, unless their name
        is nearly one of ours.
        """
        check(self, Config)


class SmallConfig(Config):
    """Settings for training from random weights, on small data or without a GPU.

    Subclass it with NAME, NUM_CLASSES, and the image sides and anchor scales that suit your
    objects. docs/from_scratch.md gives the reasons.
    """

    BACKBONE = "small"
    TOP_DOWN_PYRAMID_SIZE = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    # The stored statistics of random weights mean nothing: use those of the batch, which needs
    # several images.
    TRAIN_BN = None
    IMAGES_PER_GPU = 8
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    TRAIN_ROIS_PER_IMAGE = 128
    # A quarter of the work in the mask head.
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    # There is nothing to preserve, and a long way to go.
    LEARNING_RATE = 0.04
    WARMUP_STEPS = 50
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 2


def _jsonable(value):
    """What JSON has no word for: arrays and NumPy numbers as Python's, functions by name."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else str(value)
