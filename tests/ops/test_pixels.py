"""Accepted layouts, values and sides of images."""

import numpy as np
import pytest

from mrcnn.ops.pixels import as_image, check_sides, to_uint8

NUMBERS = np.array([[0, 1, 128, 255]])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (NUMBERS.astype(np.uint8), NUMBERS),
        (NUMBERS.astype(np.int32), NUMBERS),
        (NUMBERS.astype(np.float32), NUMBERS),
        (NUMBERS > 1, [[0, 0, 255, 255]]),
        # 16 bits: 65535 / 257 = 255, 300 / 257 = 1.17, 128 / 257 = 0.498, 129 / 257 = 0.502.
        (np.array([[65535, 300, 128, 129]], np.uint16), [[255, 1, 0, 1]]),
        (np.array([[65535, 300, 128, 129]], np.int32), [[255, 1, 0, 1]]),
        # A uint16 image is 16 bits though it is dark; other integers up to 255 are 8 bits.
        (np.array([[200, 257]], np.uint16), [[1, 1]]),
        (np.array([[200, 255]], np.int64), [[200, 255]]),
        (np.array([[0.0, 0.5, 1.0]]), [[0, 128, 255]]),
        (np.array([[0.0, 0.5, 1.1]]), [[0, 0, 1]]),
        (np.array([[254.6, 3.4]], np.float16), [[255, 3]]),
    ],
)
def test_values_by_hand(pixels, expected):
    result = to_uint8(pixels, "it")
    assert result.dtype == np.uint8 and result.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.array([-1, 5]), "Image 7 is int64 with values from -1 to 5; accepted are"),
        (np.array([0, 65536]), "Image 7 is int64 with values from 0 to 65536"),
        (np.array([0, 255.5]), "Image 7 is float64 with values from 0 to 255.5"),
        (np.array([-0.1, 1]), "Image 7 is float64 with values from -0.1 to 1"),
        (np.array([np.nan, 1]), "Image 7 is float64 with values from nan to nan"),
        (np.array([1, np.inf]), "Image 7 is float64 with values from 1 to inf"),
    ],
)
def test_values_that_are_refused(pixels, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        to_uint8(pixels, "Image 7")


PIXELS = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(
    ("image", "source"),
    [
        (PIXELS[..., 0], [0, 0, 0]),
        (PIXELS[..., :1], [0, 0, 0]),
        (PIXELS[..., :2], [0, 0, 0]),
        (PIXELS[..., :3], [0, 1, 2]),
        (PIXELS[..., :4], [0, 1, 2]),
        (PIXELS[..., :3].tolist(), [0, 1, 2]),
    ],
)
def test_layouts_become_rgb(image, source, channels):
    np.testing.assert_array_equal(as_image(image, "it", channels), PIXELS[..., source])


def test_other_channels():
    np.testing.assert_array_equal(as_image(PIXELS, "it", None), PIXELS)
    # A model for five channels may have any values.
    np.testing.assert_array_equal(as_image(PIXELS * 3.5 - 9, "it", 5), PIXELS * 3.5 - 9)
    with pytest.raises(ValueError, match=r"^a\.png has 5 channels; this model takes 3 \(IMAGE_CH"):
        as_image(PIXELS, "a.png")
    with pytest.raises(ValueError, match="has 1 channels; this model takes 2"):
        as_image(PIXELS[..., 0], "a.png", 2)


@pytest.mark.parametrize("shape", [(4,), (0, 4, 3), (4, 4, 0), (1, 4, 4, 3)])
def test_shapes_that_are_refused(shape):
    with pytest.raises(ValueError, match=r"^a\.png has shape \(.*accepted are \[height, width\]"):
        as_image(np.zeros(shape), "a.png")


def test_sides_are_multiples_of_the_largest_stride():
    check_sides((128, 64, 3), [4, 8, 16, 32, 64], "it")
    check_sides((96, 32), [2, 4, 8, 16, 32], "it")
    for shape in ((96, 128, 3), (128, 96, 3)):
        with pytest.raises(ValueError, match=rf"^Image 2 has {shape[0]}x{shape[1]} .* of 64, the"):
            check_sides(shape, [4, 8, 16, 32, 64], "Image 2")
