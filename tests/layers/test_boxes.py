"""Normalization of boxes inside the graph."""

import numpy as np
import pytest

from mrcnn.layers.boxes import NormalizeBoxes
from tests.layer_contract import run_layer_test

BOXES = np.array([[[0, 0, 11, 21], [5, 10, 6, 11], [0, 0, 0, 0]]], np.float32)
IMAGE = np.zeros((1, 11, 21, 3), np.float32)
# The whole image is (0, 0, 1, 1), one pixel has no extent, and padding stays padding.
EXPECTED = np.array([[[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]]])


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_by_hand(dtype):
    np.testing.assert_allclose(NormalizeBoxes()(BOXES.astype(dtype), IMAGE), EXPECTED, atol=1e-7)


def test_large_images_keep_their_precision():
    # Neighbouring pixels of a large image stay different in any precision of the model.
    layer = NormalizeBoxes()
    pixels = np.array([[[3000, 3001, 3002, 3003]]], np.int32)
    normalized = layer(pixels, np.zeros((1, 4096, 4096, 1), np.float32)).numpy()
    np.testing.assert_allclose(normalized * 4095 + [0, 0, 1, 1], pixels, rtol=0, atol=1e-3)


def test_keras_contract(tmp_path):
    run_layer_test(lambda: NormalizeBoxes(name="gt"), (BOXES, IMAGE), EXPECTED, tmp_path)
