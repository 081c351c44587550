"""The settings of a model: classes that projects subclass."""

from mrcnn.base_config import Computed, Config

__all__ = ["Computed", "Config", "PaperConfig", "SmallConfig"]


class SmallConfig(Config):
    """Settings for training from random weights, on small data or without a GPU.

    Subclass it with NAME, NUM_CLASSES, and image sides and anchor scales that fit your objects.
    docs/from_scratch.md gives the reasons.
    """

    BACKBONE = "small"
    TOP_DOWN_PYRAMID_SIZE = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    # The stored statistics of random weights are useless: use those of the batch, of several
    # images.
    TRAIN_BN = None
    IMAGES_PER_GPU = 8
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    PRE_NMS_LIMIT = 2000
    POST_NMS_ROIS_TRAINING = 500
    TRAIN_ROIS_PER_IMAGE = 128
    # A quarter of the computation in the mask head.
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    # There are no trained weights to preserve.
    LEARNING_RATE = 0.04
    WARMUP_STEPS = 50
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 2


class PaperConfig(Config):
    """Settings of the paper (Mask R-CNN, section 3.1, appendix A) and of its two reference codes.

    Subclass it with NAME and NUM_CLASSES. The defaults are those of torchvision's
    `maskrcnn_resnet50_fpn`, whose weights `MaskRCNN.from_weights` loads; docs/paper.md has the
    settings of each table of the paper, and docs/weights.md those of published weights.
    """

    RECIPE = "paper"
    BACKBONE = "resnet50"

    # How ResNets are built: "torchvision", the stride in the 3x3 convolution; "msra", in the first
    # 1x1, as Detectron's and the paper's weights; "matterport", as "msra", with the original's
    # biases and padding (its weights also need NORM_EPSILON 0.001). No effect on other backbones.
    RESNET_STYLE = "torchvision"

    # Normalization of a named backbone: "frozen", a constant scale and shift per channel; "batch",
    # which trains as TRAIN_BN says; "group", of 32 groups, which keras.applications lack.
    BACKBONE_NORM = "frozen"

    # Added to the variance by all normalization of the recipe.
    NORM_EPSILON = 1e-5

    # From the backbone to the RPN and the RoIs: "fpn"; "c4", where the last stage of a ResNet is
    # applied to each RoI; "c5", all on the last stage, at stride 32; "dc5", the same dilated, at
    # stride 16.
    NECK = "fpn"

    # Normalization after the convolutions of the FPN, and of box and mask head: None, "batch" or
    # "group".
    FPN_NORM = None
    HEAD_NORM = None

    # Origin of P6: "pool", every second cell of P5; "c5", a convolution of C5 with stride 2.
    FPN_EXTRA_LEVEL = "pool"

    # 3x3 convolutions of the RPN, as wide as its input.
    RPN_CONVS = 1

    # "2fc", two fully connected layers; "4conv1fc", four convolutions and one. With NECK "c4" it is
    # the last stage of the backbone.
    BOX_HEAD = "2fc"

    # Resampling of photos: "bilinear", between the four nearest pixels, as torchvision;
    # "antialias", Pillow's, which averages where it shrinks, as Detectron2.
    RESIZE_FILTER = "bilinear"
    IMAGE_RESIZE_MODE = "pad32"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1333
    # Of ImageNet, RGB.
    MEAN_PIXEL = (123.675, 116.28, 103.53)
    STD_PIXEL = (58.395, 57.12, 57.375)

    # In the order of the published weights.
    RPN_ANCHOR_RATIOS = (2, 1, 0.5)
    # Round the halves of the sides of anchors to whole pixels, as torchvision; and, as torchvision,
    # take the image's sides divided by the cells of a level as its stride. The latter is for
    # detection: in training, batches of images of different sizes would have other anchors.
    RPN_ANCHORS_ROUNDED = True
    RPN_STRIDES_FITTED = False

    # Best-scored anchors per pyramid level that enter NMS, in training and in inference.
    PRE_NMS_ROIS_TRAINING = 2000
    PRE_NMS_ROIS_INFERENCE = 1000
    RPN_BBOX_STD_DEV = (1.0, 1.0, 1.0, 1.0)

    TRAIN_ROIS_PER_IMAGE = 512
    ROI_POSITIVE_RATIO = 0.25

    # See ROI_ALIGN in `Config`. Samples per bin and axis; 0 for about one per cell of the feature
    # map, as Detectron2.
    ROI_ALIGN = "align"
    ROI_SAMPLES = 2
    # Centre of the first cell at 0.5, as Detectron2; else at 0, and RoIs have at least one cell, as
    # torchvision and Detectron.
    ROI_HALF_PIXEL = False

    # Where smooth L1 turns from a parabola to a line; 0 for L1, as Detectron2.
    RPN_LOSS_BETA = 1 / 9
    BOX_LOSS_BETA = 1 / 9

    # Mini-masks that lose little of large objects.
    MINI_MASK_SHAPE = (112, 112)
    # Value from which a pixel of a mask target is 1, as Detectron2; None for targets from 0 to 1.
    MASK_TARGET_THRESHOLD = None
    # How masks get into the photo: "expand", resized with a border of one pixel to a box of whole
    # pixels, as torchvision and Detectron; "exact", sampled at the centres of the photo's pixels,
    # as Detectron2.
    MASK_PASTE = "expand"

    DETECTION_MIN_CONFIDENCE = 0.05
    DETECTION_NMS_THRESHOLD = 0.5

    # For 180 epochs of 1000 steps of 16 images, or of as many images in smaller batches, with a
    # learning rate in proportion to the batch (Goyal et al. 2017, section 2.1).
    DIVIDE_WEIGHT_DECAY = False
    GRADIENT_CLIP_NORM = None
    WARMUP_STEPS = 1000
    LEARNING_RATE_DECAY_EPOCHS = (120, 160)

    @Computed
    def LEARNING_RATE(self):
        """0.02 for steps of 16 images, and in proportion to their number."""
        return 0.02 * self.BATCH_SIZE * self.ACCUMULATE_BATCHES / 16

    @Computed
    def STEPS_PER_EPOCH(self):
        """Steps of 16,000 images, 1000 for steps of 16."""
        return max(1, round(16000 / (self.BATCH_SIZE * self.ACCUMULATE_BATCHES)))
