"""Export of a model into a format, compared with Keras before it is kept."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrcnn.export import litert, onnx, openvino, saved_model
from mrcnn.export.compare import Differences, compare, reference
from mrcnn.export.files import choose_format, placing, size_of
from mrcnn.export.serving import INPUT, OUTPUTS, Serving
from mrcnn.inference.molding import as_images
from mrcnn.ops.scaling import resample
from mrcnn.runs.provenance import origin
from mrcnn.runs.settings import as_metadata, describe

PRECISIONS = {
    "saved_model": ("float32",),
    "onnx": ("float32", "float16", "int8"),
    "openvino": ("float32", "float16"),
    "litert": ("float32", "float16", "int8"),
}

_MODULES = {"saved_model": saved_model, "onnx": onnx, "openvino": openvino, "litert": litert}


@dataclass
class ExportReport:
    """Facts about a file that `MaskRCNN.export` has written.

    Attributes:
        path: the file or folder.
        format: its format.
        size: bytes of all its files.
        differences: largest `Differences` from Keras over the photos that were compared.
        seconds: that the export took, the comparison included.
    """

    path: str
    format: str
    size: int
    differences: Differences
    seconds: float

    def __str__(self):
        return (
            f'"{self.path}" ({self.format}, {self.size / 1e6:.0f} MB, {self.seconds:.0f} s). '
            f"Beside Keras: {self.differences}."
        )


def export_model(
    model,
    detector,
    path,
    format=None,
    image_size=None,
    batch=1,
    precision="float32",
    masks="pasted",
    calibration=None,
    overwrite=False,
):
    """Write a model in a format; see `MaskRCNN.export`.

    Args:
        model: a `MaskRCNN` in inference mode, computing in float32.
        detector: its `Detector`.
    """
    start, path = time.time(), Path(path)
    format = choose_format(path, format)
    image_size = check_options(format, image_size, batch, precision, masks, calibration)
    config = model.config
    photos = comparison_photos(config, image_size, calibration)
    options = {"image_size": image_size, "batch": batch, "masks": masks}
    facts = {"export": {**options, "precision": precision, "input": INPUT, "outputs": OUTPUTS}}
    metadata = as_metadata(describe(config, model.class_names) | facts)
    metadata |= origin(getattr(model.keras_model, "metadata", {}))
    extra = {"precision": precision} if len(PRECISIONS[format]) > 1 else {}
    if format == "litert":
        options |= litert.serving_options(config)
    if precision == "int8":
        extra["calibration"] = photos_of(calibration or [], config, image_size)
    with placing(path, format, overwrite) as made:
        serving = Serving(model.network, config, **options)
        module = _MODULES[format]
        module.export(serving, str(made), metadata, **extra)
        differences = _verify(module, made, photos, detector, config, batch, precision, format)
    size = size_of(path, format)
    return ExportReport(str(path), format, size, differences, time.time() - start)


def check_options(format, image_size, batch, precision, masks, calibration):
    """Check the arguments of an export, and return the size of the photos as two integers.

    Raises:
        ValueError: says what was given and what is accepted.
    """
    if masks not in ("pasted", "small"):
        raise ValueError(f'masks is "{masks}"; accepted are "pasted" and "small".')
    if precision not in PRECISIONS[format]:
        accepted = ", ".join(f'"{name}"' for name in PRECISIONS[format])
        raise ValueError(f'precision is "{precision}"; the format "{format}" accepts {accepted}.')
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise ValueError(f"batch is {batch!r}; accepted are numbers from 1 on, and None for any.")
    if batch != 1 and format in ("openvino", "litert"):
        raise ValueError(
            f"batch is {batch}; the loop over the images of a batch (While) cannot be converted to "
            f'the format "{format}", which accepts 1; "onnx" and "saved_model" accept any.'
        )
    if precision == "int8" and (calibration is None or not len(calibration)):
        raise ValueError(
            'precision "int8" takes the ranges of values from photos; give some of the training '
            "photos as calibration=[...]."
        )
    if image_size is None:
        if format == "litert":
            raise ValueError(
                'The format "litert" needs image_size=(height, width), because its operation '
                'Conv2D has a fixed size; "saved_model" and "onnx" accept photos of any size.'
            )
        return None
    sides = np.ravel(image_size)
    if sides.dtype.kind not in "iu" or len(sides) not in (1, 2) or (sides < 1).any():
        raise ValueError(
            f"image_size is {image_size!r}; accepted are (height, width) in pixels, one number for "
            "both, and None for any size."
        )
    return tuple(int(side) for side in np.resize(sides, 2))


def comparison_photos(config, image_size, calibration, most=2):
    """Return the photos in which an export is compared with Keras, uint8.

    They are the first ones of `calibration`, else parts of a photo of scikit-image. Without an
    `image_size` they have two sizes.
    """
    channels = int(config.IMAGE_SHAPE[2])
    if calibration is not None and len(calibration):
        return photos_of(calibration[:most], config, image_size)
    from skimage import data

    photo = data.astronaut()
    photo = np.take(photo, np.arange(channels) % 3, axis=2)
    photos = [photo[:448, :320], photo[:256, 64:]][: 1 if image_size else most]
    return photos_of(photos, config, image_size)


def photos_of(images, config, image_size):
    """Return uint8 photos, of images as `detect` takes them, resized if there is an `image_size`.

    Raises:
        ValueError, OSError: name the image that is refused, and the reason.
    """
    photos = as_images(list(images), int(config.IMAGE_SHAPE[2]))
    if image_size:
        photos = [resample(photo, image_size) for photo in photos]
    return [np.ascontiguousarray(photo) for photo in photos]


def _verify(module, path, photos, detector, config, batch, precision, format):
    """Return the differences from Keras.

    Raises:
        ValueError: says what differs, if it is more than rounding.
    """
    total = Differences()
    run = _running(format, module.load, str(path))
    for photo in photos:
        found = _running(format, run, photo if batch == 1 else np.stack([photo] * (batch or 2)))
        # The last one of a batch, as a mistake in its offset would spare the first.
        found = found if batch == 1 else {name: value[-1] for name, value in found.items()}
        expected = reference(detector, photo, config)
        total = total.merge(compare(found, expected, config, photo.shape))
    if precision == "float32" and not total.agree():
        raise ValueError(
            f'The format "{format}" does not agree with Keras in {len(photos)} photos, and nothing '
            f"was written: {total}."
        )
    if 2 * total.matched < total.expected:
        raise ValueError(
            f'The format "{format}" with precision "{precision}" loses most detections in '
            f"{len(photos)} photos, and nothing was written: {total}."
        )
    return total


def _running(format, function, argument):
    """Return the result of a function of a runtime.

    Raises:
        ValueError: names the format and the reason, if it cannot read or run the model.
        ImportError: if the runtime is not installed.
    """
    try:
        return function(argument)
    except ImportError:
        raise
    # Each runtime has its own errors.
    except Exception as error:
        reason = " ".join(str(error).split())[-300:]
        raise ValueError(
            f'The format "{format}" cannot run this model ({reason}); "saved_model" can.'
        ) from error


def read_metadata(text_by_name):
    """Return the metadata of an exported file as values."""
    return {name: json.loads(text) for name, text in text_by_name.items()}
