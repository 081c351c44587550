"""A converter for tf2onnx: TensorFlow's CropAndResize as one RoiAlign node.

By itself tf2onnx writes a loop with one Resize per box, which is slow, and which OpenVINO refuses.
"""

import numpy as np


def roi_align_node(graph, node, name, args):
    """Replace a CropAndResize node, whose crop size is constant, by ONNX's RoiAlign.

    A handler of tf2onnx, which calls it with its graph and node. RoiAlign with one sample per bin
    takes it from the middle of the bin. CropAndResize has its outermost samples on the border of
    the box: a box that is larger by half a bin on all sides gives the same samples.

    The average over samples that `mrcnn.layers.roi_ops.roi_align` takes afterwards becomes a part
    of the node.

    Raises:
        ValueError: if the crop size depends on the photo.
    """
    from onnx import TensorProto
    from tf2onnx import utils

    if not node.inputs[3].is_const():
        raise ValueError("CropAndResize has a crop size that depends on the photo")
    features, boxes, images, _ = node.input
    sides = [int(side) for side in node.inputs[3].get_tensor_value()]
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
    samples = _averaged(graph, node, shapes, sides)

    def constant(values, dtype=np.float32):
        return graph.make_const(utils.make_name("roi_align"), np.array(values, dtype)).output[0]

    def op(kind, *inputs, **attributes):
        return graph.make_node(kind, list(inputs), attr=attributes or None).output[0]

    def columns(start, stop):
        at = (constant([number], np.int64) for number in (start, stop, 1))
        return op("Slice", boxes, *at)

    graph.remove_node(node.name)
    shape = op("Shape", features)
    size = op("Slice", shape, constant([1], np.int64), constant([3], np.int64))
    size = op("Cast", size, to=TensorProto.FLOAT)
    last = op("Sub", size, constant([1.0]))
    first, end = (op("Mul", columns(start, start + 2), last) for start in (0, 2))
    # From sample to sample. A single sample lies in the middle of the box.
    steps = op("Div", op("Sub", end, first), constant([max(side - 1, 1) for side in sides]))
    middle = [0.0 if side > 1 else 0.5 for side in sides]
    first = op("Add", first, op("Mul", op("Sub", end, first), constant(middle)))
    # The centre of the first cell is at 0 for CropAndResize, and at 0.5 for RoiAlign.
    start = op("Add", op("Sub", first, op("Mul", steps, constant([0.5]))), constant([0.5]))
    stop = op("Add", start, op("Mul", steps, constant(sides)))
    corners = op("Concat", start, stop, axis=1)
    # (x1, y1, x2, y2)
    corners = op("Gather", corners, constant([1, 0, 3, 2], np.int64), axis=1)
    crops = op(
        "RoiAlign",
        op("Transpose", features, perm=[0, 3, 1, 2]),
        corners,
        op("Cast", images, to=TensorProto.INT64),
        mode="avg",
        output_height=sides[0] // samples,
        output_width=sides[1] // samples,
        sampling_ratio=samples,
        spatial_scale=1.0,
        coordinate_transformation_mode="half_pixel",
    )
    graph.make_node(
        "Transpose",
        [crops],
        attr={"perm": [0, 2, 3, 1]},
        name=node.name,
        outputs=outputs,
        shapes=shapes,
        dtypes=dtypes,
    )


def _averaged(graph, node, shapes, sides):
    """Return how many samples an AvgPool after the node averages, and make that one an Identity."""
    consumers = graph.find_output_consumers(node.output[0])
    if len(consumers) != 1 or consumers[0].type != "AvgPool":
        return 1
    pool = consumers[0]
    window, steps = (list(pool.get_attr(name).ints) for name in ("ksize", "strides"))
    samples = window[1]
    if window != steps or window != [1, samples, samples, 1] or any(s % samples for s in sides):
        return 1
    pool.type = "Identity"
    shapes[:] = [graph.get_shape(pool.output[0])]
    return samples
