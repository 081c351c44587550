"""Where weights come from, as their files say."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.runs.provenance import (
    check_provenance,
    metrics_of,
    names_in,
    noted,
    origin,
    training_facts,
)
from tests.mini import MiniShapes


def test_training_facts():
    train, val = MiniShapes(8).split(0.25)
    assert training_facts(train, val) == {
        "dataset": "shapes",
        "images": 6,
        "validation_images": 2,
    }
    train.name = "drawn"
    assert training_facts(train) == {"dataset": "drawn", "images": 6, "validation_images": 0}
    # An object that only looks like a Dataset.
    found = training_facts(SimpleNamespace(image_ids=[1], name="x" * 999))
    assert found["dataset"] == "x" * 200


def test_metrics():
    logs = {"loss": np.float32(0.1), "nan": np.nan, "text": "a", "none": None, "n": 3}
    assert metrics_of(logs) == {"loss": 0.1, "n": 3.0}
    assert metrics_of(None) == {}


def test_epochs_replace_each_other():
    first = noted({"config": "{}", "training": '{"images": 3}'}, 1, {"loss": 2})
    second = noted(first, 2, {"val_loss": 1})
    assert json.loads(second["training"]) == {"images": 3, "epoch": 2}
    assert json.loads(second["metrics"]) == {"val_loss": 1.0}
    assert second["config"] == "{}" and "metrics" in first


@pytest.mark.parametrize(
    "facts",
    [
        {"training": []},
        {"training": None},
        {"training": {"images": [1]}},
        {"training": {"images": {"a": 1}}},
        {"training": {"name": "x" * 201}},
        {"training": {"x" * 201: 1}},
        {"training": {"is": True}},
        {"training": {"images": 10**400}},
        {"metrics": {"loss": "low"}},
        {"metrics": {"loss": float("nan")}},
        {"metrics": {"loss": float("inf")}},
        {"metrics": {str(number): 1 for number in range(201)}},
    ],
    ids=str,
)
def test_hostile_facts(facts):
    """Files of strangers are refused where facts are read, and ignored where weights are loaded."""
    with pytest.raises(ValueError, match='" in "w.h5" is not a short dict of'):
        check_provenance("w.h5", facts)
    texts = {name: json.dumps(value) for name, value in facts.items()}
    assert origin(texts) == {}


def test_sound_facts():
    facts = {"training": {"dataset": "a", "images": 3}, "metrics": {"loss": 0.5, "n": 3}}
    check_provenance("w.h5", facts)
    check_provenance("w.h5", {"config": {}})
    texts = {name: json.dumps(value) for name, value in facts.items()}
    assert origin(texts | {"config": "{}"}) == texts


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "3", '["BG"]', '["BG", 3]'])
def test_damaged_texts(text):
    assert origin({"training": text, "metrics": text}) == {}
    assert names_in({"class_names": text}, 2) is None


def test_names():
    assert names_in({"class_names": '["BG", "cell"]'}, 2) == ["BG", "cell"]
    assert names_in({}, 2) is None
