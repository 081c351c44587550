"""Masks that the mask head learns: those of the ground truth, cropped to RoIs and resized.

B images, R RoIs per image, G instances per image. Boxes are (y1, x1, y2, x2). Masks of the ground
truth are `[B, h, w, G]`; mini-masks cover the box of their instance, others the whole image.
"""

import keras
import tensorflow as tf

from mrcnn.ops.space import CELL_CENTERS, BoxSpace


def cropped_masks(rois, boxes, matches, gt_masks, mask_shape, mini_masks, box_shift):
    """Return one bilinear sample per pixel of the target, rounded, as the original.

    Args:
        rois: `[B, R, 4]`, normalized.
        boxes: `[B, R, 4]`, normalized: the box of the instance of each RoI.
        matches: int32 `[B, R]`, the index of this instance.
        gt_masks: `[B, h, w, G]`, 0 or 1.
        mask_shape: `(height, width)` of the result.
        mini_masks: whether masks cover the box of their instance.
        box_shift: see `BoxSpace`.

    Returns:
        `[B, R, *mask_shape]` float32, 0 or 1.
    """
    shape = tf.shape(gt_masks)
    if mini_masks:
        rois = _in_units_of(boxes, rois)
    else:
        # Crops are placed by the centres of the outermost pixels.
        rois = BoxSpace(box_shift).convert(rois, shape[1:3], CELL_CENTERS, xp=keras.ops)
    # Integers, because whole-image masks of a hundred instances are large.
    masks = tf.reshape(_instances_first(gt_masks), [-1, shape[1], shape[2], 1])
    crops = tf.image.crop_and_resize(
        masks, tf.reshape(rois, [-1, 4]), _flat_index(matches, shape), mask_shape
    )
    # Targets are 0 or 1, as in the original, so that the loss is a binary cross-entropy.
    return tf.round(tf.reshape(crops, [*tf.unstack(tf.shape(matches)), *mask_shape]))


def aligned_masks(
    rois, boxes, matches, keep, gt_masks, mask_shape, mini_masks, box_shift, half_pixel, threshold
):
    """Return RoIAlign of the masks, about one bilinear sample for each of their pixels.

    With masks of the whole image these are the targets of torchvision (`half_pixel` False, no
    threshold) or of Detectron2 (`half_pixel` True, threshold 0.5). Mini-masks have pixels of
    another size than the image's, so `half_pixel` has no effect on them: the centre of the first is
    at 0.5, and all around them is 0.

    Args:
        rois, boxes, matches, gt_masks, mask_shape, mini_masks, box_shift: see `cropped_masks`.
        keep: bool `[B, R]`; the others get masks of zeros.
        half_pixel: whether the centre of an image's first pixel is at 0.5, else at 0, and RoIs have
            a pixel at least.
        threshold: value from which a target is 1, else 0; None for targets from 0 to 1.

    Returns:
        `[B, R, *mask_shape]` float32, 0 to 1.
    """
    shape = tf.shape(gt_masks)
    masks = tf.reshape(_instances_first(gt_masks), [-1, shape[1], shape[2]])
    size = tf.cast(shape[1:3], tf.float32)
    if mini_masks:
        rois = _in_units_of(boxes, rois) * tf.tile(size, [2]) + 1.0
        masks, size = tf.pad(masks, [[0, 0], [1, 1], [1, 1]]), size + 2.0
        half_pixel = True
    else:
        rois = BoxSpace(box_shift).denormalize(rois, shape[1:3], xp=keras.ops)
    rois = tf.boolean_mask(rois, keep)
    index = tf.boolean_mask(_flat_index(matches, shape), tf.reshape(keep, [-1]))
    # A bilinear sample is a sum over rows of sums over columns, and so is a mean of samples.
    rows, columns = (
        bin_weights(rois[:, axis], rois[:, axis + 2], mask_shape[axis], size[axis], half_pixel)
        for axis in (0, 1)
    )

    def resample(index, rows, columns):
        mask = tf.cast(tf.gather(masks, index), tf.float32)
        return tf.matmul(tf.matmul(rows, mask), columns, transpose_b=True)

    if mini_masks:
        targets = resample(index, rows, columns)
    else:
        # One by one: float32 masks of the whole image for all RoIs together would take gigabytes.
        spec = tf.TensorSpec(mask_shape, tf.float32)
        targets = tf.map_fn(
            lambda x: resample(*x), (index, rows, columns), fn_output_signature=spec
        )
    if threshold is not None:
        targets = tf.cast(targets >= threshold, tf.float32)
    shape = tf.concat([tf.shape(keep), mask_shape], axis=0)
    return tf.scatter_nd(tf.cast(tf.where(keep), tf.int32), targets, shape)


def bin_weights(start, end, bins, size, half_pixel):
    """Return the weights of an axis' pixels in the bins of RoIAlign.

    Each bin is the mean of `ceil((end - start) / bins)` bilinear samples at equal distances. Those
    more than one pixel outside the axis are 0; nearer ones have the value of the outermost pixel.

    Args:
        start, end: `[n]` float32, in pixels.
        bins: whole number.
        size: number of pixels on the axis, a scalar float32.
        half_pixel: see `aligned_masks`.

    Returns:
        `[n, bins, size]` float32.
    """
    if half_pixel:
        start, end = start - 0.5, end - 0.5
    length = end - start if half_pixel else tf.maximum(end - start, 1.0)
    step = length / bins
    # Less a little: rounding in coordinates of 56 pixels must not give 28 bins a third sample.
    samples = tf.math.ceil(step - 1e-4)
    most = tf.maximum(tf.reduce_max(samples), 1.0)
    inside = (tf.range(most) + 0.5) / samples[:, None, None]
    at = start[:, None, None] + (tf.range(float(bins))[:, None] + inside) * step[:, None, None]
    counts = (tf.range(most) < samples[:, None, None]) & (at >= -1.0) & (at <= size)
    weight = tf.where(counts, 1.0 / samples[:, None, None], 0.0)
    at = tf.clip_by_value(tf.where(counts, at, 0.0), 0.0, size - 1.0)
    below = tf.floor(at)
    part = at - below
    pixels = tf.cast(tf.stack([below, tf.minimum(below + 1.0, size - 1.0)]), tf.int32)
    weights = tf.stack([weight * (1.0 - part), weight * part])
    # Samples that share a pixel add up.
    bins_before = tf.reshape(tf.range(tf.size(start) * bins), [-1, bins, 1])
    pixels += bins_before * tf.cast(size, tf.int32)
    flat = tf.math.unsorted_segment_sum(
        tf.reshape(weights, [-1]),
        tf.reshape(pixels, [-1]),
        tf.size(start) * bins * tf.cast(size, tf.int32),
    )
    return tf.reshape(flat, [-1, bins, tf.cast(size, tf.int32)])


def _in_units_of(boxes, rois):
    """Return RoIs in units of the boxes: mini-masks cover the box of their instance."""
    corner, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    return tf.math.divide_no_nan(rois - tf.tile(corner, [1, 1, 2]), tf.tile(size, [1, 1, 2]))


def _instances_first(gt_masks):
    return tf.cast(tf.transpose(gt_masks, [0, 3, 1, 2]), tf.uint8)


def _flat_index(matches, shape):
    """Return the indices of instances among those of all images, int32 `[B * R]`."""
    return tf.reshape(tf.range(shape[0])[:, None] * shape[3] + matches, [-1])
