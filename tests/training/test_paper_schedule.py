"""The paper's learning rates: in proportion to the batch, with a warm-up and two decays."""

import json

import pytest

from mrcnn.config import PaperConfig
from mrcnn.runs.settings import describe, make_config
from mrcnn.training.rates import first_rate, rate_callbacks
from tests.training.test_rates import Run


class Paper(PaperConfig):
    NAME = "paper"
    NUM_CLASSES = 81


def with_settings(**settings):
    config = Paper()
    for name, value in settings.items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize(
    ("settings", "rate", "steps"),
    [
        ({"BATCH_SIZE": 16}, 0.02, 1000),
        ({"IMAGES_PER_GPU": 2, "GPU_COUNT": 8}, 0.02, 1000),
        ({"IMAGES_PER_GPU": 2, "ACCUMULATE_BATCHES": 8}, 0.02, 1000),
        ({}, 0.0025, 8000),
        ({"IMAGES_PER_GPU": 1}, 0.00125, 16000),
        # 16,000 images are 5333.3 steps of 3.
        ({"IMAGES_PER_GPU": 3}, 0.00375, 5333),
        ({"IMAGES_PER_GPU": 1, "LEARNING_RATE": 0.01}, 0.01, 16000),
        ({"IMAGES_PER_GPU": 1, "STEPS_PER_EPOCH": 10}, 0.00125, 10),
    ],
)
def test_the_rate_follows_the_batch(settings, rate, steps):
    config = with_settings(**settings)
    assert config.LEARNING_RATE == pytest.approx(rate, rel=1e-12)
    assert config.STEPS_PER_EPOCH == steps
    # Stored with a run and read again.
    facts = json.loads(json.dumps(describe(config)))
    found = make_config(facts["config"])
    assert (found.LEARNING_RATE, found.STEPS_PER_EPOCH) == (config.LEARNING_RATE, steps)


def test_stored_rates_follow_another_batch_unless_they_were_assigned():
    facts = json.loads(json.dumps(describe(with_settings())))
    found = make_config(facts["config"], IMAGES_PER_GPU=4)
    assert (found.LEARNING_RATE, found.STEPS_PER_EPOCH) == (0.005, 4000)
    facts = json.loads(json.dumps(describe(with_settings(LEARNING_RATE=0.01, BATCH_SIZE=4))))
    found = make_config(facts["config"], IMAGES_PER_GPU=1)
    assert (found.BATCH_SIZE, found.LEARNING_RATE, found.STEPS_PER_EPOCH) == (4, 0.01, 4000)


def test_json_has_the_rates_in_force(tmp_path):
    with_settings(IMAGES_PER_GPU=4).to_json(tmp_path / "config.json")
    stored = json.loads((tmp_path / "config.json").read_text())
    assert (stored["LEARNING_RATE"], stored["STEPS_PER_EPOCH"]) == (0.005, 4000)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0.02), (119, 0.02), (120, 2e-3), (159, 2e-3), (160, 2e-4), (179, 2e-4)]
)
def test_rates_of_180_epochs(epoch, rate):
    config = with_settings(BATCH_SIZE=16)
    assert first_rate(config.LEARNING_RATE, config, epoch) == pytest.approx(rate)


def test_warm_up_and_decay_by_step():
    """With epochs of 2 steps: up over 3 steps, and a tenth from epoch 2 on."""
    settings = {"WARMUP_STEPS": 3, "STEPS_PER_EPOCH": 2, "LEARNING_RATE_DECAY_EPOCHS": (2,)}
    config = with_settings(BATCH_SIZE=16, **settings)
    rates = Run(config, config.LEARNING_RATE).train(3)
    assert rates == pytest.approx([0.02 / 3, 0.04 / 3, 0.02, 0.02, 0.002, 0.002])


def test_the_first_thousand_steps_warm_up():
    config = with_settings(BATCH_SIZE=16)
    (decay, warm_up) = rate_callbacks(config, config.LEARNING_RATE, 0)
    assert (warm_up.steps, warm_up.steps_per_epoch) == (1000, 1000)
    assert decay.function(0) == config.LEARNING_RATE
