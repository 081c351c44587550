import numpy as np
import pytest
import skimage.measure
from pycocotools import mask as coco_mask

from mrcnn.ops.contours import fill_rings, flat, join_rings, mask_polygons


def filled(ring, height, width):
    """The mask of one ring, drawn by pycocotools itself."""
    runs = coco_mask.frPyObjects([flat(ring)], height, width)
    return coco_mask.decode(runs)[..., 0].astype(bool)


def noise(rng, height, width):
    return rng.random((height, width)) < rng.random()


def blobs(rng, height, width):
    ys, xs = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(3):
        y, x, ry, rx = rng.random(4) * (height, width, height / 2, width / 2)
        mask ^= ((ys - y) / (ry + 1)) ** 2 + ((xs - x) / (rx + 1)) ** 2 < 1
    return mask


def triangles(rng, height, width):
    corners = rng.random((2, 3, 2)) * (width, height)
    runs = coco_mask.frPyObjects([each.ravel().tolist() for each in corners], height, width)
    first, second = np.moveaxis(coco_mask.decode(runs).astype(bool), -1, 0)
    return first ^ second


@pytest.mark.parametrize("draw", [noise, blobs, triangles])
def test_polygons_fill_back_exactly(draw):
    rng = np.random.default_rng(0)
    for _ in range(80):
        height, width = rng.integers(1, 40, 2)
        mask = draw(rng, height, width)
        components = mask_polygons(mask)
        assert len(components) == skimage.measure.label(mask, connectivity=1).max()
        union = np.zeros_like(mask)
        for outer, *holes in components:
            part = filled(outer, height, width)
            for hole in holes:
                inside = filled(hole, height, width)
                assert (part & inside).sum() == inside.sum() > 0
                part &= ~inside
            assert not (union & part).any()
            union |= part
            assert (fill_rings([outer, *holes], height, width) == part).all()
        assert (union == mask).all()
        if components:
            joined = join_rings([ring for rings in components for ring in rings])
            assert (filled(joined, height, width) == mask).all()


def test_many_parts_are_joined_in_time():
    """As many rings as noise has, which one by one would take minutes."""
    mask = np.random.default_rng(0).random((300, 300)) < 0.4
    rings = [ring for rings in mask_polygons(mask) for ring in rings]
    assert len(rings) > 5000
    assert (filled(join_rings(rings), 300, 300) == mask).all()


def test_a_pixel_and_a_box():
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    ((ring,),) = mask_polygons(mask)
    # (y, x) of the corners, clockwise from the upper left one.
    assert ring.tolist() == [[2, 3], [2, 4], [3, 4], [3, 3]]
    mask[1:4, 2:6] = True
    ((ring,),) = mask_polygons(mask)
    assert ring.tolist() == [[1, 2], [1, 6], [4, 6], [4, 2]]


def area(ring):
    """The area by the shoelace formula, positive if (y, x) run clockwise on the screen."""
    ys, xs = ring.T
    return ((xs * np.roll(ys, -1)).sum() - (np.roll(xs, -1) * ys).sum()) / 2


def test_holes_run_the_other_way():
    mask = np.ones((6, 8), bool)
    mask[2:4, 3:5] = False
    ((outer, hole),) = mask_polygons(mask)
    assert area(outer) == 48 and area(hole) == -4
    assert sorted(hole.tolist()) == [[2, 3], [2, 5], [4, 3], [4, 5]]


def test_pixels_that_touch_at_a_corner_are_two_components():
    parts = mask_polygons(np.eye(3, dtype=bool))
    assert [len(rings) for rings in parts] == [1, 1, 1]
    assert [ring.min(axis=0).tolist() for (ring,) in parts] == [[0, 0], [1, 1], [2, 2]]
    # Empty pixels that do are one hole.
    mask = np.ones((4, 4), bool)
    mask[1, 1] = mask[2, 2] = False
    ((_, hole),) = mask_polygons(mask)
    assert area(hole) == -2


def test_an_object_in_the_hole_of_another_one():
    mask = np.ones((7, 7), bool)
    mask[1:6, 1:6] = False
    mask[3, 3] = True
    assert [len(rings) for rings in mask_polygons(mask)] == [2, 1]


def test_straight_sides_need_few_corners():
    ys, xs = np.mgrid[:200, :200]
    ((ring,),) = mask_polygons(xs * 3 + ys * 2 < 360)
    # Three corners, and a few where rounding wants one; the staircase has 300.
    assert len(ring) < 12
    ((circle,),) = mask_polygons((ys - 100) ** 2 + (xs - 100) ** 2 < 80**2)
    assert len(circle) < 250


def test_an_empty_mask_has_no_polygons():
    assert mask_polygons(np.zeros((4, 5))) == []
    assert mask_polygons(np.zeros((0, 0))) == []
