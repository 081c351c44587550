"""Mask R-CNN for Keras 3 and TensorFlow. Importing the package loads nothing but this file."""

__version__ = "0.1.0"
