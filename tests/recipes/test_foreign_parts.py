"""A model of parts that differ from the original's, built outside the package.

Boxes between borders (a shift of 0), anchors in the middle of their cells, proposals by level,
heads without batch normalization, and an RPN with 256 channels and one logit.
"""

import sys
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.backbones.fpn import fpn
from mrcnn.data.rpn_targets import RPNTargets
from mrcnn.graph import build_network
from mrcnn.heads.box import BoxHead
from mrcnn.heads.mask import MaskHead
from mrcnn.heads.rpn import RPN
from mrcnn.inputs import model_inputs
from mrcnn.layers.anchors import AnchorLayer
from mrcnn.layers.boxes import NormalizeBoxes
from mrcnn.layers.detections import DetectionLayer
from mrcnn.layers.roi_align import PyramidROIAlign
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.legacy.formulas import non_max_suppression
from mrcnn.model import MaskRCNN
from mrcnn.ops.anchors import AnchorGenerator
from mrcnn.ops.boxes import clip_boxes, compute_overlaps, decode_boxes
from mrcnn.ops.space import BoxSpace
from mrcnn.recipes.parts import NetworkParts, Operators
from mrcnn.training.selection import trainable_layers
from tests.mini import MiniConfig, MiniShapes, mini_backbone, silent

SPACE = BoxSpace(shift=0.0)
WEIGHT_SETTINGS = ("NUM_CLASSES",)
STD_DEV = (1.0, 1.0, 1.0, 1.0)


class Foreign(MiniConfig):
    RECIPE = __name__
    PRE_NMS_LIMIT = 20
    RPN_BBOX_STD_DEV = np.array(STD_DEV)


def anchors(c):
    return AnchorGenerator(
        sizes=tuple((size,) for size in c.RPN_ANCHOR_SCALES),
        ratios=((0.5, 1, 2),) * 5,
        strides=(4, 8, 16, 32, 64),
        offset=0.5,
    )


def rpn_targets(c):
    return RPNTargets(anchors(c), c.RPN_TRAIN_ANCHORS_PER_IMAGE, STD_DEV, 0.3, 0.7, 0.5, 0.001)


class LevelProposals(keras.layers.Layer):
    """Proposals with an NMS per level, then the best of all levels."""

    def __init__(self, count, per_level, threshold, **kwargs):
        super().__init__(**kwargs)
        self.count, self.per_level, self.threshold = count, per_level, threshold

    def call(self, levels, anchors):
        sizes = [tf.shape(logits)[1] for logits, _, _ in levels]
        rows = [
            self._level(*level, boxes)
            for level, boxes in zip(levels, tf.split(anchors, sizes, axis=1, num=5), strict=True)
        ]
        boxes, scores = (tf.concat(parts, axis=1) for parts in zip(*rows, strict=True))
        best = tf.math.top_k(scores, self.count).indices
        return tf.gather(boxes, best, batch_dims=1)

    def _level(self, logits, probs, deltas, boxes):
        count = tf.minimum(self.per_level, tf.shape(boxes)[1])
        scores, best = tf.math.top_k(logits[..., 0], count)
        boxes = decode_boxes(
            tf.gather(boxes, best, batch_dims=1),
            tf.gather(deltas, best, batch_dims=1),
            xp=keras.ops,
        )
        boxes = clip_boxes(boxes, [0.0, 0.0, 1.0, 1.0], xp=keras.ops)

        def suppress(boxes, scores):
            keep = tf.image.non_max_suppression(boxes, scores, self.per_level, self.threshold)
            empty = self.per_level - tf.size(keep)
            boxes = tf.pad(tf.gather(boxes, keep), [[0, empty], [0, 0]])
            return boxes, tf.pad(tf.gather(scores, keep), [[0, empty]], constant_values=-1e9)

        types = (tf.TensorSpec([self.per_level, 4]), tf.TensorSpec([self.per_level]))
        return tf.map_fn(lambda x: suppress(*x), (boxes, scores), fn_output_signature=types)

    def compute_output_shape(self, levels_shape, anchors_shape):
        return (anchors_shape[0], self.count, 4)


def network_parts(c):
    return NetworkParts(
        backbone=lambda image: dict(
            zip(("C2", "C3", "C4", "C5"), mini_backbone(image)[1:], strict=True)
        ),
        neck=partial(fpn, channels=c.TOP_DOWN_PYRAMID_SIZE),
        rpn=RPN(3, c.TOP_DOWN_PYRAMID_SIZE, hidden=256, logits=1),
        box_head=BoxHead(c.NUM_CLASSES, c.POOL_SIZE, c.FPN_CLASSIF_FC_LAYERS_SIZE),
        mask_head=MaskHead(c.NUM_CLASSES),
    )


