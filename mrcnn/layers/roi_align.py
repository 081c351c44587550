"""Features of a RoI, from the pyramid level that fits its size."""

import math

import keras
import tensorflow as tf

from mrcnn.layers.gather_crop import gather_crop
from mrcnn.layers.roi_crop import crop_and_resize
from mrcnn.layers.roi_groups import in_order
from mrcnn.layers.roi_ops import align_samples, reduce_samples, roi_align, roi_warp, round_to_cells
from mrcnn.layers.roi_pool import roi_pool
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.space import CELL_CENTERS, BoxSpace


@keras.saving.register_keras_serializable(package="mrcnn")
class PyramidROIAlign(keras.layers.Layer):
    """Crop RoIs of any size from the feature pyramid, and resize them to one size.

    Args:
        pool_shape: `[height, width]` of the crops, in bins.
        method: what a bin has of the feature map.
            "crop": one bilinear sample, the outermost ones on the edges of the box, as in the
                original, whose weights expect this.
            "align": the mean of bilinear samples, nothing rounded (Mask R-CNN, section 3).
            "align_max": their maximum.
            "pool": the maximum of cells, boxes and bins rounded (RoIPool, Fast R-CNN, section 2.1).
            "warp": the mean of bilinear samples, boxes rounded (RoIWarp, Mask R-CNN, section 4.2).
        level_rounding: see `pyramid_level`.
        box_shift: see `BoxSpace`.
        samples: see `roi_align`; for "align", "align_max" and "warp".
        half_pixel: see `roi_align`; for "align" and "align_max".
        strides: pixels per cell of each feature map, powers of 2; without, maps are levels 2, 3,
            ..., and cover the image exactly.
        fixed_shapes: sample all RoIs together by `gather_crop`, so that all shapes are known before
            the graph runs.

    Inputs: a list of
        boxes: `[batch, num_rois, (y1, x1, y2, x2)]`, normalized.
        image: `[batch, height, width, channels]`, for its size.
        features: any number of `[batch, h, w, channels]`, the levels of the pyramid. A single one
            gets all boxes.

    Returns:
        `[batch, num_rois, *pool_shape, channels]` float32. Padding boxes, all zeros, sample the
        first cells. No gradient flows to the boxes.

    Raises:
        ValueError: for another method; for "align_max" with `samples` 0; for `fixed_shapes` with
            "pool" or `samples` 0; if the strides are not as many as the feature maps.
    """

    METHODS = ("crop", "align", "align_max", "pool", "warp")

    def __init__(
        self,
        pool_shape,
        method="crop",
        level_rounding="round",
        box_shift=1.0,
        samples=2,
        half_pixel=True,
        strides=None,
        fixed_shapes=False,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if method not in self.METHODS:
            accepted = ", ".join(f'"{name}"' for name in self.METHODS)
            raise ValueError(f'The RoI method is "{method}"; accepted are {accepted}.')
        if method == "align_max" and not samples:
            raise ValueError('The RoI method "align_max" needs at least 1 sample per bin; it is 0.')
        if fixed_shapes and (method == "pool" or (method != "crop" and not samples)):
            raise ValueError(
                f'The RoI method "{method}" with {samples} samples per bin has no fixed shapes: '
                "the number of cells in a bin depends on the box."
            )
        self.pool_shape, self.method = tuple(int(side) for side in pool_shape), method
        self.level_rounding, self.box_shift = level_rounding, float(box_shift)
        self.samples, self.half_pixel = int(samples), bool(half_pixel)
        self.strides = None if strides is None else tuple(int(stride) for stride in strides)
        self.fixed_shapes = bool(fixed_shapes)

    def call(self, inputs):
        boxes, image, *features = inputs
        return self.pool(boxes, tf.cast(tf.shape(image)[1:3], tf.float32), features)

    def pool(self, boxes, image_size, features):
        """Return the crops, given the size of the image, float32 `[(height, width)]`."""
        strides = self.strides or (None,) * len(features)
        if len(strides) != len(features):
            raise ValueError(f"{len(features)} feature maps have {len(strides)} strides.")
        boxes, shape = tf.stop_gradient(boxes), tf.shape(boxes)
        if self.fixed_shapes:
            pooled = self._pool_together(boxes, image_size, features, strides)
        elif len(features) == 1:
            index = tf.repeat(tf.range(shape[0]), shape[1])
            rois = tf.reshape(boxes, [-1, 4])
            pooled = self._sample(features[0], strides[0], rois, index, image_size)
        else:
            pooled = self._pool_levels(boxes, image_size, features, strides)
        return tf.reshape(pooled, tf.concat([shape[:2], tf.shape(pooled)[1:]], axis=0))

    def _pool_levels(self, boxes, image_size, features, strides):
        """Return the crops `[batch * num_rois, ...]`, each from the level of its box."""
        levels = self._levels(boxes, image_size, len(features))
        crops, order = [], []
        for level, (feature, stride) in enumerate(zip(features, strides, strict=True)):
            chosen = tf.where(tf.equal(levels, level))
            index = tf.cast(chosen[:, 0], tf.int32)
            rois = tf.gather_nd(boxes, chosen)
            crops.append(self._sample(feature, stride, rois, index, image_size))
            order.append(index * tf.shape(boxes)[1] + tf.cast(chosen[:, 1], tf.int32))
        return in_order(crops, order)

    def _pool_together(self, boxes, image_size, features, strides):
        """Return the crops `[batch * num_rois, ...]`, by one gather from all levels."""
        shape, rois = tf.shape(boxes), tf.reshape(boxes, [-1, 4])
        levels = tf.zeros(shape[:2], tf.int32)
        if len(features) > 1:
            levels = self._levels(boxes, image_size, len(features))
        levels = tf.reshape(levels, [-1])
        maps, corners = [], []
        for feature, stride in zip(features, strides, strict=True):
            if self.method == "crop":
                ends, grid = self._cell_centers(rois, image_size), self.pool_shape
            else:
                cells = self._cells(feature, stride, rois, image_size)
                cells = round_to_cells(cells) if self.method == "warp" else cells
                half_pixel = self.half_pixel or self.method == "warp"
                options = self.pool_shape, self.samples, half_pixel
                feature, ends, grid = align_samples(feature, cells, *options)
            maps.append(feature)
            corners.append(ends)
        corners = tf.gather(tf.stack(corners, axis=1), levels, batch_dims=1)
        index = tf.repeat(tf.range(shape[0]), shape[1])
        crops = gather_crop(maps, corners, levels, index, grid)
        if self.method == "crop":
            return crops
        return reduce_samples(crops, self.samples, self._reduce())

    def _levels(self, boxes, image_size, num_levels):
        """Return the feature map of each box, int32 `[batch, num_rois]`, 0 for the first."""
        lowest = int(math.log2(self.strides[0])) if self.strides else 2
        levels = box_ops.pyramid_level(
            boxes,
            tf.reduce_prod(image_size),
            xp=keras.ops,
            rounding=self.level_rounding,
            min_level=lowest,
            max_level=lowest + num_levels - 1,
        )
        return levels - lowest

    def _cell_centers(self, boxes, image_size):
        space = BoxSpace(self.box_shift)
        return space.convert(boxes, image_size, CELL_CENTERS, xp=keras.ops)

    def _cells(self, feature, stride, boxes, image_size):
        """Return boxes in cells of a feature map."""
        pixels = BoxSpace(self.box_shift).denormalize(boxes, image_size, xp=keras.ops)
        if stride:
            return pixels / stride
        scale = tf.cast(tf.shape(feature)[1:3], tf.float32) / image_size
        return pixels * tf.tile(scale, [2])

    def _reduce(self):
        return "max" if self.method == "align_max" else "mean"

    def _sample(self, feature, stride, boxes, index, image_size):
        # All bilinear methods use our `crop_and_resize`, for its exact gradient.
        if self.method == "crop":
            boxes = self._cell_centers(boxes, image_size)
            return crop_and_resize(feature, boxes, index, self.pool_shape)
        cells = self._cells(feature, stride, boxes, image_size)
        if self.method == "pool":
            return roi_pool(feature, cells, index, self.pool_shape)
        if self.method == "warp":
            return roi_warp(feature, cells, index, self.pool_shape, self.samples)
        return roi_align(
            feature, cells, index, self.pool_shape, self.samples, self._reduce(), self.half_pixel
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])

    def get_config(self):
        names = ("pool_shape", "method", "level_rounding", "box_shift")
        names += ("samples", "half_pixel", "strides", "fixed_shapes")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
