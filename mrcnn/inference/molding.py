"""Conversion of photos to inputs of the graph, and of its outputs to pixels of the photos."""

import numpy as np

from mrcnn.ops.images import resize_image, subtract_mean
from mrcnn.ops.masks import paste_masks
from mrcnn.ops.meta import compose_image_meta
from mrcnn.ops.pixels import as_image, check_sides


def as_images(images, channels):
    """Convert each image of a list, see `mrcnn.ops.pixels.as_image`.

    Raises:
        ValueError: if `images` is one image instead of a list; see also `as_image`.
    """
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        raise ValueError(
            f"images is one array of shape {images.shape}; it must be a list of images, [image] "
            "for one."
        )
    return [as_image(image, f"Image {index}", channels) for index, image in enumerate(images)]


def mold_one(image, config, index=0):
    """Resize one image for the graph.

    Returns:
        The molded image `[height, width, channels]` float32, its meta vector, and its window
        `(y1, x1, y2, x2)` in pixels of the molded image.

    Raises:
        ValueError: if the resize mode is for training only, or leaves sides that do not fit the
            feature pyramid; names the image by its place `index` in the list.
    """
    if config.IMAGE_RESIZE_MODE == "crop":
        raise ValueError(
            'IMAGE_RESIZE_MODE is "crop", which keeps a random part of an image and is for '
            'training; detect with "square" or "pad64".'
        )
    molded, window, scale, _, _ = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
        canvas=tuple(map(int, config.IMAGE_SHAPE[:2])),
    )
    check_sides(molded.shape, config.BACKBONE_STRIDES, f"Image {index}")
    meta = compose_image_meta(
        0, image.shape, molded.shape, window, scale, np.zeros(config.NUM_CLASSES, np.int32)
    )
    return subtract_mean(molded, config.MEAN_PIXEL).astype(np.float32), meta, window


def mold_inputs(images, config):
    """Prepare images of one molded shape; see `MaskRCNN.mold_inputs`."""
    images = as_images(images, int(config.IMAGE_SHAPE[2]))
    molded = [mold_one(image, config, i) for i, image in enumerate(images)]
    shapes = sorted({row[0].shape for row in molded})
    if len(shapes) != 1:
        raise ValueError(
            f"mold_inputs got {len(images)} images of {len(shapes)} molded shapes {shapes}; "
            "one batch has one shape. detect() takes images of any sizes."
        )
    return tuple(np.stack(column) for column in zip(*molded, strict=True))


def normalized_anchors(config, image_shape):
    """Return the anchors of an image shape: float64 pixels and float32 normalized, `[A, 4]`.

    Raises:
        ValueError: see `check_sides`.
    """
    check_sides(image_shape, config.BACKBONE_STRIDES, "The molded image")
    recipe = config.recipe()
    anchors = recipe.anchors(config).of_image(image_shape)
    return anchors, recipe.SPACE.normalize(anchors, image_shape)


def unmold(detections, masks, original_shape, molded_shape, window, space, paste=paste_masks):
    """Convert detections of a molded image to boxes and masks of the original one.

    Args:
        detections: `[n, (y1, x1, y2, x2, class_id, score)]`, normalized, zero padded.
        masks: `[n, h, w]` float, 0 to 1, of the predicted classes.
        original_shape, molded_shape: `(height, width, channels)` in pixels.
        window: `(y1, x1, y2, x2)` of the original within the molded image, in its pixels.
        space: `BoxSpace` of the detections.
        paste: `paste_masks`, or `mrcnn.ops.rle.paste_rles`.

    Returns:
        boxes int32 `[k, (y1, x1, y2, x2)]` in pixels of the original, class ids int32 `[k]`, scores
        float32 `[k]`, and masks bool `[height, width, k]`, or RLEs. Boxes without area are dropped.
    """
    count = int(np.argmin(np.append(detections[:, 4] > 0, False)))
    detections, masks = detections[:count], masks[:count]
    window = space.normalize(window, molded_shape)
    corner, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    boxes = space.to_pixels((detections[:, :4] - corner) / size, original_shape)
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, detections, masks = boxes[keep], detections[keep], masks[keep]
    pasted = paste(masks, boxes, original_shape)
    return boxes, detections[:, 4].astype(np.int32), detections[:, 5], pasted
