"""Resizing by the shorter side, against torchvision, Detectron2 and Pillow."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from mrcnn.ops import scaling
from mrcnn.ops.images import resize_image

# Made by running torchvision 0.28 and the functions of Detectron2, on `skimage.data.coffee()`.
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "reference_molding.npz")
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
PHOTOS = {
    "shrunk": (data.coffee(), 200, 290),
    "enlarged": (data.coffee()[100:190, 200:261], 150, 400),
}


def test_sizes_equal_those_of_the_references():
    assert len(GOLDEN["sizes"]) > 200
    for height, width, low, high, *expected in GOLDEN["sizes"].tolist():
        found = scaling.scaled_size(height, width, low, high)
        found += scaling.scaled_size(height, width, low, high, "antialias")
        assert list(found) == expected


def test_sizes_without_a_limit():
    for kind in scaling.FILTERS:
        assert scaling.scaled_size(30, 50, None, None, kind) == (30, 50)
        assert scaling.scaled_size(30, 50, 60, None, kind) == (60, 100)
        assert scaling.scaled_size(1, 1000, 800, 100, kind) == (1, 100)
    assert scaling.scaled_size(30, 50, None, 100) == (60, 100)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("opencv", [True, False])
def test_bilinear_equals_torchvision(name, opencv, monkeypatch):
    photo, low, high = PHOTOS[name]
    if not opencv:
        monkeypatch.setitem(sys.modules, "cv2", None)
    padded, window, scale, padding, crop = resize_image(
        photo.astype(np.float32), low, high, mode="pad32"
    )
    height, width = GOLDEN[f"{name}_size"]
    assert padded.shape == tuple(GOLDEN[f"{name}_padded"])
    assert (window, crop) == ((0, 0, height, width), None)
    assert padding == [(0, len(padded) - height), (0, padded.shape[1] - width), (0, 0)]
    assert scale == height / len(photo)
    normalized = np.where(padded == 0, 0, (padded - MEAN) / STD)[::7, ::7]
    inside = GOLDEN[name] != 0
    np.testing.assert_allclose(normalized[inside], GOLDEN[name][inside], atol=1e-4)
    assert not padded[height:].any() and not padded[:, width:].any()
    # Whole numbers are rounded.
    rounded = resize_image(photo, low, high, mode="pad32")[0]
    assert rounded.dtype == np.uint8
    assert abs(rounded - padded).max() <= 0.501


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float64])
@pytest.mark.parametrize("kind", scaling.FILTERS)
def test_other_types(dtype, kind):
    """Values up to 60000 are interpolated as those up to 240."""
    photo = data.coffee()[:90, :80]
    large = scaling.resample(photo.astype(dtype) * 250, (40, 37), kind)
    assert large.dtype == dtype
    expected = scaling.resample(photo.astype(np.float32), (40, 37), kind) * 250
    np.testing.assert_allclose(large, expected, atol=0.51, rtol=1e-6)


def test_antialias_is_pillows_bilinear():
    photo = data.coffee()
    found, window, *_ = resize_image(photo, 200, 290, mode="pad32", filter="antialias")
    expected = np.asarray(Image.fromarray(photo).resize((290, 193), Image.Resampling.BILINEAR))
    assert window == (0, 0, 193, 290)
    np.testing.assert_array_equal(found[:193, :290], expected)
    # The channels of other images are resized one by one, without an alpha channel.
    four = np.dstack([photo, photo[..., 0]])
    np.testing.assert_array_equal(
        scaling.resample(four, (193, 290), "antialias"), np.dstack([expected, expected[..., 0]])
    )
    floats = scaling.resample(photo / 255, (193, 290), "antialias")
    np.testing.assert_allclose(floats * 255, expected, atol=1.5)
    gray = scaling.resample(photo[..., 1], (193, 290), "antialias")
    np.testing.assert_array_equal(gray, expected[..., 1])


def test_masks_take_the_value_at_the_centre():
    mask = np.arange(6).reshape(2, 3, 1)
    assert scaling.resample_masks(mask, (4, 3))[..., 0].tolist() == [
        [0, 1, 2],
        [0, 1, 2],
        [3, 4, 5],
        [3, 4, 5],
    ]
    # The centre of the only column is that of the middle one.
    assert scaling.resample_masks(mask, (2, 1))[..., 0].tolist() == [[1], [4]]
    assert scaling.resample_masks(mask, (2, 3)) is mask


def test_sides_are_padded_to_multiples_of_32():
    assert scaling.padded_size(32, 33) == (32, 64)
    image = np.ones((32, 64, 3))
    assert scaling.pad_sides(image) is image


def test_another_filter_is_refused():
    with pytest.raises(ValueError, match='filter is "cubic"; accepted are bilinear, antialias'):
        resize_image(np.zeros((8, 8, 3)), 8, mode="pad32", filter="cubic")
