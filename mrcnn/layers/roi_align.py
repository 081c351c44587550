"""Features of a RoI, from the pyramid level that fits its size."""

import keras
import tensorflow as tf

from mrcnn.ops import boxes as box_ops
from mrcnn.ops.space import CELL_CENTERS, BoxSpace


def crop_and_resize(features, boxes, box_indices, crop_size):
    """Run `tf.image.crop_and_resize`, with an exact and repeatable gradient.

    On CPUs TensorFlow's own gradient adds to one cell from several threads without a lock, so some
    terms get lost, different ones in every run. Here one thread sums each cell, in a fixed order.
    GPUs add atomically and keep TensorFlow's kernel.

    Args:
        features: `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]`, normalized. No gradient flows to them.
        box_indices: int32 `[n]`, the image of each box.
        crop_size: two integers.

    Returns:
        `[n, *crop_size, channels]` float32, one bilinear sample per bin; 0 outside the image.
    """
    crop_size = [int(side) for side in crop_size]
    box_indices = tf.convert_to_tensor(box_indices, tf.int32)
    crops = _crop(features, tf.stop_gradient(boxes), box_indices, tf.constant(crop_size))
    crops.set_shape([None, *crop_size, features.shape[-1]])
    return crops


# A tf.function of the module, so that the custom gradient keeps no training step in memory: see
# `layers/conv.py`.
@tf.function(autograph=False, reduce_retracing=True)
@tf.custom_gradient
def _crop(features, boxes, box_indices, crop_size):
    def grad(dy):
        shape = tf.shape(features)
        if tf.config.list_logical_devices("GPU"):
            gradient = tf.raw_ops.CropAndResizeGradImage(
                grads=dy, boxes=boxes, box_ind=box_indices, image_size=shape, T=features.dtype
            )
        else:
            gradient = _gradient_in_order(dy, boxes, box_indices, shape)
        return gradient, None, None, None

    return tf.image.crop_and_resize(features, boxes, box_indices, crop_size), grad


