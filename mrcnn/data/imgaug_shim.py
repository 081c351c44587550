"""imgaug 0.4.0, the last release, on NumPy versions that came after it.

imgaug is optional, and fails to import under NumPy 2 because `np.sctypes` is gone. After
`import mrcnn`, the first `import imgaug` adds what is missing to NumPy. Importing it from here does
so without that order, and repairs one augmenter as well:

    from mrcnn.data.imgaug_shim import iaa, imgaug
"""

import functools
import importlib

import numpy as np

# imgaug reads np.sctypes at import, np.bool (missing from 1.24 to 1.26) in SomeOf, and np.complex
# in the noise of clouds and fog. These are the values that NumPy had.
_REMOVED = {
    "sctypes": {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64, np.longdouble],
        "complex": [np.complex64, np.complex128, np.clongdouble],
        "others": [bool, object, bytes, str, np.void],
    },
    "bool": bool,
    "complex": complex,
}


def __getattr__(name):
    if name not in ("iaa", "imgaug"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    imgaug, augmenters = _load()
    return imgaug if name == "imgaug" else augmenters


def restore_names():
    """Add to NumPy the names that imgaug uses and this version lacks."""
    for name, value in _REMOVED.items():
        # Not hasattr(): NumPy 1.20 to 1.23 would warn of the deprecated names.
        if name not in vars(np):
            setattr(np, name, value)


@functools.cache
def _load():
    """Import imgaug and its augmenters, repaired for this NumPy."""
    restore_names()
    imgaug = importlib.import_module("imgaug")
    augmenters = importlib.import_module("imgaug.augmenters")
    _keep_float32(augmenters.ElasticTransformation)
    return imgaug, augmenters


def _keep_float32(elastic_transformation):
    """Give ElasticTransformation the float32 shifts that OpenCV requires.

    Since NumPy 2 an int64 scalar times a float32 array, here strength times noise, is float64.
    """
    shift_maps = elastic_transformation._generate_shift_maps

    def float32_shift_maps(*args, **kwargs):
        return tuple(np.float32(shifts) for shifts in shift_maps(*args, **kwargs))

    elastic_transformation._generate_shift_maps = staticmethod(float32_shift_maps)
