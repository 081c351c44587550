"""Detections of two programs compared, as sets."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mrcnn.inference.molding import as_images, mold_one, photo_boxes, unmolder
from mrcnn.ops.boxes import compute_overlaps

# Limits within which an exported model agrees: pixels, probability, IoU of pasted masks, and
# difference of the values of small masks.
BOXES, SCORES, MASK_IOU, SMALL_MASKS = 0.5, 1e-3, 0.99, 1e-2

# Masks of few pixels may differ in this many.
_FEW = 2


@dataclass
class Differences:
    """Differences between detections, the largest ones over all matched pairs.

    Attributes:
        expected: number of detections of the reference.
        matched: number of pairs of one class, whose boxes overlap.
        missing, extra: numbers of detections of the reference and of the other program without a
            partner, those left out whose score is on the limit to be a detection at all.
        boxes: in pixels. Of boxes of whole pixels, only what rounding does not explain.
        scores: of probabilities.
        mask_iou: least IoU of pasted masks, of boxes as the other program has them; 1 if masks
            differ in two pixels or fewer. None for small masks.
        masks: largest difference between values of small masks; None for pasted masks.
    """

    expected: int = 0
    matched: int = 0
    missing: int = 0
    extra: int = 0
    boxes: float = 0.0
    scores: float = 0.0
    mask_iou: float | None = None
    masks: float | None = None

    def agree(self):
        """Return whether all differences are within the limits of this module."""
        # A pair of boxes at the very threshold of non-maximum suppression may fall either way.
        few = self.expected // 50
        return (
            max(self.missing, self.extra) <= few
            and self.boxes <= BOXES
            and self.scores <= SCORES
            and (self.mask_iou is None or self.mask_iou >= MASK_IOU)
            and (self.masks is None or self.masks <= SMALL_MASKS)
        )

    def __str__(self):
        masks = "no masks" if self.mask_iou is None else f"least mask IoU {self.mask_iou:.4f}"
        masks = masks if self.masks is None else f"mask values {self.masks:.2g}"
        return (
            f"{self.matched} of {self.expected} detections matched, {self.extra} more; "
            f"largest differences: boxes {self.boxes:.2g} pixels, scores {self.scores:.2g}, {masks}"
        )

    def merge(self, other):
        """Return the differences of this photo and of another one together."""
        counts = ("expected", "matched", "missing", "extra")
        merged = {name: getattr(self, name) + getattr(other, name) for name in counts}
        for name, worst in (("boxes", max), ("scores", max), ("mask_iou", min), ("masks", max)):
            values = [v for v in (getattr(self, name), getattr(other, name)) if v is not None]
            merged[name] = worst(values, default=None)
        return Differences(**merged)


def reference(detector, photo, config):
    """Return what the Keras model finds in a photo, before boxes are rounded and masks pasted.

    Args:
        detector: a `Detector`.
        photo: `[height, width, channels]` uint8.
        config: its `Config`.

    Returns:
        A dict of "boxes" `[n, (y1, x1, y2, x2)]` float64 in pixels of the photo, "class_ids" `[n]`,
        "scores" `[n]` and small "masks" `[n, h, w]`.
    """
    (image,) = as_images([photo], int(config.IMAGE_SHAPE[2]))
    molded, meta, window = mold_one(image, config)
    detections, masks, _ = detector(molded[None], meta[None])
    shapes = image.shape, molded.shape, window
    count = int(np.argmin(np.append(detections[0, :, 4] > 0, False)))
    detections, masks = detections[0, :count], masks[0, :count]
    whole, shapes = rounds(config), (image.shape, molded.shape, window)
    boxes = photo_boxes(detections[:, :4], *shapes, config.recipe().SPACE, whole)
    keep = _has_area(np.round(boxes) if whole else boxes.astype(np.float32))
    return {
        "boxes": boxes[keep],
        "class_ids": detections[keep, 4].astype(np.int32),
        "scores": detections[keep, 5],
        "masks": masks[keep],
    }


def rounds(config):
    """Return whether boxes are rounded to whole pixels; see `mrcnn.inference.molding.unmolder`."""
    return getattr(config, "MASK_PASTE", None) is None


def _has_area(boxes):
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)


def compare(found, expected, config, photo_shape):
    """Compare the detections of another program with those of `reference`.

    Args:
        found: a dict of "boxes" `[n, 4]` in pixels, "class_ids", "scores" and "masks", pasted `[n,
            height, width]` bool or small `[n, h, w]` float; rows of class 0 are padding.
        expected: of `reference`.
        config: the `Config` of both.
        photo_shape: `(height, width)` in pixels.

    Returns:
        `Differences`.
    """
    found = {name: np.asarray(found[name])[np.asarray(found["class_ids"]) > 0] for name in found}
    ours, theirs = _pairs(expected, found)
    result = Differences(len(expected["boxes"]), len(ours))
    result.missing, result.extra = (
        _clear(rows, paired, config) for rows, paired in ((expected, ours), (found, theirs))
    )
    is_small = found["masks"].dtype.kind == "f"
    if not len(ours):
        return result
    boxes = abs(found["boxes"][theirs] - expected["boxes"][ours])
    # Half a pixel more or less may be rounding to a whole number.
    result.boxes = float((boxes - 0.5 * rounds(config)).max().clip(0))
    result.scores = float(abs(found["scores"][theirs] - expected["scores"][ours]).max())
    masks = found["masks"][theirs]
    if is_small:
        result.masks = float(abs(masks - expected["masks"][ours]).max())
        return result
    paste = unmolder(config).keywords["paste"]
    boxes = found["boxes"][theirs]
    boxes = np.round(boxes).astype(np.int32) if rounds(config) else boxes
    pairs = zip(masks, expected["masks"][ours], boxes, strict=True)
    result.mask_iou = min(
        _mask_iou(mask, paste(small[None], box[None], photo_shape)[..., 0])
        for mask, small, box in pairs
    )
    return result


def _pairs(expected, found):
    """Return the rows of both that are the same detection: of one class, and boxes that overlap."""
    if not len(expected["boxes"]) or not len(found["boxes"]):
        return np.zeros((2, 0), np.int64)
    # Of a box of few pixels a small difference is all of it.
    apart = abs(expected["boxes"][:, None] - found["boxes"][None]).max(axis=-1)
    overlaps = compute_overlaps(expected["boxes"], found["boxes"])
    close = np.maximum(overlaps, 1.0 - apart / 4.0)
    close -= abs(expected["scores"][:, None] - found["scores"][None])
    close[expected["class_ids"][:, None] != found["class_ids"][None]] = -1.0
    rows, columns = linear_sum_assignment(-close)
    same = close[rows, columns] > 0.5
    return rows[same], columns[same]


def _clear(rows, paired, config):
    """Return the number of detections without a partner whose score is not just on the limit."""
    scores = np.delete(rows["scores"], paired)
    limit = config.DETECTION_MIN_CONFIDENCE or 0
    # With as many as there may be, the last one is a limit too.
    if len(rows["scores"]) >= config.DETECTION_MAX_INSTANCES:
        limit = max(limit, rows["scores"].min())
    return int((scores > limit + SCORES).sum())


def _mask_iou(first, second):
    if np.count_nonzero(first != second) <= _FEW:
        return 1.0
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)
