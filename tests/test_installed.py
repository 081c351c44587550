"""The built wheel, installed without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLES = ("balloon", "coco", "nucleus", "shapes")

DETECT = """
import numpy as np
import mrcnn
from mrcnn.config import SmallConfig
from mrcnn.model import MaskRCNN

class Config(SmallConfig):
    NAME, NUM_CLASSES, IMAGES_PER_GPU = "installed", 2, 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    DETECTION_MIN_CONFIDENCE, POST_NMS_ROIS_INFERENCE = 0, 20

model = MaskRCNN("inference", Config(), "logs")
model.keras_model.save_weights("weights.h5")
model.load_weights("weights.h5")
result = model.detect([np.zeros((50, 60, 3), np.uint8)])[0]
print(mrcnn.__file__, result["masks"].shape[:2], len(result["rois"]) == len(result["scores"]))
"""


def run(*command, cwd, path=None):
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the checkout, in which building may write."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in ("mrcnn", "samples", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check")
    run("-m", "pip", "wheel", "-q", *options, "-w", folder, sources, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the wheel installed."""
    folder = tmp_path_factory.mktemp("site")
    options = ("--no-deps", "--no-index", "--disable-pip-version-check")
    run("-m", "pip", "install", "-q", *options, "--target", folder, wheel, cwd=folder)
    return folder


def test_the_wheel_has_every_module_and_nothing_else(wheel):
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "mrcnn").rglob("*.py")}
    modules |= {f"mrcnn/{p.relative_to(ROOT)}" for p in (ROOT / "samples").rglob("*.py")}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == modules


def test_the_installed_package_detects(site, tmp_path):
    out = run("-c", DETECT, cwd=tmp_path, path=site)
    assert out.splitlines()[-1] == f"{site / 'mrcnn' / '__init__.py'} (50, 60) True"


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_run_as_modules(site, name, tmp_path):
    out = run("-m", f"mrcnn.samples.{name}", "--help", cwd=tmp_path, path=site)
    assert out.startswith("usage: ")
    assert run(ROOT / "samples" / name / f"{name}.py", "--help", cwd=tmp_path, path=ROOT) == out
