"""Commands on a network that `mrcnn train` has trained on drawn photos."""

import contextlib
import io
import json
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.commands import benchmark, main
from mrcnn.datasets import open_folder
from mrcnn.evaluation.dataset_metrics import compute_coco_metrics
from mrcnn.mask_rcnn import MaskRCNN
from mrcnn.runs.settings import read_facts
from tests.commands.drawn import TINY, draw_photos
from tests.mini import silent


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder with photos and the run."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trained(place):
    """What `mrcnn train --json` writes."""
    import tensorflow as tf

    draw_photos(place / "shapes" / "train", 6)
    draw_photos(place / "shapes" / "val", 2)
    text, errors = io.StringIO(), io.StringIO()
    arguments = [
        "--preset",
        "small",
        "--epochs",
        "1",
        "--steps",
        "2",
        "--logs",
        str(place / "logs"),
    ]
    # Two steps are done before a graph of them would be made.
    tf.config.run_functions_eagerly(True)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(text),
            contextlib.redirect_stderr(errors),
        ):
            warnings.filterwarnings("ignore", "Even though the")
            status = main(["train", str(place / "shapes"), *arguments, *TINY, "--json"])
    finally:
        tf.config.run_functions_eagerly(False)
    assert status == 0, errors.getvalue()
    return json.loads(text.getvalue()) | {"errors": errors.getvalue()}


@pytest.fixture(scope="module")
def model(trained):
    """The network that detects, as commands load it."""
    return silent(MaskRCNN.from_weights, trained["run"], GPU_COUNT=1, IMAGES_PER_GPU=1)


@pytest.fixture
def loaded(monkeypatch, model):
    """Let commands take the one model, which is built once; a list of what they ask for."""
    asked = []

    def from_weights(path, mode="inference", model_dir=None, **settings):
        asked.append((str(path), mode, settings))
        return model

    monkeypatch.setattr(MaskRCNN, "from_weights", from_weights)
    return asked


def test_what_was_assumed(trained, place):
    assumed = trained["assumed"]
    assert assumed[0].endswith("6 images with 6 objects for training, 2 for validation.")
    # Sides of 24 and 21.9 pixels.
    assert assumed[1:] == [
        "2 classes: bar, box.",
        "Settings: the preset small.",
        "Images: resized to 64x64; anchors of 11, 22, 44, 88, 176 pixels.",
        "Steps: 1 epoch of 2 steps of 2 images; all layers learn, at a rate of 0.04.",
        "Weights: random, for the small network.",
    ]
    assert trained["data"]["classes"] == ["bar", "box"]
    assert trained["epochs"] == 1 and np.isfinite(trained["metrics"]["val_loss"])
    assert all(line in trained["errors"] for line in assumed)


def test_checkpoint_knows_itself(trained):
    facts = read_facts(trained["weights"])
    assert facts["class_names"] == ["BG", "bar", "box"]
    assert facts["training"] == {
        "dataset": "shapes",
        "images": 6,
        "validation_images": 2,
        "epoch": 1,
    }
    assert facts["metrics"] == trained["metrics"]
    best = read_facts(trained["weights"].replace("0001", "best"))
    assert best["metrics"]["val_loss"] == trained["metrics"]["val_loss"]
    config = facts["config"]
    assert (config["NAME"], config["EPOCHS"], config["LAYERS"]) == ("shapes", 1, "all")


def test_model_knows_its_classes(model, trained, tmp_path):
    assert model.class_names == ["BG", "bar", "box"]
    model.keras_model.save_weights(tmp_path / "x.h5")
    facts = read_facts(str(tmp_path / "x.h5"))
    assert facts["training"]["epoch"] == 1 and facts["metrics"] == trained["metrics"]
    assert facts["class_names"] == ["BG", "bar", "box"]


def test_info(trained, capsys):
    assert main(["info", trained["run"]]) == 0
    out, _ = capsys.readouterr()
    rows = dict(re.split(r" {2,}", line, maxsplit=1) for line in out.splitlines())
    assert rows["classes (2)"] == "bar, box" and rows["training: dataset"] == "shapes"
    assert rows["metrics: loss"] == f"{trained['metrics']['loss']:g}"
    assert main(["info", trained["weights"], "--json"]) == 0
    found = json.loads(capsys.readouterr()[0])
    assert found["path"] == trained["weights"] and found["config"]["IMAGE_MAX_DIM"] == 64


