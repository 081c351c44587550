"""The augmentations by name: their geometry, their colours, and their limits."""

import math
import sys

import numpy as np
import pytest

from mrcnn.data import augment_presets
from mrcnn.data.augment import augment_sample, find_adapter
from mrcnn.data.augment_presets import PRESETS, Preset
from tests.data.test_augment import MASKS, overlap, picture

PLAIN = Preset(flip=0, scale=(1, 1), gain=0, gamma=0, saturation=0)


def apply(preset, image, masks, seed=0):
    return preset(image, masks.astype(np.uint8), np.random.default_rng(seed))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("with_opencv", [True, False])
def test_image_and_masks_move_alike(name, with_opencv, monkeypatch):
    if not with_opencv:
        monkeypatch.setitem(sys.modules, "cv2", None)
    moved = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        image, masks = augment_sample(picture(MASKS), MASKS, name, rng)
        assert image.dtype == np.uint8 and masks.dtype == bool
        assert image.shape == (192, 256, 3) and masks.shape == MASKS.shape
        # Brightness and saturation change the levels, but not which is nearer to black.
        assert overlap(np.uint8(255) * (image > 90), masks) > 0.9
        moved += overlap(image, MASKS) < 0.9
    assert moved >= 5


def test_a_flip_alone_is_exact(rng):
    image = rng.integers(0, 256, (40, 61, 3), np.uint8)
    new_image, new_masks = apply(PLAIN._replace(flip=1), image, MASKS[:40, :61])
    np.testing.assert_array_equal(new_image, image[:, ::-1])
    np.testing.assert_array_equal(new_masks, MASKS[:40, :61][:, ::-1])


def test_no_change_at_all(rng):
    image = rng.integers(0, 256, (40, 61, 3), np.uint8)
    new_image, new_masks = apply(PLAIN, image, MASKS[:40, :61])
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_masks, MASKS[:40, :61])


def test_half_of_the_images_are_flipped():
    masks = np.zeros((8, 8, 1), np.uint8)
    masks[:, :4] = 1
    image = np.zeros((8, 8, 3), np.uint8)
    flipped = sum(
        apply(PLAIN._replace(flip=0.5), image, masks, seed)[1][0, 0, 0] == 0 for seed in range(60)
    )
    # 60 fair coins: outside of these limits once in 2,000 times.
    assert 17 <= flipped <= 43


def test_zoom_by_two_doubles_lengths():
    """A square of 20 pixels around the centre is 40 wide, wherever the cut is."""
    masks = np.zeros((100, 100, 1), np.uint8)
    masks[40:60, 40:60] = 1
    image = np.repeat(masks * np.uint8(200), 3, axis=2)
    corners = set()
    for seed in range(8):
        _, moved = apply(PLAIN._replace(scale=(2, 2)), image, masks, seed)
        rows, columns = (np.flatnonzero(moved[..., 0].any(axis=axis)) for axis in (1, 0))
        # The centre is in every cut of half the side; at its border, half of the square is.
        assert 20 <= len(rows) <= 40 and 20 <= len(columns) <= 40
        inside = 0 < rows[0] and rows[-1] < 99 and 0 < columns[0] and columns[-1] < 99
        if inside:
            assert (len(rows), len(columns)) == (40, 40)
        corners.add((rows[0], columns[0]))
    assert len(corners) == 8


def test_zoom_by_half_keeps_everything_in_the_image():
    masks = np.ones((100, 60, 1), np.uint8)
    image = np.full((100, 60, 3), 200, np.uint8)
    for seed in range(8):
        new_image, moved = apply(PLAIN._replace(scale=(0.5, 0.5)), image, masks, seed)
        assert abs(int(moved.sum()) - 50 * 30) <= 80
        # What is outside is black, and inside nothing has changed but the border.
        assert set(np.unique(new_image[moved[..., 0] == 0])) <= set(range(101))
        assert np.median(new_image[moved[..., 0] == 1]) == 200


def test_turns_have_the_same_centre():
    """The moments of a bar tell its angle."""
    masks = np.zeros((101, 101, 1), np.uint8)
    masks[48:53, 20:81] = 1
    image, angles = np.repeat(masks * np.uint8(200), 3, axis=2), []
    for seed in range(20):
        _, moved = apply(PLAIN._replace(rotate=30), image, masks, seed)
        y, x = np.nonzero(moved[..., 0])
        assert abs(y.mean() - 50) < 0.5 and abs(x.mean() - 50) < 0.5
        y, x = y - y.mean(), x - x.mean()
        angles.append(math.degrees(0.5 * math.atan2(2 * (x * y).mean(), (x * x - y * y).mean())))
    assert -31 < min(angles) < -10 and 10 < max(angles) < 31


