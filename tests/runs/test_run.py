"""Where a run keeps its files, and which run a checkpoint belongs to."""

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn.model import MaskRCNN
from mrcnn.runs import run as run_folder
from mrcnn.runs.run import Run, folder_name
from tests.mini import mini_config


class WithoutGraph(MaskRCNN):
    """A MaskRCNN of folders and names alone."""

    def build(self, mode, config):
        return None


def make_model(folder, name="shapes"):
    return WithoutGraph("training", mini_config(NAME=name), str(folder))


def checkpoint(folder, run, file):
    path = folder / run / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


RUNS = [
    # The name of a run, its start, the name of a checkpoint, its epoch.
    ("coco20171029T2315", (2017, 10, 29, 23, 15), "mask_rcnn_coco_0001.h5", 1),
    ("coco20171029T2315", (2017, 10, 29, 23, 15), "mask_rcnn_coco_0160.h5", 160),
    ("Balloon20200101T0000", (2020, 1, 1, 0, 0), "mask_rcnn_Balloon_0012.h5", 12),
    ("my-data_220261231T2359", (2026, 12, 31, 23, 59), "mask_rcnn_my-data_2_0007.h5", 7),
    ("run202420240229T0930", (2024, 2, 29, 9, 30), "mask_rcnn_run2024_0003.h5", 3),
    ("cells.v1.220240229T0930", (2024, 2, 29, 9, 30), "mask_rcnn_cells.v1.2_0020.h5", 20),
    ("two words20240229T0930", (2024, 2, 29, 9, 30), "mask_rcnn_two words_0020.h5", 20),
    ("cells20240229T0930-2", (2024, 2, 29, 9, 30), "mask_rcnn_cells_0020.h5", 20),
    ("long20240229T0930", (2024, 2, 29, 9, 30), "mask_rcnn_long_12345.h5", 12345),
]


def found_at(path):
    """Start and epoch of the run that a checkpoint belongs to, or None."""
    run = Run.of_checkpoint(path, "any")
    return run and (datetime.datetime.strptime(str(run.place[0]), "%Y%m%d%H%M"), run.epoch)


@pytest.mark.parametrize(("run", "start", "file", "epoch"), RUNS)
def test_checkpoint_of_a_run(run, start, file, epoch, tmp_path, monkeypatch):
    expected = datetime.datetime(*start), epoch
    assert found_at(tmp_path / "logs" / run / file) == expected
    # The working folder may be the run itself.
    assert found_at(f"logs/{run}/{file}") == expected
    (tmp_path / run).mkdir()
    monkeypatch.chdir(tmp_path / run)
    assert found_at(file) == expected


@pytest.mark.parametrize(
    "path",
    [
        "mask_rcnn_coco.h5",
        "logs/mask_rcnn_coco_0001.h5",
        "logs/coco20171029/mask_rcnn_coco_0001.h5",
        "logs/coco20171029T2315/mask_rcnn_coco.h5",
        "logs/coco20171029T2315/best_0001.h5",
        "logs/coco20171029T2315/mask_rcnn_coco_0001.weights.h5",
        "logs/coco20171329T2315/mask_rcnn_coco_0001.h5",  # there is no month 13
        "logs/coco20171029T2315/old/mask_rcnn_coco_0001.h5",
    ],
)
def test_file_of_no_run(path):
    assert found_at(path) is None


def test_names_of_a_new_run(tmp_path, capsys):
    before = datetime.datetime.now().replace(second=0, microsecond=0)
    model = make_model(tmp_path, "Shapes")
    start = re.fullmatch(r"shapes(\d{8}T\d{4})", os.path.basename(model.log_dir))[1]
    start = datetime.datetime.strptime(start, "%Y%m%dT%H%M")
    assert before <= start <= datetime.datetime.now()
    assert os.path.dirname(model.log_dir) == str(tmp_path)
    assert model.checkpoint_path == os.path.join(model.log_dir, "mask_rcnn_shapes_*epoch*.h5")
    assert model.epoch == 0
    # A folder appears when there is something to keep in it.
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("epoch", "name"), [(7, "0007"), ("*epoch*", "*epoch*"), (12345, "12345")])
def test_checkpoint_name(epoch, name):
    assert run_folder.checkpoint_name("Shapes", epoch) == f"mask_rcnn_shapes_{name}.h5"


