"""Formulas under the names that scripts for Matterport's library use.

Those that take `xp` work on NumPy arrays, or with `keras.ops` on tensors.
"""

import math
import random

import numpy as np

from mrcnn.ops import images as resizing
from mrcnn.ops.anchors import AnchorGenerator
from mrcnn.ops.boxes import box_area as area_of
from mrcnn.ops.boxes import decode_boxes, encode_boxes, iou
from mrcnn.ops.images import add_mean, subtract_mean
from mrcnn.ops.meta import parse_meta
from mrcnn.ops.space import CELL_CENTERS

apply_box_deltas = decode_boxes


def box_refinement(box, gt_box, xp=np):
    """Return the deltas from `box` to `gt_box`, see `encode_boxes`."""
    return encode_boxes(box, gt_box, xp)


def compute_iou(box, boxes, box_area, boxes_area):
    """Return the IoU `[n]` of one box `[(y1, x1, y2, x2)]` with boxes `[n, 4]`, given all areas."""
    return iou(np.asarray(box), np.asarray(boxes), box_area, boxes_area, np)


def non_max_suppression(boxes, scores, threshold):
    """Run greedy non-maximum suppression.

    Args:
        boxes: `[n, (y1, x1, y2, x2)]`, at least one.
        scores: `[n]`.
        threshold: IoU with a kept box of higher score above which a box is dropped.

    Returns:
        `[k]` int32, the kept indices by falling score.

    Raises:
        AssertionError: if there are no boxes.
    """
    boxes = np.asarray(boxes)
    assert len(boxes) > 0, "non_max_suppression needs at least one box; given were none."
    if boxes.dtype.kind != "f":
        boxes = boxes.astype(np.float32)
    areas, order, kept = area_of(boxes), np.argsort(scores)[::-1], []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        overlaps = compute_iou(boxes[best], boxes[rest], areas[best], areas[rest])
        order = rest[overlaps <= threshold]
    return np.array(kept, np.int32)


def norm_boxes(boxes, shape, xp=np):
    """Convert pixels to normalized coordinates: `(boxes - [0, 0, 1, 1]) / [h-1, w-1, h-1, w-1]`.

    Args:
        boxes: `[..., (y1, x1, y2, x2)]` in pixels, y2 and x2 exclusive.
        shape: `(height, width)` of the image in pixels; more entries are ignored.

    Returns:
        `[..., 4]` float32. The zeros of padding rows become small negative numbers.
    """
    return CELL_CENTERS.normalize(boxes, shape, xp)


def denorm_boxes(boxes, shape, xp=np):
    """Convert normalized coordinates to whole pixels, the inverse of `norm_boxes`.

    Returns:
        `[..., (y1, x1, y2, x2)]` int32, y2 and x2 exclusive, rounded half to even.
    """
    return CELL_CENTERS.to_pixels(boxes, shape, xp)


def generate_anchors(scales, ratios, shape, feature_stride, anchor_stride):
    """Return the anchors of one feature map, see `AnchorGenerator.level`.

    Args:
        scales: side or sides in pixels of the square with the anchor's area.
        ratios: width / height, one or many.
        shape: `(rows, columns)` of the feature map.
        feature_stride: pixels between neighbouring cells of the feature map.
        anchor_stride: cells between neighbouring anchors.

    Returns:
        `[anchors, (y1, x1, y2, x2)]` float64 in pixels.
    """
    return generate_pyramid_anchors([scales], ratios, [shape], [feature_stride], anchor_stride)


def generate_pyramid_anchors(scales, ratios, feature_shapes, feature_strides, anchor_stride):
    """Return the anchors of all levels of a pyramid, finest level first.

    `scales`, `feature_shapes` and `feature_strides` have one entry per level; the rest is as in
    `generate_anchors`.

    Raises:
        ValueError: if the three lists have different lengths.
    """
    lengths = len(scales), len(feature_shapes), len(feature_strides)
    if len(set(lengths)) > 1:
        raise ValueError(
            "Anchors need one scale, one shape and one stride per pyramid level; "
            "given were {} scales, {} shapes and {} strides.".format(*lengths)
        )
    sizes, ratios = list(map(np.atleast_1d, scales)), [np.atleast_1d(ratios)] * len(scales)
    return AnchorGenerator(sizes, ratios, feature_strides, anchor_stride).pyramid(feature_shapes)


def compute_backbone_shapes(config, image_shape):
    """Return the shapes of the pyramid levels that a Config's network makes of an image.

    Args:
        config: a `Config`.
        image_shape: `(height, width, ...)` in pixels.

    Returns:
        `[levels, (rows, columns)]` int64.
    """
    return config.recipe().anchors(config).shapes(image_shape)


def resize_image(
    image, min_dim=None, max_dim=None, min_scale=None, mode="square", padding=None, *, rng=random
):
    """Resize an image, see `mrcnn.ops.images.resize_image`, whose five results it returns.

    Args:
        padding: a bool, as in version 2.0 of the original, which had it in place of `min_scale`
            and `mode`. True centres the image on a black square of `max_dim`.

    Returns:
        With `padding`, four results: image, window, scale and padding.
    """
    if isinstance(min_scale, bool):
        min_scale, padding = None, min_scale
    if padding is None:
        return resizing.resize_image(image, min_dim, max_dim, min_scale, mode, rng=rng)
    if not padding:
        # Without a limit, as large as `min_dim` makes it.
        scale = max(1, (min_dim or 1) / min(image.shape[:2]))
        max_dim = max_dim or math.ceil(scale * max(image.shape[:2]))
    image, window, scale, widths, _ = resizing.resize_image(image, min_dim, max_dim)
    if not padding:
        y1, x1, y2, x2 = window
        image, window, widths = image[y1:y2, x1:x2], (0, 0, y2 - y1, x2 - x1), [(0, 0)] * 3
    return image, window, scale, widths


def mold_image(images, config):
    """Return `subtract_mean` with the Config's `MEAN_PIXEL` and `STD_PIXEL`."""
    return subtract_mean(np.asarray(images), config.MEAN_PIXEL, std_pixel=config.STD_PIXEL)


def unmold_image(normalized_images, config):
    """Return `add_mean` with the Config's `MEAN_PIXEL` and `STD_PIXEL`."""
    return add_mean(normalized_images, config.MEAN_PIXEL, config.STD_PIXEL)


def mold_mask(mask, config):
    """Do nothing, as in the original, which has the name without an implementation."""


def parse_image_meta(meta):
    """Split meta vectors as `parse_meta`, with `scale` as float32 and everything else as int32."""
    return {
        name: values.astype(np.float32 if name == "scale" else np.int32)
        for name, values in parse_meta(meta).items()
    }


def build_rpn_targets(image_shape, anchors, gt_class_ids, gt_boxes, config, rng=np.random):
    """Return the RPN's targets for given anchors, see `RPNTargets.of_anchors`.

    `image_shape` has no effect, as in the original.
    """
    targets = config.recipe().rpn_targets(config)
    return targets.of_anchors(anchors, gt_class_ids, gt_boxes, rng)
