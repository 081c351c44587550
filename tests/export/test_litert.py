"""The file of LiteRT, read by its own runtime, beside Keras."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from mrcnn.layers.batching import suppress
from mrcnn.model import MaskRCNN
from tests.mini import MiniShapes, mini_config, silent
from tests.spread_scores import spread_scores

# Neither a square nor the size of the network.
SIZE = (48, 72)
NAMES = ["BG", "square", "disc"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    config = mini_config(IMAGES_PER_GPU=1)
    model = MaskRCNN("inference", config, str(tmp_path_factory.mktemp("logs")))
    spread_scores(model, logits=0.5)
    model.class_names = NAMES
    return model


@pytest.fixture(scope="module")
def photos():
    return [MiniShapes(4).load_image(i)[: SIZE[0]].repeat(2, axis=1)[:, : SIZE[1]] for i in (0, 1)]


@pytest.fixture(scope="module")
def report(model, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.tflite"
    return silent(model.export, path, image_size=SIZE, calibration=photos)


def run(path, photo):
    """Return the detections of a file, without their padding."""
    outputs = Interpreter(str(path)).get_signature_runner("serving_default")(image=photo)
    rows = outputs["class_ids"] > 0
    return {name: value[rows] for name, value in outputs.items()}


def test_detections_are_those_of_keras(model, photos, report):
    assert report.differences.agree()
    assert report.differences.matched == report.differences.expected >= 10
    for photo in photos:
        found, expected = run(report.path, photo), model.detect([photo])[0]
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
        np.testing.assert_array_equal(found["class_ids"], expected["class_ids"])
        np.testing.assert_allclose(found["boxes"], expected["rois"], atol=1)
        masks = np.moveaxis(expected["masks"], -1, 0)
        both = (found["masks"] & masks).sum(axis=(1, 2))
        either = (found["masks"] | masks).sum(axis=(1, 2))
        assert (both > 0.98 * either).all()


def test_the_photo_is_bytes_and_detections_have_names_and_known_shapes(report):
    interpreter = Interpreter(report.path)
    assert interpreter.get_signature_list() == {
        "serving_default": {
            "inputs": ["image"],
            "outputs": ["boxes", "class_ids", "masks", "scores"],
        }
    }
    (image,) = interpreter.get_input_details()
    assert (image["dtype"], list(image["shape"])) == (np.uint8, [*SIZE, 3])
    runner = interpreter.get_signature_runner()
    shapes = {name: list(each["shape"]) for name, each in runner.get_output_details().items()}
    assert shapes == {
        "boxes": [10, 4],
        "class_ids": [10],
        "scores": [10],
        "masks": [10, *SIZE],
    }


def test_metadata_is_an_archive_at_the_end_of_the_file(report):
    """Any program that opens zip files reads class names and settings."""
    with zipfile.ZipFile(report.path) as archive:
        texts = json.loads(archive.read("metadata.json"))
    assert json.loads(texts["class_names"]) == NAMES
    assert json.loads(texts["config"])["IMAGE_MAX_DIM"] == 64
    assert json.loads(texts["export"])["image_size"] == list(SIZE)


def test_suppression_of_boxes_without_area():
    """LiteRT's own kernel returns the first of them again and again."""
    boxes = np.float32([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0.9], [0, 2, 1, 3]])
    scores = np.float32([0.9, 0.8, 0.7, 0.6, 0.5])

    @tf.function(input_signature=[tf.TensorSpec(boxes.shape)])
    def kept(boxes):
        return suppress(boxes, tf.constant(scores), 5, 0.5)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([kept.get_concrete_function()])
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], boxes)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert found.tolist() == [0, 1, 2, 4, -1]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most"), [("float16", 0.55), ("int8", 0.35)])
def test_lower_precision_makes_smaller_files_that_find_the_same(
    model, photos, report, tmp_path, precision, most
):
    smaller = model.export(
        tmp_path / "model.tflite", image_size=SIZE, precision=precision, calibration=photos
    )
    assert smaller.size < most * report.size
    assert smaller.differences.matched >= 0.8 * smaller.differences.expected
    found, expected = run(smaller.path, photos[0]), run(report.path, photos[0])
    assert abs(found["scores"][0] - expected["scores"][0]) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": None}, r'"litert" needs image_size=\(height, width\)'),
        ({"batch": 2}, '"litert", which accepts 1; "onnx" and "saved_model" accept any'),
        ({"precision": "int4"}, 'precision is "int4"; .* "float32", "float16", "int8"'),
        ({"precision": "int8"}, "give some of the training photos as calibration"),
        ({"precision": "int8", "calibration": []}, "calibration="),
        (
            {"precision": "int8", "calibration": [np.zeros((64, 64, 5), np.uint8)]},
            "Image 0 has .*5 channels",
        ),
    ],
)
def test_bad_input(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "model.tflite", **{"image_size": SIZE, **options})
    assert not list(tmp_path.iterdir())


def test_a_model_that_needs_other_operations_names_formats_that_have_them(model, tmp_path):
    """RoIPool takes as many cells per bin as the box has."""
    other = model.inference_model(mini_config(ROI_ALIGN="pool", IMAGES_PER_GPU=1))
    with pytest.raises(ValueError, match='"litert" needs shapes .* "pool" .*"saved_model" does'):
        other.export(tmp_path / "model.tflite", image_size=SIZE)
