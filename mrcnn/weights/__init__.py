"""Weight files: recognising, reading and writing them."""

import os

from mrcnn.weights import foreign, matterport, tensor_files
from mrcnn.weights.hdf5 import WeightFileError, require_file

# Of files of torch, of pickles of arrays, and of safetensors.
FOREIGN_SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")


def load(model, path, exclude=None, skip_mismatch=False, verbose=1, **kwargs):
    """Load a weight file: `.h5`, `.weights.h5`, `.keras`, `.pth`, `.pkl` or `.safetensors`.

    Args:
        model: a Keras model.
        path: of a file in the original's layout, or of torchvision or Detectron2, both also
            recognised by their contents; or of Keras's.
        exclude: names of layers to leave as they are; not for Keras's own files.
        skip_mismatch: leave layers whose shapes differ as they are.
        verbose: 1 prints a table of the layers.
        **kwargs: for `keras.Model.load_weights`.

    Returns:
        A `LoadReport`, or None for Keras's own files.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not fit; a `WeightFileError` if it is not a whole and sound
            weight file. The model is as it was.
    """
    path = os.fspath(path)
    require_file(path)
    if matterport.recognises(path):
        return matterport.load(model, path, exclude, skip_mismatch, verbose)
    if is_foreign(path):
        found = tensor_files.read_tensors(path)
        report = foreign.load(model, path, found.tensors, exclude, skip_mismatch, verbose)
        report.metadata = own_metadata(found.metadata)
        return report
    if path.endswith(".weights.json"):
        raise WeightFileError(
            f'"{path}" names further files, which are not read; save the weights in one file, '
            '".h5" or ".weights.h5".'
        )
    if not path.endswith((".weights.h5", ".keras")):
        raise WeightFileError(
            f'"{path}" is not a weight file; accepted are ".h5" as Matterport\'s Mask R-CNN and '
            'this package write it, ".weights.h5" and ".keras" of Keras, and ".pth", ".pkl" and '
            '".safetensors" of torchvision and Detectron2.'
        )
    if exclude:
        raise ValueError(
            f'exclude is {exclude}, and "{path}" is a file of Keras, which has no layer names; '
            'leave it out, or save the weights as ".h5" and load that.'
        )
    # Here, because this package can be imported without TensorFlow.
    from mrcnn.weights import keras_files

    return keras_files.load(model, path, skip_mismatch, **kwargs)


def own_metadata(metadata):
    """Return what `MaskRCNN.export_weights` put into the metadata of a file, `{name: text}`."""
    start = matterport.PREFIX
    return {
        name.removeprefix(start): text
        for name, text in metadata.items()
        if isinstance(name, str) and name.startswith(start) and isinstance(text, str)
    }


def is_foreign(path):
    """Return whether a file is one of torch, a pickle of arrays or safetensors.

    By its name, or by its contents if the name is none of Keras's.
    """
    path = os.fspath(path)
    if path.endswith(FOREIGN_SUFFIXES):
        return True
    return not path.endswith((".h5", ".hdf5", ".keras")) and tensor_files.recognises(path)


def settings_of(path):
    """Return the settings of `PaperConfig` for a file of torchvision or Detectron2.

    Returns:
        A dict, see `architecture.settings_of`; and whether the weights are those of a detector,
        not of a trunk alone.

    Raises:
        FileNotFoundError, WeightFileError.
    """
    return foreign.describe(path, tensor_files.read_tensors(path).tensors)
