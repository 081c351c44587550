"""Exported files in their runtimes, beside `detect`."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import onnxruntime
import openvino
import pytest
import tensorflow as tf
from PIL import Image
from skimage import data

from mrcnn.export import exporting
from mrcnn.export import openvino as openvino_export
from mrcnn.model import MaskRCNN
from tests.mini import mini_config, silent
from tests.spread_scores import spread_scores

NAMES = ["BG", "square", "disc"]
DOCS = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("logs")
    model = MaskRCNN("inference", mini_config(IMAGES_PER_GPU=1), str(folder))
    spread_scores(model)
    model.class_names = NAMES
    return model


@pytest.fixture(scope="module")
def photos():
    photo = data.astronaut()
    return [np.ascontiguousarray(p) for p in (photo[:90, 150:250], photo[40:120:2, ::8])]


@pytest.fixture(scope="module")
def found(model, photos):
    return [result for photo in photos for result in model.detect([photo])]


@pytest.fixture(scope="module")
def exported(model, photos, tmp_path_factory):
    """The reports of a SavedModel and of an ONNX file, made once."""
    folder = tmp_path_factory.mktemp("exports")
    options = {"saved_model": {"batch": None, "masks": "small"}, "onnx": {}}
    paths = {"saved_model": folder / "served", "onnx": folder / "model.onnx"}
    return {
        name: silent(model.export, paths[name], calibration=photos, **options[name])
        for name in paths
    }


def check(outputs, expected):
    """Detections in the order of `detect`, as scores do not tie."""
    np.testing.assert_array_equal(outputs["class_ids"], expected["class_ids"])
    np.testing.assert_allclose(outputs["scores"], expected["scores"], atol=1e-4)
    np.testing.assert_allclose(outputs["boxes"], expected["rois"], atol=0.5)
    masks = np.moveaxis(expected["masks"], -1, 0)
    assert outputs["masks"].shape == masks.shape
    assert (outputs["masks"] != masks).mean() < 1e-3
    assert masks.any()


def test_a_saved_model_takes_batches_of_any_size(model, exported, photos, found):
    """As TensorFlow Serving does with the body of a request for `predict`."""
    report = exported["saved_model"]
    run = tf.saved_model.load(report.path).signatures["serving_default"]
    for photo, expected in zip(photos, found, strict=True):
        body = json.loads(json.dumps({"instances": [photo[::-1].tolist(), photo.tolist()]}))
        rows = run(image=tf.constant(body["instances"], tf.uint8))
        count = len(expected["scores"])
        outputs = {name: value.numpy()[1] for name, value in rows.items()}
        assert {len(value) for value in outputs.values()} == {model.config.DETECTION_MAX_INSTANCES}
        for name, theirs in (("boxes", "rois"), ("class_ids", "class_ids"), ("scores", "scores")):
            np.testing.assert_allclose(outputs[name][:count], expected[theirs], atol=1e-4)
            assert not outputs[name][count:].any()
        assert outputs["masks"].shape[1:] == (14, 14)
    assert report.differences.agree()
    assert report.differences.masks < 1e-4


def test_a_saved_model_knows_its_classes(exported):
    path = Path(exported["saved_model"].path) / "assets.extra" / "metadata.json"
    texts = json.loads(path.read_text())
    assert json.loads(texts["class_names"]) == NAMES
    assert json.loads(texts["export"])["batch"] is None


def test_an_onnx_file_takes_photos_of_any_size(exported, photos, found):
    session = onnxruntime.InferenceSession(exported["onnx"].path)
    names = [output.name for output in session.get_outputs()]
    assert names == ["boxes", "class_ids", "scores", "masks"]
    for photo, expected in zip(photos, found, strict=True):
        outputs = session.run(None, {"image": photo})
        check(dict(zip(names, outputs, strict=True)), expected)


def test_an_onnx_file_knows_its_classes(exported):
    session = onnxruntime.InferenceSession(exported["onnx"].path)
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["class_names"]) == NAMES
    assert json.loads(texts["config"])["NAME"] == "mini"


def test_openvino_reads_the_onnx_file(exported, photos, found, tmp_path):
    path = str(tmp_path / "model.xml")
    openvino_export.convert(exported["onnx"].path, path, {"class_names": json.dumps(NAMES)})
    assert (tmp_path / "model.bin").stat().st_size > 1e6
    model = openvino.Core().read_model(path)
    assert json.loads(model.get_rt_info(["mrcnn", "class_names"]).astype(str)) == NAMES
    run = openvino_export.load(path)
    for photo, expected in zip(photos, found, strict=True):
        check(run(photo), expected)


def test_the_report_has_path_size_and_differences(exported):
    report = exported["onnx"]
    assert (report.format, report.size) == ("onnx", Path(report.path).stat().st_size)
    assert report.differences.matched == report.differences.expected > 0
    assert report.differences.mask_iou > 0.99
    assert "detections matched" in str(report)


def test_the_program_in_the_documentation_names_what_it_finds(
    exported, photos, found, tmp_path, monkeypatch, capsys
):
    (program,) = re.findall(
        r"```python\n(import json\n\nimport numpy.*?)```", DOCS.read_text(), re.DOTALL
    )
    Path(tmp_path, "model.onnx").write_bytes(Path(exported["onnx"].path).read_bytes())
    Image.fromarray(photos[0]).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    exec(program.replace("photo.jpg", "photo.png"), {})
    lines = capsys.readouterr().out.splitlines()
    expected = zip(found[0]["class_ids"], found[0]["scores"], found[0]["rois"], strict=True)
    for line, (class_id, score, box) in zip(lines, expected, strict=True):
        assert line.startswith(f"{NAMES[class_id]} {score:.2f}")
        assert [int(n) for n in re.findall(r"-?\d+", line)[-4:]] == box.tolist()
    drawn = np.asarray(Image.open(tmp_path / "found.png"))
    assert drawn.shape == photos[0].shape


def test_a_file_in_the_way_is_kept(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"model.onnx\" exists; .*overwrite=True"):
        model.export(path)
    assert path.read_text() == "mine"


def test_a_folder_that_is_no_saved_model_is_never_replaced(model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is a folder that is no SavedModel"):
        model.export(tmp_path / "photos", overwrite=True)
    with pytest.raises(ValueError, match="is a folder"):
        (tmp_path / "model.onnx").mkdir()
        model.export(tmp_path / "model.onnx", overwrite=True)
    assert (tmp_path / "photos" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("model.pt", {}, r'suffix "\.pt"; accepted are "\.onnx" \(onnx\), "\.xml"'),
        ("model", {"format": "torch"}, 'is "torch"; accepted are "saved_model", "onnx"'),
        ("model.bin", {"format": "onnx"}, r'"onnx" writes a file with the suffix "\.onnx"'),
        ("model.onnx", {"masks": "rle"}, 'masks is "rle"; accepted are "pasted" and "small"'),
        ("model", {"precision": "int8"}, '"saved_model" accepts "float32"'),
        ("model", {"batch": 0}, "batch is 0; accepted are numbers from 1 on, and None"),
        ("model", {"image_size": (10, 20, 3)}, r"image_size is \(10, 20, 3\); accepted are"),
        ("model", {"image_size": 1.5}, "image_size is 1.5; accepted are"),
        ("model.xml", {"batch": 4}, "batch is 4; the loop over the images"),
        ("model", {"calibration": [None]}, "Image 0 is None"),
    ],
)
def test_bad_input(model, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx.convert", None)
    with pytest.raises(ImportError, match=r'tf2onnx, .*pip install "mrcnn\[export\]"'):
        model.export(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_finds_other_things_is_not_kept(model, photos, found):
    """The runtime here returns the right detections, but for one score."""
    detector = model._detector_for("export")

    def wrong(photo):
        first = found[0]
        masks = np.moveaxis(first["masks"], -1, 0)
        return {**first, "boxes": first["rois"], "masks": masks, "scores": first["scores"] + offset}

    module = SimpleNamespace(load=lambda path: wrong)
    arguments = photos[:1], detector, model.config, 1, "float32", "onnx"
    offset = np.zeros(len(found[0]["scores"]), np.float32)
    assert exporting._verify(module, "x", *arguments).agree()
    offset[1] = 0.002
    with pytest.raises(ValueError, match='"onnx" does not agree with Keras.* scores 0.002'):
        exporting._verify(module, "x", *arguments)


def test_a_runtime_that_fails_is_named(model, photos):
    def broken(path):
        raise RuntimeError("no such\noperation")

    module = SimpleNamespace(load=broken)
    with pytest.raises(ValueError, match=r'"onnx" cannot run this model \(no such operation\)'):
        exporting._verify(module, "x", photos, None, model.config, 1, "float32", "onnx")


def test_a_model_that_molds_photos_by_itself_is_refused(tmp_path):
    class Own(MaskRCNN):
        def mold_inputs(self, images):
            return super().mold_inputs(images)

    own = Own("inference", mini_config(), str(tmp_path))
    with pytest.raises(ValueError, match="its own mold_inputs"):
        own.export(tmp_path / "model")


@pytest.mark.slow
def test_a_training_model_in_half_precision_is_exported_in_float32(tmp_path):
    config = mini_config(PRECISION="mixed_bfloat16", IMAGES_PER_GPU=1)
    model = MaskRCNN("training", config, str(tmp_path))
    spread_scores(model)
    report = silent(model.export, tmp_path / "model")
    assert report.differences.agree()
    assert report.differences.expected > 0


@pytest.mark.slow
def test_an_operation_that_onnx_lacks_is_named(model, tmp_path):
    """RoIPool takes as many cells per bin as a box has, in a loop."""
    other = model.inference_model(mini_config(ROI_ALIGN="pool", IMAGES_PER_GPU=1))
    with pytest.raises(ValueError, match=r'TensorListConcatV2, .* "saved_model" has it'):
        other.export(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    assert silent(other.export, tmp_path / "model").differences.agree()
