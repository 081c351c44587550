"""One image with its objects, at the size that the network takes."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np

from mrcnn.data.augment import augment_sample
from mrcnn.data.checks import check_prepared, describe_image, load_image, load_instances
from mrcnn.data.molding import resize_photo
from mrcnn.ops.masks import extract_bboxes, minimize_mask, resize_mask
from mrcnn.ops.meta import compose_image_meta
from mrcnn.ops.scaling import pad_sides, resample_masks


class Sample(NamedTuple):
    """One image and its instances, as training takes them.

    Attributes:
        image: `[height, width, channels]`, in the type that `load_image` gave, usually uint8.
        meta: `[12 + NUM_CLASSES]` float64, see `compose_image_meta`.
        class_ids: `[instances]` int32, negative for crowds.
        boxes: `[instances, (y1, x1, y2, x2)]` in pixels: int32 boxes of the masks, or float32
            boxes of `Dataset.load_boxes`, cut at the border of the photo.
        masks: `[height, width, instances]` bool, or `[mini_height, mini_width, instances]`.
        keypoints: `[instances, keypoints, (y, x, visibility)]` float32 in pixels, zeros for points
            that are unlabelled or outside the image; None without `Dataset.load_keypoints`.
    """

    image: np.ndarray
    meta: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray | None = None

    def select(self, kept: np.ndarray) -> Sample:
        """Keep some of the instances, by their indices or as `[instances]` bool."""
        return self._replace(
            class_ids=self.class_ids[kept],
            boxes=self.boxes[kept],
            masks=self.masks[..., kept],
            keypoints=None if self.keypoints is None else self.keypoints[kept],
        )


def load_sample(
    dataset: Any,
    config: Any,
    image_id: int,
    *,
    augmentation: Any = None,
    flip_half: bool = False,
    use_mini_mask: bool = False,
    rng: np.random.Generator | None = None,
) -> Sample:
    """Load an image and its ground truth, resized as the configuration says.

    Instances without a pixel left in the image, or without an area left of their box, are dropped.

    Args:
        dataset: a prepared `Dataset`.
        config: read are the IMAGE_ settings, NUM_CLASSES and MINI_MASK_SHAPE.
        image_id: one of `dataset.image_ids`.
        augmentation: see `augment_sample`. It works on the resized image; if it changes the size,
            the result is resized again. Boxes are then those of the transformed masks.
        flip_half: flip half of the images left to right, as the original's `augment`.
        use_mini_mask: return masks cut to their boxes and resized to MINI_MASK_SHAPE. Boxes of
            `load_boxes` are then rounded to whole pixels.
        rng: source of all random numbers; by default they come from Python's `random` (`flip_half`
            and `resize_photo`) and from the augmentation.

    Raises:
        ValueError: names the image, if it and its masks do not fit each other or the configuration,
            or if keypoints would need augmentation.
    """
    check_prepared(dataset, config.NUM_CLASSES)
    image = load_image(dataset, image_id, config.IMAGE_CHANNEL_COUNT)
    masks, class_ids = load_instances(dataset, image_id, image.shape)
    boxes = _load_rows(dataset, "load_boxes", image_id, (len(class_ids), 4))
    keypoints = _load_rows(dataset, "load_keypoints", image_id, (len(class_ids), None, 3))
    moved = bool(augmentation or flip_half)
    if moved and keypoints is not None:
        raise ValueError(
            f"{describe_image(dataset, image_id)}: load_keypoints() returned keypoints, which an "
            "augmentation cannot move; train without augmentation."
        )
    original_shape = image.shape
    image, masks, window, scale, offset = _resize(image, masks, config, rng)
    pads = config.IMAGE_RESIZE_MODE == "pad32"
    factor = np.divide(window[2:], original_shape[:2]) if pads else scale
    if pads and moved:
        # The padding must stay below and at the right.
        image, masks = (array[: window[2], : window[3]] for array in (image, masks))

    if flip_half and (random.randint(0, 1) if rng is None else rng.integers(2)):
        image, masks = image[:, ::-1], masks[:, ::-1]
    if augmentation:
        shape = image.shape
        image, masks = augment_sample(image, masks, augmentation, rng)
        if image.shape != shape:
            image, masks, window, rescale, _ = _resize(image, masks, config, rng)
            scale = scale * rescale
    if pads:
        image, masks = pad_sides(image), pad_sides(masks)

    found = extract_bboxes(masks)
    visible = found[:, 2] > 0
    if boxes is None or moved:
        boxes = found
    else:
        boxes = _move_boxes(boxes, factor, offset, window)
        boxes = np.rint(boxes).astype(np.int32) if use_mini_mask else boxes
        visible &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    if keypoints is not None:
        keypoints = _move_keypoints(keypoints, factor, offset, window)
    active = active_class_ids(dataset, image_id)
    meta = compose_image_meta(image_id, original_shape, image.shape, window, scale, active)
    sample = Sample(image, meta, class_ids, boxes, masks, keypoints)
    if not visible.all():
        sample = sample.select(visible)
    if use_mini_mask:
        mini_shape = tuple(config.MINI_MASK_SHAPE)
        sample = sample._replace(masks=minimize_mask(sample.boxes, sample.masks, mini_shape))
    return sample


def _load_rows(dataset, method, image_id, shape):
    """Return the result of `load_boxes` or `load_keypoints` as float32, checked against `shape`."""
    rows = getattr(dataset, method)(image_id)
    if rows is None:
        return None
    rows = np.asarray(rows, np.float32)
    if shape[0] == 0 and rows.size == 0:
        return rows.reshape([size or 0 for size in shape])
    ends = rows.ndim == len(shape) and (rows.shape[0], rows.shape[-1]) == (shape[0], shape[-1])
    if not (ends and np.isfinite(rows).all()):
        columns = "(y1, x1, y2, x2)" if shape[-1] == 4 else "keypoints, (y, x, visibility)"
        raise ValueError(
            f"{describe_image(dataset, image_id)}: {method}() returned an array of shape "
            f"{rows.shape}; expected are finite numbers [instances, {columns}] for {shape[0]} "
            "instances."
        )
    return rows


def active_class_ids(dataset: Any, image_id: int) -> np.ndarray:
    """Flag the background and the classes that the source of an image has.

    Datasets may mix sources; an image says nothing about classes that its source does not label.

    Returns:
        `[num_classes]` int32, 1 or 0.

    Raises:
        ValueError: if the source has no classes; names the image.
    """
    source = dataset.image_info[image_id]["source"]
    if source not in dataset.source_class_ids:
        raise ValueError(
            f"{describe_image(dataset, image_id)} is from source {source!r}, which has no classes; "
            f"classes were added for {', '.join(map(repr, filter(None, dataset.sources)))}."
        )
    active = np.zeros(dataset.num_classes, np.int32)
    active[dataset.source_class_ids[source]] = 1
    return active


def _resize(image, masks, config, rng):
    """Resize by the configuration; return image, masks, window, scale and `(y, x)` offset."""
    draws = config.IMAGE_RESIZE_MODE == "crop" or np.ndim(config.IMAGE_MIN_DIM)
    rng = random.Random(int(rng.integers(2**63))) if draws and rng is not None else random
    image, window, scale, padding, crop = resize_photo(image, config, rng)
    if config.IMAGE_RESIZE_MODE == "pad32":
        return image, pad_sides(resample_masks(masks, window[2:])), window, scale, (0, 0)
    # An image of the right size leaves nothing to do, not even a copy.
    if scale != 1 or crop is not None or np.any(padding):
        masks = resize_mask(masks, scale, padding, crop)
    offset = window[:2] if crop is None else (-crop[0], -crop[1])
    return image, masks, window, scale, offset


def _move_boxes(boxes, factor, offset, window):
    """Move boxes of the photo to the resized image, cut at the border of the photo in it."""
    y1, x1, y2, x2 = window
    boxes = boxes * np.resize(np.float32(factor), 4) + np.tile(np.float32(offset), 2)
    return boxes.clip([y1, x1, y1, x1], [y2, x2, y2, x2], dtype=np.float32)


def _move_keypoints(keypoints, factor, offset, window):
    """Move keypoints of the photo to the resized image; zeros for those outside of it."""
    points = keypoints[..., :2] * np.float32(factor) + np.float32(offset)
    inside = ((points >= window[:2]) & (points <= window[2:])).all(axis=-1)
    labelled = inside & (keypoints[..., 2] > 0)
    moved = np.concatenate([points, keypoints[..., 2:]], axis=-1)
    return moved * labelled[..., np.newaxis]