def operators(c):
    generator = anchors(c)
    layer = LevelProposals(40, c.PRE_NMS_LIMIT, c.RPN_NMS_THRESHOLD, name="ROI")

    def propose(rpn, anchors, windows_px, image):
        return layer(list(rpn.levels.values()), anchors)

    return Operators(
        inputs=partial(model_inputs, c),
        roi_levels=("P2", "P3", "P4", "P5"),
        anchors=AnchorLayer(*generator[:5], box_shift=0.0),
        propose={"training": propose, "inference": propose},
        normalize=partial(NormalizeBoxes, 0.0),
        targets=DetectionTargetLayer(
            c.TRAIN_ROIS_PER_IMAGE, 0.25, c.MASK_SHAPE, bbox_std_dev=STD_DEV, box_shift=0.0
        ),
        box_align=PyramidROIAlign([c.POOL_SIZE] * 2, "align", "floor", 0.0),
        mask_align=PyramidROIAlign([c.MASK_POOL_SIZE] * 2, "align", "floor", 0.0),
        detect=DetectionLayer(10, 0.0, 0.5, STD_DEV, box_shift=0.0, name="mrcnn_detection"),
    )


@pytest.fixture(scope="module", autouse=True)
def as_recipe():
    """Register this module under the name that RECIPE uses."""
    assert sys.modules[__name__].operators is operators


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = build_network(Foreign())
    rng = np.random.default_rng(0)
    for weight in network.graph("inference").weights:
        # Large enough that boxes and scores differ.
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype(np.float32))
    return network


def test_parameters_by_hand(network):
    c = Foreign()
    channels, fc, classes = c.TOP_DOWN_PYRAMID_SIZE, c.FPN_CLASSIF_FC_LAYERS_SIZE, c.NUM_CLASSES
    counts = {
        layer.name: layer.count_params() for layer in trainable_layers(network.graph("training"))
    }
    assert not any("mrcnn" in name and "_bn" in name for name in counts)
    assert counts["rpn_conv_shared"] == (9 * channels + 1) * 256
    assert counts["rpn_class_raw"] == (256 + 1) * 3
    assert counts["mrcnn_class_conv1"] == (49 * channels + 1) * fc
    assert counts["mrcnn_mask"] == (256 + 1) * classes


def test_proposals_per_level_equal_numpy(network):
    rng = np.random.default_rng(1)
    image = rng.normal(0, 40, (1, 64, 64, 3)).astype(np.float32)
    generator = anchors(Foreign())
    pixels = generator.of_image((64, 64))
    # Half a stride from the border: the first square of P2 is 8 pixels around (2, 2).
    assert pixels[1].tolist() == [-2, -2, 6, 6]
    boxes = (pixels / 64).astype(np.float32)
    model = network.graph("inference")
    values = keras.Model(
        model.inputs, [network.rpn.logits, network.rpn.deltas, model.get_layer("ROI").output]
    )
    meta = np.zeros((1, 15), np.float32)
    logits, deltas, proposals = (
        np.asarray(x)[0] for x in values([image, meta, boxes[None]], training=False)
    )
    kept, start = [], 0
    for rows, columns in generator.shapes((64, 64)):
        level = slice(start, start + 3 * rows * columns)
        start = level.stop
        order = np.argsort(-logits[level, 0], kind="stable")[:20]
        refined = np.clip(decode_boxes(boxes[level][order], deltas[level][order]), 0, 1)
        scores = logits[level, 0][order]
        chosen = non_max_suppression(refined, scores, 0.7)
        kept += [(scores[i], refined[i]) for i in chosen]
    kept.sort(key=lambda pair: -pair[0])
    expected = np.array([box for _, box in kept[:40]])
    assert len(kept) > 40
    np.testing.assert_allclose(proposals, expected, atol=1e-5)


def test_given_boxes_get_the_masks_of_detections(network):
    rng = np.random.default_rng(2)
    image = rng.normal(0, 40, (1, 64, 64, 3)).astype(np.float32)
    meta = np.zeros((1, 15), np.float32)
    meta[0, 7:11] = 0, 0, 64, 64
    boxes = SPACE.normalize(anchors(Foreign()).of_image((64, 64)), (64, 64))[None]
    outputs = network.graph("inference")([image, meta, boxes], training=False)
    detections, masks = np.asarray(outputs[0]), np.asarray(outputs[3])
    found = detections[0, :, 4] > 0
    assert found.sum() > 2
    given = network.given_boxes()([image, detections[..., :4]], training=False)
    np.testing.assert_allclose(np.asarray(given[2])[0, found], masks[0, found], atol=1e-5)
    assert masks[0, found].std() > 0


def test_it_trains_and_detects(tmp_path):
    keras.utils.set_random_seed(0)
    data = MiniShapes(8)
    model = MaskRCNN("training", Foreign(), str(tmp_path))
    model.config.STEPS_PER_EPOCH, model.config.VALIDATION_STEPS = 12, 0
    history = silent(model.train, data, None, 0.01, 2, "all").history
    assert history["loss"][1] < history["loss"][0]
    photo = data.load_image(0)
    result = model.inference_model().detect([photo])[0]
    # Boxes lie within the photo, and a mask within its box.
    assert len(result["rois"]) > 0
    for box, mask in zip(result["rois"], np.moveaxis(result["masks"], -1, 0), strict=True):
        y1, x1, y2, x2 = box
        assert mask.sum() == mask[y1:y2, x1:x2].sum()
    overlaps = compute_overlaps(result["rois"], np.array([[0, 0, 64, 64]]))
    assert overlaps.max() > 0
