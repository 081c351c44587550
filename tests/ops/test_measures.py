"""Measures of masks, by hand and against scikit-image."""

import numpy as np
import pytest
from skimage.measure import regionprops

from mrcnn.ops.measures import measure_mask


def test_a_square_by_hand():
    """10 x 10 pixels: the line through the centres of its border has four sides of 9."""
    mask = np.ones((10, 10), bool)
    found = measure_mask(mask, (100, 200), 0.5)
    assert found == pytest.approx(
        {
            "area": 25,
            "perimeter": 18,
            "centroid_y": 52.25,
            "centroid_x": 102.25,
            "equivalent_diameter": np.sqrt(4 * 25 / np.pi),
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :50]
    mask = (y - 20) ** 2 + (x - 25) ** 2 * rng.uniform(0.3, 2) < rng.integers(50, 350)
    mask &= (y - 20) ** 2 + (x - 22) ** 2 > 6
    (expected,) = regionprops(mask.astype(np.uint8))
    found = measure_mask(mask)
    assert found["area"] == expected.area
    assert found["perimeter"] == pytest.approx(expected.perimeter)
    assert (found["centroid_y"], found["centroid_x"]) == pytest.approx(expected.centroid)
    assert found["equivalent_diameter"] == pytest.approx(expected.equivalent_diameter_area)


def test_an_empty_mask_has_no_place():
    found = measure_mask(np.zeros((0, 0), bool))
    assert found.pop("area") == 0 and np.isnan(list(found.values())).all()
