"""The train_shapes notebook: short, without outputs, and it runs."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cells():
    notebook = json.loads((ROOT / "notebooks/train_shapes.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def from_notebooks(monkeypatch):
    """Run as Jupyter does, in the notebook's folder; what it does to sys.path is undone."""
    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shapes", raising=False)
    yield
    sys.modules.pop("shapes", None)


def source(cell):
    return "".join(cell["source"])


def test_outputs_are_stripped(cells):
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_code_is_short(cells):
    lines = [line for cell in cells for line in source(cell).splitlines() if line.strip()]
    assert 40 < len(lines) <= 100
    trees = [ast.parse(source(cell)) for cell in cells]
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    assert all(f.end_lineno - f.lineno < 10 for f in functions)


def test_settings_follow_the_sample(cells, from_notebooks, capsys):
    names = {}
    for cell in cells:
        if "make_model" in source(cell):
            break
        if "display_top_masks" not in source(cell):
            exec(source(cell), names)
    assert names["ROOT"] == ROOT
    assert "NUM_CLASSES                    4\n" in capsys.readouterr().out
    names["config"].validate()
    assert names["config"].STEPS_PER_EPOCH == names["STEPS"]
    train, val = names["dataset_train"], names["dataset_val"]
    assert (train.num_images, val.num_images) == (500, 50)
    assert not np.array_equal(train.load_image(0), val.load_image(0))


@pytest.mark.slow
def test_every_cell_runs(cells, from_notebooks, tmp_path, capsys):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    names = {}
    for cell in cells:
        exec(source(cell).replace('ROOT / "logs"', repr(str(tmp_path))), names)
    plt.close("all")
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"mAP:  {np.mean(names['APs'])}"
    assert len(names["APs"]) == 10
    # One epoch of the heads, one of all layers: the last checkpoint is that of the second.
    assert names["model"].epoch == 2
    assert len(names["history"].history["loss"]) == 1
