"""Molding and pasting inside an exported graph, beside the package's own."""

import numpy as np
import pytest
import tensorflow as tf
from skimage import data

from mrcnn.config import Config, PaperConfig
from mrcnn.data.molding import mold_photo
from mrcnn.export.molding import mold
from mrcnn.export.unmolding import paste
from mrcnn.ops.masks import paste_masks
from mrcnn.ops.paste import paste_exact, paste_expanded

CANVAS = {"IMAGE_SHAPE": np.array([128, 192, 3]), "IMAGE_MAX_DIM": 192, "IMAGE_MIN_DIM": 100}
CASES = {
    "square": (Config, {"IMAGE_MIN_DIM": 100, "IMAGE_MAX_DIM": 128}),
    "canvas": (Config, CANVAS),
    "pad64": (
        Config,
        {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 90, "IMAGE_MIN_SCALE": 1.3},
    ),
    "pad32": (PaperConfig, {"IMAGE_MIN_DIM": 90, "IMAGE_MAX_DIM": 150}),
    "antialias": (
        PaperConfig,
        {"IMAGE_MIN_DIM": 90, "IMAGE_MAX_DIM": 150, "RESIZE_FILTER": "antialias"},
    ),
}


def make_config(case):
    base, settings = CASES[case]
    return type("CaseConfig", (base,), {"NAME": "case", **settings})()


@pytest.fixture(scope="module")
def photos():
    # Some are enlarged, others shrunk. 96x64 has places where mixtures are whole numbers.
    photo = data.astronaut()
    return [photo[:61, 100:145], photo[:300, :451], photo[:96, :64], photo[40:160, 100:300]]


@pytest.mark.parametrize("known", [True, False], ids=["known_size", "any_size"])
@pytest.mark.parametrize("case", CASES)
def test_photos_are_molded_as_for_detect(case, known, photos):
    config = make_config(case)

    def molded(images):
        size = images.shape[1:3].as_list() if known else tf.unstack(tf.shape(images)[1:3])
        return mold(images, tuple(size), config)

    spec = None if known else [tf.TensorSpec([None, None, None, 3], tf.uint8)]
    for photo in photos:
        # A function of its own for each known size.
        function = tf.function(lambda x: molded(x), input_signature=spec, autograph=False)
        image, window = function(tf.constant(photo[None]))
        expected, expected_window, _ = mold_photo(photo, config)
        np.testing.assert_array_equal(window, expected_window)
        apart = abs(image.numpy()[0] - expected) * np.mean(config.STD_PIXEL)
        # OpenCV's weights have other last bits, so a mixture may be cut to one less.
        assert (apart > 0.02).mean() < 0.01
        assert apart.max() < 1.01


def test_sizes_are_those_of_detect():
    """Fractions of a pixel are cut or rounded at the same place for all sizes."""
    for case in CASES:
        config = make_config(case)
        sizes = tf.function(
            lambda size, config=config: mold(
                tf.zeros([1, size[0], size[1], 3], tf.uint8), (size[0], size[1]), config
            ),
            input_signature=[tf.TensorSpec([2], tf.int32)],
            autograph=False,
        )
        for size in [(45, 60), (90, 90), (91, 47), (100, 133), (7, 300), (150, 149), (300, 200)]:
            image, window = sizes(tf.constant(size))
            expected, expected_window, _ = mold_photo(np.zeros((*size, 3), np.uint8), config)
            assert (image.shape[1:], tuple(window.numpy())) == (expected.shape, expected_window)


def test_crops_are_for_training():
    config = make_config("pad64")
    config.IMAGE_RESIZE_MODE = "crop"
    with pytest.raises(ValueError, match='"crop".*export with "square", "pad64" or "pad32"'):
        mold(tf.zeros([1, 64, 64, 3], tf.uint8), (64, 64), config)


def test_sides_that_do_not_fit_the_network_are_named():
    config = make_config("pad64")
    config.IMAGE_RESIZE_MODE = "none"
    with pytest.raises(ValueError, match="60"):
        mold(tf.zeros([1, 64, 60, 3], tf.uint8), (64, 60), config)


@pytest.mark.parametrize(
    ("way", "reference"),
    [(None, paste_masks), ("expand", paste_expanded), ("exact", paste_exact)],
)
def test_masks_are_pasted_as_by_detect(way, reference):
    rng = np.random.default_rng(0)
    masks = rng.uniform(0, 1, (12, 14, 14)).astype(np.float32)
    masks[0] = 0.9
    corners = rng.uniform(0, 40, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 30, (12, 2))], axis=1)
    boxes[1], boxes[2] = [0, 0, 50, 61], [3, 4, 3, 9]
    boxes = np.round(boxes) if way is None else boxes.clip(0, [50, 61, 50, 61])
    boxes = boxes.astype(np.float32)
    expected = reference(masks, boxes.astype(int) if way is None else boxes, (50, 61))
    pasted = paste(tf.constant(masks), tf.constant(boxes), (50, 61), way).numpy()
    # Values within rounding of 0.5 may fall on either side.
    assert (pasted != expected.transpose(2, 0, 1)).sum() <= 2
    assert expected.sum() > 1000
