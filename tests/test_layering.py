"""Imports point down: a module may import lower ranks and its own package, nothing else of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "mrcnn").rglob("*.py"))

# Lowest first. A name stands for mrcnn/<name>.py or for the whole package mrcnn/<name>/.
RANKS = [
    {"constants", "files", "config_check"},
    {"config", "download"},
    {"ops", "inputs", "drawing"},
    {"layers", "data"},
    {"backbones", "readers"},
    {"heads", "evaluation", "weights"},
    {"recipes"},
    {"graph"},
    {"runs"},
    {"watching"},
    {"training", "inference"},
    {"legacy"},
    {"mask_rcnn"},
    {"model", "utils", "visualize", "datasets", "callbacks", "parallel_model", "cli"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}

# These take scalars, so that they can be saved, loaded and tested without a Config.
WITHOUT_CONFIG = {"ops", "layers", "backbones", "heads"}


def group(path):
    """The first name below mrcnn: `ops` for mrcnn/ops/boxes.py, `graph` for mrcnn/graph.py."""
    return path.relative_to(ROOT / "mrcnn").with_suffix("").parts[0]


def imports(source):
    """Dotted names of what `source` imports, inside functions too; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def violations(name, source):
    """What is wrong with the imports of a module of the group `name`."""
    for other in imports(source):
        parts = other.split(".")
        if parts[0] == "":
            yield f"relative import {other}"
        elif parts[0] in ("tensorflow", "keras") and {"python", "src", "_api"} & set(parts):
            yield f"private import {other}"
        elif parts[0] == "mrcnn" and parts[1] != name and not parts[1].startswith("__"):
            if RANK[parts[1]] >= RANK[name]:
                yield f"upward import {other}"
            if parts[1] == "config" and name in WITHOUT_CONFIG:
                yield f"import of the Config class {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    if path != ROOT / "mrcnn" / "__init__.py":
        assert list(violations(group(path), path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda p: p.name)
def test_every_folder_is_a_package(folder):
    assert (folder / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("ops", "from mrcnn.ops.boxes import box_area\nimport numpy", []),
        ("model", "from mrcnn import __version__\nfrom mrcnn.graph import build_graph", []),
        ("ops", "def f():\n    import mrcnn.model", ["upward import mrcnn.model"]),
        ("layers", "from mrcnn import data", ["upward import mrcnn.data"]),
        ("model", "from mrcnn import utils", ["upward import mrcnn.utils"]),
        (
            "heads",
            "from mrcnn.config import Config",
            ["import of the Config class mrcnn.config.Config"],
        ),
        ("data", "from .dataset import Dataset", ["relative import .dataset.Dataset"]),
        ("model", "from keras.src import ops", ["private import keras.src.ops"]),
        (
            "model",
            "import tensorflow.python.eager.context",
            ["private import tensorflow.python.eager.context"],
        ),
    ],
)
def test_the_check_itself(name, source, found):
    assert list(violations(name, source)) == found
