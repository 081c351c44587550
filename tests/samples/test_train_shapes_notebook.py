"""The train_shapes notebook: it takes its settings from the sample, and it runs."""

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
    """Run as Jupyter does, in the notebook's folder; what it does to sys.path is undone.

    The number of training steps is a test's to choose.
    """
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shapes", raising=False)
    yield
    sys.modules.pop("shapes", None)


def source(cell):
    return "".join(cell["source"])


def test_settings_follow_the_sample(cells, from_notebooks, monkeypatch, capsys):
    monkeypatch.setenv("MRCNN_NOTEBOOK_STEPS", "24")
    names = {}
    for cell in cells:
        if "make_model" in source(cell):
            break
        if "display_top_masks" not in source(cell):
            exec(source(cell), names)
    assert names["ROOT"] == ROOT
    assert "NUM_CLASSES                    4\n" in capsys.readouterr().out
    names["config"].validate()
    assert names["config"].STEPS_PER_EPOCH * names["EPOCHS"] == names["STEPS"] == 24
    train, val = names["dataset_train"], names["dataset_val"]
    assert (train.num_images, val.num_images) == (500, 50)
    assert not np.array_equal(train.load_image(0), val.load_image(0))


@pytest.mark.slow
def test_every_cell_runs(cells, from_notebooks, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MRCNN_NOTEBOOK_STEPS", "4")
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
    assert len(names["history"]["loss"]) == 2
