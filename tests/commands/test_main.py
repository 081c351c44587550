"""The frame of the command line: help, exit statuses, errors, --json."""

import json
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn import commands
from mrcnn.commands import COMMANDS, main
from mrcnn.commands.outcome import Outcome, as_json


@pytest.fixture
def command(monkeypatch):
    """Return a function that makes `mrcnn info` do something else."""

    def replace(run):
        def add(parser):
            parser.add_argument("path", nargs="?")

        module = SimpleNamespace(SUMMARY="Do it.", EXAMPLES="  mrcnn info\n", add=add, run=run)
        monkeypatch.setattr(commands, "COMMANDS", ("info",))
        monkeypatch.setattr(commands.importlib, "import_module", lambda name: module)

    return replace


def test_help_and_wrong_arguments_do_without_tensorflow():
    """One process for all commands: each help has an example, and wrong arguments give 2."""
    program = """
import contextlib, io, sys
from mrcnn.commands import COMMANDS, main
for argv in [["--help"], *([name, "--help"] for name in COMMANDS), [], ["train"], ["no"],
             ["train", "x", "--epochs", "0"], ["train", "x", "--set", "IMAGE_MAX_DIN=3"]]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main(argv)
        except SystemExit as end:
            status = end.code
    print(argv, status, "example" in text.getvalue(), text.getvalue().count("mrcnn "))
assert not {"tensorflow", "keras"} & set(sys.modules), "heavy"
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, line in zip([None, *COMMANDS], lines, strict=False):
        argv = ["--help"] if name is None else [name, "--help"]
        assert line.startswith(f"{argv} 0 True ")
        # The usage, and one example at least.
        assert int(line.rsplit(" ", 1)[1]) >= 2
    assert [line.split("] ")[1].split()[0] for line in lines[1 + len(COMMANDS) :]] == ["2"] * 5


def test_module_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "mrcnn", "info", "nowhere.h5"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'mrcnn info: There is no file or folder "nowhere.h5".\n'


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("a is 3;\n  accepted are 4"), "a is 3; accepted are 4"),
        (FileNotFoundError(2, "No such file or directory", "x.h5"), '"x.h5": No such file'),
        (OSError("The disk is full."), "The disk is full."),
        (FloatingPointError("loss is NaN"), "loss is NaN"),
        (MemoryError("reduce IMAGE_MAX_DIM"), "reduce IMAGE_MAX_DIM"),
        (ImportError("pip install mrcnn[export]"), "pip install mrcnn[export]"),
    ],
)
def test_errors_are_one_line(command, capsys, error, sentence):
    def run(args):
        raise error

    command(run)
    assert main(["info"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"mrcnn info: {sentence}") and err.count("\n") == 1


def test_a_mistake_of_the_package_shows_where(command):
    command(lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


def test_ctrl_c(command, capsys):
    def run(args):
        raise KeyboardInterrupt

    command(run)
    assert main(["info"]) == 130
    assert capsys.readouterr() == ("", "\nmrcnn info: stopped by Ctrl-C.\n")


def test_json_is_all_that_standard_output_gets(command, capsys):
    def run(args):
        print("for people")
        return Outcome({"loss": float("nan"), "sides": np.array([1, 2]), "é": "ü"}, status=1)

    command(run)
    assert main(["info", "--json"]) == 1
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"loss": None, "sides": [1, 2], "é": "ü"}, "for people\n")
    assert main(["info"]) == 1
    assert capsys.readouterr() == ("for people\n", "")


def test_closed_output_is_no_error(command, capsys, monkeypatch):
    """As of `mrcnn info x | head -1`."""

    def run(args):
        raise BrokenPipeError

    command(run)
    monkeypatch.setattr(commands, "_close_output", lambda: None)
    assert main(["info"]) == 1
    assert capsys.readouterr() == ("", "")


def test_warnings_are_one_line(command, capsys):
    def run(args):
        warnings.simplefilter("always")
        warnings.warn("two\n lines", stacklevel=1)

    command(run)
    assert main(["info"]) == 0
    assert capsys.readouterr().err == "mrcnn info: warning: two lines\n"


def test_plain_values():
    from pathlib import Path

    document = {"a": np.float32(0.5), "b": (1, None), "c": Path("x"), 3: {True}, "d": np.inf}
    found = json.loads(as_json(document))
    assert found == {"a": 0.5, "b": [1, None], "c": "x", "3": [True], "d": None}
