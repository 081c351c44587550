"""Positions of lines and captions in pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mrcnn.drawing.marks import caption, outlines, rectangle, show_image


def test_outlines_run_between_object_and_background():
    mask = np.zeros((6, 8), np.uint8)
    mask[0:3, 2:6] = 255  # touches the upper edge
    mask[1, 3] = 0
    outer, hole = sorted(outlines(mask), key=len, reverse=True)
    assert np.array_equal(outer[0], outer[-1])
    assert (outer.min(axis=0).tolist(), outer.max(axis=0).tolist()) == ([1.5, -0.5], [5.5, 2.5])
    assert (hole.min(axis=0).tolist(), hole.max(axis=0).tolist()) == ([2.5, 0.5], [3.5, 1.5])
    assert outlines(np.zeros((4, 4))) == []


@pytest.mark.parametrize(
    ("box", "vertical", "horizontal", "anchor"),
    [
        ((50, 20, 80, 60), "bottom", "left", (19.5, 49.5)),
        ((2, 20, 80, 60), "top", "left", (19.5, 1.5)),  # no room above
        ((50, 70, 80, 90), "bottom", "right", (89.5, 49.5)),
        ((-5, -9, 80, 60), "top", "left", (-0.5, -0.5)),  # partly outside
        ((50, 70, 80, 120), "bottom", "right", (99.5, 49.5)),
    ],
)
def test_captions_stay_within_the_image(box, vertical, horizontal, anchor):
    figure = plt.figure(figsize=(4, 4), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    show_image(ax, np.zeros((100, 100, 3), np.uint8))
    caption(ax, box, "a bird 0.912", "red", (100, 100, 3))
    (text,) = ax.texts
    assert (text.get_va(), text.get_ha(), text.xy) == (vertical, horizontal, anchor)
    plate = text.get_window_extent()
    assert 0 <= plate.x0 < plate.x1 <= 400
    assert 0 <= plate.y0 < plate.y1 <= 400


def test_empty_captions_leave_no_plate():
    _, ax = plt.subplots()
    caption(ax, (0, 0, 5, 5), "", "red", (10, 10))
    assert not ax.texts


@pytest.mark.parametrize(("inches", "points"), [(20, 2), (8, 1.8), (1, 1.2)])
def test_boxes_on_small_axes_have_thin_lines(inches, points):
    ax = plt.figure(figsize=(inches, inches)).add_axes((0, 0, 1, 1))
    rectangle(ax, (1, 2, 5, 9), "red")
    (box,) = ax.patches
    assert box.get_bbox().extents.tolist() == [1.5, 0.5, 8.5, 4.5]
    assert box.get_linewidth() == points
