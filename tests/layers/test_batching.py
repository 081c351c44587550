"""Helpers for images with different numbers of boxes."""

import numpy as np
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


def test_trim_zeros_graph():
    boxes = np.array([[0, 0, 1, 1], [0] * 4, [0, 0, 0, 2]], np.float32)
    rows, keep = batching.trim_zeros_graph(boxes)
    assert rows.numpy().tolist() == [[0, 0, 1, 1], [0, 0, 0, 2]]
    assert keep.numpy().tolist() == [True, False, True]


def test_batch_pack_graph():
    x = np.arange(12).reshape(3, 4)
    packed = batching.batch_pack_graph(x, np.array([2, 0, 3]), 3)
    assert packed.numpy().tolist() == [0, 1, 8, 9, 10]
    assert batching.batch_pack_graph(x, np.array([2, 0, 3]), 1).numpy().tolist() == [0, 1]


def test_batch_slice():
    x, y = np.array([[1, 2], [3, 4]]), np.array([10, 20])
    total = batching.batch_slice([x, y], lambda a, b: tf.reduce_sum(a) + b, 2)
    assert total.numpy().tolist() == [13, 27]
    doubled = batching.batch_slice(x, lambda a: a * 2, 2)
    assert doubled.numpy().tolist() == [[2, 4], [6, 8]]
    pair = batching.batch_slice([x], lambda a: [a, -a], 2, names=["plus", "minus"])
    assert [part.numpy().tolist() for part in pair] == [x.tolist(), (-x).tolist()]
