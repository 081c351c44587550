"""Several devices or processes learn the same as one device with all images."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    keras.__version__ < "3.13", reason="with Keras 3.12 two devices differ from one by 4e-5"
)


class Worker:
    """A Python process that runs `task` of worker.py; it ends with the `with` block."""

    def __init__(self, task, folder, tf_config=None, **arguments):
        arguments = json.dumps({"folder": str(folder), **arguments})
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
        environment.pop("TF_CONFIG", None)
        if tf_config:
            environment["TF_CONFIG"] = json.dumps(tf_config)
        self._output = folder / f"output{time.monotonic_ns()}.txt"
        with open(self._output, "w") as output:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("worker.py"), task, arguments],
                env=environment,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()

    def end(self, timeout=900):
        """Return the exit status and everything printed."""
        status = self._process.wait(timeout)
        return status, self._output.read_text()

    def end_well(self):
        """Everything printed so far."""
        status, output = self.end()
        assert status == 0, output
        return output


def workers(folder, model_dirs, each=({}, {}), **arguments):
    """Two processes on this machine that train together."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    return [
        Worker(
            "process",
            folder,
            {"cluster": {"worker": addresses}, "task": task},
            model_dir=str(model_dir),
            **arguments,
            **own,
        )
        for task, model_dir, own in zip(tasks, model_dirs, each, strict=True)
    ]


def kept(folder, name):
    """Return the files of `keep` in worker.py: weights by path, before and after, and facts."""
    with np.load(folder / f"{name}.npz") as file:
        weights = {path: file[path] for path in file.files}
    return weights, json.loads(str(weights.pop("facts")))


def require_equal(ours, expected):
    """Assert that two trainings end with the same weights, and the same changes of them.

    The least change is a few ten-thousandths of its weights, of which one rounding of these is
    nearly a thousandth.
    """
    assert ours.keys() == expected.keys()
    for path, (before, after) in expected.items():
        difference = np.linalg.norm(ours[path][1] - after)
        assert difference <= 1e-5 * np.linalg.norm(after), path
        change = np.linalg.norm(after - before)
        assert change > 0, path
        assert difference <= 1e-3 * change, path


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """Return the folder of what trainings on one and on two devices keep."""
    folder = tmp_path_factory.mktemp("trained")
    with Worker("devices", folder) as worker:
        worker.end_well()
    return folder


@pytest.fixture(scope="module")
def processes(devices):
    """Return the same folder and what two processes print that train as the devices did."""
    model_dirs = [devices / "models0", devices / "models1"]
    for model_dir in model_dirs:
        model_dir.mkdir()
    first, second = workers(devices, model_dirs)
    with first, second:
        return devices, [worker.end_well() for worker in (first, second)]


@pytest.fixture(scope="module")
def halves(devices):
    """Return the same folder with a training on two devices in two batches per step."""
    with Worker("halves", devices) as worker:
        worker.end_well()
    return devices


TRAININGS = [
    ("devices", "two devices"),
    pytest.param("halves", "two devices, two batches", marks=pytest.mark.slow),
    pytest.param("processes", "process 0", marks=pytest.mark.slow),
    pytest.param("processes", "process 1", marks=pytest.mark.slow),
]


@pytest.fixture
def folder(devices, request):
    """Return the folder once it holds what the test's `trainer` keeps."""
    request.getfixturevalue(request.node.callspec.params["trainer"])
    return devices


def test_moving_statistics_are_those_of_all(devices):
    """0.5 * 0 + 0.5 * 1 on one device and 0.5 * 0 + 0.5 * 3 on the other: 1 in the mean."""
    assert json.loads((devices / "statistics.json").read_text()) == [[1.0], [1.0]]


@pytest.mark.parametrize(("trainer", "name"), TRAININGS)
def test_the_weights_are_those_of_one_device(folder, trainer, name):
    (expected, _), (ours, _) = kept(folder, "one device"), kept(folder, name)
    # The backbone adds losses, and the gradient is clipped.
    assert "res5b/kernel" in expected
    require_equal(ours, expected)


@pytest.mark.parametrize(("trainer", "name"), TRAININGS)
def test_the_losses_are_those_of_one_device(folder, trainer, name):
    expected, ours = (kept(folder, n)[1]["history"] for n in ("one device", name))
    assert ours.keys() == expected.keys()
    assert expected["gradient_norm"][0] > 1
    for key, means in expected.items():
        # A validation step is one batch, here of half as many images.
        if not (key.startswith("val_") and name.endswith("batches")):
            assert ours[key] == pytest.approx(means, rel=1e-5), key


@pytest.mark.slow
def test_the_processes_agree(processes):
    folder, _ = processes
    facts = [kept(folder, f"process {index}")[1] for index in range(2)]
    assert [fact["is_chief"] for fact in facts] == [True, False]
    for fact in facts:
        assert fact["process_count"] == 2
        assert fact["any"] == [True, True, False, True]
        # Seeds are larger than float32 can hold exactly.
        assert fact["of_chief"] == 2**62 + 1


@pytest.mark.slow
def test_the_chief_alone_writes_and_shows_progress(processes):
    folder, (first, second) = processes
    names = {path.name for path in folder.glob("models0/**/*")}
    assert {"own.csv", "log.csv", "mask_rcnn_mini_0001.h5", "state_0001_000000.npz"} <= names
    assert list(folder.glob("models1/*")) == []
    for text in ("Starting at epoch 0", "Epoch 1/1", "images/s", "val_ "):
        assert text in first
        assert text not in second


LONGER = {"STEPS_PER_EPOCH": 20, "SAVE_STEPS": 5}


def go_through(folder, **arguments):
    """Let two processes train to their end; return their output."""
    (folder / "shared").mkdir(exist_ok=True)
    first, second = workers(folder, [folder / "shared"] * 2, **arguments, **LONGER)
    with first, second:
        return [worker.end_well() for worker in (first, second)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return the final weights of two processes by path."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    go_through(folder)
    return kept(folder, "process 0")[0]


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_worker_that_dies_stops_the_other_and_both_resume_later(tmp_path, uninterrupted, dies):
    shared, each = tmp_path / "shared", [{}, {}]
    shared.mkdir()
    each[dies] = {"dies_after": 13}
    pair = workers(tmp_path, [shared] * 2, each, **LONGER)
    with pair[0], pair[1]:
        assert pair[dies].end()[0] == -signal.SIGKILL
        status, output = pair[1 - dies].end(timeout=60)
    assert status == 1, output
    assert "WorkerLostError: Training has stopped because " in output
    assert "it may be paused, ended or unreachable" in output
    states = ["state_0000_000005.npz", "state_0000_000010.npz"]
    assert sorted(path.name for path in shared.glob("*/state_*")) == states
    for output in go_through(tmp_path, resume=True):
        assert "after epoch 0 and 10 steps" in output
    for index in range(2):
        require_equal(kept(tmp_path, f"process {index}")[0], uninterrupted)
