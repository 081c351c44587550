"""The Keras model class of the graphs, which reads and writes the original's `.h5` files."""

import warnings

import keras

from mrcnn import weights
from mrcnn.weights import matterport


@keras.saving.register_keras_serializable(package="mrcnn")
class CheckpointModel(keras.Model):
    """A functional model that saves and loads weights by layer name in `.h5` files.

    `save_weights("x.h5")` writes the layout that Matterport's library and Keras 2 read, and
    `.weights.h5` that of Keras 3; `load_weights` recognises both, and is safe with files of
    strangers: it changes all weights or none.

    Args:
        stages: `{"C2": KerasTensor, ...}`, outputs of the backbone's stages in the graph; {} if
            they are not known, as after reading a `.keras` file.

    Attributes:
        metadata: `{name: text}`, facts about the model that are saved in `.h5` files.
    """

    # Keras 3.12 saves the graph of a subclass only if it takes these arguments.
    def __init__(self, *args, stages=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.metadata, self.stages = {}, stages or {}

    def _make_predict_function(self):
        """Do nothing: servers called it so that several threads could share a model of Keras 2."""

    _make_test_function = _make_train_function = _make_predict_function

    def save(self, filepath, overwrite=True, **kwargs):
        """Save the model: with its graph as `.keras`, with weights and metadata as `.h5`.

        Keras's own `.h5` files of whole models cannot hold this graph; `load_weights` and
        `MaskRCNN.from_run` read the file that is written in its place.
        """
        if not _is_historical(filepath):
            return super().save(filepath, overwrite=overwrite, **kwargs)
        warnings.warn(
            f'"{filepath}" gets the weights and settings, without the graph; read it with '
            'load_weights or MaskRCNN.from_run, or save the whole model as ".keras".',
            stacklevel=2,
        )
        return self.save_weights(filepath, overwrite)

    def save_weights(self, filepath, overwrite=True, **kwargs):
        if _is_historical(filepath):
            return matterport.save(self, filepath, overwrite, self.metadata)
        return super().save_weights(filepath, overwrite=overwrite, **kwargs)

    def load_weights(self, filepath, by_name=True, exclude=None, skip_mismatch=False, **kwargs):
        return weights.load(self, filepath, exclude, skip_mismatch, **kwargs)


def _is_historical(path):
    """Return whether a file of this name is written in the original's layout."""
    name = str(path)
    return name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5")
