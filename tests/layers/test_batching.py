"""Helpers for images with different numbers of boxes."""

import tensorflow as tf

from mrcnn.layers import batching


def test_map_images():
    x, y = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([10.0, 20.0])
    result = batching.map_images(lambda a, b: a * b, [x, y], tf.TensorSpec([2], tf.float32))
    assert result.numpy().tolist() == [[10, 20], [60, 80]]


def test_pad_rows():
    rows = tf.constant([[1, 2], [3, 4]])
    assert batching.pad_rows(rows, 3).numpy().tolist() == [[1, 2], [3, 4], [0, 0]]
    assert batching.pad_rows(rows, 1).numpy().tolist() == [[1, 2]]
    assert batching.pad_rows(rows[:0], 1).numpy().tolist() == [[0, 0]]


def test_not_padding():
    rows = tf.constant([[[0.0, 0.0], [0.0, 0.1]], [[-1.0, 0.0], [0.0, 0.0]]])
    assert batching.not_padding(rows).numpy().tolist() == [[False, True], [True, False]]