def _gradient_in_order(dy, boxes, box_indices, shape):
    """Return the gradient of features `[batch, h, w, channels]`, given `dy`, that of the crops.

    Every sample mixes four cells. So the crops are a sparse matrix times the cells, and the
    gradient is the transpose of this matrix times `dy`.
    """
    height, width, channels = shape[1], shape[2], shape[3]
    rows, row_weights = _taps(boxes[:, 0], boxes[:, 2], tf.shape(dy)[1], height)
    columns, column_weights = _taps(boxes[:, 1], boxes[:, 3], tf.shape(dy)[2], width)
    corner = (box_indices * height)[:, None, None]
    cells, weights = [], []
    for row, row_weight in zip(rows, row_weights, strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            cells.append((corner + row[:, :, None]) * width + column[:, None, :])
            weights.append(row_weight[:, :, None] * column_weight[:, None, :])
    dy = tf.reshape(dy, [-1, channels])
    samples = tf.repeat(tf.range(tf.shape(dy)[0]), 4)
    cells = tf.reshape(tf.stack(cells, axis=-1), [-1])
    mixing = tf.SparseTensor(
        tf.cast(tf.stack([samples, cells], axis=1), tf.int64),
        tf.reshape(tf.stack(weights, axis=-1), [-1]),
        tf.cast([tf.shape(dy)[0], shape[0] * height * width], tf.int64),
    )
    return tf.reshape(tf.sparse.sparse_dense_matmul(mixing, dy, adjoint_a=True), shape)


def _taps(start, end, num_samples, size):
    """Return the two cells along an axis that each sample mixes, and their two weights.

    All four are `[n, samples]`; weights are 0 outside the image. Samples lie at
    `start + i * (end - start) / (samples - 1)`, a single one in the middle.
    """
    last = tf.cast(size - 1, tf.float32)
    steps = tf.cast(tf.maximum(num_samples - 1, 1), tf.float32)
    i = tf.cast(tf.range(num_samples), tf.float32)
    spread = start[:, None] * last + i * ((end - start) * last / steps)[:, None]
    middle = tf.broadcast_to(0.5 * (start + end)[:, None] * last, tf.shape(spread))
    position = tf.where(num_samples > 1, spread, middle)
    inside = tf.cast((position >= 0) & (position <= last), tf.float32)
    lower = tf.floor(position)
    fraction = position - lower
    cells = [tf.clip_by_value(tf.cast(p, tf.int32), 0, size - 1) for p in (lower, lower + 1)]
    return cells, [(1.0 - fraction) * inside, fraction * inside]


@keras.saving.register_keras_serializable(package="mrcnn")
class PyramidROIAlign(keras.layers.Layer):
    """Crop RoIs of any size from the feature pyramid, and resize them to one size.

    Args:
        pool_shape: `[height, width]` of the crops, in bins.
        method: samples per bin.
            "crop": one bilinear sample, the outermost ones on the edges of the box, as in the
                original, whose weights expect this.
            "align": the mean of 2x2 samples inside the bin, as in the paper (Mask R-CNN, section 3,
                RoIAlign), with cells centred at half-integer positions.
        level_rounding: see `pyramid_level`.
        box_shift: see `BoxSpace`.

    Inputs: a list of
        boxes: `[batch, num_rois, (y1, x1, y2, x2)]`, normalized.
        image: `[batch, height, width, channels]`, for its size.
        features: any number of `[batch, h, w, channels]`, levels 2, 3, ... of the pyramid.

    Returns:
        `[batch, num_rois, *pool_shape, channels]` float32. Padding boxes, all zeros, sample the
        first cell. No gradient flows to the boxes.

    Raises:
        ValueError: if `method` is neither.
    """

    METHODS = ("crop", "align")

    def __init__(self, pool_shape, method="crop", level_rounding="round", box_shift=1.0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if method not in self.METHODS:
            raise ValueError(f'The RoI method is "{method}"; accepted are "crop" and "align".')
        self.pool_shape, self.method = tuple(int(side) for side in pool_shape), method
        self.level_rounding, self.box_shift = level_rounding, float(box_shift)

    def call(self, inputs):
        boxes, image, *features = inputs
        return self.pool(boxes, tf.cast(tf.shape(image)[1:3], tf.float32), features)

    def pool(self, boxes, image_size, features):
        """Return the crops, given the size of the image, float32 `[(height, width)]`."""
        boxes = tf.stop_gradient(boxes)
        levels = box_ops.pyramid_level(
            boxes,
            tf.reduce_prod(image_size),
            xp=keras.ops,
            rounding=self.level_rounding,
            max_level=1 + len(features),
        )
        crops, order = [], []
        for level, feature in enumerate(features, start=2):
            chosen = tf.where(tf.equal(levels, level))
            index = tf.cast(chosen[:, 0], tf.int32)
            crops.append(self._sample(feature, tf.gather_nd(boxes, chosen), index, image_size))
            order.append(index * tf.shape(boxes)[1] + tf.cast(chosen[:, 1], tf.int32))
        # Crops are sorted by level; gathering by `places` restores the order of the boxes. The
        # scatter inverts the permutation, as LiteRT has no tf.math.invert_permutation.
        order = tf.concat(order, axis=0)
        count = tf.size(order)
        places = tf.scatter_nd(order[:, None], tf.range(count), [count])
        pooled = tf.gather(tf.concat(crops, axis=0), places)
        return tf.reshape(pooled, tf.concat([tf.shape(boxes)[:2], tf.shape(pooled)[1:]], axis=0))

    def _sample(self, feature, boxes, index, image_size):
        # Both methods use `crop_and_resize` of this module, for its exact gradient.
        space = BoxSpace(self.box_shift)
        if self.method == "crop":
            boxes = space.convert(boxes, image_size, CELL_CENTERS, xp=keras.ops)
            return crop_and_resize(feature, boxes, index, self.pool_shape)
        # From normalized coordinates to positions in the feature map: pixels, then cells.
        pixels = space.denormalize(boxes, image_size, xp=keras.ops)
        cells = tf.cast(tf.shape(feature)[1:3], tf.float32) / image_size
        return roi_align(feature, pixels * tf.tile(cells, [2]), index, self.pool_shape)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])

    def get_config(self):
        names = ("pool_shape", "method", "level_rounding", "box_shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def roi_align(features, boxes, box_indices, crop_size):
    """Return the mean of 2x2 bilinear samples in each bin, nothing rounded (RoIAlign).

    Args:
        features: `[batch, h, w, channels]` float32.
        boxes: `[n, (y1, x1, y2, x2)]` in cells: the first cell covers 0 to 1, its centre is 0.5.
        box_indices: int32 `[n]`.
        crop_size: two integers.

    Returns:
        `[n, *crop_size, channels]` float32. The outermost cells are repeated once beyond the
        border; samples farther out are 0.
    """
    # One more cell on every side gives samples up to half a cell outside the value of the border.
    padded = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    samples = tf.constant([2 * side for side in crop_size], tf.float32)
    sizes = (boxes[:, 2:] - boxes[:, :2]) / samples
    # Samples sit in the middle of a quarter of a bin; cell centres are half a cell into the map,
    # and the padding moved everything by one.
    first = boxes[:, :2] + 0.5 * sizes - 0.5 + 1.0
    last = first + sizes * (samples - 1.0)
    ends = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)
    corners = tf.concat([first, last], axis=1) / tf.tile(ends, [2])
    crops = crop_and_resize(padded, corners, box_indices, [2 * side for side in crop_size])
    return tf.nn.avg_pool2d(crops, 2, 2, "SAME")