def test_own_names_are_recognized():
    start = datetime.datetime(2026, 5, 17, 8, 30)
    for name in ("shapes", "shapes.2", "a b", "x-2024", "20240101T0000"):
        folder = run_folder.folder_name(name, start)
        path = os.path.join("logs", folder, run_folder.checkpoint_name(name, 42))
        assert found_at(path) == (start, 42)


def test_run_is_resumed_in_its_folder(tmp_path, capsys):
    path = checkpoint(tmp_path, "shapes20171029T2315", "mask_rcnn_shapes_0003.h5")
    model = make_model(tmp_path / "elsewhere")
    model.set_log_dir(path)
    run = str(tmp_path / "shapes20171029T2315")
    assert (model.log_dir, model.epoch) == (run, 3)
    assert model.checkpoint_path == os.path.join(run, "mask_rcnn_shapes_*epoch*.h5")
    assert capsys.readouterr().out == f"Resuming {run} after epoch 3.\n"
    # Any other file begins a new run.
    model.set_log_dir(str(tmp_path / "mask_rcnn_coco.h5"))
    assert model.epoch == 0
    assert os.path.dirname(model.log_dir) == str(tmp_path / "elsewhere")


def test_relative_path_is_resumed(tmp_path, monkeypatch, capsys):
    checkpoint(tmp_path, "shapes20171029T2315", "mask_rcnn_shapes_0003.h5")
    monkeypatch.chdir(tmp_path)
    model = make_model("logs")
    model.set_log_dir("shapes20171029T2315/mask_rcnn_shapes_0003.h5")
    assert (model.log_dir, model.epoch) == (str(tmp_path / "shapes20171029T2315"), 3)
    assert "after epoch 3" in capsys.readouterr().out


def test_last_checkpoint_of_the_newest_run(tmp_path):
    checkpoint(tmp_path, "shapes20250101T0000", "mask_rcnn_shapes_0099.h5")
    for epoch in ("0001", "0010", "0009"):
        last = checkpoint(tmp_path, "shapes20260101T0000", f"mask_rcnn_shapes_{epoch}.h5")
    last = last.replace("0009.h5", "0010.h5")
    model = make_model(tmp_path)
    assert model.find_last() == last
    # A run that was stopped before its first epoch ended, and the new one, have nothing to offer.
    (tmp_path / "shapes20260102T0000").mkdir()
    checkpoint(tmp_path, "shapes20260103T0000", "events.out.tfevents")
    checkpoint(tmp_path, "shapes20260103T0000", ".mask_rcnn_shapes_0001.1f2e.h5")
    assert model.find_last() == last


def test_runs_of_one_minute_are_in_order(tmp_path):
    for run in ("shapes20260101T0000", "shapes20260101T0000-9", "shapes20251231T2359-11"):
        checkpoint(tmp_path, run, "mask_rcnn_shapes_0002.h5")
    last = checkpoint(tmp_path, "shapes20260101T0000-10", "mask_rcnn_shapes_0001.h5")
    # No run of ours.
    checkpoint(tmp_path, "shapes20260101T0000-x", "mask_rcnn_shapes_0003.h5")
    model = make_model(tmp_path)
    assert model.find_last() == last
    model.set_log_dir(last)
    assert (model.log_dir, model.epoch) == (os.path.dirname(last), 1)


START = datetime.datetime(2026, 1, 1, 9, 30)


def test_two_runs_of_one_minute(tmp_path):
    runs = [Run.new(tmp_path / "logs", "Cells", START) for _ in range(3)]
    assert not (tmp_path / "logs").exists()
    for run in runs:
        run.claim()
    names = [os.path.basename(run.folder) for run in runs]
    assert names == ["cells20260101T0930", "cells20260101T0930-2", "cells20260101T0930-3"]
    assert runs[1].checkpoint_path == os.path.join(runs[1].folder, "mask_rcnn_cells_*epoch*.h5")
    assert run_folder.run_folders(tmp_path / "logs", "cells") == [run.folder for run in runs]
    # A further stage stays where it is.
    runs[1].claim()
    assert os.path.basename(runs[1].folder) == names[1]


