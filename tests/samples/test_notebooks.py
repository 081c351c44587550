"""Rules for all notebooks and their outputs. `make test-notebooks` tests that they run."""

import ast
import copy
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = {
    "demo",
    "inspect_balloon_data",
    "inspect_balloon_model",
    "inspect_data",
    "inspect_model",
    "inspect_nucleus_data",
    "inspect_nucleus_model",
    "inspect_weights",
    "train_shapes",
}

AGAIN = "run make notebooks, or python notebooks/keep_outputs.py with its name"

# Folders of one machine: /home/me, C:\data. What a notebook needs it finds from its own place.
ABSOLUTE_PATH = re.compile(r"""(?<![\w.:/}])/\w[\w.-]*/\w|["'][A-Za-z]:[\\/]|~/""")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def faults(notebook, shown=False):
    """The rules that a notebook, `shown` with its outputs or without, breaks: their names."""
    found = []
    first = notebook["cells"][0]
    if first["cell_type"] != "markdown" or not "".join(first["source"]).startswith("# "):
        found.append("title")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if any(cell["outputs"] or cell["execution_count"] is not None for cell in code) != shown:
        found.append("outputs")
    found += faults_of_outputs([output for cell in code for output in cell["outputs"]])
    sources = ["".join(cell["source"]) for cell in code]
    if sum(bool(line.strip()) for source in sources for line in source.splitlines()) >= 100:
        found.append("length")
    trees = [ast.parse(source) for source in sources]
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    if any(f.end_lineno - f.lineno >= 10 for f in functions):
        found.append("function")
    if any(ABSOLUTE_PATH.search(source) for source in sources):
        found.append("path")
    trains = any(".train(" in source or "trained_model(" in source for source in sources)
    if trains and not any('os.environ.get("MRCNN_NOTEBOOK_STEPS"' in s for s in sources):
        found.append("steps")
    return found


def faults_of_outputs(outputs):
    """The rules that outputs break: no errors, no logs, nothing of this machine, small."""
    found = []
    if any(o["output_type"] == "error" or o.get("name") == "stderr" for o in outputs):
        found.append("log")
    texts = [text for o in outputs for text in (o.get("text"), o.get("data", {}).get("text/plain"))]
    if any(ABSOLUTE_PATH.search("".join(text)) for text in texts if text):
        found.append("place")
    if len(json.dumps(outputs)) > 500_000:
        found.append("size")
    return found


def cell(source, kind="code"):
    own = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "source": source.splitlines(keepends=True), **own}


GOOD = {
    "cells": [cell("# Title\n\nText", "markdown"), cell("x = f'a/b{y}/c/d'\nprint(x / 2)\n" * 49)]
}


def with_code(source):
    return {"cells": [GOOD["cells"][0], cell(source)]}


def test_all_notebooks_are_there():
    assert {path.stem for path in NOTEBOOKS} == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_no_fault(path):
    assert faults(read(path), shown=True) == []


@pytest.fixture(scope="module")
def code_hash():
    pytest.importorskip("nbclient")
    path = ROOT / "notebooks" / "keep_outputs.py"
    spec = importlib.util.spec_from_file_location("keep_outputs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.code_hash


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_those_of_the_code(path, code_hash):
    notebook = read(path)
    kept = notebook["metadata"].get("mrcnn", {}).get("outputs_of")
    assert kept == code_hash(notebook), AGAIN
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # Run from top to bottom, once.
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), AGAIN
    kinds = {kind for cell in code for output in cell["outputs"] for kind in output.get("data", ())}
    assert kinds & {"image/png", "image/jpeg"}


def test_all_notebooks_together_are_small():
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 3e6


def test_changed_code_is_found(code_hash):
    given = code_hash({"cells": [cell("Title", "markdown"), cell("a = 1\nb = 2"), cell("c")]})
    # nbformat has whole texts where the file has lists of lines.
    whole = {"cell_type": "code", "source": "a = 1\nb = 2"}
    assert code_hash({"cells": [cell("Another", "markdown"), whole, cell("c")]}) == given
    assert code_hash({"cells": [cell("a = 1\nb = 3"), cell("c")]}) != given
    assert code_hash({"cells": [cell("a = 1"), cell("b = 2"), cell("c")]}) != given


def test_every_fault_is_found():
    assert faults(GOOD) == []
    assert faults({"cells": GOOD["cells"][1:]}) == ["title"]
    assert faults({"cells": [cell("Title", "markdown")]}) == ["title"]
    run = copy.deepcopy(GOOD)
    run["cells"][1]["execution_count"] = 1
    assert faults(run) == ["outputs"]
    run = copy.deepcopy(GOOD)
    run["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["a"]}]
    assert faults(run) == ["outputs"]
    assert faults(run, shown=True) == []
    assert faults(GOOD, shown=True) == ["outputs"]
    for output, fault in (
        ({"output_type": "stream", "name": "stderr", "text": ["a"]}, "log"),
        ({"output_type": "error", "traceback": []}, "log"),
        ({"output_type": "stream", "name": "stdout", "text": ["in /home/me/logs"]}, "place"),
        ({"output_type": "display_data", "data": {"text/plain": ["'/mnt/x'"]}}, "place"),
        ({"output_type": "display_data", "data": {"image/png": "A" * 500_000}}, "size"),
    ):
        assert faults_of_outputs([output]) == [fault]
    assert faults(with_code("x = 1\n" * 99)) == []
    assert faults(with_code("x = 1\n" * 100)) == ["length"]
    assert faults(with_code("def f():\n" + "    x = 1\n" * 9)) == []
    assert faults(with_code("def f():\n" + "    x = 1\n" * 10)) == ["function"]
    for path in ("'/home/me/x'", "f'/mnt/x'", "'C:/data'", "'~/data'"):
        assert faults(with_code(f"x = {path}")) == ["path"], path
    assert faults(with_code("model.train(data)")) == ["steps"]
    assert faults(with_code('s = os.environ.get("MRCNN_NOTEBOOK_STEPS", 9)\nm.train(s)')) == []
