"""The settings of the samples: docs/results.md has figures that were made with these."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mrcnn.config import Computed, Config, SmallConfig

ROOT = Path(__file__).parents[2]
# By the name of the class: all settings that differ from Config's defaults.
EXPECTED = json.loads(Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def classes():
    """The Configs of all samples by name."""
    samples = ("balloon", "coco", "nucleus", "shapes")
    with pytest.MonkeyPatch.context() as patch:
        for name in samples:
            patch.syspath_prepend(str(ROOT / "samples" / name))
        for name in (*samples, "coco_download"):
            patch.delitem(sys.modules, name, raising=False)
        modules = [__import__(name) for name in samples]
        yield {name: value for module in modules for name, value in vars(module).items()}
        for name in (*samples, "coco_download"):
            sys.modules.pop(name, None)


def as_json(value):
    """A value as JSON has it: functions by name, arrays and tuples as lists."""
    if callable(value):
        return value.__name__
    return np.asarray(value).tolist() if isinstance(value, tuple | np.ndarray) else value


def differences(config, other):
    """Settings of one Config that another has not, or not so, without those that follow others."""
    theirs = other.to_dict()
    return {
        name: as_json(value)
        for name, value in config.to_dict().items()
        if not isinstance(getattr(Config, name, None), Computed)
        and (name not in theirs or as_json(value) != as_json(theirs[name]))
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_settings_are_those_of_the_published_results(classes, name):
    config = classes[name]()
    config.validate()
    assert differences(config, Config()) == EXPECTED[name]


def test_differences_are_seen():
    class Other(SmallConfig):
        NAME, LEARNING_RATE, EPOCHS = "other", 0.02, 3

    found = {"EPOCHS": 3, "LEARNING_RATE": 0.02, "NAME": "other"}
    assert differences(Other(), SmallConfig()) == found


def test_the_preset_needs_a_name_and_classes():
    class Own(SmallConfig):
        NAME, NUM_CLASSES = "own", 2

    Own().validate()
    with pytest.raises(ValueError, match="NUM_CLASSES"):
        type("Unfinished", (SmallConfig,), {"NAME": "own"})().validate()
