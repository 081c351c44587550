"""The weights that a training starts from."""

import keras
import pytest

from mrcnn.commands import main
from mrcnn.commands.start import Start, choose_start, fit_classes
from mrcnn.config import Config
from mrcnn.runs.settings import as_metadata, describe
from mrcnn.weights import matterport
from mrcnn.weights.coco_names import class_names as coco_names
from mrcnn.weights.start import CLASS_LAYERS
from tests.commands.drawn import draw_photos


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path, monkeypatch):
    """Neither here nor in Keras's cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def refuse(sentence):
    raise SystemExit(sentence)


def choose(weights=None, preset=None):
    start = choose_start(weights, preset, "logs", refuse)
    return start.weights, start.preset


@pytest.mark.parametrize("place", ["logs", ".", "cache/models"])
def test_coco_file_at_hand(tmp_path, place):
    assert choose() == ("random", "small")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "mask_rcnn_coco.h5").write_bytes(b"x")
    path, preset = choose()
    assert (tmp_path / path).resolve() == (tmp_path / place / "mask_rcnn_coco.h5").resolve()
    assert preset == "default"
    # A small network cannot take them, and the paper's does not either.
    assert choose(preset="small") == ("random", "small")
    assert choose("coco")[1] == "default"
    with pytest.raises(FileNotFoundError, match="--weights imagenet downloads some"):
        choose(preset="paper")


def test_nothing_is_downloaded_unasked():
    with pytest.raises(FileNotFoundError, match="No weights for --preset default are at hand; "):
        choose(preset="default")
    assert choose("coco") == ("coco", "default")
    assert choose("imagenet", "paper") == ("imagenet", "paper")
    assert choose("random", "default") == ("random", "default")


def test_trunk_at_hand(tmp_path):
    path = tmp_path / "cache" / "models" / "resnet50-0676ba61.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert choose(preset="paper") == (str(path), "paper")


@pytest.mark.parametrize(
    ("weights", "preset"), [("coco", "small"), ("imagenet", "small"), ("coco", "paper")]
)
def test_contradictions_are_wrong_arguments(weights, preset, capsys, tmp_path):
    with pytest.raises(SystemExit, match=weights if preset == "small" else "COCO weights"):
        choose(weights, preset)
    draw_photos(tmp_path / "photos", 2)
    with pytest.raises(SystemExit) as end:
        main(["train", "photos", "--weights", weights, "--preset", preset])
    assert end.value.code == 2


def test_missing_file_and_run(tmp_path, capsys):
    draw_photos(tmp_path / "photos", 2)
    assert main(["train", "photos", "--weights", "no.h5"]) == 1
    assert "There is no file no.h5; --weights takes coco, " in capsys.readouterr().err
    assert main(["train", "photos", "--resume"]) == 1
    assert 'There is no run of "photos" in "logs" to resume' in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["train", "photos", "--resume", "--weights", "coco"])
    assert end.value.code == 2


def written(path, names=None, classes=3):
    """A weight file of a layer, with facts about these classes, or of the original without."""
    x = keras.Input([2])
    model = keras.Model(x, keras.layers.Dense(classes, name="mrcnn_class_logits")(x))
    config = Config()
    config.NAME, config.NUM_CLASSES = "x", classes
    metadata = as_metadata(describe(config, names)) if names else None
    matterport.save(model, path, metadata=metadata)
    return str(path)


DATA = ["BG", "cat", "dog"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (DATA, None),
        (["BG", "dog", "cat"], "Its classes are others (dog, cat), so the last layers"),
        (["BG", "cow", "dog"], "Its classes are others (cow, dog), so the last layers"),
    ],
)
def test_names_are_compared(tmp_path, names, sentence):
    start = Start(written(tmp_path / "w.h5", names), None, "")
    found = fit_classes(start, DATA)
    assert (found or "").startswith(sentence or "") and bool(found) == bool(sentence)
    assert start.exclude == (CLASS_LAYERS if sentence else None)


def test_files_without_names(tmp_path):
    start = Start(written(tmp_path / "w.h5"), None, "")
    assert "does not name its 2 classes; as their number fits" in fit_classes(start, DATA)
    assert start.exclude is None
    start = Start(written(tmp_path / "w.h5", classes=5), None, "")
    assert "(4 classes without names)" in fit_classes(start, DATA)
    assert start.exclude == CLASS_LAYERS
    # 81 classes without names are COCO's.
    start = Start(written(tmp_path / "w.h5", classes=81), None, "")
    assert "(person, bicycle, car, motorcycle, airplane, and 75 more)" in fit_classes(start, DATA)
    start.exclude = None
    assert fit_classes(start, coco_names(81)) is None and start.exclude is None
    assert fit_classes(Start("random", "small", ""), DATA) is None
