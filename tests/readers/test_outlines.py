import math

import numpy as np
import pytest
import skimage.draw
from pycocotools import mask as coco_mask

from mrcnn.readers import outlines
from mrcnn.readers.outlines import Ellipse, Polygon, box, examine


def drawn(outline, height, width):
    mask = np.zeros((height, width), bool)
    outline.draw(mask)
    return mask


def test_polygon_by_hand():
    # The pixel (y, x) reaches from y to y + 1, so the triangle holds the lower left half of each
    # pixel on the diagonal, and the rule counts these as inside.
    mask = drawn(Polygon([0, 3, 3], [0, 3, 0]), 5, 5)
    assert mask.astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("step", [1, 0.5, 0.01])
def test_polygons_are_those_of_pycocotools_on_the_whole_picture(rng, step):
    for _ in range(500):
        height, width = rng.integers(1, 40, 2).tolist()
        points = (rng.uniform(-15, 55, (rng.integers(3, 9), 2)) / step).round() * step
        flat = points[:, ::-1].ravel().tolist()
        expected = coco_mask.decode(coco_mask.frPyObjects([flat], height, width))[..., 0]
        np.testing.assert_array_equal(drawn(Polygon(*points.T.tolist()), height, width), expected)


def test_outlines_of_one_object_share_a_mask():
    mask = np.zeros((4, 6), bool)
    box(0, 0, 2, 2).draw(mask)
    box(1, 1, 3, 4).draw(mask)
    assert mask.sum() == 4 + 6 - 1


def test_polygons_have_the_pixels_whose_centre_lies_within(rng):
    """Except for pixels at the border, which pycocotools rounds."""
    ys, xs = np.mgrid[:40, :60] + 0.5
    for _ in range(50):
        corners = rng.uniform(-10, 60, (3, 2))
        sides = []
        for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            sides.append((y1 - y0) * (xs - x0) - (x1 - x0) * (ys - y0) > 0)
        inside = np.all(sides, axis=0) | ~np.any(sides, axis=0)
        mask = drawn(Polygon(*corners.T.tolist()), 40, 60)
        border = np.abs(np.roll(corners, -1, axis=0) - corners).sum()
        assert (mask != inside).sum() <= 0.1 * border


