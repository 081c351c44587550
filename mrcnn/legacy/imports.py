"""Other libraries under the names that Matterport's modules imported them by.

Subclasses and notebooks take them from there, such as `modellib.KL` and `visualize.plt`.
"""

import importlib
from types import SimpleNamespace


def _engine():
    """Return the base classes that old code takes from `keras.engine`, which is gone."""
    keras = importlib.import_module("keras")
    return SimpleNamespace(
        InputSpec=keras.InputSpec, Layer=keras.layers.Layer, Model=keras.Model, Network=keras.Model
    )


_COMMON = {"np": "numpy", "os": "os", "random": "random", "sys": "sys"}

MODEL = _COMMON | {
    "datetime": "datetime",
    "json": "json",
    "keras": "keras",
    "KL": "keras.layers",
    "KM": "keras.models",
    "logging": "logging",
    "math": "math",
    "multiprocessing": "multiprocessing",
    "OrderedDict": "collections:OrderedDict",
    "re": "re",
    "tf": "tensorflow",
    "utils": "mrcnn.utils",
    # Keras's own `keras.backend` has lost K.mean, K.switch and all other operations.
    "K": "tensorflow:keras.backend",
    "KE": _engine,
}

UTILS = _COMMON | {
    "logging": "logging",
    "math": "math",
    "scipy": "scipy",
    "shutil": "shutil",
    "skimage": "skimage",
    "tf": "tensorflow",
    "urllib": "urllib",
    "warnings": "warnings",
}

VISUALIZE = _COMMON | {
    "IPython": "IPython",
    "colorsys": "colorsys",
    "find_contours": "skimage.measure:find_contours",
    "itertools": "itertools",
    "lines": "matplotlib.lines",
    "patches": "matplotlib.patches",
    "plt": "matplotlib.pyplot",
    "Polygon": "matplotlib.patches:Polygon",
    "utils": "mrcnn.utils",
}


def lazy_imports(module, names):
    """Return the `__getattr__` of a module that imports other modules when they are asked for.

    Args:
        module: name of the module.
        names: dict from an attribute to "package.module", to "package.module:attribute", or to a
            function that returns the value.
    """

    def __getattr__(name):
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        source = names[name]
        if callable(source):
            return source()
        path, _, attributes = source.partition(":")
        found = importlib.import_module(path)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
        return found

    return __getattr__
