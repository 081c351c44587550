"""The shim must work before imgaug is first imported, so each test runs a new interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="this NumPy needs no shim")
def test_numpy_is_unchanged_until_imgaug_is_imported():
    code = """
import sys
import numpy as np
import mrcnn.data.augment, mrcnn.data.imgaug_shim
print("sctypes" in vars(np), "imgaug" in sys.modules)
from mrcnn.data.imgaug_shim import imgaug
print("sctypes" in vars(np), imgaug.__version__)
"""
    assert run(code) == ["False", "False", "True", "0.4.0"]


def test_restored_names_have_their_old_meaning():
    code = """
from mrcnn.data.imgaug_shim import iaa, imgaug
import imgaug.augmenters
import numpy as np
print(iaa is imgaug.augmenters)
print(np.dtype(np.bool) == bool, np.dtype(np.complex) == complex)
print(np.float32 in imgaug.imgaug.NP_FLOAT_TYPES, np.uint8 in imgaug.imgaug.NP_INT_TYPES)
print(np.uint8 in imgaug.imgaug.NP_UINT_TYPES)
"""
    assert run(code) == ["True", "True", "True", "True", "False", "True"]


def test_other_names_do_not_exist():
    import mrcnn.data.imgaug_shim as shim

    with pytest.raises(AttributeError, match="'mrcnn.data.imgaug_shim' has no attribute 'iap'"):
        shim.iap  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "from mrcnn.config import Config\nfrom imgaug import augmenters as iaa\nimport imgaug\n",
        "import mrcnn\nassert 'imgaug' not in __import__('sys').modules\n"
        "import numpy as np\nassert 'sctypes' not in vars(np) or np.__version__ < '2'\n"
        "def train():\n    import imgaug\n    return imgaug\nimgaug = train()\n",
    ],
    ids=["config first", "inside a function"],
)
def test_imgaug_itself_imports_after_the_package(code):
    assert run(code + "print(imgaug.augmenters.Fliplr(1.0).augment_image.__name__)") == [
        "augment_image"
    ]


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="this NumPy needs no shim")
def test_the_other_order_is_out_of_reach():
    """What docs/differences.md says: the import of imgaug comes after one of the package."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "import imgaug\nimport mrcnn"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "np.sctypes" in result.stderr
    # A script that catches this can try again.
    code = (
        "try:\n    import imgaug\nexcept AttributeError:\n    import mrcnn, imgaug\nprint(imgaug)"
    )
    assert "imgaug" in run(code)[1]
