"""Mask R-CNN for Keras 3 and TensorFlow. Importing the package loads nothing but this file."""

import os

# TensorFlow logs a page of notes about the machine and about costs that it cannot estimate, some of
# which look like errors; its real errors are Python exceptions. It reads this when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
