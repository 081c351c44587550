import keras
import numpy as np
import pytest
from keras import layers

from mrcnn.data.augment import augment_sample, find_adapter


def disc_masks(height=96, width=128):
    """Three overlapping discs: masks [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    centres = [(40, 40, 22), (52, 60, 26), (48, 84, 18)]
    discs = [(y - cy) ** 2 + (x - cx) ** 2 < r**2 for cy, cx, r in centres]
    return np.stack(discs, axis=-1)


MASKS = disc_masks()
IMAGE = MASKS.astype(np.uint8) * 255


def overlap(image, masks):
    """Least IoU of a channel with the instance that it was drawn from."""
    shown = image > 127
    return ((shown & masks).sum(axis=(0, 1)) / (shown | masks).sum(axis=(0, 1))).min()


GEOMETRIC = {
    "RandomFlip": lambda: layers.RandomFlip(),
    "RandomRotation": lambda: layers.RandomRotation((0.05, 0.2)),
    "RandomRotation filled": lambda: layers.RandomRotation((0.05, 0.2), fill_mode="constant"),
    "RandomZoom": lambda: layers.RandomZoom((-0.3, -0.1), (0.1, 0.2)),
    "RandomTranslation": lambda: layers.RandomTranslation((0.1, 0.2), (-0.2, -0.1)),
    "RandomShear": lambda: layers.RandomShear(0.5, 0.2),
    "RandomPerspective": lambda: layers.RandomPerspective(1.0, scale=0.3),
    "RandomElasticTransform": lambda: layers.RandomElasticTransform((1.0, 1.0), (0.8, 0.8)),
    "RandomCrop": lambda: layers.RandomCrop(80, 100),
    "CenterCrop": lambda: layers.CenterCrop(80, 100),
    "Resizing": lambda: layers.Resizing(150, 100),
    "Sequential": lambda: keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)]),
    "Pipeline": lambda: layers.Pipeline(
        [layers.RandomContrast(0.2), layers.Pipeline([layers.RandomZoom(0.3)])]
    ),
}

PHOTOMETRIC = {
    "RandomBrightness": lambda: layers.RandomBrightness((0.1, 0.3)),
    "RandomContrast": lambda: layers.RandomContrast((0.5, 0.9)),
    "RandomColorJitter": lambda: layers.RandomColorJitter(
        (0, 255), brightness_factor=0.2, contrast_factor=0.5, saturation_factor=0.5, hue_factor=0.2
    ),
    "RandomHue": lambda: layers.RandomHue((0.5, 0.5)),
    "RandomSaturation": lambda: layers.RandomSaturation((0.9, 0.9)),
    "RandomGrayscale": lambda: layers.RandomGrayscale(1.0),
    "RandomGaussianBlur": lambda: layers.RandomGaussianBlur((1.0, 1.0), 5, (1.0, 1.0)),
    "RandomErasing": lambda: layers.RandomErasing((1.0, 1.0)),
    "Solarization": lambda: layers.Solarization(),
}


@pytest.mark.parametrize("name", GEOMETRIC)
def test_image_and_masks_move_alike(name):
    layer, moved = GEOMETRIC[name](), 0
    for seed in range(3):
        image, masks = augment_sample(IMAGE, MASKS, layer, np.random.default_rng(seed))
        assert image.dtype == np.uint8 and masks.dtype == bool
        assert image.shape == masks.shape
        assert overlap(image, masks) > 0.9
        moved += masks.shape != MASKS.shape or overlap(image, MASKS) < 0.9
    assert moved


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_colour_changes_leave_masks_unchanged(name, rng):
    image = rng.integers(0, 256, IMAGE.shape, np.uint8)
    new_image, masks = augment_sample(image, MASKS, PHOTOMETRIC[name](), rng)
    np.testing.assert_array_equal(masks, MASKS)
    assert new_image.dtype == np.uint8 and (new_image != image).any()


@pytest.mark.parametrize("name", ["RandomRotation", "RandomElasticTransform", "Sequential"])
def test_a_generator_decides_all_random_numbers(name):
    layer = GEOMETRIC[name]()
    first, again, other = (
        augment_sample(IMAGE, MASKS, layer, np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_layers_inside_layers_follow_the_generator_too(rng):
    image = rng.integers(0, 256, IMAGE.shape, np.uint8)
    layer = PHOTOMETRIC["RandomColorJitter"]()
    first, again, other = (
        augment_sample(image, MASKS, layer, np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_without_a_generator_numpy_seeds_the_layers():
    layer, results = layers.RandomRotation(0.4), []
    for seed in (3, 3, None):
        if seed is not None:
            np.random.seed(seed)  # noqa: NPY002
        results.append(augment_sample(IMAGE, MASKS, layer)[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[1] != results[2]).any()


def test_flips_come_half_of_the_time():
    layer, image, masks = layers.RandomFlip("horizontal"), IMAGE[:8, :64], MASKS[:8, :64]
    image = image.copy()
    image[:, :32] = 255
    flips = sum(
        augment_sample(image, masks, layer, np.random.default_rng(seed))[0][0, 0, 0] == 0
        for seed in range(60)
    )
    # 60 fair coins: outside of these limits once in 2,000 times.
    assert 17 <= flips <= 43


@pytest.mark.parametrize("name", ["MixUp", "CutMix", "AugMix"])
def test_blending_is_refused(name):
    layer = keras.Sequential([layers.RandomFlip(), getattr(layers, name)()])
    with pytest.raises(ValueError, match=f"layer {name} blends images, and blended objects have"):
        find_adapter(layer)


@pytest.mark.parametrize("layer", [layers.GaussianNoise(0.1), layers.Rescaling(2.0)], ids=repr)
def test_layers_that_cannot_move_masks_are_refused(layer):
    message = rf"layer {type(layer).__name__} has no transform_segmentation_masks\(\)"
    with pytest.raises(ValueError, match=message):
        find_adapter(layers.Pipeline([layer]))
