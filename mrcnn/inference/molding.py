"""Conversion of photos to inputs of the graph, and of its outputs to pixels of the photos."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from mrcnn.data.molding import mold_photo, side_divisors
from mrcnn.data.photos import read_image
from mrcnn.ops.masks import paste_masks
from mrcnn.ops.meta import compose_image_meta
from mrcnn.ops.paste import paste_exact, paste_expanded
from mrcnn.ops.pixels import as_image, check_sides
from mrcnn.ops.rle import paste_rles

# By MASK_PASTE.
_PASTE = {None: paste_masks, "expand": paste_expanded, "exact": paste_exact}

_PATHS = (str, os.PathLike)


def read_images(images):
    """Return the arrays of `read_photos`."""
    return read_photos(images)[0]


def read_photos(images, read=read_image):
    """Return the images of a list as arrays, those given by their paths read from the files.

    Args:
        images: list of arrays and paths.
        read: function from a path to an array.

    Returns:
        The arrays, and the list of the paths as str, None where an array was given.

    Raises:
        ValueError: if `images` is one image instead of a list, or names what is no image in it.
        FileNotFoundError, OSError: if an image file is missing or damaged.
    """
    is_one = isinstance(images, _PATHS) or len(getattr(images, "shape", (1,))) in (2, 3)
    if is_one or not isinstance(images, Iterable) or isinstance(images, Mapping):
        shape = getattr(images, "shape", None)
        given = repr(images) if isinstance(images, _PATHS) else f"one {type(images).__name__}"
        raise ValueError(
            f"images is {given if shape is None else f'one array of shape {tuple(shape)}'}; it "
            "must be a list of images, [image] for one."
        )
    images = list(images)
    arrays = [_as_array(image, f"Image {index}", read) for index, image in enumerate(images)]
    return arrays, [os.fspath(image) if isinstance(image, _PATHS) else None for image in images]


def _as_array(image, name, read):
    if isinstance(image, _PATHS):
        try:
            return read(image)
        except FileNotFoundError:
            raise FileNotFoundError(f'{name}: there is no file "{image}".') from None
    array = None
    # Nested lists of unequal lengths make no array.
    with contextlib.suppress(ValueError, TypeError):
        array = np.asarray(image)
    if array is None or array.dtype.kind not in "buif":
        given = "None" if image is None else f"a {type(image).__name__}"
        if array is not None and array.ndim:
            given = f"an array of {array.dtype}"
        hint = ", which is what cv2.imread returns for a file that it cannot read"
        raise ValueError(
            f"{name} is {given}{hint if image is None else ''}; accepted are arrays "
            "[height, width, channels] of numbers, and paths of image files."
        )
    return array


def without_mean(images, config):
    """Undo `mold_image` where a script has applied it: `detect` molds images itself.

    An RGB image counts as molded if it has fractions or negative values, some outside 0 to 1, and
    if adding the mean colour makes whole numbers from 0 to 255 of all of them.

    Args:
        images: list of arrays.
        config: a `Config`.

    Returns:
        The list, with molded images as uint8 again.
    """
    mean, std = (np.asarray(v, np.float64) for v in (config.MEAN_PIXEL, config.STD_PIXEL))
    restored = [_restore(image, mean, std) for image in images]
    if any(image is not None for image in restored):
        warnings.warn(
            "detect() got an image from mold_image(), and added the mean colour back, because it "
            "molds images itself. Write model.detect([image]) with the image as it was loaded.",
            stacklevel=3,
        )
    pairs = zip(images, restored, strict=True)
    return [image if original is None else original for image, original in pairs]


def _restore(image, mean, std):
    """Return the uint8 image that `mold_image` was applied to, or None."""
    if image.dtype.kind != "f" or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        return None
    # One row tells most other images apart.
    for part in (image[:1], image):
        pixels = part * std + mean
        whole = np.round(pixels)
        # Molded images may have passed through float32. NaN compares as false.
        if not (abs(pixels - whole).max() < 1e-3 and whole.min() >= 0 and whole.max() <= 255):
            return None
    low, high = image.min(), image.max()
    is_plain = low >= 0 and (high <= 1 or (image == np.round(image)).all())
    return None if is_plain else whole.astype(np.uint8)


def as_images(images, channels):
    """Convert each image of a list, see `read_images` and `mrcnn.ops.pixels.as_image`.

    Raises:
        ValueError, FileNotFoundError, OSError: see there.
    """
    return [
        as_image(image, f"Image {index}", channels)
        for index, image in enumerate(read_images(images))
    ]


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
    molded, window, scale = mold_photo(image, config)
    check_sides(molded.shape, side_divisors(config), f"Image {index}")
    meta = compose_image_meta(
        0, image.shape, molded.shape, window, scale, np.zeros(config.NUM_CLASSES, np.int32)
    )
    return molded, meta, window


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
    check_sides(image_shape, side_divisors(config), "The molded image")
    recipe = config.recipe()
    anchors = recipe.anchors(config).of_image(image_shape)
    return anchors, recipe.SPACE.normalize(anchors, image_shape)


def unmold(
    detections,
    masks,
    original_shape,
    molded_shape,
    window,
    space,
    paste=paste_masks,
    whole_pixels=True,
):
    """Convert detections of a molded image to boxes and masks of the original one.

    Args:
        detections: `[n, (y1, x1, y2, x2, class_id, score)]`, normalized, zero padded.
        masks: `[n, h, w]` float, 0 to 1, of the predicted classes.
        original_shape, molded_shape: `(height, width, channels)` in pixels.
        window: `(y1, x1, y2, x2)` of the original within the molded image, in its pixels.
        space: `BoxSpace` of the detections.
        paste: `paste_masks`, `mrcnn.ops.rle.paste_rles`, or one of `mrcnn.ops.paste`.
        whole_pixels: round boxes to whole pixels; else they are cut at the border of the original.

    Returns:
        boxes int32, or float32 without `whole_pixels`, `[k, (y1, x1, y2, x2)]` in pixels of the
        original, class ids int32 `[k]`, scores float32 `[k]`, and masks bool `[height, width, k]`,
        or RLEs. Boxes without area are dropped.
    """
    count = int(np.argmin(np.append(detections[:, 4] > 0, False)))
    detections, masks = detections[:count], masks[:count]
    boxes = photo_boxes(
        detections[:, :4], original_shape, molded_shape, window, space, whole_pixels
    )
    boxes = np.round(boxes).astype(np.int32) if whole_pixels else boxes.astype(np.float32)
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, detections, masks = boxes[keep], detections[keep], masks[keep]
    pasted = paste(masks, boxes, original_shape)
    return boxes, detections[:, 4].astype(np.int32), detections[:, 5], pasted


def photo_boxes(boxes, original_shape, molded_shape, window, space, whole_pixels=True):
    """Return boxes `[n, 4]` of a molded image in pixels of the original, float64, not rounded.

    The arguments are those of `unmold`. Boxes that will not be rounded are cut at the border.
    """
    if whole_pixels:
        window = space.normalize(window, molded_shape)
        corner, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
        return space.denormalize((boxes - corner) / size, original_shape)
    window, limits = np.asarray(window, np.float64), np.tile(original_shape[:2], 2)
    boxes = space.denormalize(boxes, molded_shape) - np.tile(window[:2], 2)
    return (boxes * (limits / np.tile(window[2:] - window[:2], 2))).clip(0, limits)


def check_format(mask_format):
    """Raise ValueError for an unknown `mask_format`."""
    if mask_format not in ("full", "rle"):
        raise ValueError(f'mask_format is "{mask_format}"; accepted are "full" and "rle".')


def unmolder(config, mask_format="full"):
    """Return `unmold` with the boxes and masks of a Config's recipe.

    Boxes are rounded to whole pixels where there is no MASK_PASTE.

    Args:
        config: read are RECIPE and MASK_PASTE, if it has that.
        mask_format: "full" for `[height, width, n]` bool, "rle" for a list of COCO RLEs.

    Returns:
        A function of the first five arguments of `unmold`.

    Raises:
        ValueError: for another `mask_format`.
    """
    check_format(mask_format)
    way = getattr(config, "MASK_PASTE", None)
    paste = _PASTE[way]
    if mask_format == "rle":
        paste = partial(paste_rles, paste=paste)
    return partial(unmold, space=config.recipe().SPACE, paste=paste, whole_pixels=way is None)
