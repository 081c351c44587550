"""Photos resized and normalized by a PaperConfig."""

import random
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from skimage import data

from mrcnn.config import PaperConfig
from mrcnn.data import molding
from mrcnn.legacy.formulas import mold_image, unmold_image
from tests.mini import mini_config

GOLDEN = Path(__file__).parents[1] / "golden"


def paper_config(**settings):
    config = PaperConfig()
    for name, value in ({"IMAGE_MIN_DIM": 256, "IMAGE_MAX_DIM": 384} | settings).items():
        setattr(config, name, value)
    return config


def test_batch_of_torchvision():
    golden = np.load(GOLDEN / "torchvision_r50_v1.npz")["batch_sample"]
    molded, window, scale = molding.mold_photo(data.astronaut(), paper_config())
    assert (molded.shape, molded.dtype) == ((256, 256, 3), np.float32)
    assert (window, scale) == ((0, 0, 256, 256), 0.5)
    np.testing.assert_allclose(molded[::16, ::16].transpose(2, 0, 1), golden, atol=1e-5)


def test_batch_of_torchvision_with_padding():
    golden = np.load(GOLDEN / "reference_molding.npz")
    config = paper_config(IMAGE_MIN_DIM=200, IMAGE_MAX_DIM=290)
    molded, window, _ = molding.mold_photo(data.coffee(), config)
    assert molded.shape == (224, 320, 3) and window == (0, 0, 193, 290)
    np.testing.assert_allclose(molded[::7, ::7], golden["shrunk"], atol=1e-4)
    assert not molded[193:].any() and not molded[:, 290:].any()


def test_image_of_detectron2():
    """Its pixels are whole numbers, BGR."""
    golden = np.load(GOLDEN / "detectron2_r50_fpn.npz")["resized_sample"]
    config = paper_config(RESIZE_FILTER="antialias", MEAN_PIXEL=0, STD_PIXEL=1)
    molded, *_ = molding.mold_photo(data.astronaut(), config)
    np.testing.assert_array_equal(molded[::16, ::16, ::-1], golden)


def test_training_and_detection_normalize_alike():
    """Padding is 0 in both, also that of the batch; pixels differ by rounding, at most half."""
    config = paper_config(IMAGE_MIN_DIM=200, IMAGE_MAX_DIM=290)
    molded, window, _ = molding.mold_photo(data.coffee(), config)
    resized = molding.resize_photo(data.coffee(), config)[0]
    batch = np.zeros((2, 256, 320, 3), np.uint8)
    batch[0, :224] = resized
    batch[1] = 50
    windows = np.array([window, (0, 0, 256, 200)], np.float32)
    found = molding.normalize(batch, windows, config)
    np.testing.assert_allclose(found[0, :224], molded, atol=0.501 / 57)
    assert not found[0, 224:].any() and not found[1, :, 200:].any()
    expected = (50 - np.array(config.MEAN_PIXEL)) / config.STD_PIXEL
    np.testing.assert_allclose(found[1, :, :200], np.broadcast_to(expected, (256, 200, 3)), 1e-5)
    tensors = molding.normalize(ops.convert_to_tensor(batch), windows, config, ops)
    np.testing.assert_allclose(tensors, found, atol=1e-6)


def test_padding_of_other_modes_is_black():
    config = mini_config(IMAGE_RESIZE_MODE="pad64", MEAN_PIXEL=np.full(3, 8.0), STD_PIXEL=4.0)
    batch = np.zeros((1, 64, 128, 3), np.uint8)
    windows = np.array([[0, 0, 64, 100]], np.float32)
    assert (molding.normalize(batch, windows, config) == -2).all()
    tensors = molding.normalize(ops.convert_to_tensor(batch), windows, config, ops)
    assert (tensors.numpy() == -2).all()
    assert (molding.mold_photo(batch[0, :, :100], config)[0] == -2).all()


def test_old_scripts_mold_with_the_deviation_too():
    config, image = paper_config(), data.astronaut()[:50, :60]
    molded = mold_image(image, config)
    expected = (image - np.array(config.MEAN_PIXEL)) / config.STD_PIXEL
    np.testing.assert_allclose(molded, expected, rtol=1e-5)
    np.testing.assert_array_equal(unmold_image(molded, config), image)


def test_deviation_that_does_not_fit():
    with pytest.raises(ValueError, match="STD_PIXEL has 2 values, but the image has 3 channels"):
        mold_image(np.zeros((4, 4, 3)), paper_config(STD_PIXEL=(1.0, 2.0)))


def test_shorter_sides_are_drawn_in_training():
    config = paper_config(IMAGE_MIN_DIM=(20, 24, 30), IMAGE_MAX_DIM=100)
    photo = data.astronaut()[:60, :80]
    rng = random.Random(0)
    found = [molding.resize_photo(photo, config, rng)[1][2] for _ in range(60)]
    # Each is drawn with a probability of a third.
    assert all(found.count(side) > 8 for side in (20, 24, 30)) and set(found) == {20, 24, 30}
    assert molding.mold_photo(photo, config)[1] == (0, 0, 30, 40)
    config.NAME, config.NUM_CLASSES = "sides", 2
    config.validate()
    config.IMAGE_RESIZE_MODE = "square"
    with pytest.raises(ValueError, match=r"IMAGE_MIN_DIM is \(20, 24, 30\); .* be one number"):
        config.validate()
