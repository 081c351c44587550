"""Anchors inside the graph against those of NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.anchors import AnchorLayer
from mrcnn.legacy.formulas import generate_pyramid_anchors, norm_boxes
from tests.layer_contract import run_layer_test

SCALES, RATIOS, STRIDES = (32, 64, 128, 256, 512), [0.5, 1, 2], [4, 8, 16, 32, 64]


def maps(height, width, strides=STRIDES):
    return [np.zeros((1, -(-height // s), -(-width // s), 2), np.float32) for s in strides]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (128, 320), (192, 64)])
@pytest.mark.parametrize("anchor_stride", [1, 2])
def test_anchors_equal_numpy(height, width, anchor_stride):
    layer = AnchorLayer([[s] for s in SCALES], [RATIOS] * 5, STRIDES, anchor_stride)
    image = np.zeros((2, height, width, 3), np.float32)
    anchors = layer(image, maps(height, width)).numpy()
    shapes = [level.shape[1:3] for level in maps(height, width)]
    pixels = generate_pyramid_anchors(SCALES, RATIOS, shapes, STRIDES, anchor_stride)
    expected = norm_boxes(pixels, (height, width))
    assert len(np.unique(expected, axis=0)) == len(expected)
    np.testing.assert_allclose(anchors, np.stack([expected] * 2), rtol=0, atol=1e-6)


def test_one_function_for_all_image_sizes():
    layer = AnchorLayer([[8]], [[1]], [4])
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3]),
            tf.TensorSpec([None, None, None, 2]),
        ]
    )
    def anchors(image, features):
        traces.append(1)
        return layer(image, [features])

    for height, width in ((8, 8), (16, 8), (12, 20)):
        boxes = anchors(np.zeros((1, height, width, 3)), maps(height, width, [4])[0])
        # The last centre is at the last multiple of 4; half a side of 8 is added to it.
        bottom = (height - 4 + 4 - 1) / (height - 1)
        np.testing.assert_allclose(boxes[0, -1, 2], bottom, rtol=1e-6)
        assert len(boxes[0]) == height * width // 16
    assert len(traces) == 1


def test_anchors_are_no_weights():
    layer = AnchorLayer([[8]], [[1]], [4])
    layer(np.zeros((1, 8, 8, 3), np.float32), maps(8, 8, [4]))
    assert layer.weights == []


def test_keras_contract(tmp_path):
    # Cells of 4 pixels in an image of 9x5: centres at rows 0, 4, 8 and columns 0, 4; sides of 4.
    expected = [[y - 2, x - 2, y + 1, x + 1] for y in (0, 4, 8) for x in (0, 4)]
    run_layer_test(
        lambda: AnchorLayer([[4]], [[1]], [4], name="anchors"),
        (np.zeros((1, 9, 5, 3), np.float32), maps(9, 5, [4])),
        np.array([expected]) / [8, 4, 8, 4],
        tmp_path,
    )
