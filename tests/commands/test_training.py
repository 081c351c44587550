"""The Config and the weights that a command line asks for, without training."""

import argparse

import pytest

from mrcnn.commands import options, train
from mrcnn.commands.data import find_data, safe_name
from mrcnn.commands.training import new_training, resumed_training
from mrcnn.config import Config, PaperConfig, SmallConfig
from mrcnn.runs.run import Run
from mrcnn.runs.settings import describe
from tests.commands.drawn import draw_photos
from tests.commands.test_data import PROGRAM
from tests.commands.test_start import _nothing_at_hand as nothing_at_hand  # noqa: F401
from tests.commands.test_start import written
from tests.mini import MiniConfig, mini_backbone


@pytest.fixture
def photos(tmp_path):
    return str(draw_photos(tmp_path / "photos", 10))


def parsed(*words):
    """The arguments of `mrcnn train`."""
    parser = argparse.ArgumentParser()
    train.add(parser)
    parser.set_defaults(error=parser.error)
    return parser.parse_args(words)


def planned(data, *words):
    """The `Training` of `mrcnn train DATA ...`."""
    args = parsed(data, *words)
    data = find_data(args.data, args.val, args.seed, args.classes)
    data.name = safe_name(args.name or data.name)
    return new_training(args, data)


def test_folder(photos):
    found = planned(photos)
    config = found.config
    assert isinstance(config, SmallConfig) and (config.NAME, config.NUM_CLASSES) == ("photos", 3)
    assert (config.LAYERS, config.BATCH_SIZE, config.VALIDATION_STEPS) == ("all", 8, 1)
    assert found.start.weights == "random" and found.start.exclude is None
    assert "8 images with 8 objects for training, 2 for validation." in found.lines[0]
    # How it was split is said as well.
    assert any("set aside for validation" in line for line in found.lines)


def test_options_replace_what_was_chosen(photos):
    words = "--epochs 4 --steps 7 --rate 0.5 --layers heads --image-size 128 --gpus 1"
    more = "--precision mixed_bfloat16 --set BACKBONE_STRIDES=[2,4,8,16,32] --set OPTIMIZER=Adam"
    config = planned(photos, *words.split(), *more.split()).config
    assert (config.EPOCHS, config.STEPS_PER_EPOCH, config.LEARNING_RATE) == (4, 7, 0.5)
    assert (config.LAYERS, config.IMAGE_MAX_DIM, config.GPU_COUNT) == ("heads", 128, 1)
    assert config.BACKBONE_STRIDES == [2, 4, 8, 16, 32]
    assert (config.PRECISION, config.OPTIMIZER) == ("mixed_bfloat16", "Adam")
    with pytest.raises(ValueError, match="DETECTION_MIN_CONFIDENCE is 3"):
        planned(photos, "--set", "DETECTION_MIN_CONFIDENCE=3")


def test_presets_with_weights(photos):
    found = planned(photos, "--preset", "default", "--weights", "imagenet")
    assert type(found.config) is Config and found.config.LAYERS == "heads"
    assert found.config.RPN_ANCHOR_SCALES == Config.RPN_ANCHOR_SCALES
    found = planned(photos, "--preset", "paper", "--weights", "imagenet")
    assert isinstance(found.config, PaperConfig) and found.config.LAYERS == "3+"
    # 0.02 for 16 images.
    assert found.config.LEARNING_RATE == pytest.approx(0.02 * found.config.BATCH_SIZE / 16)


def test_weight_file_brings_its_settings(photos, tmp_path):
    path = written(tmp_path / "w.h5", ["BG", "cat", "box"])
    found = planned(photos, "--weights", path, "--name", "x")
    assert found.start.exclude is not None
    assert (found.config.NUM_CLASSES, found.config.IMAGE_META_SIZE) == (3, 12 + 3)
    assert any("Its classes are others (cat, box)" in line for line in found.lines)
    path = written(tmp_path / "w.h5", ["BG", "bar", "box"])
    assert planned(photos, "--weights", path).start.exclude is None


def test_python_file_keeps_its_settings(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(PROGRAM, encoding="utf-8")
    found = planned(str(file), "--weights", "random")
    config = found.config
    assert type(config).__name__ == "Own" and (config.EPOCHS, config.LAYERS) == (30, "all")
    assert config.STEPS_PER_EPOCH == Config.STEPS_PER_EPOCH
    assert config.NAME == "own"
    other = planned(str(file), "--weights", "random", "--steps", "3", "--name", "x y").config
    assert (other.STEPS_PER_EPOCH, other.NAME) == (3, "x_y")
    file.write_text(PROGRAM.replace("NUM_CLASSES = 3", "NUM_CLASSES = 4"), encoding="utf-8")
    with pytest.raises(ValueError, match="NUM_CLASSES is 4, and the data have 2 classes and the"):
        planned(str(file), "--weights", "random")


def test_resumed_program(tmp_path):
    """Settings are those of the file, functions too; epochs and layers those of the run."""
    file = tmp_path / "own.py"
    file.write_text(
        PROGRAM.replace("class Base(Config)", "class Base(MiniConfig)"), encoding="utf-8"
    )
    folder = tmp_path / "logs" / "own20260101T0000"
    folder.mkdir(parents=True)
    facts = describe(MiniConfig(), ["BG", "square", "disc"])
    facts["config"] |= {"EPOCHS": 7, "LAYERS": "heads"}
    Run(folder, "own").write_config(facts)
    data, logs = find_data(file), str(tmp_path / "logs")
    config = resumed_training(parsed(str(file), "--logs", logs, "--rate", "0.5"), data).config
    assert (config.EPOCHS, config.LAYERS, config.NAME) == (7, "heads", "own")
    assert (config.LEARNING_RATE, config.BACKBONE) == (0.5, mini_backbone)
    config = resumed_training(parsed(str(file), "--logs", logs, "--epochs", "9"), data).config
    assert config.EPOCHS == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IMAGE_MAX_DIM=512", ("IMAGE_MAX_DIM", 512)),
        ("RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128)", ("RPN_ANCHOR_SCALES", (8, 16, 32, 64, 128))),
        ("OPTIMIZER=AdamW", ("OPTIMIZER", "AdamW")),
        ("BEST_METRIC=None", ("BEST_METRIC", None)),
        ("NECK=c4", ("NECK", "c4")),
    ],
)
def test_settings(text, expected):
    assert options.setting(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("IMAGE_MAX_DIM", "is not NAME=VALUE"),
        ("IMAGE_MAX_DIN=3", "IMAGE_MAX_DIN is not a setting; did you mean IMAGE_MAX_DIM"),
        ("X=3", "X is not a setting; "),
    ],
)
def test_settings_that_are_none(text, sentence):
    with pytest.raises(argparse.ArgumentTypeError, match=sentence):
        options.setting(text)
