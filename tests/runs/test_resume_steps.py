"""Interrupted and killed runs whose steps are real."""

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from tests.mini import mini_backbone, mini_config
from tests.runs import resumed
from tests.runs.interrupted import (
    Interrupt,
    equal,
    interrupt,
    leftovers,
    table,
    train,
)


def dropout_backbone(image, stage5=True, train_bn=None):
    """Dropout between the stages: its random numbers are part of the model's state."""
    *stages, last = mini_backbone(image, stage5, train_bn)
    return [*stages, keras.layers.Dropout(0.3, name="res5drop")(last)]


@pytest.mark.slow
def test_adam_averages_and_dropout(tmp_path):
    config = mini_config(
        STEPS_PER_EPOCH=3,
        SAVE_STEPS=2,
        TRAIN_BN=None,
        BACKBONE=staticmethod(dropout_backbone),
        OPTIMIZER="Adam",
        EMA_MOMENTUM=0.9,
    )

    def run(folder, seed, moment=None):
        keras.utils.set_random_seed(seed)
        model = MaskRCNN("training", config, str(tmp_path / folder))
        train(model, Interrupt(moment), epochs=2, rate=1e-3)
        return model

    model = run("whole", 1)
    expected = model.keras_model.get_weights(), table(model)
    interrupt(run, "logs", 1, ("train_batch_end", 1, 2))
    model = run("logs", 2)
    assert equal(model.keras_model.get_weights(), expected[0])
    assert table(model) == expected[1]


# A process that is killed


def launch(folder, moment=""):
    """Start `resumed.py`; returns its process."""
    command = [sys.executable, resumed.__file__, str(folder / "logs"), str(folder / "end.npz")]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with open(folder / "out.txt", "ab") as out:
        return subprocess.Popen([*command, moment], stdout=out, stderr=out, env=environment)


def text(folder):
    return (folder / "out.txt").read_text(encoding="utf-8")


def position(folder):
    """Finished steps by the newest state."""
    states = [re.fullmatch(r"state_(\d+)_(\d+)\.npz", p.name) for p in folder.rglob("state_*")]
    return max((int(m[1]) * resumed.STEPS + int(m[2]) for m in states), default=0)


def check_files(folder):
    """Every file that has its name can be read."""
    for path in folder.rglob("[!.]*.npz"):
        with np.load(path) as file:
            assert file.zip.testzip() is None
    for path in folder.rglob("[!.]*.h5"):
        with h5py.File(path) as file:
            file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)


def kill_later(process, folder, seen, seconds):
    """Kill a process so long after its first epoch began, or after two steps."""
    end = math.inf
    while process.poll() is None and time.monotonic() < end:
        new = text(folder)[seen:]
        if end == math.inf and "Epoch " in new:
            end = time.monotonic() + seconds
        if new.count("\nstep ") >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)


def kills():
    """Moments for twenty kills: in files, in validation, after steps, and after random times."""
    rng = random.Random(0)
    chosen = [f"state:{n}" for n in (1, 40, 200)] + [f"weights:{n}" for n in (1, 30, 60)]
    chosen += ["validation:1", *(f"step:{n}" for n in (1, 2))]
    chosen += [rng.uniform(0, 8) for _ in range(10)]
    rng.shuffle(chosen)
    # First of all a state to resume from: what is left in the folder of a run without any stays.
    return ["step:3", *chosen]


@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert launch(whole).wait(300) == 0, text(whole)
    count = 0
    for moment in kills():
        if (killed / "end.npz").exists():
            break
        before, seen = position(killed), len(text(killed)) if count else 0
        if isinstance(moment, str):
            process = launch(killed, moment)
        else:
            process = launch(killed)
            kill_later(process, killed, seen, moment)
        code = process.wait(300)
        assert code in (0, -signal.SIGKILL), text(killed)[-3000:]
        count += code != 0
        check_files(killed)
        # What was done after the start, but for the steps since the last state.
        done = len(re.findall(r"^step \d+$", text(killed)[seen:], re.MULTILINE))
        assert position(killed) >= before + done - resumed.SAVE_STEPS
        assert len(list(killed.rglob("state_*"))) <= 3
    if not (killed / "end.npz").exists():
        assert launch(killed).wait(300) == 0, text(killed)
    assert leftovers(killed) == []
    with np.load(whole / "end.npz") as expected, np.load(killed / "end.npz") as found:
        assert equal([found[n] for n in found.files], [expected[n] for n in expected.files])
    assert count >= 15
