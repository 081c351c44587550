"""`ParallelModel`, as old training scripts import it.

The original copied a model to every GPU by hand. `MaskRCNN` does that itself now, with
`tf.distribute`; what is left here keeps the import and the attributes of old scripts alive.
"""

from __future__ import annotations

import warnings
from typing import Any

_OWN = ("inner_model", "gpu_count")


class ParallelModel:
    """A deprecated wrapper that passes everything on to the model that it was given.

    Arguments:
        keras_model: any Keras model; `inner_model` afterwards.
        gpu_count: kept as `gpu_count`, and otherwise without effect.
    """

    def __init__(self, keras_model: Any, gpu_count: int) -> None:
        warnings.warn(
            "ParallelModel no longer distributes anything, and passes calls on to its model. "
            f"To train on {gpu_count} GPUs set GPU_COUNT = {gpu_count} in the Config: MaskRCNN "
            "then builds the model for all of them, with IMAGES_PER_GPU images on each.",
            DeprecationWarning,
            stacklevel=2,
        )
        self.inner_model = keras_model
        self.gpu_count = gpu_count

    def __getattr__(self, name: str) -> Any:
        # `inner_model` arrives here while `copy` or `pickle` rebuild the object.
        if name in _OWN:
            raise AttributeError(name)
        return getattr(self.inner_model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.inner_model, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner_model(*args, **kwargs)
