"""The small model of the notebooks is trained once, then read from its file."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_model(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "samples/shapes")
    for name in ("shapes", "small_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import small_model

    yield small_model
    for name in ("shapes", "small_model"):
        sys.modules.pop(name, None)


@pytest.fixture
def calls(small_model, monkeypatch):
    """Records which models are made, and lets no network be built."""
    made = []

    class Model:
        def __init__(self, config):
            self.config = config
            self.keras_model = SimpleNamespace(save_weights=lambda path: path.write_text("new"))

        def train(self, train, val, learning_rate, epochs, layers):
            config = self.config
            made.append(("train", epochs * config.STEPS_PER_EPOCH, layers))
            steps = epochs * config.STEPS_PER_EPOCH
            made.append([float(learning_rate(step)) for step in (0, steps // 10, steps)])

    def make_model(mode, weights, logs, config):
        made.append((mode, str(weights)))
        return Model(config)

    monkeypatch.setattr(small_model.cli, "make_model", make_model)
    return made


def test_a_second_call_reads_what_the_first_has_trained(small_model, calls, tmp_path):
    config = small_model.small_config("tiny", 200, NUM_CLASSES=2)
    config.validate()
    assert (config.NUM_CLASSES, config.EPOCHS, config.STEPS_PER_EPOCH) == (2, 4, 50)
    small_model.trained_model(config, None, None, tmp_path)
    file = tmp_path / "tiny_200_steps.h5"
    assert file.read_text() == "new"
    # The rate rises from zero over a tenth of the steps, and falls to zero.
    assert calls == [
        ("training", "random"),
        ("train", 200, "all"),
        pytest.approx([0, config.LEARNING_RATE, 0], abs=1e-6),
        ("inference", str(file)),
    ]
    calls.clear()
    small_model.trained_model(config, None, None, tmp_path)
    assert calls == [("inference", str(file))]


def test_own_weights_replace_training(small_model, calls, tmp_path):
    config = small_model.small_config("tiny", 2)
    small_model.trained_model(config, None, None, tmp_path, "mine.h5")
    assert calls == [("inference", "mine.h5")]
    assert list(tmp_path.iterdir()) == []


def test_few_steps_are_one_epoch(small_model):
    config = small_model.small_config("tiny", 3)
    assert (config.EPOCHS, config.STEPS_PER_EPOCH) == (1, 3)
