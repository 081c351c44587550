"""The Keras model class of the graphs, which reads and writes the original's `.h5` files."""

import keras

from mrcnn import weights
from mrcnn.weights import matterport


@keras.saving.register_keras_serializable(package="mrcnn")
class CheckpointModel(keras.Model):
    """A functional model that saves and loads weights by layer name in `.h5` files.

    `save_weights("x.h5")` writes the layout that Matterport's library and Keras 2 read, and
    `.weights.h5` that of Keras 3; `load_weights` recognises both.

    Attributes:
        metadata: `{name: text}`, facts about the model that are saved in `.h5` files.
    """

    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.metadata = {}

    def _make_predict_function(self):
        """Do nothing: servers called it so that several threads could share a model of Keras 2."""

    _make_test_function = _make_train_function = _make_predict_function

    def save_weights(self, filepath, overwrite=True, **kwargs):
        name = str(filepath)
        if name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5"):
            return matterport.save(self, filepath, overwrite, self.metadata)
        return super().save_weights(filepath, overwrite=overwrite, **kwargs)

    def load_weights(self, filepath, by_name=True, exclude=None, skip_mismatch=False, **kwargs):
        return weights.load(self, filepath, exclude, skip_mismatch, **kwargs)
