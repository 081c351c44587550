"""The bar of an epoch, with a clock that a test sets."""

import sys
import threading
import time
from types import SimpleNamespace

import pytest

from mrcnn.watching import progress as module
from mrcnn.watching.progress import Progress


class Clock:
    """Stands for perf_counter."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


@pytest.fixture
def bar(clock):
    """A function: makes a Progress of epochs of `steps` steps, with two images a step."""

    def make(steps, **words):
        progress = Progress(2, **words)
        progress.set_params({"epochs": 5, "steps": steps})
        return progress

    return make


@pytest.fixture
def live(monkeypatch):
    """The output is a terminal of 60 columns."""
    monkeypatch.setattr(module, "_live", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")


def step(progress, clock, number, wait, work, **logs):
    with progress.waiting():
        clock.now += wait
    clock.now += work
    progress.on_train_batch_end(number, logs)


def test_rates_are_those_of_the_epoch(bar, clock, capsys, live):
    progress = bar(100)
    progress.on_epoch_begin(1)
    # The first step of a run compiles the graph.
    step(progress, clock, 0, wait=30, work=90, loss=9.0)
    for number in range(1, 5):
        step(progress, clock, number, wait=1, work=3, loss=7.0 - number)
    first, second, *_, last = capsys.readouterr().out.split("\r")
    assert first == "Epoch 2/5\n"
    assert second == "loss: 9.00 -   1/100 [....................]"
    # 4 seconds a step for 2 images, a quarter of them waiting; 95 steps to go are 380 seconds.
    assert last == "loss: 3.00 -   5/100 - ETA 06:20 - 0.50 images/s - waiting "


def test_second_epoch_counts_from_its_first_step(bar, clock, capsys):
    progress = bar(2)
    for epoch in range(2):
        progress.on_epoch_begin(epoch)
        step(progress, clock, 0, wait=6, work=2 if epoch else 500, loss=0.5)
        step(progress, clock, 1, wait=0, work=2, loss=0.25)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == (
        "loss: 0.250 - 2/2 [====================] - 00:10 - 0.40 images/s - waiting 60%"
    )


def test_epoch_that_begins_in_its_middle(bar, clock, capsys, live):
    progress = bar(1000)
    progress.on_epoch_begin(3)
    for number in range(120, 123):
        step(progress, clock, number, wait=0, work=0.5)
    # 877 steps of half a second; with 123 steps in a second it would be eight seconds.
    assert capsys.readouterr().out.endswith(
        "\r 123/1000 [......] - ETA 07:18 - 4.00 images/s - waiting 0%"
    )


def test_rest_of_a_longer_line_is_wiped_out(bar, clock, capsys, live):
    progress = bar(9)
    progress.on_epoch_begin(0)
    step(progress, clock, 0, wait=0, work=1, loss=10.0)
    step(progress, clock, 1, wait=0, work=7200)
    lines = capsys.readouterr().out.split("\r")[1:]
    assert lines == [
        "loss: 10.0 - 1/9 [==..................]",
        "2/9 [==.......] - ETA 14:00:00 - 0.00 images/s - waiting 0%",
    ]
    progress._draw("short")
    assert capsys.readouterr().out == "\rshort" + 54 * " "


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_line_fits_the_terminal_and_begins_with_the_loss(
    bar, clock, capsys, live, columns, monkeypatch
):
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = bar(10000)
    progress.on_epoch_begin(0)
    losses = {"gradient_norm": 7.0, "loss": 1.23456, "mrcnn_bbox_loss": 0.5}
    for number in range(9):
        step(progress, clock, number, wait=1, work=9, **losses)
    last = capsys.readouterr().out.split("\r")[-1].rstrip()
    # 9991 steps of ten seconds.
    whole = "loss: 1.23 -     9/10000 - ETA 27:45:10 - 0.20 images/s - waiting 10%"
    assert len(last) < columns
    assert last.startswith("loss: 1.23 -     9/10000")
    if columns > 40:
        assert "ETA 27:45:10 - 0.20 images/s" in last
    if columns == 80:
        assert last == whole.replace("10000 -", "10000 [.......] -")
    if columns == 120:
        assert last == whole.replace("10000 -", f"10000 [{20 * '.'}] -")


def test_notebook_has_no_width(bar, clock, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    monkeypatch.delenv("COLUMNS", raising=False)
    progress = bar(9)
    progress.on_epoch_begin(0)
    step(progress, clock, 0, wait=0, work=1, loss=1.0)
    assert capsys.readouterr().out.endswith("\rloss: 1.00 - 1/9 [==..................]")


def test_terminal_is_live(monkeypatch):
    assert not module._live()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert module._live()


def test_file_gets_a_line_each_half_minute(bar, clock, capsys):
    progress = bar(1000)
    progress.on_epoch_begin(0)
    for number in range(100):
        step(progress, clock, number, wait=0, work=1)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split("/")[0].strip() for line in lines] == ["30", "60", "90"]
    # 29 seconds after the first step for 29 steps.
    assert "ETA 16:10 - 2.00 images/s - waiting 0%" in lines[0]
    assert all(line.isprintable() for line in lines)


def test_line_ends_before_validation_and_its_values_come_below(bar, clock, capsys, live):
    progress = bar(1)
    progress.on_epoch_begin(0)
    step(progress, clock, 0, wait=1, work=2, loss=3.0)
    progress.on_test_begin()
    print("something else")
    progress.on_epoch_end(0, {"loss": 3.0, "val_loss": 0.0002, "val_map": 0.25, "note": "good"})
    assert capsys.readouterr().out == (
        "Epoch 1/5\n\rloss: 3.00 - 1/1 [====================] - 00:03\nsomething else\n"
        "        loss   map note\n"
        "train   3.00       good\n"
        "val_  0.0002 0.250\n"
    )


def test_table_of_an_epoch_fits_80_columns():
    losses = [f"{head}_{kind}_loss" for head in ("rpn", "mrcnn") for kind in ("class", "bbox")]
    names = ["loss", *losses, "mrcnn_mask_loss"]
    logs = dict.fromkeys([*names, "gradient_norm"], 1.25)
    logs |= {f"val_{name}": 0.0312345 for name in names}
    logs["gradient_norm"] = 1234.5
    assert module._table(logs, 80).splitlines() == [
        "        loss rpn_class rpn_bbox mrcnn_class mrcnn_bbox mrcnn_mask gradient_norm",
        "train   1.25      1.25     1.25        1.25       1.25       1.25          1234",
        "val_  0.0312    0.0312   0.0312      0.0312     0.0312     0.0312",
    ]
    # What has no room comes below; a row without values is left out.
    assert module._table(logs, 79).splitlines()[3:] == [
        "      gradient_norm",
        "train          1234",
    ]


def test_compilation_is_announced_once_with_its_time(bar, clock, capsys):
    progress = bar(2)
    for _ in range(2):
        for kind in ("training step", "validation step"):
            with progress.computing(kind):
                clock.now += 34
    assert capsys.readouterr().out.splitlines() == [
        "Compiling the training step, once per call of train; it can take a minute.",
        "Compiled in 34 s.",
        "Compiling the validation step, once per call of train; it can take a minute.",
        "Compiled in 34 s.",
    ]


def test_epoch_that_is_stopped(bar, clock, capsys):
    progress = bar(4)
    progress.on_epoch_begin(0)
    step(progress, clock, 0, wait=0, work=1, loss=3.0)
    step(progress, clock, 1, wait=0, work=1, loss=3.0)
    progress.on_epoch_end(0, {"loss": 3.0})
    assert capsys.readouterr().out.endswith(
        "\nloss: 3.00 - 2/4 [==========..........] - 00:02 - 2.00 images/s - waiting 0%\n"
        "      loss\ntrain 3.00\n"
    )


def test_images_are_those_of_a_step(clock, capsys):
    progress = Progress(256)
    progress.set_params({"epochs": 1, "steps": 2})
    progress.on_epoch_begin(0)
    for number in range(2):
        step(progress, clock, number, wait=0, work=2)
    assert " 128.0 images/s " in capsys.readouterr().out


def wait_for_first_batch(progress, seconds):
    with progress.waiting():
        time.sleep(seconds)


@pytest.mark.parametrize("verbose", [0, 1])
def test_first_batch_that_does_not_come(capsys, verbose):
    threads = threading.active_count()
    progress = Progress(1, first_batch_seconds=0.05, verbose=verbose)
    wait_for_first_batch(progress, 0.3)
    assert threading.active_count() == threads
    out = capsys.readouterr().out
    assert "No training batch after 0.05 s; still waiting. Things to check:" in out
    for word in ("load_image(0)", "load_mask(0)", "LOADER_WORKERS = 1", "disk", "other workers"):
        assert word in out
    # The first batch alone.
    wait_for_first_batch(progress, 0.2)
    assert capsys.readouterr().out == ""


def test_first_batch_in_time(capsys):
    threads = threading.active_count()
    progress = Progress(1, first_batch_seconds=0.2)
    wait_for_first_batch(progress, 0)
    assert threading.active_count() == threads
    time.sleep(0.3)
    assert capsys.readouterr().out == ""


def test_first_batch_that_cannot_be_loaded(capsys):
    threads = threading.active_count()
    progress = Progress(1, first_batch_seconds=60)
    with pytest.raises(OSError, match="photo1"), progress.waiting():
        raise OSError("photo1.png is damaged")
    assert threading.active_count() == threads


def test_silence(bar, clock, capsys, live):
    progress = bar(2, verbose=0)
    progress.on_epoch_begin(0)
    for number in range(2):
        step(progress, clock, number, wait=1, work=2, loss=3.0)
    with progress.computing("validation step"):
        progress.on_test_begin()
    progress.on_epoch_end(0, {"val_loss": 2.0})
    assert capsys.readouterr().out == ""
