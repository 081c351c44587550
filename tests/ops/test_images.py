"""Resizing, mean colour and meta vectors."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from skimage import data, transform

from mrcnn.ops import images as image_ops

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")
GOLDEN_RESIZES = sorted(key[: -len("/window")] for key in GOLDEN if key.endswith("/window"))


def slow_resize(image, shape):
    return transform.resize(
        image, shape, order=1, mode="constant", preserve_range=True, anti_aliasing=False
    )


@pytest.mark.parametrize("key", GOLDEN_RESIZES)
def test_resize_equals_the_original(key):
    # resize / mode / min_dim / max_dim / min_scale
    _, mode, *numbers = key.split("/")
    numbers = [None if number in ("None", "0") else float(number) for number in numbers]
    min_dim, max_dim = (None if n is None else int(n) for n in numbers[:2])
    coffee = data.coffee()
    image, window, scale, padding, crop = image_ops.resize_image(
        coffee, min_dim, max_dim, numbers[2], mode
    )
    assert window == tuple(GOLDEN[f"{key}/window"])
    assert scale == GOLDEN[f"{key}/scale"]
    assert image.shape == tuple(GOLDEN[f"{key}/shape"])
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(padding, GOLDEN[f"{key}/padding"])
    assert crop is None
    # No difference here. Another OpenCV may round a value across an integer before truncation.
    difference = image[::32, ::32].astype(int) - GOLDEN[f"{key}/sample"]
    assert abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.005


# Enlarged and shrunk; values far from 0 show the treatment of the border.
@pytest.mark.parametrize("shape", [(40, 61), (41, 23), (130, 50)])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "tolerance"),
    [
        (np.uint8, 0, 256, 1),
        (np.uint8, 100, 256, 1),
        (np.uint16, 1000, 65536, 1),
        (np.int16, -3000, -1000, 1),
        (np.float32, -1, 1, 1e-6),
        (np.float64, 5, 6, 1e-6),
    ],
)
def test_fast_resize_equals_scikit_image(shape, dtype, low, high, tolerance):
    image = np.random.default_rng(0).uniform(low, high, (*shape, 3)).astype(dtype)
    resized, window, scale, _, _ = image_ops.resize_image(image, 64, 96)
    y1, x1, y2, x2 = window
    expected = slow_resize(image, (y2 - y1, x2 - x1)).astype(dtype)
    assert scale != 1
    assert resized.dtype == dtype
    difference = resized[y1:y2, x1:x2].astype(np.float64) - expected
    assert abs(difference).max() <= tolerance
    resized[y1:y2, x1:x2] = 0
    assert not resized.any()


@pytest.mark.parametrize("channels", [(), (1,), (2,), (4,), (5,), (130,)])
def test_any_number_of_channels(channels):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, *channels), np.uint8)
    resized, window, _, _, _ = image_ops.resize_image(image, 40, 64)
    expected = slow_resize(image, (40, 60)).astype(int)
    assert window == (12, 2, 52, 62)
    assert resized.shape == (64, 64, *channels)
    assert abs(resized[12:52, 2:62].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("dtype", "value"), [(np.uint8, 201), (np.uint16, 60001)])
def test_flat_colours_stay(dtype, value):
    image = np.full((50, 37, 3), value, dtype)
    resized, (y1, x1, y2, x2), _, _, _ = image_ops.resize_image(image, 111, 170)
    assert (resized[y1:y2, x1:x2] == value).all()


def test_images_are_resized_without_opencv(monkeypatch):
    image = data.coffee()[::4, ::4]
    with_opencv = image_ops.resize_image(image, 64, 160)[0]
    # None makes the import statement raise ImportError.
    monkeypatch.setitem(sys.modules, "cv2", None)
    without = image_ops.resize_image(image, 64, 160)[0]
    assert abs(with_opencv.astype(int) - without).max() <= 1


def test_image_of_the_right_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    resized, window, scale, padding, _ = image_ops.resize_image(image, 32, 64)
    assert (window, scale, padding) == ((0, 8, 64, 56), 1, [(0, 0), (8, 8), (0, 0)])
    np.testing.assert_array_equal(resized[:, 8:56], image)


def test_crop_takes_its_place_from_random():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    random.seed(5)
    y, x = random.randint(0, 60 - 32), random.randint(0, 90 - 32)
    random.seed(5)
    cropped, window, scale, padding, crop = image_ops.resize_image(image, 32, 64, mode="crop")
    assert (crop, window, scale) == ((y, x, 32, 32), (0, 0, 32, 32), 1)
    assert padding == [(0, 0)] * 3
    np.testing.assert_array_equal(cropped, image[y : y + 32, x : x + 32])


def test_crop_enlarges_small_images():
    cropped, _, scale, _, crop = image_ops.resize_image(data.coffee()[:20, :30], 32, mode="crop")
    assert (cropped.shape, cropped.dtype, scale) == ((32, 32, 3), np.uint8, 1.6)
    assert crop[0] == 0
    assert 0 <= crop[1] <= 48 - 32


def test_largest_side_limits_the_smallest_scale():
    image = np.zeros((30, 40, 3), np.uint8)
    assert image_ops.resize_image(image, 32, 512, min_scale=3.0)[2] == 3
    assert image_ops.resize_image(image, 32, 100, min_scale=3.0)[2] == 2.5


def test_pad64_takes_a_smallest_side_that_is_no_multiple():
    # 50 x 80 times 2, then up to 128 x 192: 14 rows above and below, 16 columns left and right.
    padded, window, scale, _, _ = image_ops.resize_image(
        np.ones((50, 80, 3)), min_dim=100, mode="pad64"
    )
    assert padded.shape == (128, 192, 3)
    assert (window, scale) == ((14, 16, 114, 176), 2)


@pytest.mark.parametrize(
    ("size", "scale", "window"),
    [
        # The height decides: 32 / 64; then the width: 48 / 96.
        ((64, 64), 0.5, (0, 8, 32, 40)),
        ((48, 96), 0.5, (4, 0, 28, 48)),
        # 16 x 16 grows until the shorter side has min_dim.
        ((16, 16), 1.5, (4, 12, 28, 36)),
    ],
)
def test_square_mode_fits_images_into_a_canvas(size, scale, window):
    padded, found, factor, padding, _ = image_ops.resize_image(
        np.full((*size, 3), 9, np.uint8), min_dim=24, max_dim=48, canvas=(32, 48)
    )
    assert padded.shape == (32, 48, 3)
    assert (found, factor) == (window, scale)
    assert padding[:2] == [(window[0], 32 - window[2]), (window[1], 48 - window[3])]
    y1, x1, y2, x2 = window
    # Enlarging mixes zeros into the outermost pixels.
    assert (padded[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] == 9).all()
    assert padded[:, :x1].sum() == padded[:y1].sum() == 0


def test_pad64_needs_no_smallest_side():
    padded, window, scale, _, _ = image_ops.resize_image(np.ones((64, 70, 3)), mode="pad64")
    assert (padded.shape, window, scale) == ((64, 128, 3), (0, 29, 64, 99), 1)


def test_a_thin_image_keeps_one_row():
    resized = image_ops.resize_image(np.full((1, 500, 3), 7, np.uint8), None, 100)[0]
    assert resized.any(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"mode": "squares", "max_dim": 8},
            '"squares"; accepted are none, square, pad64, pad32, crop',
        ),
        ({"mode": "square"}, '"square" needs max_dim; given: None'),
        ({"mode": "crop"}, '"crop" needs min_dim; given: None'),
    ],
)
def test_wrong_resize_is_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_ops.resize_image(np.zeros((8, 8, 3)), **arguments)


def test_wrong_shape_of_image_is_explained():
    with pytest.raises(ValueError, match=r"given: \(2, 8, 8, 3\)"):
        image_ops.resize_image(np.zeros((2, 8, 8, 3)), max_dim=8)


def test_resize_of_bools_by_hand():
    # Between the centres of a 0 and a 1, four samples lie at 1/8, 3/8, 5/8 and 7/8.
    resized = image_ops.resize(np.array([[False] * 3, [True] * 3]), (8, 3))
    assert resized.dtype == np.float64
    np.testing.assert_allclose(resized[2:6, 1], [0.125, 0.375, 0.625, 0.875])


def test_resize_scales_integers_unless_told_not_to():
    image = np.full((4, 4), 255, np.uint8)
    assert image_ops.resize(image, (2, 2)).tolist() == [[1, 1], [1, 1]]
    assert image_ops.resize(image, (2, 2), preserve_range=True).tolist() == [[255, 255]] * 2


MEAN = np.array([123.7, 116.8, 103.9])


def test_mean_by_hand():
    image = np.array([[[124, 117, 100]]], np.uint8)
    molded = image_ops.subtract_mean(image, MEAN)
    np.testing.assert_allclose(molded, [[[0.3, 0.2, -3.9]]])
    np.testing.assert_allclose(image_ops.subtract_mean(image, MEAN, xp=ops), molded, rtol=1e-4)
    assert image_ops.add_mean(np.array([[[0.5, 0.5, -3.5]]]), MEAN).tolist() == [[[124, 117, 100]]]


def test_one_mean_serves_all_channels():
    image = np.full((1, 1, 5), 103)
    assert image_ops.subtract_mean(image, np.array([100.0])).tolist() == [[[3] * 5]]


def test_mean_that_does_not_fit_is_explained():
    with pytest.raises(ValueError, match="MEAN_PIXEL has 3 values, but the image has 1 channels"):
        image_ops.subtract_mean(np.zeros((4, 4, 1)), MEAN)
