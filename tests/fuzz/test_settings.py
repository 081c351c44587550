"""Settings of a run that were damaged, or made to do harm."""

import json
import sys

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.runs.settings import describe, read_config
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes, mutate_tree


class CellConfig(Config):
    NAME = "cells"
    NUM_CLASSES = 1 + 2
    BACKBONE = "small"
    FPN_CLASSIF_FC_LAYERS_SIZE = 64


@pytest.fixture(scope="module")
def facts():
    import keras

    config = CellConfig()
    config.OPTIMIZER = keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 100))
    training = {"dataset": "dishes", "images": 3, "epoch": 2}
    metrics = {"metrics": {"loss": 0.5}}
    return describe(config, ["BG", "cell", "nucleus"], training) | metrics


@pytest.mark.filterwarnings("ignore:The Config has")
@pytest.mark.parametrize("damage", ["values", "bytes"])
def test_settings(facts, damage, tmp_path):
    """The file gives a Config that is sound, or one sentence that names the file."""
    rng, path = np.random.default_rng([SEED, damage == "bytes"]), tmp_path / "w.keras"
    path.write_bytes(b"PK")
    modules = {name for name in sys.modules if not name.startswith("mrcnn.")}
    for _ in range(CASES):
        tree = mutate_tree(facts, rng) if damage == "values" else facts
        text = json.dumps(tree).encode()
        (tmp_path / "config.json").write_bytes(mutate_bytes(text, rng) if tree is facts else text)
        with guarded(tmp_path, documented=ValueError) as errors:
            config, class_names = read_config(path)
            assert config.validate() is None
            assert class_names is None or all(isinstance(name, str) for name in class_names)
        assert all(str(tmp_path) in str(error) for error in errors), errors
    assert {name for name in sys.modules if not name.startswith("mrcnn.")} == modules
