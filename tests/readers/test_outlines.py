import math

import numpy as np
import pytest
import skimage.draw

from mrcnn.readers.outlines import (
    Box,
    Ellipse,
    Polygon,
    draw_outlines,
    outline_fault,
    reaches_out,
)


def drawn(outline, height, width):
    mask = np.zeros((height, width), bool)
    outline.draw(mask)
    return mask


@pytest.mark.parametrize("kind", ["whole", "half", "any"])
def test_polygons_are_those_of_skimage(rng, kind):
    for _ in range(300):
        corners, (height, width) = rng.integers(3, 12), rng.integers(3, 30, 2)
        ys, xs = {
            "whole": lambda n: rng.integers(-5, 35, (2, n)),
            "half": lambda n: rng.integers(-10, 70, (2, n)) / 2,
            "any": lambda n: rng.uniform(-5, 35, (2, n)),
        }[kind](corners)
        expected = np.zeros((height, width), bool)
        expected[skimage.draw.polygon(ys, xs, (height, width))] = True
        mask = drawn(Polygon(ys.tolist(), xs.tolist()), height, width)
        np.testing.assert_array_equal(mask, expected)


def test_polygon_by_hand():
    # Corners and edges count: the diagonal from (0, 0) to (3, 3) passes through four centres.
    mask = drawn(Polygon([0, 3, 3], [0, 3, 0]), 5, 5)
    assert mask.astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((1, 2, 3, 5), [1, 2], [2, 3, 4]),
        # Pixel 1 lies from 1 to 2: 1.4 cuts off less than its half, 1.6 more.
        ((1.4, 1.6, 3.4, 3.6), [1, 2], [2, 3]),
        ((-2, -1, 1, 100), [0], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_boxes_by_hand(box, rows, columns):
    mask = drawn(Box(*box), 6, 7)
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
        (Polygon([1, 2, 3], [1, 2]), "a polygon with more coordinates of one kind"),
        (Polygon([0, NAN, 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, math.inf, 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, None, 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, "1", 9], [0, 9, 9]), "a coordinate that is not a number"),
        (Polygon([0, 1e9, 9], [0, 9, 9]), "a coordinate beyond a million pixels"),
        (Polygon([20, 25, 30], [1, 2, 3]), "a shape outside the image"),
        (Polygon([1, 2, 3], [-9, -5, -1]), "a shape outside the image"),
        (Box(1, 1, 3, 3), None),
        (Box(1, 1, 1, 3), "a shape without area"),
        (Box(1, 10, 3, 12), "a shape outside the image"),
        (Ellipse(5, 5, 0, 2), "a shape without area"),
        (Ellipse(5, None, 1, 2), "a coordinate that is not a number"),
        (Ellipse(-9, 5, 3, 3), "a shape outside the image"),
    ],
)
def test_faults(outline, fault):
    found = outline_fault(outline, 20, 10)
    assert found is None if fault is None else found.startswith(fault)


def test_what_reaches_out_of_the_image():
    assert not reaches_out(Polygon(*SOUND), 9, 9)
    # One pixel is rounding.
    assert not reaches_out(Box(-1, 0, 21, 11), 20, 10)
    assert reaches_out(Box(-1.5, 0, 5, 5), 20, 10)
    assert reaches_out(Polygon([0, 5, 9], [0, 11.5, 3]), 20, 10)


def test_outlines_of_one_object_share_a_mask():
    mask = np.zeros((4, 6), bool)
    draw_outlines([Box(0, 0, 2, 2), Box(1, 1, 3, 4)], mask)
    assert mask.sum() == 4 + 6 - 1