def test_evaluate(trained, model, loaded, place, capsys):
    """As `compute_coco_metrics` of the validation part."""
    data, logs = str(place / "shapes"), str(place / "logs")
    assert main(["evaluate", data, "--logs", logs, "--json"]) == 0
    found = json.loads(capsys.readouterr()[0])
    dataset = open_folder(data, "val").train
    expected = silent(compute_coco_metrics, dataset, model, verbose=0)
    for name, stats in (("boxes", expected.bbox), ("masks", expected.segm)):
        assert {k: found[name][k] for k in stats.stats} == stats.stats
    # Scores from 0.05 on, one photo at a time.
    ((path, mode, settings),) = loaded
    assert (path, mode) == (logs, "inference")
    assert settings == {"GPU_COUNT": 1, "IMAGES_PER_GPU": 1, "DETECTION_MIN_CONFIDENCE": 0.05}


def test_benchmark(trained, loaded, place, capsys, monkeypatch):
    """The median of rounds, by a clock that the detector moves."""
    clock = iter([0, 9, 10, 12, 20, 23, 30, 31])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    options = ["--logs", str(place / "logs"), "--rounds", "3", "--batch", "2", "--json"]
    fake = SimpleNamespace(
        config=SimpleNamespace(BACKBONE="small", RECIPE="matterport", IMAGE_MAX_DIM=64),
        detect=lambda images: [{"scores": [0.5]}] * len(images),
    )
    monkeypatch.setattr(benchmark, "load_detector", lambda args, **settings: fake)
    assert main(["benchmark", *options]) == 0
    found = json.loads(capsys.readouterr()[0])
    assert (found["first_seconds"], found["median_seconds"], found["fastest_seconds"]) == (9, 2, 1)
    assert (found["images_per_second"], found["detections"]) == (1.0, 1)
    assert found["peak_memory_bytes"] > 1e6


def test_convert_to_keras_and_back(trained, model, loaded, tmp_path, capsys):
    path = tmp_path / "w.weights.h5"
    assert main(["convert", trained["run"], str(path)]) == 0
    assert "hold no class names; here they are bar, box" in capsys.readouterr()[0]
    before = [weight.numpy() for weight in model.keras_model.weights]
    model.keras_model.weights[0].assign(before[0] + 1)
    model.load_weights(str(path))
    for ours, theirs in zip(before, model.keras_model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert main(["convert", trained["run"], str(path)]) == 1
    assert "exists; --overwrite replaces it" in capsys.readouterr()[1]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("w.txt", "has to end with .weights.h5, .h5, .pth"),
        ("w.pth", "has no model with RECIPE 'matterport'"),
    ],
)
def test_convert_to_what_is_not_possible(trained, loaded, tmp_path, target, sentence, capsys):
    assert main(["convert", trained["run"], str(tmp_path / target)]) == 1
    assert sentence in capsys.readouterr()[1]
    assert list(tmp_path.iterdir()) == []


def test_export(trained, loaded, model, tmp_path, monkeypatch, capsys):
    """The arguments arrive; `MaskRCNN.export` has tests of its own."""
    asked = []

    def export(path, **options):
        asked.append((path, options))
        return SimpleNamespace(path=path, format="onnx", size=5, seconds=1.5)

    monkeypatch.setattr(model, "export", export, raising=False)
    words = "x.onnx --weights RUN --image-size 480x640 --batch any --masks small --overwrite"
    argv = ["export", *words.replace("RUN", trained["run"]).split(), "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr()[0])["size"] == 5
    assert asked == [
        (
            "x.onnx",
            {
                "format": None,
                "image_size": (480, 640),
                "batch": None,
                "precision": "float32",
                "masks": "small",
                "calibration": None,
                "overwrite": True,
            },
        )
    ]


def test_run_with_other_classes_is_not_resumed(trained, place, capsys):
    names = ["--classes", "disc,ring", "--logs", str(place / "logs"), "--resume"]
    assert main(["train", str(place / "shapes"), *names]) == 1
    _, err = capsys.readouterr()
    assert "was trained on the classes bar, box, and the data have disc, ring" in err
    assert err.count("\n") == 1


def test_finished_run_asks_for_more_epochs(trained, place, capsys):
    """Its Config is that of the run, so nothing but the data has to be given."""
    argv = ["train", str(place / "shapes"), "--logs", str(place / "logs"), "--resume"]
    assert main(argv) == 0
    out, _ = capsys.readouterr()
    assert "Nothing to train: 1 epochs are finished" in out
    assert f"Settings and weights: those of {trained['run']}." in out


def test_weights_that_are_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for command in (["benchmark"], ["export", "x.onnx"]):
        for weights, sentence in (
            ("last", 'There is no folder "logs" of runs'),
            ("coco", "mrcnn download coco fetches it"),
            ("no.h5", "There is no file or folder no.h5"),
        ):
            assert main([*command, "--weights", weights]) == 1
            _, err = capsys.readouterr()
            assert sentence in err and err.count("\n") == 1
