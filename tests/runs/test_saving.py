"""Ctrl-C and full disks while the files of a run are written."""

import errno
import os
import signal
import threading

import numpy as np
import pytest

from mrcnn.files import replacing
from mrcnn.runs import state
from mrcnn.runs.saving import saving
from tests.runs.interrupted import equal, leftovers, train


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def handler():
    """Let SIGINT raise KeyboardInterrupt, as in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def write(path, presses=0):
    with saving(path), replacing(path) as temporary:
        temporary.write_text("half")
        for _ in range(presses):
            press_ctrl_c()
        temporary.write_text("whole")


def test_the_first_ctrl_c_waits_for_the_file(tmp_path, handler, capsys):
    path = tmp_path / "state_0001_000000.npz"
    with pytest.raises(KeyboardInterrupt):
        write(path, presses=1)
    assert path.read_text() == "whole"
    assert capsys.readouterr().out == (
        f"\nInterrupted: writing {path} first; Ctrl-C once more stops at once.\n"
        f"Wrote {path}; train(resume=True) or --model last resumes the run.\n"
    )
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_second_ctrl_c_stops_at_once(tmp_path, handler, capsys):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.npz", presses=2)
    assert list(tmp_path.iterdir()) == []
    assert "Wrote" not in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler


def test_without_ctrl_c_nothing_is_said(tmp_path, handler, capsys):
    write(tmp_path / "a.npz")
    assert capsys.readouterr().out == ""
    assert signal.getsignal(signal.SIGINT) is handler


def test_handlers_of_others_are_called(tmp_path):
    called = []
    before = signal.signal(signal.SIGINT, lambda *arguments: called.append(arguments[0]))
    try:
        write(tmp_path / "a.npz", presses=1)
        assert called == [signal.SIGINT]
        # A program that ignores Ctrl-C goes on ignoring it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write(tmp_path / "b.npz", presses=1)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_threads_have_no_ctrl_c(tmp_path):
    thread = threading.Thread(target=write, args=[tmp_path / "a.npz"])
    thread.start()
    thread.join()
    assert (tmp_path / "a.npz").read_text() == "whole"


def full(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "kept, advice",
    [
        ([], "there is no earlier file in this folder to resume from."),
        (
            ["mask_rcnn_x_0001.h5", "mask_rcnn_x_0002.h5"],
            "what it did since mask_rcnn_x_0002.h5 is lost. Once files can be written again, "
            "train(resume=True) or --model last resumes from there.",
        ),
        (
            ["state_9999_000000.npz", "state_10000_000002.npz", "mask_rcnn_x_0001.h5"],
            "what it did since state_10000_000002.npz is lost. Once files can be written again, "
            "train(resume=True) or --model last resumes from there.",
        ),
    ],
)
def test_a_full_disk_says_from_what_to_resume(tmp_path, kept, advice):
    for name in kept:
        (tmp_path / name).touch()
    path = tmp_path / "log.npz"
    with pytest.raises(OSError) as caught, saving(path), replacing(path) as temporary:
        temporary.touch()
        full()
    assert str(caught.value) == (
        f'"{path}" cannot be written: No space left on device. Training has stopped; {advice}'
    )
    assert caught.value.errno == errno.ENOSPC
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(kept)


# Training


def test_ctrl_c_while_the_first_state_is_written(make_model, tmp_path, handler, monkeypatch, whole):
    savez = np.savez

    def interrupted(*args, **options):
        press_ctrl_c()
        savez(*args, **options)

    np.random.seed(7)  # noqa: NPY002
    model = make_model(tmp_path / "logs")
    with monkeypatch.context() as patch:
        patch.setattr(state.np, "savez", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(model)
    names = [name for name in os.listdir(model.log_dir) if name.startswith("state")]
    assert names == ["state_0000_000002.npz"]
    assert leftovers(model.log_dir) == []
    # It can be resumed by another process, exactly.
    expected = make_model(tmp_path / "expected")
    np.random.seed(7)  # noqa: NPY002
    train(expected, epochs=1)
    np.random.seed(99)  # noqa: NPY002
    again = make_model(tmp_path / "logs")
    train(again, epochs=1)
    assert again.log_dir == model.log_dir
    assert equal(again.keras_model.get_weights(), expected.keras_model.get_weights())


def require_stopped(model, error, name, reason, last):
    """Assert that training in its second epoch says that a file cannot be written."""
    assert str(error) == (
        f'"{os.path.join(model.log_dir, name)}" cannot be written: {reason}. Training has '
        f"stopped; what it did since {last} is lost. Once files can be written "
        "again, train(resume=True) or --model last resumes from there."
    )
    assert name not in os.listdir(model.log_dir)
    assert leftovers(model.log_dir) == []


def test_a_disk_that_becomes_full_at_a_checkpoint(make_model, tmp_path):
    """The limit on the size of a process's files stands for the end of the disk."""
    resource = pytest.importorskip("resource")
    model = make_model(tmp_path)
    train(model, epochs=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # States in the middle of the epoch are a little smaller.
    limit = os.path.getsize(model.checkpoint_path.replace("*epoch*", "0001")) - 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            train(model, epochs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    last = "state_0001_000002.npz"
    require_stopped(model, caught.value, "mask_rcnn_mini_0002.h5", "File too large", last)


def test_a_disk_that_becomes_full_at_a_state(make_model, tmp_path, monkeypatch):
    model = make_model(tmp_path)
    train(model, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(state.np, "savez", full)
        with pytest.raises(OSError) as caught:
            train(model, epochs=2)
    last = "state_0001_000000.npz"
    reason = "No space left on device"
    require_stopped(model, caught.value, "state_0001_000002.npz", reason, last)
    again = make_model(tmp_path)
    train(again, epochs=2)
    assert (again.log_dir, again.epoch) == (model.log_dir, 2)