@pytest.mark.parametrize(
    ("sides", "rows", "columns"),
    [
        ((1, 2, 3, 5), [1, 2], [2, 3, 4]),
        # Pixel 1 lies from 1 to 2: 1.4 cuts off less than its half, 1.6 more.
        ((1.4, 1.6, 3.4, 3.6), [1, 2], [2, 3]),
        ((-2, -1, 1, 100), [0], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_boxes_by_hand(sides, rows, columns):
    mask = drawn(box(*sides), 6, 7)
    assert np.flatnonzero(mask.any(axis=1)).tolist() == rows
    assert np.flatnonzero(mask.any(axis=0)).tolist() == columns
    assert mask.sum() == len(rows) * len(columns)


@pytest.mark.parametrize(("cy", "cx", "radius"), [(9, 12, 5), (0.5, 3.25, 4.2), (25, 30, 9)])
def test_circles_are_those_of_skimage(cy, cx, radius):
    expected = np.zeros((24, 30), bool)
    expected[skimage.draw.disk((cy, cx), radius, shape=(24, 30))] = True
    assert (drawn(Ellipse(cy, cx, radius, radius), 24, 30) == expected).all()


def test_ellipses_by_hand():
    # Half axes 1.5 and 3.5: x reaches 3 to each side of the centre, y 1.
    mask = drawn(Ellipse(4, 5, 1.5, 3.5), 9, 11)
    assert np.flatnonzero(mask[4]).tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert np.flatnonzero(mask[:, 5]).tolist() == [3, 4, 5]
    # (1 / 1.5)^2 = 0.444; (2 / 3.5)^2 = 0.327 fits beside it, (3 / 3.5)^2 = 0.735 does not.
    assert np.flatnonzero(mask[3]).tolist() == [3, 4, 5, 6, 7]
    assert (drawn(Ellipse(5, 4, 1.5, 3.5, math.pi / 2), 11, 9) == mask.T).all()
    # Clockwise as seen: the long axis points to the lower right.
    turned = drawn(Ellipse(10, 10, 1.2, 8, math.pi / 4), 21, 21)
    assert turned[15, 15] and turned[5, 5] and not turned[15, 5] and not turned[5, 15]


def test_extents():
    assert Polygon([1, 5, 3], [2, 9, 4]).extent() == (1, 2, 5, 9)
    assert Ellipse(10, 20, 3, 5).extent() == (7, 15, 13, 25)
    assert Ellipse(10, 20, 3, 5, math.pi / 2).extent() == pytest.approx((5, 17, 15, 23))


SOUND = [0, 0, 9], [0, 9, 9]
NAN = float("nan")


@pytest.mark.parametrize(
    ("outline", "fault"),
    [
        (Polygon(*SOUND), None),
        (Polygon([-5, -5, 30], [-5, 30, 30]), None),
        (Polygon([1, 2], [1, 2]), "a polygon with fewer than 3 points"),
        (Polygon([], []), "a polygon with fewer than 3 points"),
        (Polygon([1, 2, 3], [1, 2]), "a polygon with different numbers"),
        (Polygon([0, NAN, 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, math.inf, 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, None, 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, "1", 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, 1e9, 9], [0, 9, 9]), "a coordinate beyond a million pixels"),
        (Polygon([20, 25, 30], [1, 2, 3]), "a shape outside the image"),
        (Polygon([1, 2, 3], [-9, -5, -1]), "a shape outside the image"),
        (box(1, 1, 3, 3), None),
        (box(1, 1, 1, 3), "a shape without area"),
        (box(1, 10, 3, 12), "a shape outside the image"),
        (Ellipse(5, 5, 0, 2), "a shape without area"),
        (Ellipse(5, None, 1, 2), "a coordinate that is not a number"),
        (Ellipse(-9, 5, 3, 3), "a shape outside the image"),
    ],
)
def test_faults(outline, fault):
    found = examine(outline, 20, 10).fault
    assert found is None if fault is None else found.startswith(fault)


def test_outlines_that_reach_out_of_the_image():
    assert not examine(Polygon(*SOUND), 9, 9).reaches_out
    # One pixel is rounding.
    assert not examine(box(-1, 0, 21, 11), 20, 10).reaches_out
    assert examine(box(-1.5, 0, 5, 5), 20, 10).reaches_out
    assert examine(Polygon([0, 5, 9], [0, 11.5, 3]), 20, 10).reaches_out


def test_large_ellipses_are_those_of_the_formula(monkeypatch, rng):
    for case in range(400):
        height, width = rng.integers(1, 60, 2).tolist()
        radii = np.exp(rng.uniform(-7, 14 if case % 3 else 5, 2))
        outline = Ellipse(*rng.uniform(-10, 70, 2), *radii, rng.uniform(-4, 4) * (case % 4))
        if case % 5 == 0:
            # A large circle whose border crosses the image, at whole numbers as by hand.
            outline = Ellipse(30 + round(radii[0]), 20, round(radii[0]) or 1, round(radii[0]) or 1)
        monkeypatch.setattr(outlines, "_MANY_PIXELS", 1 << 30)
        expected = drawn(outline, height, width)
        monkeypatch.setattr(outlines, "_MANY_PIXELS", -1)
        np.testing.assert_array_equal(drawn(outline, height, width), expected, str(outline))


@pytest.mark.parametrize("value", [True, "3", None, 10**400, [1], {}, NAN, -math.inf])
def test_values_that_are_not_coordinates(value):
    for outline in (Polygon([0, value, 9], [0, 9, 9]), Ellipse(5, value, 2, 2)):
        assert examine(outline, 20, 10).fault == "a coordinate that is not a number"
    huge = Polygon([10**400, -(10**400), 0], [0, 9, 9])
    assert examine(huge, 20, 10).fault == "a coordinate beyond a million pixels"
    assert examine(Polygon(np.array([0, 0, 9]), np.float32([0, 9, 9])), 20, 10).fault is None


def test_the_work_of_drawing():
    assert examine(box(0, 0, 100, 100), 4000, 4000).work == 0
    # 500 edges across all 4000 columns; columns beyond the image take no time.
    zigzag = Polygon(list(range(500)), [-9000, 4000] * 250)
    assert examine(zigzag, 4000, 4000).work == 500 * 4000
    assert examine(zigzag, 4000, 10).work == 500 * 10
