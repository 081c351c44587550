"""OpenVINO, by way of ONNX, for one photo at a time."""

import os
import tempfile

from mrcnn.export import onnx
from mrcnn.export.extras import needed
from mrcnn.export.serving import INPUT, OUTPUTS


def export(serving, path, metadata, precision="float32"):
    """Write an OpenVINO model, `path` with its graph and a `.bin` file beside it with its weights.

    Its own reader of TensorFlow graphs gives wrong detections, because `Gather` with a batch axis
    fails in its CPU plugin; ONNX has another operation in this place.

    Args:
        serving: a `Serving` of one photo.
        path: the file to make, with the suffix ".xml".
        metadata: dict of texts, the model's `rt_info` under "mrcnn".
        precision: "float32", or "float16" for weights of half the size.

    Raises:
        ImportError: without the packages openvino, onnx and tf2onnx.
        ValueError: names the operations that ONNX or OpenVINO does not have.
    """
    needed("openvino")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "model.onnx")
        onnx.export(serving, source, {})
        convert(source, path, metadata, precision)


def convert(source, path, metadata, precision="float32"):
    """Write an OpenVINO model of an ONNX file `source`; the other arguments are as for `export`."""
    openvino = needed("openvino")
    try:
        model = openvino.convert_model(source)
    # The class of its errors is not public.
    except Exception as error:
        reason = " ".join(str(error).split())[-300:]
        raise ValueError(
            f'OpenVINO cannot convert this model ({reason}); the format "onnx" can.'
        ) from error
    for name, text in metadata.items():
        model.set_rt_info(text, ["mrcnn", name])
    openvino.save_model(model, path, compress_to_fp16=precision == "float16")


def load(path, hint="f32"):
    """Return a function from a photo to a dict of NumPy arrays, run by OpenVINO on the CPU.

    With the hint "bf16" it computes with 16 bits where the processor can, as without any hint.
    """
    openvino = needed("openvino")
    options = {"INFERENCE_PRECISION_HINT": hint}
    model = openvino.Core().compile_model(path, "CPU", options)

    def detect(image):
        outputs = model({INPUT: image})
        return {name: outputs[name] for name in OUTPUTS}

    return detect
