"""Pixel arithmetic against values worked out by hand."""

import itertools
import random

import numpy as np
import pytest

from mrcnn.drawing.pixels import apply_mask, as_rgb, draw_box, random_colors


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.uint8([[7, 9]]), [7, 9]),
        (np.uint8([[[7], [9]]]), [7, 9]),
        (np.uint8([[[7, 99], [9, 99]]]), [7, 9]),  # gray with alpha
        (np.array([[False, True]]), [0, 255]),
        (np.array([[0.2, 1.0]]), [51, 255]),  # 0..1 is stretched
        (np.array([[0.2, 254.6]]), [0, 255]),  # 0..255 is not
        (np.array([[-40.0, 300.0]]), [0, 255]),
        (np.array([[np.nan, 1.0]]), [0, 255]),
        (np.array([[-0.1, 0.2]]), [0, 51]),
        (np.uint16([[100 * 257, 65535]]), [100, 255]),  # as detection takes 16-bit images
        (np.int64([[-5, 200]]), [0, 200]),
        (np.int32([[257 * 3, 99999]]), [3, 255]),
    ],
)
def test_gray_images_become_rgb(image, expected):
    rgb = as_rgb(image)
    assert rgb.dtype == np.uint8
    assert rgb.tolist() == [[[value] * 3 for value in expected]]


@pytest.mark.parametrize("channels", [3, 4, 8])
def test_first_three_channels_are_taken(channels):
    image = np.arange(2 * 2 * channels, dtype=np.uint8).reshape(2, 2, channels)
    rgb = as_rgb(image)
    assert np.array_equal(rgb, image[..., :3])
    rgb[:] = 0
    assert image[1, 1, 2] != 0, "as_rgb must return a copy"


@pytest.mark.parametrize("shape", [(5,), (4, 4, 0), (1, 4, 4, 3)])
def test_shapes_that_are_not_of_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"image has shape \(.*\); accepted are \[height, width\]"):
        as_rgb(np.zeros(shape))


def test_colours_are_steps_of_the_golden_ratio():
    # Hues 0, 0.618034, 0.236068 in sixths of the circle: 0, 3.708204 (blue rises from cyan, green
    # falls to 1 - 0.708204) and 1.416408 (green is full, red falls to 1 - 0.416408).
    expected = [(1, 0, 0), (0, 0.291796, 1), (0.583592, 1, 0)]
    np.testing.assert_allclose(random_colors(3), expected, atol=1e-6)
    np.testing.assert_allclose(random_colors(3, bright=False), 0.7 * np.array(expected), atol=1e-6)


def test_colours_are_distinct_and_a_longer_list_begins_like_a_shorter_one():
    colors = random_colors(81)
    assert colors[:5] == random_colors(5)
    pairs = itertools.combinations(np.array(colors), 2)
    assert min(np.abs(a - b).max() for a, b in pairs) > 0.02
    neighbours = zip(colors, colors[1:], strict=False)
    assert min(np.abs(np.subtract(a, b)).max() for a, b in neighbours) > 0.4
    assert random_colors(0) == []


def test_colours_do_not_change_the_random_state():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - the state that must not change is the global one
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    random_colors(20)
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


def test_mask_mixes_half_of_the_colour():
    image = np.empty((2, 3, 3), np.uint8)
    image[:] = 100, 50, 200
    mask = np.array([[0, 1, 0], [0, 0, 1]], bool)
    painted = apply_mask(image, mask, (1.0, 0.0, 0.5))
    assert painted is image
    # 100/2 + 255/2 = 177.5; 50/2 = 25; 200/2 + 127.5/2 = 163.75: fractions are dropped.
    assert painted[mask].tolist() == [[177, 25, 163]] * 2
    assert (painted[~mask] == [100, 50, 200]).all()


def test_alpha_is_the_share_of_the_colour():
    image = np.full((1, 1, 3), 100.0)
    apply_mask(image, np.ones((1, 1)), (1, 0, 1), alpha=0.25)
    assert image.tolist() == [[[138.75, 75.0, 138.75]]]
    apply_mask(image, np.ones((1, 1)), (0, 1, 0), alpha=1)
    assert image.tolist() == [[[0, 255, 0]]]


def test_other_channels_and_other_kinds_of_masks():
    image = np.full((1, 2, 4), 80, np.uint8)
    apply_mask(image, np.uint8([[0, 255]]), (0, 0, 0, 0.8))
    assert image.tolist() == [[[80, 80, 80, 80], [40, 40, 40, 80]]]


def test_mask_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"mask has shape \(56, 56\) but the image \(128, 128\)"):
        apply_mask(np.zeros((128, 128, 3)), np.ones((56, 56)), (1, 0, 0))
    with pytest.raises(ValueError, match=r"\[height, width, 3\] images, not \(4, 4\)"):
        apply_mask(np.zeros((4, 4)), np.ones((4, 4)), (1, 0, 0))


def picture(rows):
    return np.array([[cell == "#" for cell in row] for row in rows.split()])


def test_box_edges_are_two_pixels_thick():
    image = np.zeros((9, 11, 3), np.uint8)
    drawn = draw_box(image, np.array([2, 3, 6, 8]), [10, 20, 30])
    expected = picture("""
        ...........
        ...........
        ...#######.
        ...#######.
        ...##...##.
        ...##...##.
        ...#####...
        ...#####...
        ...........
    """)
    assert drawn is image
    assert np.array_equal(image.any(axis=-1), expected)
    assert (image[expected] == [10, 20, 30]).all()


def test_box_beyond_the_image_is_cut_off():
    image = np.zeros((5, 6), np.uint8)
    draw_box(image, (-1, -3, 3, 4), 1)
    expected = picture("""
        ######
        ....##
        ....##
        ####..
        ####..
    """)
    assert np.array_equal(image == 1, expected)
    assert not draw_box(np.zeros((5, 6)), (-9, -9, -4, -4), 1).any()
