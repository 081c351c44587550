import numpy as np
import pytest

from mrcnn.data.augment import augment_sample, find_adapter
from mrcnn.data.imgaug_shim import iaa


def scene(count=11, height=192, width=256):
    """Overlapping discs and squares: masks [height, width, count]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((height, width, count), bool)
    for index in range(count):
        cy, cx, radius = rng.integers((40, 40, 14), (height - 40, width - 40, 30))
        dy, dx = abs(y - cy), abs(x - cx)
        inside = (dy < radius) & (dx < radius) if index % 2 else dy**2 + dx**2 < radius**2
        masks[..., index] = inside
    return masks


MASKS = scene()


def picture(masks):
    """An image whose channels show the union of every third instance."""
    unions = [masks[..., channel::3].any(axis=-1) for channel in range(3)]
    return np.stack(unions, axis=-1).astype(np.uint8) * 255


def overlap(image, masks):
    """Least IoU of a channel with the instances that it was drawn from."""
    shown, expected = image > 127, picture(masks) > 0
    intersections = (shown & expected).sum(axis=(0, 1))
    return (intersections / (shown | expected).sum(axis=(0, 1))).min()


GEOMETRIC = {
    "Fliplr": lambda: iaa.Fliplr(1),
    "Flipud": lambda: iaa.Flipud(1),
    "Affine scale": lambda: iaa.Affine(scale=(0.5, 0.8)),
    "Affine translate": lambda: iaa.Affine(translate_percent=(0.05, 0.1)),
    "Affine rotate": lambda: iaa.Affine(rotate=(20, 60)),
    "Affine shear": lambda: iaa.Affine(shear=(10, 25)),
    "Affine all": lambda: iaa.Affine(scale=(0.8, 1.2), rotate=(-45, 45), shear=(-10, 10)),
    "Affine fit_output": lambda: iaa.Affine(rotate=45, fit_output=True),
    "Crop": lambda: iaa.Crop(px=(5, 30)),
    "Crop smaller": lambda: iaa.Crop(px=(5, 30), keep_size=False),
    "CropAndPad": lambda: iaa.CropAndPad(percent=(-0.2, 0.2)),
    "Pad": lambda: iaa.Pad(px=(5, 30)),
    "Pad larger": lambda: iaa.Pad(px=(5, 30), keep_size=False),
    "PadToFixedSize": lambda: iaa.PadToFixedSize(300, 300),
    "CropToFixedSize": lambda: iaa.CropToFixedSize(150, 150),
    "Rot90": lambda: iaa.Rot90(1),
    "Rot90 turned": lambda: iaa.Rot90(1, keep_size=False),
    "Rotate": lambda: iaa.Rotate((20, 60)),
    "ScaleX": lambda: iaa.ScaleX((0.5, 0.7)),
    "ScaleY": lambda: iaa.ScaleY((1.3, 1.5)),
    "TranslateX": lambda: iaa.TranslateX(px=20),
    "TranslateY": lambda: iaa.TranslateY(percent=0.1),
    "ShearX": lambda: iaa.ShearX(20),
    "ShearY": lambda: iaa.ShearY(20),
    "PerspectiveTransform": lambda: iaa.PerspectiveTransform(scale=(0.08, 0.12)),
    "PiecewiseAffine": lambda: iaa.PiecewiseAffine(scale=0.04),
    "ElasticTransformation": lambda: iaa.ElasticTransformation(alpha=80, sigma=6),
    "Resize": lambda: iaa.Resize(0.6),
    "KeepSizeByResize": lambda: iaa.KeepSizeByResize(iaa.Crop(px=30, keep_size=False)),
    "WithPolarWarping": lambda: iaa.WithPolarWarping(iaa.CropAndPad(percent=(-0.1, 0.1))),
    "Jigsaw": lambda: iaa.Jigsaw(4, 4),
    "AveragePooling smaller": lambda: iaa.AveragePooling(2, keep_size=False),
    "WithChannels": lambda: iaa.WithChannels([0, 1, 2], iaa.Affine(rotate=30)),
    "Sequential": lambda: iaa.Sequential(
        [iaa.Fliplr(0.5), iaa.Affine(rotate=20), iaa.GaussianBlur(0.5)], random_order=True
    ),
    "Sometimes": lambda: iaa.Sometimes(1.0, iaa.Affine(rotate=30)),
    "SomeOf": lambda: iaa.SomeOf(
        (1, 2), [iaa.Fliplr(1), iaa.Affine(rotate=45), iaa.OneOf([iaa.Rot90(1), iaa.Rot90(3)])]
    ),
}

PHOTOMETRIC = {
    "Add": lambda: iaa.Add(40),
    "Multiply": lambda: iaa.Multiply(0.7),
    "AdditiveGaussianNoise": lambda: iaa.AdditiveGaussianNoise(scale=20),
    "Dropout": lambda: iaa.Dropout(0.2),
    "CoarseDropout": lambda: iaa.CoarseDropout(0.3, size_percent=0.1),
    "Cutout": lambda: iaa.Cutout(nb_iterations=3),
    "SaltAndPepper": lambda: iaa.SaltAndPepper(0.1),
    "GaussianBlur": lambda: iaa.GaussianBlur(2.0),
    "MotionBlur": lambda: iaa.MotionBlur(k=7),
    "MedianBlur": lambda: iaa.MedianBlur(7),
    "MaxPooling": lambda: iaa.MaxPooling(2),
    "LinearContrast": lambda: iaa.LinearContrast(0.5),
    "MultiplyHueAndSaturation": lambda: iaa.MultiplyHueAndSaturation(0.6),
    "Grayscale": lambda: iaa.Grayscale(1.0),
    "ChannelShuffle": lambda: iaa.ChannelShuffle(1.0),
    "JpegCompression": lambda: iaa.JpegCompression(95),
    "Superpixels": lambda: iaa.Superpixels(0.9, n_segments=30),
    "Emboss": lambda: iaa.Emboss(1.0),
    "Clouds": lambda: iaa.Clouds(),
    "Fog": lambda: iaa.Fog(),
    "BlendAlphaFrequencyNoise": lambda: iaa.BlendAlphaFrequencyNoise(foreground=iaa.Add(90)),
    "Sequential": lambda: iaa.Sequential([iaa.Add(40), iaa.Sometimes(0.5, iaa.Invert(1.0))]),
}


# imgaug calls functions of scikit-image and imageio that were deprecated after its last release.
DEPRECATED = pytest.mark.filterwarnings(
    "ignore:.estimate. is deprecated:FutureWarning",
    "ignore:.RegionProperties.mean_intensity. is deprecated:FutureWarning",
    "ignore:Starting with ImageIO v3:DeprecationWarning",
    "ignore:.pilmode. is deprecated:DeprecationWarning",
)


@DEPRECATED
@pytest.mark.parametrize("name", GEOMETRIC)
def test_image_and_masks_move_alike(name, rng):
    image, masks = augment_sample(picture(MASKS), MASKS, GEOMETRIC[name](), rng)
    assert image.dtype == np.uint8 and masks.dtype == bool
    assert masks.shape == (*image.shape[:2], MASKS.shape[-1])
    assert overlap(image, masks) > 0.9
    # They did move: nothing fits the masks before the change.
    assert masks.shape != MASKS.shape or overlap(image, MASKS) < 0.9


@DEPRECATED
@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_colour_changes_leave_masks_unchanged(name, rng):
    image = rng.integers(0, 256, (*MASKS.shape[:2], 3), np.uint8)
    new_image, masks = augment_sample(image, MASKS, PHOTOMETRIC[name](), rng)
    np.testing.assert_array_equal(masks, MASKS)
    assert new_image.dtype == np.uint8 and (new_image != image).any()


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_any_number_of_instances_keeps_its_order(count, rng):
    masks = scene(count)
    image = rng.integers(0, 256, (*masks.shape[:2], 3), np.uint8)
    new_image, new_masks = augment_sample(image, masks, iaa.Fliplr(1), rng)
    np.testing.assert_array_equal(new_image, image[:, ::-1])
    np.testing.assert_array_equal(new_masks, masks[:, ::-1])


def test_every_instance_is_rotated_on_its_own(rng):
    # All 100 lie over one another: a map of labels would keep the last one only.
    masks = np.zeros((64, 64, 100), bool)
    for index in range(100):
        masks[10 : 20 + index // 10, 10 : 20 + index % 10, index] = True
    image = np.zeros((64, 64, 3), np.uint8)
    _, turned = augment_sample(image, masks, iaa.Rot90(1), rng)
    np.testing.assert_array_equal(turned, np.rot90(masks, -1))


def test_a_generator_decides_all_random_numbers():
    image, augmenter = picture(MASKS), iaa.Affine(rotate=(-90, 90))

    def rotated(seed):
        return augment_sample(image, MASKS, augmenter, np.random.default_rng(seed))[1]

    np.testing.assert_array_equal(rotated(1), rotated(1))
    assert (rotated(1) != rotated(2)).any()


def test_without_a_generator_the_augmenter_draws_new_numbers():
    image, augmenter = picture(MASKS), iaa.Affine(rotate=(-90, 90))
    augmenter.seed_(5)
    first, second = (augment_sample(image, MASKS, augmenter)[1] for _ in range(2))
    augmenter.seed_(5)
    again = augment_sample(image, MASKS, augmenter)[1]
    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


def test_types_of_images_are_kept(rng):
    for dtype in (np.uint16, np.float32):
        image = picture(MASKS).astype(dtype)
        new_image, _ = augment_sample(image, MASKS, iaa.Fliplr(1), rng)
        assert new_image.dtype == dtype
        np.testing.assert_array_equal(new_image, image[:, ::-1])


@pytest.mark.parametrize(
    "augmentation",
    [lambda image: image, [1], np.fliplr, iaa.Fliplr, lambda mask, masks: None],
    ids=["own function", "list", "function of NumPy", "class", "other names"],
)
def test_anything_else_is_refused(augmentation):
    message = r'^augmentation is a .*; accepted are "default", "strong", an imgaug augm.* Albument'
    with pytest.raises(TypeError, match=message):
        find_adapter(augmentation)


def test_changing_the_channels_is_refused(rng):
    def first_channel(images, *_):
        return [image[..., :1] for image in images]

    with pytest.raises(ValueError, match=r"imgaug.*Lambda made an image of shape \(192, 256, 1\)"):
        augment_sample(picture(MASKS), MASKS, iaa.Lambda(func_images=first_channel), rng)
