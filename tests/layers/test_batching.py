"""Helpers for images with different numbers of boxes."""

import tensorflow as tf

from mrcnn.layers import batching


def test_map_images():
    x, y = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([10.0, 20.0])
    result = batching.map_images(lambda a, b: a * b, [x, y], tf.TensorSpec([2], tf.float32))
    assert result.numpy().tolist() == [[10, 20], [60, 80]]


def test_map_images_of_a_single_one():
    """Without a loop, in a graph that knows the size of the batch."""

    def double(x):
        return batching.map_images(lambda row: 2 * row, [x], tf.TensorSpec([2], tf.float32))

    graphs = [
        tf.function(double).get_concrete_function(tf.TensorSpec([batch, 2])) for batch in (1, 2)
    ]
    kinds = [{op.type for op in graph.graph.get_operations()} for graph in graphs]
    assert not any("While" in kind for kind in kinds[0])
    assert any("While" in kind for kind in kinds[1])
    assert double(tf.constant([[3.0, 4.0]])).numpy().tolist() == [[6, 8]]


def test_suppress():
    """The second box overlaps the first by IoU 0.9; the third is alone, the fourth scores -1."""
    boxes = tf.constant([[0, 0, 1, 1], [0, 0, 0.9, 1], [2, 2, 3, 3], [4, 4, 5, 5]], tf.float32)
    scores = tf.constant([0.5, 0.9, 0.7, -1.0])
    assert batching.suppress(boxes, scores, 3, 0.8, -0.5).numpy().tolist() == [1, 2, -1]
    assert batching.suppress(boxes, scores, 3, 0.95, -0.5).numpy().tolist() == [1, 2, 0]
    assert batching.suppress(boxes, scores, 5, 0.8).numpy().tolist() == [1, 2, 3, -1, -1]
    assert batching.suppress(boxes[:0], scores[:0], 2, 0.8).numpy().tolist() == [-1, -1]


def test_suppress_keeps_boxes_without_area():
    """As `tf.image.non_max_suppression`: they overlap nothing, not even each other."""
    boxes = tf.constant([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0.9]], tf.float32)
    scores = tf.constant([0.9, 0.8, 0.7, 0.6])
    expected = tf.image.non_max_suppression(boxes, scores, 4, 0.5).numpy().tolist()
    assert expected == [0, 1, 2]
    assert batching.suppress(boxes, scores, 4, 0.5).numpy().tolist() == [*expected, -1]


def test_gather_rows():
    rows = tf.constant([[1, 2], [3, 4]])
    assert batching.gather_rows(rows, tf.constant([1, -1])).numpy().tolist() == [[3, 4], [0, 0]]
    assert batching.gather_rows(rows[:0], tf.constant([-1])).numpy().tolist() == [[0, 0]]


def test_not_padding():
    rows = tf.constant([[[0.0, 0.0], [0.0, 0.1]], [[-1.0, 0.0], [0.0, 0.0]]])
    assert batching.not_padding(rows).numpy().tolist() == [[False, True], [True, False]]