def test_two_models_of_one_minute(tmp_path):
    first, second = make_model(tmp_path), make_model(tmp_path)
    # The minute may have changed between them.
    second.run = Run.new(tmp_path, "shapes", START)
    first.run = Run.new(tmp_path, "shapes", START)
    second.run.claim()
    first.run.claim()
    assert second.log_dir == str(tmp_path / "shapes20260101T0930")
    assert first.log_dir == str(tmp_path / "shapes20260101T0930-2")


CLAIMS = """
import datetime, sys, time
from mrcnn.runs.run import Run
start = datetime.datetime(2026, 1, 1, 9, 30)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(50):
    run = Run.new(sys.argv[1], "cells", start)
    run.claim()
    print(run.folder)
"""


def test_two_processes_at_once(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, str(tmp_path / "logs")],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [len(folders) for folders in claimed] == [50, 50]
    names = [os.path.basename(folder) for folder in claimed[0] + claimed[1]]
    assert set(names) == {folder_name("cells", START, number) for number in range(1, 101)}


def test_workers_follow_the_chief(tmp_path):
    """Theirs may be another model_dir, and another minute."""
    for _ in range(2):
        chief = Run.new(tmp_path / "a", "cells", START)
        chief.claim()
    worker = Run.new(tmp_path / "b", "cells", START + datetime.timedelta(minutes=1))
    worker.follow(*chief.place)
    assert worker.folder == str(tmp_path / "b" / "cells20260101T0930-2")
    # A run that is resumed is in its place already, as is one in a folder of another name.
    resumed = Run(tmp_path / "b" / "cells20250101T0000", "cells")
    resumed.follow(*chief.place)
    assert resumed.folder == str(tmp_path / "b" / "cells20250101T0000")
    assert Run(tmp_path / "mine", "cells").place == (0, 0)


def test_a_folder_that_a_script_sets_is_kept(tmp_path):
    model = make_model(tmp_path)
    (tmp_path / "mine").mkdir()
    model.log_dir = str(tmp_path / "mine")
    model.run.claim()
    assert model.log_dir == str(tmp_path / "mine")


@pytest.mark.parametrize("model_dir", [None, 5, b"logs"])
def test_a_model_dir_that_is_no_path(model_dir):
    with pytest.raises(TypeError, match="model_dir is .*; it must be the path of a folder"):
        WithoutGraph("training", mini_config(), model_dir)


def test_five_digits_follow_four(tmp_path):
    checkpoint(tmp_path, "shapes20250101T0000", "mask_rcnn_shapes_9999.h5")
    last = checkpoint(tmp_path, "shapes20250101T0000", "mask_rcnn_shapes_10000.h5")
    assert make_model(tmp_path).find_last() == last


def test_runs_of_other_names_are_no_runs_of_ours(tmp_path):
    ours = checkpoint(tmp_path, "shapes20250101T0000", "mask_rcnn_shapes_0001.h5")
    checkpoint(tmp_path, "shapes220260101T0000", "mask_rcnn_shapes2_0002.h5")
    checkpoint(tmp_path, "shapes_big20260101T0000", "mask_rcnn_shapes_big_0002.h5")
    checkpoint(tmp_path, "my_shapes20260101T0000", "mask_rcnn_my_shapes_0002.h5")
    checkpoint(tmp_path, "shapes", "mask_rcnn_shapes_0005.h5")
    assert make_model(tmp_path).find_last() == ours
    assert make_model(tmp_path, "SHAPES").find_last() == ours
    assert make_model(tmp_path, "shapes2").find_last().endswith("mask_rcnn_shapes2_0002.h5")


@pytest.mark.parametrize("runs", [None, 0, 2])
def test_nothing_to_resume(tmp_path, runs):
    folder = tmp_path / "logs"
    for number in range(runs or 0):
        (folder / f"shapes2026010{number + 1}T0000").mkdir(parents=True)
    if runs == 0:
        folder.mkdir()
    with pytest.raises(FileNotFoundError) as error:
        make_model(folder).find_last()
    assert str(error.value) == (
        f'There is no checkpoint of "shapes": "{folder}" has {runs or 0} run folders named '
        "shapes<date>, none with a file mask_rcnn_shapes_*.h5."
    )
