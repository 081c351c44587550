"""The newest run is the one in which training began last, whatever clocks and names say."""

import datetime
import json
import os
import shutil

import pytest

from mrcnn.runs.run import Run, checkpoints_at, last_checkpoint, run_folders
from tests.runs.interrupted import train

EARLY, LATE = datetime.datetime(2026, 10, 25, 2, 10), datetime.datetime(2026, 10, 25, 2, 50)


def begin(model_dir, start, name="cells"):
    """Begin a run at a time of the clock; returns it with one checkpoint."""
    run = Run.new(model_dir, name, start)
    run.claim()
    run.write_config({"config": {}})
    open(run.checkpoint_path.replace("*epoch*", "0001"), "w").close()
    return run


def original(model_dir, folder):
    """Make a run of the original, whose folder says by its name alone when it began."""
    path = model_dir / folder
    path.mkdir()
    (path / "mask_rcnn_cells_0001.h5").touch()
    return str(path)


def number(run):
    with open(os.path.join(run.folder, "config.json"), encoding="utf-8") as file:
        return json.load(file)["run_number"]


def test_a_clock_that_is_set_back(tmp_path):
    """As at the end of summer time: 02:10 comes after 02:50."""
    late = begin(tmp_path, LATE)
    early = begin(tmp_path, EARLY)
    assert (number(late), number(early)) == (1, 2)
    assert run_folders(tmp_path, "cells") == [late.folder, early.folder]
    path = early.checkpoint_path.replace("*epoch*", "0001")
    assert last_checkpoint(tmp_path, "cells") == path
    assert checkpoints_at(tmp_path) == [path]


def test_a_run_that_is_trained_again_is_the_newest(tmp_path):
    first, second = begin(tmp_path, EARLY), begin(tmp_path, LATE)
    # Further stages of the newest run need no other number.
    second.write_config({})
    assert number(second) == 2
    first.write_config({})
    assert (number(first), number(second)) == (3, 2)
    assert run_folders(tmp_path, "cells") == [second.folder, first.folder]


def test_a_copy_keeps_the_order(tmp_path):
    """Copies have the times of the copying, in any order."""
    (tmp_path / "a").mkdir()
    runs = [begin(tmp_path / "a", start) for start in (LATE, EARLY)]
    (tmp_path / "b").mkdir()
    for run in reversed(runs):
        shutil.copytree(run.folder, tmp_path / "b" / os.path.basename(run.folder))
    found = [os.path.basename(folder) for folder in run_folders(tmp_path / "b")]
    assert found == [os.path.basename(run.folder) for run in runs]


def test_runs_without_a_number_stand_by_their_names(tmp_path):
    before = original(tmp_path, "cells20251231T2359")
    late = begin(tmp_path, LATE)
    between = original(tmp_path, "cells20261025T0230")
    early = begin(tmp_path, EARLY)
    after = original(tmp_path, "cells20261101T0000")
    # At 02:30 by the clock, the run of 02:10 is the only one that can have been before it.
    expected = [before, late.folder, early.folder, between, after]
    assert run_folders(tmp_path, "cells") == expected
    assert last_checkpoint(tmp_path, "cells").startswith(after)
    # A new one is behind all of them all the same, if its clock is right.
    newest = begin(tmp_path, datetime.datetime(2026, 11, 2))
    assert run_folders(tmp_path, "cells") == [*expected, newest.folder]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"run_number": "9"}',
        '{"run_number": true}',
        '{"run_number": -9}',
        '{"run_number": 9.0}',
        '{"run_number": 1e400}',
        '{"run_number": 9' + "0" * 5000 + "}",
        '{"run_number": 9, "x": "' + "x" * (1 << 20) + '"}',
        b"\xff\xfe\x00",
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_number_that_is_none(tmp_path, content):
    early, late = begin(tmp_path, EARLY), begin(tmp_path, LATE)
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / os.path.basename(early.folder) / "config.json").write_bytes(content)
    assert run_folders(tmp_path) == [early.folder, late.folder]
    assert number(begin(tmp_path, EARLY)) == 3


def test_a_pipe_is_not_waited_for(tmp_path):
    run = begin(tmp_path, EARLY)
    os.remove(os.path.join(run.folder, "config.json"))
    os.mkfifo(os.path.join(run.folder, "config.json"))
    assert run_folders(tmp_path) == [run.folder]


def test_all_ways_to_the_newest_run_agree(make_model, tmp_path, capsys):
    second = make_model(tmp_path)
    second.run = Run.new(tmp_path, "mini", LATE)
    train(second, epochs=1, resume=False)
    first = make_model(tmp_path)
    first.run = Run.new(tmp_path, "mini", EARLY)
    train(first, epochs=1, resume=False)
    newest = str(tmp_path / "mini20261025T0210")
    assert first.log_dir == newest
    assert os.path.dirname(make_model(tmp_path).find_last()) == newest
    model = make_model(tmp_path)
    model.start_from("last")
    assert model.log_dir == newest
    model = make_model(tmp_path)
    train(model, epochs=1)
    assert model.log_dir == newest
    assert os.path.dirname(checkpoints_at(tmp_path)[0]) == newest


def test_runs_of_several_names(tmp_path):
    """As the samples ask for, which have a Config for each of their data sets."""
    runs = [begin(tmp_path, LATE, "cells"), begin(tmp_path, EARLY, "dots")]
    begin(tmp_path, LATE, "others")
    runs.append(begin(tmp_path, EARLY, "cells"))
    assert run_folders(tmp_path, "Cells", "dots") == [run.folder for run in runs]


def test_the_folder_of_runs_may_have_no_name(tmp_path, monkeypatch):
    """ "" is the working folder, as in `os.path.join`."""
    monkeypatch.chdir(tmp_path)
    run = begin("", EARLY)
    assert run_folders("", "cells") == ["cells20261025T0210"] == [run.folder]
    assert number(begin("", LATE)) == 2
