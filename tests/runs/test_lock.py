"""One process trains in the folder of a run."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn.files import replacing
from mrcnn.runs import lock as locks
from mrcnn.runs.lock import RunLock, RunLockedError
from mrcnn.runs.run import Run
from mrcnn.training import fit
from tests.runs.interrupted import Interrupt, interrupt, train

HOLDS = """
import sys
from mrcnn.runs.lock import RunLock
held = RunLock(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder():
    """Return a function that starts a process which holds the lock of a folder."""
    processes = []

    def hold(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(folder)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def test_another_process_is_named(tmp_path, holder):
    process = holder(tmp_path)
    with pytest.raises(RunLockedError) as caught:
        RunLock(tmp_path)
    assert str(caught.value).startswith(
        f'"{tmp_path}" is being trained in by process {process.pid} on {socket.gethostname()}; '
        "wait for it or end it, or start a new run"
    )


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["training.lock"]
    RunLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_two_in_one_process(tmp_path):
    first = RunLock(tmp_path)
    with pytest.raises(RunLockedError, match=f"process {os.getpid()} on"):
        RunLock(tmp_path)
    first.release()
    first.release()
    second = RunLock(tmp_path)
    second.release()


def test_a_file_that_its_holder_removes_meanwhile(tmp_path, monkeypatch):
    """A lock on a file that is gone would keep nobody out."""
    held, lock, removed = RunLock(tmp_path), locks._lock, []

    def slow(file):
        if not removed:
            held.release()
            removed.append(True)
        lock(file)

    monkeypatch.setattr(locks, "_lock", slow)
    mine = RunLock(tmp_path)
    monkeypatch.setattr(locks, "_lock", lock)
    with pytest.raises(RunLockedError):
        RunLock(tmp_path)
    mine.release()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError("Function not implemented")

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.warns(UserWarning, match='of ".*" has no locks .Function not implemented'):
        held = RunLock(tmp_path)
    held.release()


@pytest.mark.parametrize("text", ["", "a\nb", "\x1b[2J", "\udcff"])
def test_a_text_that_names_nobody(tmp_path, holder, text):
    holder(tmp_path)
    (tmp_path / "training.lock").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunLockedError, match="is being trained in by "):
        RunLock(tmp_path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "training.lock")
    with pytest.raises(OSError, match='training.lock" is not a regular file'):
        RunLock(tmp_path)
    os.remove(tmp_path / "training.lock")
    (tmp_path / "training.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="training.lock"):
        RunLock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


# Training


def test_a_run_is_locked_while_it_trains(make_model, tmp_path, holder):
    model = make_model(tmp_path)
    interrupt(train, model, Interrupt(("train_batch_end", 1, 2)))
    before = sorted(os.listdir(model.log_dir))
    assert "training.lock" not in before
    process = holder(model.log_dir)
    block = replacing(os.path.join(model.log_dir, "state_0002_000000.npz"))
    unfinished = block.__enter__()
    unfinished.touch()
    second = make_model(tmp_path)
    with pytest.raises(RunLockedError, match=f"by process {process.pid} on"):
        train(second)
    # Neither is the unfinished file of the other process removed.
    left = sorted([*before, "training.lock", unfinished.name])
    assert sorted(os.listdir(model.log_dir)) == left
    assert second.run.saved is None
    process.kill()
    process.wait()
    train(second, epochs=2)
    assert second.epoch == 2
    assert not unfinished.exists()
    assert "training.lock" not in os.listdir(model.log_dir)


def test_a_new_run_leaves_the_files_of_others_alone(make_model, tmp_path, holder):
    """Its folder is planned under the name that another run may have by now."""
    model = make_model(tmp_path)
    os.makedirs(model.log_dir)
    planned = model.log_dir
    unfinished = replacing(os.path.join(planned, "state_0002_000000.npz")).__enter__()
    unfinished.touch()
    holder(planned)
    train(model, epochs=1, resume=False)
    assert unfinished.exists()
    assert model.log_dir == f"{planned}-2"


def test_a_run_that_another_process_trained_meanwhile(make_model, tmp_path, capsys):
    first = make_model(tmp_path)
    interrupt(train, first, Interrupt(("train_batch_end", 1, 2)))
    late = make_model(tmp_path)
    late.start_from("last")
    # A file of the user's own is no training.
    late.keras_model.save_weights(os.path.join(late.log_dir, "own.h5"))
    assert train(late, epochs=1, resume=False).history == {}
    train(first, epochs=2)
    with pytest.raises(RunLockedError, match="has trained in .* since this one read its state"):
        train(late, resume=False)
    # Another attempt reads the newer state.
    train(late, epochs=3)
    assert f"Resuming {late.log_dir} after epoch 2.\n" in capsys.readouterr().out
    assert late.epoch == 3


def test_only_the_process_that_writes_has_a_lock(tmp_path, holder):
    run = Run(tmp_path, "cells")
    holder(tmp_path)
    with run.locked(is_writer=False):
        pass
    with pytest.raises(RunLockedError), run.locked():
        pass


# Before the minutes of compiling


def test_a_folder_that_cannot_be_written_to(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "compile_model", pytest.fail)
    (tmp_path / "file").write_text("")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for name, reason in [
        ("file", "is a file, not a folder"),
        ("file/logs", "is a file, not a folder"),
        ("lost", "is a link to nowhere"),
        ("x" * 300, "File name too long"),
    ]:
        model = make_model(tmp_path / name)
        with pytest.raises(OSError, match=reason) as caught:
            train(model, resume=False)
        assert "No files can be written to the folder" in str(caught.value)
    model = make_model("a\0b")
    with pytest.raises(ValueError, match="zero byte in its name"):
        train(model)
