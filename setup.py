"""Package metadata. The exact versions that the tests ran with are in requirements.txt."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Installed as `mrcnn.samples`, so that an installation without a clone has them.
SAMPLES = ("balloon", "coco", "nucleus", "shapes")
EXPORT = ["ai-edge-litert", "onnx", "onnxruntime", "openvino", "tf2onnx"]

setup(
    name="mrcnn",
    version=runpy.run_path(str(ROOT / "mrcnn" / "__init__.py"))["__version__"],
    description="Mask R-CNN for Keras 3 and TensorFlow, compatible with Matterport's Mask_RCNN",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The mrcnn authors",
    license="MIT",
    keywords="mask rcnn instance segmentation object detection keras tensorflow",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    packages=[
        *find_packages(include=["mrcnn", "mrcnn.*"]),
        "mrcnn.samples",
        *(f"mrcnn.samples.{name}" for name in SAMPLES),
    ],
    package_dir={"mrcnn.samples": "samples"},
    python_requires=">=3.10",
    install_requires=[
        "defusedxml",
        "h5py",
        "imgaug>=0.4",
        "keras>=3.12",
        "matplotlib",
        "numpy",
        "pillow",
        "pycocotools",
        "pyyaml",
        "scikit-image",
        "tensorboard",
        "tensorflow>=2.18",
        "tifffile",
        "tqdm",
    ],
    entry_points={"console_scripts": ["mrcnn = mrcnn.commands:main"]},
    extras_require={
        "and-cuda": ["tensorflow[and-cuda]"],
        # What `MaskRCNN.export` needs; SavedModels need nothing more.
        "export": EXPORT,
        "notebooks": ["ipykernel", "jupyter", "nbmake"],
        # Another minor version of ruff may format the same code in another way.
        "dev": [
            *EXPORT,
            "ipykernel",
            "nbmake",
            "pytest>=8",
            "pytest-xdist",
            "ruff~=0.17.5",
            "setuptools>=64",
            "supervision",
            "wheel",
        ],
    },
)
