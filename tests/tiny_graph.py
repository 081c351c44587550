"""The whole graph with a backbone of four convolutions, and batches for it."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mrcnn.config import Config
from mrcnn.constants import LOSS_NAMES
from mrcnn.graph import build_network
from mrcnn.layers.conv import Conv2D
from mrcnn.layers.norm import BatchNorm, conv_norm
from mrcnn.legacy.formulas import generate_pyramid_anchors
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.meta import compose_image_meta
from mrcnn.ops.space import CELL_CENTERS
from mrcnn.training.selection import trainable_layers

# Outputs of the graph in order.
INFERENCE = (
    "detections",
    "mrcnn_class",
    "mrcnn_bbox",
    "mrcnn_mask",
    "rpn_rois",
    "rpn_class",
    "rpn_bbox",
)
TRAINING = (
    "rpn_class_logits",
    "rpn_class",
    "rpn_bbox",
    "mrcnn_class_logits",
    "mrcnn_class",
    "mrcnn_bbox",
    "mrcnn_mask",
    "rpn_rois",
    "output_rois",
    *LOSS_NAMES,
)


def tiny_backbone(image, stage5=True, train_bn=None):
    """C1 to C5 with 8 to 32 channels; frozen batch normalization is folded, as in ResNet."""
    x = layers.MaxPooling2D(2, name="pool1")(image)
    stages = [x]
    for stage, channels in ((2, 8), (3, 16), (4, 24), (5, 32)):
        conv = Conv2D(channels, 3, strides=2, padding="same", name=f"res{stage}")
        x = conv_norm(x, conv, BatchNorm(train_bn=train_bn, name=f"bn{stage}"))
        x = layers.Activation("relu", name=f"res{stage}_out")(x)
        stages.append(x)
    return stages


def tiny_backbone_shapes(image_shape):
    return [[-(-side // stride) for side in image_shape[:2]] for stride in (4, 8, 16, 32, 64)]


class TinyGraphConfig(Config):
    """64x64 images, three classes, few channels and few of everything."""

    NAME = "tiny"
    BACKBONE = staticmethod(tiny_backbone)
    COMPUTE_BACKBONE_SHAPE = staticmethod(tiny_backbone_shapes)
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 1 + 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 16
    PRE_NMS_LIMIT = 200
    POST_NMS_ROIS_TRAINING = 40
    POST_NMS_ROIS_INFERENCE = 40
    TRAIN_ROIS_PER_IMAGE = 20
    MINI_MASK_SHAPE = (28, 28)
    MAX_GT_INSTANCES = 4
    DETECTION_MAX_INSTANCES = 30
    DETECTION_MIN_CONFIDENCE = 0


def inference_batch(config, images):
    """Inputs of the inference graph for `[batch, 64, 64, channels]` numbers."""
    size = images.shape[1:]
    meta = compose_image_meta(0, size, size, (0, 0, *size[:2]), 1, np.ones(config.NUM_CLASSES))
    anchors = CELL_CENTERS.normalize(pyramid_anchors(config, size), size)
    rows = [np.repeat(x[None], len(images), axis=0) for x in (meta, anchors)]
    return [np.asarray(x, np.float32) for x in (images, *rows)]


def pyramid_anchors(config, image_shape):
    """Anchors in pixels."""
    return generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        tiny_backbone_shapes(image_shape),
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )


def training_batch(config, rng, count=1):
    """Inputs of the training graph by name: two instances an image, and what is near them."""
    batch = {"input_image": rng.normal(size=(count, 64, 64, config.IMAGE_CHANNEL_COUNT))}
    meta = inference_batch(config, batch["input_image"])[1]
    boxes = np.array([[4, 8, 36, 40], [20, 30, 60, 62]])
    anchors = pyramid_anchors(config, (64, 64))
    overlaps = box_ops.compute_overlaps(anchors, boxes)
    match = np.where(overlaps.max(axis=1) < 0.3, -1, 0)
    positive = np.sort(overlaps.argmax(axis=0))
    match[positive] = 1
    deltas = np.zeros((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4))
    deltas[:2] = box_ops.encode_boxes(
        anchors[positive], boxes[overlaps[positive].argmax(axis=1)]
    ) / np.array(config.RPN_BBOX_STD_DEV)
    height, width = config.MINI_MASK_SHAPE
    masks = np.zeros((height, width, config.MAX_GT_INSTANCES), bool)
    masks[: height // 2, :, 0] = masks[:, : width // 2, 1] = True
    rows = {
        "input_image_meta": meta[0],
        "input_rpn_match": match[:, None],
        "input_rpn_bbox": deltas,
        "input_gt_class_ids": padded(np.array([1, 3]), config.MAX_GT_INSTANCES),
        "input_gt_boxes": padded(boxes, config.MAX_GT_INSTANCES),
        "input_gt_masks": masks,
    }
    if not config.USE_RPN_ROIS:
        near = np.repeat(boxes, 5, axis=0) + rng.integers(-2, 3, (10, 4))
        far = np.array([[0, 40, 12, 60], [44, 0, 60, 20], [50, 4, 62, 14]])
        rois = np.concatenate([near, np.repeat(far, 8, axis=0) + rng.integers(0, 2, (24, 4))])
        rows["input_roi"] = padded(rois, config.POST_NMS_ROIS_TRAINING)
    for name, row in rows.items():
        batch[name] = np.repeat(row[None], count, axis=0)
    return batch


def padded(rows, count):
    """`rows` with zeros below."""
    return np.pad(rows, [(0, count - len(rows))] + [(0, 0)] * (rows.ndim - 1))


class GivenRois(TinyGraphConfig):
    """RoIs near the instances come with the batch, so that some are positive."""

    USE_RPN_ROIS = False


# Layers that begin with outputs near zero, which would hide mistakes.
SMALL = ("rpn_class_raw", "rpn_bbox_pred", "mrcnn_class_logits", "mrcnn_bbox_fc")


def tiny(mode, config_class=TinyGraphConfig, **settings):
    """A Config and a tiny graph with seeded weights, none of which is trivial."""
    config, network = tiny_network(mode, config_class, **settings)
    return config, network.graph(mode)


def tiny_network(mode, config_class=TinyGraphConfig, **settings):
    """As `tiny`, with the network instead of one of its graphs."""
    config = type("Other", (config_class,), settings)()
    keras.utils.set_random_seed(1)
    network = build_network(config)
    model = network.graph(mode)
    rng = np.random.default_rng(2)
    for layer in trainable_layers(model):
        for weight in layer.weights:
            if weight.name in ("moving_mean", "moving_variance", "gamma", "beta"):
                low = 0.5 if weight.name in ("moving_variance", "gamma") else -0.5
                weight.assign(rng.uniform(low, low + 1, weight.shape))
            elif weight.name == "kernel" and layer.name in SMALL:
                spread = np.sqrt(1 / weight.shape[-2])
                weight.assign(rng.normal(0, spread, weight.shape))
    return config, network


def run(model, inputs, training=False):
    return [np.asarray(value) for value in model(inputs, training=training)]


def copy_weights(source, target):
    """By name: the order of layers differs between the modes."""
    weights = {layer.name: layer.get_weights() for layer in trainable_layers(source)}
    for layer in trainable_layers(target):
        layer.set_weights(weights[layer.name])


def feed(model, batch):
    return [tf.cast(batch[x.name], x.dtype) for x in model.inputs]


def named(model, batch):
    names = [tensor.name for tensor in model.inputs]
    return dict(zip(names, feed(model, batch), strict=True))
