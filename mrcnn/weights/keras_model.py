"""The Keras model class of the graph: a functional model that speaks historical `.h5` files."""

import keras

from mrcnn.weights import matterport


def _is_legacy(path):
    """Whether a path asks for the historical layout; Keras keeps `.weights.h5` for its own."""
    name = str(path)
    return name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5")


@keras.saving.register_keras_serializable(package="mrcnn")
class CheckpointModel(keras.Model):
    """A functional model that saves and loads weights by layer name in `.h5` files.

    `save_weights("x.h5")` writes the layout that Matterport's library and Keras 2 read;
    `load_weights("x.h5", by_name=True)` reads it. Every other name goes to Keras.

    Attributes:
        metadata: texts by name, which such a file gets as HDF5 attributes.
    """

    metadata: dict[str, str] = {}

    def save_weights(self, filepath, overwrite=True, **kwargs):
        if not _is_legacy(filepath):
            return super().save_weights(filepath, overwrite=overwrite, **kwargs)
        return matterport.save(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath, by_name=True, exclude=None, skip_mismatch=False, **kwargs):
        if not _is_legacy(filepath):
            return super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        return matterport.load(self, filepath, exclude=exclude, skip_mismatch=skip_mismatch)
