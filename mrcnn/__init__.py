"""Mask R-CNN for Keras 3 and TensorFlow. Importing the package loads nothing but this file."""

import os
import sys

# TensorFlow logs a page of notes about the machine and about costs that it cannot estimate, some of
# which look like errors; its real errors are Python exceptions. It reads this when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"


class _BeforeImgaug:
    """Finder of no module: it makes NumPy ready when imgaug is about to be imported.

    imgaug 0.4, the last release, fails to import under NumPy 2. Scripts for Matterport's library
    import it themselves.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "imgaug":
            from mrcnn.data.imgaug_shim import restore_names

            restore_names()


# setup.py runs this file for the version.
if __name__ == "mrcnn":
    sys.meta_path.insert(0, _BeforeImgaug)
