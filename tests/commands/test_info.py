"""`mrcnn info` on files of every kind."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest

from mrcnn.commands import main
from mrcnn.commands.facts import facts_of
from mrcnn.config import Config
from mrcnn.runs.provenance import noted
from mrcnn.runs.settings import as_metadata, describe
from mrcnn.weights import matterport
from mrcnn.weights.tensor_writers import write_safetensors, write_torch

NAMES = ["BG", "cell", "\x1b[31mred"]


class CellConfig(Config):
    NAME = "cells"
    NUM_CLASSES = 3
    BACKBONE = "small"


@pytest.fixture(scope="module")
def texts():
    """The metadata of a file of the package."""
    training = {"dataset": "dishes", "images": 3, "validation_images": 1}
    metadata = as_metadata(describe(CellConfig(), NAMES, training))
    return noted(metadata, 7, {"loss": np.float32(0.5), "x": "no", "val_loss": float("nan")})


def onnx_file(folder, texts):
    helper = pytest.importorskip("onnx.helper")
    import onnx

    sides = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("a", "b")]
    node = helper.make_node("Identity", ["a"], ["b"])
    model = helper.make_model(helper.make_graph([node], "g", sides[:1], sides[1:]))
    helper.set_model_props(model, texts)
    onnx.save(model, str(folder / "m.onnx"))
    return folder / "m.onnx"


def xml_file(folder, texts):
    from xml.etree import ElementTree

    root = ElementTree.Element("net")
    info = ElementTree.SubElement(ElementTree.SubElement(root, "rt_info"), "mrcnn")
    for name, text in texts.items():
        # XML has no control characters.
        ElementTree.SubElement(info, name, value=text.replace("\x1b", "?"))
    ElementTree.ElementTree(root).write(folder / "m.xml")
    return folder / "m.xml"


def tflite_file(folder, texts):
    (folder / "m.tflite").write_bytes(b"TFL3" * 9)
    with zipfile.ZipFile(folder / "m.tflite", "a") as archive:
        archive.writestr("metadata.json", json.dumps(texts))
    return folder / "m.tflite"


def saved_model(folder, texts):
    path = folder / "saved"
    (path / "assets.extra").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"")
    (path / "assets.extra" / "metadata.json").write_text(json.dumps(texts))
    return path


def weight_file(folder, texts):
    x = keras.Input([2])
    matterport.save(keras.Model(x, keras.layers.Dense(1)(x)), folder / "m.h5", metadata=texts)
    return folder / "m.h5"


@pytest.mark.parametrize("make", [onnx_file, xml_file, tflite_file, saved_model, weight_file])
def test_facts(tmp_path, texts, make):
    found = facts_of(make(tmp_path, texts))
    assert found["class_names"][:2] == ["BG", "cell"]
    assert found["config"]["NAME"] == "cells"
    expected = {"dataset": "dishes", "images": 3, "validation_images": 1, "epoch": 7}
    assert (found["training"], found["metrics"]) == (expected, {"loss": 0.5})


def test_table_shows_no_control_characters(tmp_path, texts, capsys):
    path = weight_file(tmp_path, texts)
    assert main(["info", str(path)]) == 0
    out, _ = capsys.readouterr()
    assert "\x1b" not in out and r"cell, \x1b[31mred" in out
    assert "WEIGHT_DECAY" not in out
    main(["info", str(path), "--settings"])
    assert "WEIGHT_DECAY" in capsys.readouterr()[0]


def test_torch_files(tmp_path, capsys):
    """A classifier shows its backbone, and a detector also its number of classes."""
    kernels = {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        for block in range(count):
            name = f"layer{stage}.{block}.conv2.weight"
            kernels[name] = np.zeros((64, 64, 1, 1), np.float32)
            kernels[name.replace("conv2", "conv1")] = np.zeros((1, 1, 1, 1), np.float32)
    write_torch(tmp_path / "r.pth", kernels)
    found = facts_of(tmp_path / "r.pth")
    assert found["kind"] == "weights of an ImageNet classifier, for the backbone alone (torch file)"
    assert found["config"]["BACKBONE"] == "resnet50" and found["class_names"] is None


def test_names_in_safetensors(tmp_path):
    """`export_weights` puts them there; COCO's are taken where there are none."""
    tensors = {
        "backbone.body.conv1.weight": np.zeros((64, 3, 7, 7), np.float32),
        "roi_heads.box_predictor.cls_score.weight": np.zeros((3, 8), np.float32),
        "roi_heads.box_predictor.cls_score.bias": np.zeros(3, np.float32),
    }
    for names, expected in ((NAMES, NAMES), (NAMES[:2], None), ("x", None)):
        metadata = {"mrcnn_class_names": json.dumps(names), "mrcnn_training": '{"epoch": 2}'}
        write_safetensors(tmp_path / "w.safetensors", tensors, metadata)
        if names == "x":
            with pytest.raises(ValueError, match="are not those of a model"):
                facts_of(tmp_path / "w.safetensors")
            continue
        found = facts_of(tmp_path / "w.safetensors")
        assert found["training"] == {"epoch": 2} and found["config"]["NUM_CLASSES"] == 3
        assert found["class_names"] == (expected or names)


def test_file_of_the_original(tmp_path):
    x = keras.Input([2])
    model = keras.Model(x, keras.layers.Dense(81, name="mrcnn_class_logits")(x))
    matterport.save(model, tmp_path / "mask_rcnn_coco.h5")
    found = facts_of(tmp_path / "mask_rcnn_coco.h5")
    assert (found["class_names"][1], len(found["class_names"])) == ("person", 81)
    assert found["config"] == {"NUM_CLASSES": 81}


def zipped(entries):
    """A zip archive as bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.onnx", b"no", "is not an ONNX file"),
        ("m.onnx", b"", "without facts: mrcnn export did not write it|is not an ONNX file"),
        ("m.xml", b"<net>", "is not an OpenVINO model"),
        ("m.xml", b"<net/>", "is an OpenVINO model without facts"),
        (
            "m.xml",
            b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><net>&e;</net>',
            "is not an OpenVINO model",
        ),
        ("m.xml", b'<net><rt_info><mrcnn><config value="{"/></mrcnn></rt_info></net>', "not JSON"),
        ("m.tflite", b"TFL3", "is a LiteRT model without facts"),
        ("m.tflite", zipped({"metadata.json": b"{"}), "is damaged"),
        ("m.tflite", zipped({"metadata.json": b"[]"}), "without facts"),
        ("m.tflite", zipped({"metadata.json": b" " * ((1 << 24) + 1)}), "without facts"),
        ("m.tflite", zipped({"other": b"{}"}), "without facts"),
        ("m.tflite", zipped({"metadata.json": b"{}" * 99})[:-40] + bytes(40), "without facts"),
        ("m.h5", b"no", "is not a whole HDF5 file"),
        ("m.pth", b"no", "m.pth"),
        ("m.txt", b"no", "m.txt"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, name, content, sentence, capsys):
    import re

    (tmp_path / name).write_bytes(content)
    assert main(["info", str(tmp_path / name)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and re.search(sentence, err) and err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", '{"config": 3}', '{"config": "3"}'])
def test_damaged_metadata_of_saved_models(tmp_path, text, capsys):
    path = saved_model(tmp_path, {})
    (path / "assets.extra" / "metadata.json").write_text(text)
    assert main(["info", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and str(path) in err and err.count("\n") == 1


def test_folder_without_runs(tmp_path, capsys):
    assert main(["info", str(tmp_path)]) == 1
    assert "mrcnn validate reports on photos" in capsys.readouterr()[1]
