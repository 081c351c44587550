import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.ops import polygons
from mrcnn.ops.polygons import polygons_to_rle


@pytest.mark.parametrize("span", [30, 300, 5000])
@pytest.mark.parametrize("step", [1, 0.5, 0.1, 1e-6])
def test_polygons_drawn_here_are_those_of_pycocotools(monkeypatch, span, step):
    monkeypatch.setattr(polygons, "_SURELY_SHORT", -1)
    monkeypatch.setattr(polygons, "_LONG", -1)
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 40, 2).tolist()
        numbers = rng.uniform(-span, span + 20, 2 * rng.integers(3, 9))
        numbers = (numbers / step).round() * step
        # An edge without a length, and one straight down.
        numbers[2:4] = numbers[:2] if rng.random() < 0.2 else numbers[2:4]
        numbers[4] = numbers[2] if rng.random() < 0.2 else numbers[4]
        expected = coco_mask.decode(coco_mask.frPyObjects([numbers.tolist()], height, width))
        found = coco_mask.decode(polygons_to_rle([numbers.tolist()], height, width))
        np.testing.assert_array_equal(found, expected[..., 0])


def test_a_triangle_with_far_corners_by_hand():
    # All of the image lies within.
    far = [-1e6, -1e6, 1e6, -1e6, 0, 1e6]
    assert coco_mask.decode(polygons_to_rle([far], 4, 6)).all()
    # Its left edge is x = 2.
    half = [2, -1e6, 1e6, 0, 2, 1e6]
    assert coco_mask.decode(polygons_to_rle([half], 3, 4)).tolist() == [[0, 0, 1, 1]] * 3


def test_the_union_of_many_parts_takes_linear_time():
    """For parts one after the other, four times as many would take sixteen times as long."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1990, (16000, 1, 2)).round()
    parts = (corners + [[0, 0], [3, 0], [3, 3]]).reshape(-1, 6).tolist()
    seconds = []
    for count in (4000, 16000):
        start = time.process_time()
        union = polygons_to_rle(parts[:count], 2000, 2000)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 10 * seconds[0]
    # A triangle has three pixels; a few overlap.
    some = coco_mask.merge(coco_mask.frPyObjects(parts[:100], 2000, 2000))
    mask = coco_mask.decode(union)
    assert (mask >= coco_mask.decode(some)).all() and mask.sum() > 2.8 * 16000
