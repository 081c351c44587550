"""Conversion of photos to the inputs of the graph, and of its outputs to pixels of the photo."""

import numpy as np

from mrcnn.ops.images import resize_image, subtract_mean
from mrcnn.ops.masks import paste_masks
from mrcnn.ops.meta import compose_image_meta
from mrcnn.ops.space import CELL_CENTERS


def as_images(images, channels):
    """Convert each image of a list with `as_image`.

    Raises:
        ValueError: if it is an image instead of a list; see also `as_image`.
    """
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        raise ValueError(
            f"images is one array of shape {images.shape}; it has to be a list of images, so for "
            "one image [image]."
        )
    return [as_image(image, channels, index) for index, image in enumerate(images)]


def as_image(image, channels, index):
    """Convert an image to `[height, width, channels]` uint8.

    Grey images (2-D, or with one channel) are repeated, the fourth channel of RGBA is dropped, and
    floats from 0 to 1 are scaled to 0 to 255. Models with other than three channels take arrays
    with exactly theirs, of any number type.

    Raises:
        ValueError: names the image by its place in the list.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"Image {index} has shape {image.shape}; accepted are [height, width], "
            "[height, width, 1], [height, width, 3] and [height, width, 4]."
        )
    if channels == 3 and image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if channels == 3 and image.shape[2] == 4:
        image = image[..., :3]
    if image.shape[2] != channels:
        raise ValueError(
            f"Image {index} has {image.shape[2]} channels; this model takes {channels} "
            "(IMAGE_CHANNEL_COUNT)."
        )
    if channels != 3 or image.dtype == np.uint8:
        return image
    return _to_uint8(image, index)


def _to_uint8(image, index):
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    if image.dtype == np.uint16:
        return np.round(image / 257).astype(np.uint8)
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all() or low < 0 or high > 255:
        raise ValueError(
            f"Image {index} is {image.dtype} with values from {low:g} to {high:g}; accepted are "
            "uint8, uint16, floats from 0 to 1, and numbers from 0 to 255."
        )
    if image.dtype.kind == "f" and high <= 1.0:
        image = image * 255.0
    return np.round(image).astype(np.uint8)


def mold_one(image, config, index=0):
    """Resize one image for the graph.

    Returns:
        The molded image `[height, width, channels]` float32, its meta vector, and its window
        `(y1, x1, y2, x2)` in pixels of the molded image.

    Raises:
        ValueError: if the resize mode is for training only, or leaves sides that the feature
            pyramid cannot take; names the image by its place `index` in the list.
    """
    if config.IMAGE_RESIZE_MODE == "crop":
        raise ValueError(
            'IMAGE_RESIZE_MODE is "crop", which sees a random part of an image only and is for '
            'training; detect with "square" or "pad64".'
        )
    molded, window, scale, _, _ = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
    )
    _check_sides(molded.shape, f"Image {index} became")
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


def _check_sides(shape, what):
    if shape[0] % 64 or shape[1] % 64:
        raise ValueError(
            f"{what} {shape[0]} x {shape[1]} pixels; both sides have to be divisible by 64. Set "
            'IMAGE_MIN_DIM and IMAGE_MAX_DIM so, or use IMAGE_RESIZE_MODE = "pad64".'
        )


def normalized_anchors(config, image_shape):
    """Return the anchors of an image shape: float64 pixels and float32 normalized, `[A, 4]`.

    Raises:
        ValueError: if a side is not divisible by 64, which the feature pyramid needs.
    """
    _check_sides(image_shape, "The molded image is")
    recipe = config.recipe()
    anchors = recipe.anchors(config).of_image(image_shape)
    return anchors, recipe.SPACE.normalize(anchors, image_shape)


def unmold(
    detections, masks, original_shape, molded_shape, window, paste=paste_masks, space=CELL_CENTERS
):
    """Convert detections of a molded image to boxes and masks of the original one.

    Args:
        detections: `[n, (y1, x1, y2, x2, class_id, score)]`, normalized, zero padded at the end.
        masks: `[n, h, w]` float, 0 to 1, of the predicted classes.
        original_shape, molded_shape: `(height, width, channels)` in pixels.
        window: `(y1, x1, y2, x2)` in pixels of the molded image, where the original lies in it.
        paste: `paste_masks`, or `mrcnn.ops.rle.paste_rles`.
        space: `BoxSpace` of the detections.

    Returns:
        boxes int32 `[k, (y1, x1, y2, x2)]` in pixels of the original, class ids int32 `[k]`, scores
        float32 `[k]`, and masks as `paste` makes them, bool `[height, width, k]`. Boxes without
        area are left out.
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