def test_an_object_always_stays_in_the_image():
    masks = np.zeros((64, 64, 2), bool)
    masks[0:3, 0:3, 0] = masks[60:, 60:, 1] = True
    image = picture(masks)
    for seed in range(40):
        for name in PRESETS:
            assert augment_sample(image, masks, name, np.random.default_rng(seed))[1].any()


def test_without_objects(rng):
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    new_image, masks = augment_sample(image, np.zeros((32, 32, 0), bool), "strong", rng)
    assert masks.shape == (32, 32, 0) and new_image.shape == image.shape


@pytest.mark.parametrize("count", [1, 9, 40, 100])
def test_any_number_of_instances_keeps_its_order(count, rng):
    """Each is a square of its own; OpenCV moves 4 bytes, or 32 of them, at a time."""
    masks = np.zeros((100, 100, count), bool)
    for index in range(count):
        y, x = 10 + 8 * (index // 10), 10 + 8 * (index % 10)
        masks[y : y + 5, x : x + 5, index] = True
    image = np.zeros((100, 100, 3), np.uint8)
    _, moved = augment_sample(image, masks, "strong", np.random.default_rng(4))
    border = np.ones((100, 100, 1), bool)
    border[1:-1, 1:-1] = False
    whole = np.flatnonzero(moved.any(axis=(0, 1)) & ~(moved & border).any(axis=(0, 1)))
    assert len(whole) >= 0.5 * count
    centres = np.array([np.argwhere(moved[..., i]).mean(axis=0) for i in whole])
    here = np.array([np.argwhere(masks[..., i]).mean(axis=0) for i in whole])
    # One affine map explains all of them.
    design = np.column_stack([here, np.ones(len(whole))])
    found, *_ = np.linalg.lstsq(design, centres, rcond=None)
    assert np.abs(design @ found - centres).max() < 0.7


def test_colours_by_hand():
    grey = np.full((4, 4, 3), 100, np.uint8)
    masks = np.zeros((4, 4, 1), np.uint8)
    # 100 is (100 / 255) of white; the factor lies between 1 / 1.5 and 1.5.
    levels = [apply(PLAIN._replace(gain=0.5), grey, masks, seed)[0].max() for seed in range(200)]
    assert 66 <= min(levels) <= 70 and 145 <= max(levels) <= 150
    levels = [apply(PLAIN._replace(gamma=0.5), grey, masks, seed)[0].max() for seed in range(200)]
    darkest, brightest = 255 * (100 / 255) ** 1.5, 255 * (100 / 255) ** (1 / 1.5)
    assert darkest - 1 <= min(levels) <= darkest + 4
    assert brightest - 4 <= max(levels) <= brightest + 1
    for change in ({"saturation": 0.9}, {"hue": 90}):
        np.testing.assert_array_equal(apply(PLAIN._replace(**change), grey, masks)[0], grey)
    for preset in PRESETS.values():
        black = np.zeros((4, 4, 3), np.uint8)
        assert not apply(preset, black, masks)[0].any()


def test_colour_matrix_by_hand():
    # A third of the circle: red becomes green, green blue, blue red.
    third = augment_presets._colour_matrix(1, 2 * math.pi / 3)
    np.testing.assert_allclose(third @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(third @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    # Without saturation, the mean of the channels.
    np.testing.assert_allclose(augment_presets._colour_matrix(0, 1) @ [3, 6, 0], [3, 3, 3])
    # Twice as far from the mean of 3.
    np.testing.assert_allclose(augment_presets._colour_matrix(2, 0) @ [3, 6, 0], [3, 9, -3])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_other_kinds_of_images_move_only(dtype, channels):
    image = np.zeros((192, 256, channels), dtype)
    image[MASKS.any(axis=-1)] = 1000
    new_image, masks = augment_sample(image, MASKS, "default", np.random.default_rng(1))
    assert new_image.dtype == dtype and new_image.shape == image.shape
    assert new_image.max() == 1000
    shown, expected = new_image[..., -1] > 500, masks.any(axis=-1)
    assert (shown & expected).sum() / (shown | expected).sum() > 0.97


@pytest.mark.parametrize("name", PRESETS)
def test_a_generator_decides_all_random_numbers(name):
    image = picture(MASKS)
    results = [augment_sample(image, MASKS, name, np.random.default_rng(s)) for s in (1, 1, 2)]
    for first, again, other in zip(*results, strict=True):
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_the_given_arrays_stay_as_they_are(rng):
    image, masks = picture(MASKS), MASKS.copy()
    kept = image.copy()
    augment_sample(image, masks, "strong", rng)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(masks, MASKS)


def test_misspelt_names():
    with pytest.raises(ValueError) as error:
        find_adapter("defualt")
    assert str(error.value) == (
        'augmentation is "defualt"; accepted names are "default" and "strong"; '
        'did you mean "default"?'
    )
    with pytest.raises(ValueError, match='augmentation is "flip"; accepted names are "default" an'):
        find_adapter("flip")
