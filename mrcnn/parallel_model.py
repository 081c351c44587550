"""`ParallelModel`, as old training scripts import it.

The original copies a model to every GPU. `MaskRCNN` does that itself, with `tf.distribute`.
"""

import warnings

_OWN = ("inner_model", "gpu_count")


class ParallelModel:
    """A deprecated wrapper that forwards everything to its model.

    Args:
        keras_model: any Keras model, kept as `inner_model`.
        gpu_count: kept as `gpu_count`, without effect.
    """

    def __init__(self, keras_model, gpu_count):
        warnings.warn(
            "ParallelModel no longer distributes anything; it forwards calls to its model. "
            f"To train on {gpu_count} GPUs set GPU_COUNT = {gpu_count} in the Config: MaskRCNN "
            "then builds the model for all of them, with IMAGES_PER_GPU images on each.",
            DeprecationWarning,
            stacklevel=2,
        )
        self.inner_model = keras_model
        self.gpu_count = gpu_count

    def __getattr__(self, name):
        # `copy` and `pickle` ask for `inner_model` before it is there.
        if name in _OWN:
            raise AttributeError(name)
        return getattr(self.inner_model, name)

    def __setattr__(self, name, value):
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.inner_model, name, value)

    def __call__(self, *args, **kwargs):
        return self.inner_model(*args, **kwargs)
