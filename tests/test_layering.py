"""Imports point down and make no circle.

A module may import lower ranks and its own folder, nothing else of ours. All imports count, those
inside functions and under `TYPE_CHECKING` too.
"""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "mrcnn").rglob("*.py"))

# Lowest first. A name stands for mrcnn/<name>.py or for the whole package mrcnn/<name>/.
RANKS = [
    {"registry"},
    {"constants", "files", "config_check", "limits"},
    {"ops", "inputs", "archives", "connection"},
    {"base_config"},
    {"config", "download", "drawing", "writers"},
    {"layers", "data"},
    {"backbones", "readers"},
    {"heads", "evaluation", "weights"},
    {"recipes"},
    {"graph"},
    {"runs"},
    {"watching"},
    {"training", "inference"},
    {"legacy", "export"},
    {"detection_methods"},
    {"mask_rcnn"},
    {"model", "utils", "visualize", "datasets", "callbacks", "parallel_model", "cli"},
    {"commands"},
    {"__main__"},
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
    """Yield what is wrong with the imports of a module of the group `name`."""
    for other in imports(source):
        parts = other.split(".")
        if parts[0] == "":
            yield f"relative import {other}"
        elif parts[0] in ("tensorflow", "keras") and {"python", "src", "_api"} & set(parts):
            yield f"private import {other}"
        elif parts[0] == "mrcnn" and parts[1] != name and not parts[1].startswith("__"):
            if RANK[parts[1]] >= RANK[name]:
                yield f"upward import {other}"
            if parts[1] in ("base_config", "config") and name in WITHOUT_CONFIG:
                yield f"import of the Config class {other}"


def module_name(path):
    """`mrcnn.ops.boxes` for mrcnn/ops/boxes.py, `mrcnn.ops` for mrcnn/ops/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_circle(sources):
    """The names of modules that import one another in a circle; None if there is no circle.

    Args:
        sources: dict from the name of a module to its source.
    """
    graph = {}
    for name, source in sources.items():
        graph[name] = set()
        for other in imports(source):
            # `mrcnn.ops.boxes.box_area` is a name in the module `mrcnn.ops.boxes`.
            while other and other not in sources:
                other = other.rpartition(".")[0]
            if other and other != name:
                graph[name].add(other)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # It lists the modules from the imported to the importing one.
        return error.args[1][::-1]
    return None


def test_imports_make_no_circle():
    sources = {module_name(path): path.read_text(encoding="utf-8") for path in MODULES}
    assert import_circle(sources) is None


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


@pytest.mark.parametrize(
    "way_back",
    [
        "from mrcnn.data.a import name",
        "from mrcnn.data import a",
        "import mrcnn.data.a as alias",
        "def f():\n    from mrcnn.data.a import name",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mrcnn.data.a",
        "class C:\n    def f(self):\n        import mrcnn.data.a",
    ],
)
def test_circles_within_a_folder_are_found(way_back):
    sources = {
        "mrcnn.data": "",
        "mrcnn.data.a": "from mrcnn.data.b import x",
        "mrcnn.data.b": "import numpy\nfrom mrcnn.data import c",
        "mrcnn.data.c": way_back,
        "mrcnn.data.d": "from mrcnn.data import a, b, c",
    }
    circle = import_circle(sources)
    assert circle[0] == circle[-1]
    steps = set(zip(circle, circle[1:], strict=False))
    assert steps == {
        ("mrcnn.data.a", "mrcnn.data.b"),
        ("mrcnn.data.b", "mrcnn.data.c"),
        ("mrcnn.data.c", "mrcnn.data.a"),
    }
    assert import_circle(sources | {"mrcnn.data.c": "import mrcnn.ops.a"}) is None


def test_a_package_that_imports_a_module_that_imports_it_is_a_circle():
    sources = {"mrcnn.ops": "from mrcnn.ops import a", "mrcnn.ops.a": "from mrcnn.ops import name"}
    assert import_circle(sources) is not None
    assert import_circle(sources | {"mrcnn.ops.a": "from mrcnn.ops.a import name"}) is None
