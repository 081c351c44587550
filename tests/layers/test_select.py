"""Selection of RoIs from a batch, and its inverse."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers.select import SelectRoIs, restore_rois
from tests.layer_contract import run_layer_test

VALUES = np.arange(1, 13, dtype=np.float32).reshape(2, 3, 2)
SOME = np.array([[True, False, True], [False, False, True]])


def test_selected_by_hand():
    selected = SelectRoIs()(VALUES, SOME)
    assert selected.numpy().tolist() == [[[1, 2], [5, 6], [11, 12]]]


def test_none_kept_leaves_the_first():
    # Kernels fail on empty batches, so one RoI goes through the head; its result is dropped.
    selected = SelectRoIs()(VALUES, np.zeros((2, 3), bool))
    assert selected.numpy().tolist() == [[[1, 2]]]


@pytest.mark.parametrize("keep", [SOME, SOME | True, SOME & False, ~SOME])
@pytest.mark.parametrize("compiled", [True, False])
def test_round_trip(keep, compiled):
    def there_and_back(values, keep):
        return restore_rois(SelectRoIs()(values, keep), keep)

    function = tf.function(there_and_back) if compiled else there_and_back
    restored = function(tf.constant(VALUES), tf.constant(keep))
    np.testing.assert_array_equal(restored, np.where(keep[..., None], VALUES, 0))


def test_gradient_reaches_kept_rois_only():
    values, some, none = tf.constant(VALUES), tf.constant(SOME), tf.zeros([2, 3], bool)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        of_some = tf.reduce_sum(restore_rois(SelectRoIs()(values, some), some) ** 2)
        of_none = tf.reduce_sum(restore_rois(SelectRoIs()(values, none), none))
    np.testing.assert_array_equal(
        tape.gradient(of_some, values), np.where(SOME[..., None], 2 * VALUES, 0)
    )
    assert not tf.convert_to_tensor(tape.gradient(of_none, values)).numpy().any()


def test_static_shape_after_restoring():
    # Later layers know the number of masks per image.
    keep = tf.zeros([2, 3], bool)

    @tf.function(input_signature=[tf.TensorSpec([1, None, 5], tf.float32)])
    def shape(values):
        restored = restore_rois(values, keep)
        assert restored.shape == (2, 3, 5)
        return restored

    assert not shape(np.ones((1, 1, 5), np.float32)).numpy().any()


def test_type_is_kept():
    class_ids = np.array([[3, 0, 1]], np.int32)
    selected = SelectRoIs()(class_ids, class_ids > 0)
    assert selected.numpy().tolist() == [[3, 1]]
    assert keras.backend.standardize_dtype(selected.dtype) == "int32"


def test_keras_contract(tmp_path):
    expected = VALUES[SOME][None]
    run_layer_test(lambda: SelectRoIs(name="select"), (VALUES, SOME), expected, tmp_path)
