"""What `detect` takes for an image: paths, molded images, and what it says of anything else."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn import model as modellib
from mrcnn.inference import molding
from tests.inference.test_detect import assert_equal_results

MOLDED = r"detect\(\) got an image from mold_image\(\)"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_molded_image_is_the_plain_one(model, photo, dtype):
    image = photo(64, 64)
    expected = model.detect([image])[0]
    sample = np.expand_dims(modellib.mold_image(image, model.config), 0).astype(dtype)
    with pytest.warns(UserWarning, match=MOLDED) as caught:
        result = model.detect(sample, verbose=0)[0]
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    assert "Write model.detect([image])" in str(caught[0].message)
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)


def test_molded_images_among_others(model, photo):
    image, other = photo(64, 64), photo(30, 70, 1)
    mold = modellib.mold_image(image, model.config)
    with pytest.warns(UserWarning, match=MOLDED) as caught:
        results = model.detect([other, mold, mold])
    assert len(caught) == 1
    assert_equal_results(results[0], model.detect([other])[0])
    assert_equal_results(results[1], model.detect([image])[0])


def test_a_bright_molded_image_without_negative_values(model):
    image = np.full((64, 64, 3), 200, np.uint8)
    image[10:30, 20:50] = 240
    mold = modellib.mold_image(image, model.config)
    assert mold.min() > 0
    (restored,) = _restored(mold, model.config)
    np.testing.assert_array_equal(restored, image)


def _restored(image, config):
    with pytest.warns(UserWarning, match=MOLDED):
        return molding.without_mean([image], config)


@pytest.mark.parametrize(
    "image",
    [
        np.linspace(0, 1, 64 * 64 * 3).reshape(64, 64, 3),
        np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3),
        np.arange(64 * 64 * 3).reshape(64, 64, 3) % 256 * 1.0,
        np.full((64, 64, 3), 0.3, np.float32),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64)),
        np.full((64, 64, 3), np.nan),
    ],
)
@pytest.mark.parametrize("mean", [[123.7, 116.8, 103.9], [0, 0, 0], [128, 128, 128], [127.5] * 3])
def test_other_floats_stay_as_they_are(model, image, mean):
    model.config.MEAN_PIXEL = np.array(mean)
    assert molding.without_mean([image], model.config)[0] is image


def test_negative_values_that_are_no_molded_image(model, photo):
    image = modellib.mold_image(photo(64, 64), model.config) / 2
    with pytest.raises(ValueError, match=r"Image 0 is float64 with values from -"):
        model.detect([image])


def test_paths_of_files(model, photo, tmp_path):
    image, other = photo(64, 64), photo(30, 70, 1)
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    expected = [model.detect([each])[0] for each in (image, other, image)]
    results = model.detect([str(path), other, path])
    for result, want in zip(results, expected, strict=True):
        assert_equal_results(result, want)


def test_a_path_that_is_logged(model, photo, tmp_path, capsys):
    Image.fromarray(photo(40, 100)).save(tmp_path / "photo.png")
    model.detect([tmp_path / "photo.png"], verbose=1)
    assert "shape: (40, 100, 3)" in capsys.readouterr().out


def test_files_that_cannot_be_read(model, tmp_path, batches):
    with pytest.raises(FileNotFoundError, match='^Image 0: there is no file "photo.jpg"'):
        model.detect(["photo.jpg"])
    (tmp_path / "note.png").write_text("no image")
    with pytest.raises(OSError, match=r"note\.png cannot be read as an image"):
        model.detect([np.zeros((8, 8, 3), np.uint8), tmp_path / "note.png"])
    assert batches == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, r"Image 1 is None, which is what cv2\.imread returns"),
        (b"\xff\xd8", "Image 1 is a bytes; accepted are arrays"),
        ({"image": 1}, "Image 1 is a dict; accepted are arrays"),
        ([[1, 2], [3]], "Image 1 is a list; accepted are arrays"),
        (np.array([["a"]]), "Image 1 is an array of <U1; accepted are arrays"),
        (np.zeros((4, 4, 3), complex), "Image 1 is an array of complex128; accepted"),
        (3, r"Image 1 has shape \(\); accepted are"),
    ],
    ids=str,
)
def test_anything_else_in_the_list(model, batches, bad, message):
    with pytest.raises(ValueError, match=message):
        model.detect([np.zeros((8, 8, 3), np.uint8), bad])
    assert batches == []


@pytest.mark.parametrize(
    ("images", "given"),
    [
        ("photo.jpg", "'photo.jpg'"),
        (Path("photo.jpg"), r"PosixPath\('photo.jpg'\)"),
        (np.zeros((8, 8, 3)), r"one array of shape \(8, 8, 3\)"),
        (None, "one NoneType"),
        (7, "one int"),
        ({"photo.jpg": 1}, "one dict"),
    ],
    ids=["str", "Path", "array", "None", "number", "dict"],
)
def test_one_image_or_something_else_instead_of_a_list(model, images, given):
    with pytest.raises(ValueError, match=f"images is {given}; it must be a list of images"):
        model.detect(images)


def test_generators_and_tuples(model, photo):
    image = photo(64, 64)
    expected = model.detect([image])[0]
    assert_equal_results(model.detect((image,))[0], expected)
    assert_equal_results(model.detect(each for each in [image])[0], expected)


def test_random_weights_are_told_once(tmp_path, photo):
    from tests.mini import mini_config

    image = photo(64, 64)
    model = modellib.MaskRCNN("inference", mini_config(), str(tmp_path))
    with pytest.warns(UserWarning, match=r"random weights.*load_weights\(path\)") as caught:
        model.detect([image])
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.detect([image])


@pytest.mark.parametrize("how", ["file", "by hand", "keras_model", "trained"])
def test_weights_that_were_set_are_not_random(tmp_path, photo, how):
    from tests.mini import mini_config

    mode = "training" if how == "trained" else "inference"
    model = modellib.MaskRCNN(mode, mini_config(), str(tmp_path))
    head = model.keras_model.get_layer("mrcnn_class_logits")
    if how == "file":
        # The very same numbers, but from a file.
        model.keras_model.save_weights(str(tmp_path / "mask_rcnn.h5"))
        model.load_weights(str(tmp_path / "mask_rcnn.h5"))
    elif how == "keras_model":
        model.keras_model.save_weights(str(tmp_path / "mask_rcnn.h5"))
        head.kernel.assign(head.kernel + 1)
        model.keras_model.load_weights(str(tmp_path / "mask_rcnn.h5"))
        head.bias.assign(head.bias + 1)
    else:
        # A step of training changes these numbers, too.
        head.kernel.assign(head.kernel * 1.001)
    model = model.inference_model() if mode == "training" else model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.detect([photo(64, 64)])


def test_heads_that_were_left_out_are_random(tmp_path, photo):
    from tests.mini import mini_config

    model = modellib.MaskRCNN("training", mini_config(), str(tmp_path))
    model.keras_model.save_weights(str(tmp_path / "mask_rcnn.h5"))
    model.load_weights(str(tmp_path / "mask_rcnn.h5"), exclude=["mrcnn_class_logits"])
    with pytest.warns(UserWarning, match="random weights"):
        model.inference_model().detect([photo(64, 64)])
