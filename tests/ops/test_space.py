"""Normalized coordinates of the original and of Detectron2, and conversion between them."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from mrcnn.legacy import formulas
from mrcnn.ops.space import CELL_CENTERS, BoxSpace

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")
BORDERS = BoxSpace(shift=0.0)


@pytest.mark.parametrize("space", [CELL_CENTERS, BORDERS])
@pytest.mark.parametrize("xp", [np, ops])
def test_the_whole_image_is_the_unit_square(space, xp):
    normalized = space.normalize([[0, 0, 100, 200]], (100, 200), xp)
    np.testing.assert_array_equal(normalized, [[0, 0, 1, 1]])


def test_by_hand():
    # Rows 20 to 40 of 101. The last row is 39, and 100 lies between the outermost centres.
    box = [[20, 10, 40, 30]]
    np.testing.assert_allclose(
        CELL_CENTERS.normalize(box, (101, 51)), [[0.2, 0.2, 0.39, 29 / 50]], rtol=1e-6
    )
    np.testing.assert_allclose(BORDERS.normalize(box, (100, 50)), [[0.2, 0.2, 0.4, 0.6]], rtol=1e-6)


def test_normalization_equals_the_original():
    shape = (256, 320, 3)
    normalized = formulas.norm_boxes(GOLDEN["b1"], shape)
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(normalized, GOLDEN["norm"])
    pixels = formulas.denorm_boxes(GOLDEN["norm"], shape)
    assert pixels.dtype == np.int32
    np.testing.assert_array_equal(pixels, GOLDEN["denorm"])
    np.testing.assert_array_equal(pixels, GOLDEN["b1"])


def test_conversion_by_hand():
    # The left half of an image of 11 x 21: up to the border at 10.5 pixels. Its last column is at
    # 9.5 on a scale where the outermost centres are 0 and 20.
    half = np.float32([[0, 0, 1, 0.5]])
    centers = BORDERS.convert(half, (11, 21), CELL_CENTERS)
    np.testing.assert_allclose(centers, [[0, 0, 1, 9.5 / 20]], rtol=1e-6)
    np.testing.assert_allclose(CELL_CENTERS.convert(centers, (11, 21), BORDERS), half, rtol=1e-6)
    assert BORDERS.convert(half, (11, 21), BORDERS) is half


@pytest.mark.parametrize("method", ["normalize", "denormalize", "to_pixels"])
@pytest.mark.parametrize("space", [CELL_CENTERS, BORDERS])
def test_keras_ops_give_what_numpy_gives(space, method):
    boxes = np.random.default_rng(0).uniform(0, 250, (2, 30, 4))
    boxes = boxes if method == "normalize" else boxes / 250
    expected = getattr(space, method)(boxes, np.array([250, 300]))
    result = ops.convert_to_numpy(getattr(space, method)(boxes, np.array([250, 300]), ops))
    assert result.dtype == (np.int32 if method == "to_pixels" else np.float32)
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=1e-5)
