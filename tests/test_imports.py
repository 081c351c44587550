"""Importing has no side effects, and costs no more than what is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "matplotlib", "imgaug", "cv2", "skimage", "IPython", "pycocotools")


def run(code, folder):
    """Return what `code` prints in a new interpreter that runs in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(("before", "after"), [(None, "3"), ("0", "0")])
def test_notes_of_tensorflow_are_off_unless_they_are_asked_for(before, after, tmp_path):
    name = "TF_CPP_MIN_LOG_LEVEL"
    code = f"import os; os.environ.pop('{name}')\n"
    code += f"os.environ['{name}'] = {before!r}\n" if before else ""
    code += f"import mrcnn; print(os.environ['{name}'])"
    assert run(code, tmp_path).stdout.strip() == after


@pytest.mark.parametrize(
    "module",
    [
        "mrcnn",
        "mrcnn.config",
        "mrcnn.utils",
        "mrcnn.datasets",
        "mrcnn.visualize",
        "mrcnn.weights.download",
    ],
)
def test_light_modules_leave_the_heavy_ones_out(module, tmp_path):
    code = f"import sys, {module}; print(sorted(set({HEAVY}) & set(sys.modules)))"
    result = run(code, tmp_path)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_importing_the_model_changes_nothing(tmp_path):
    code = """
import os, sys, warnings
import keras, tensorflow as tf

def state():
    gpus = tf.config.list_physical_devices("GPU")
    return (
        dict(os.environ), list(sys.path), list(warnings.filters), tf.executing_eagerly(),
        keras.config.dtype_policy().name, keras.config.floatx(), keras.config.image_data_format(),
        tf.config.optimizer.get_jit(), tf.config.threading.get_intra_op_parallelism_threads(),
        [tf.config.experimental.get_memory_growth(gpu) for gpu in gpus],
    )

before = state()
import mrcnn.model
after = state()
print([(old, new) for old, new in zip(before, after) if old != new])
"""
    assert run(code, tmp_path).stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []
