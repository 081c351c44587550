"""TensorBoard's curves in the folder of a run."""

import re
import warnings

import keras
import tensorflow as tf


def _forgiving(name):
    """Return a method of Keras's callback that warns of an error in writing instead of raising."""
    method = getattr(keras.callbacks.TensorBoard, name)

    def call(self, *args, **options):
        if self._has_failed and name != "on_train_begin":
            return
        try:
            self._has_failed = False
            method(self, *args, **options)
        except (tf.errors.OpError, OSError) as error:
            self._has_failed = True
            # TensorFlow's errors of full memory and of a full disk are the same class.
            first = str(error).partition("\n")[0]
            reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", first).strip()
            warnings.warn(
                f'TensorBoard\'s curves in "{self.log_dir}" cannot be written ({reason}); training '
                "continues without them.",
                stacklevel=2,
            )

    return call


class TensorBoard(keras.callbacks.TensorBoard):
    """Write curves for TensorBoard; a full disk ends the curves with a warning, not the training.

    Arguments are those of Keras's callback.
    """

    _has_failed = False

    on_train_begin, on_train_end, on_epoch_begin, on_epoch_end, on_test_begin, on_test_end = map(
        _forgiving,
        "on_train_begin on_train_end on_epoch_begin on_epoch_end on_test_begin on_test_end".split(),
    )
