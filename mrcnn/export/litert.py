"""LiteRT (TensorFlow Lite): one photo of a known size, built-in operations only."""

import json
import os
import re
import tempfile
import warnings
import zipfile

import numpy as np
import tensorflow as tf

from mrcnn.export import saved_model
from mrcnn.export.extras import needed

# The file with the metadata, in the zip archive at the end of a .tflite file.
METADATA = "metadata.json"

_INTERPRETER = "ai_edge_litert.interpreter"

# What int8 computes with whole numbers: nearly all of the time and of the weights. Boxes, scores
# and masks need more than 256 values.
_WHOLE_NUMBERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")

# Layers of these names give scores, deltas and masks, which int8 leaves in float as well.
_OUTPUT_LAYERS = ("rpn_class_raw", "rpn_bbox_pred", "mrcnn_class_logits", "mrcnn_bbox_fc")


def serving_options(config):
    """Return the arguments of `Serving` that LiteRT needs: all shapes known.

    Raises:
        ValueError: if the model has an operation that LiteRT lacks.
    """
    try:
        return {"padded": True, "operators": config.recipe().operators(config, fixed_shapes=True)}
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'The format "litert" needs shapes that are known before it runs: {error} The format '
            '"saved_model" does not.'
        ) from error


def export(serving, path, metadata, precision="float32", calibration=()):
    """Write a .tflite file with the signature "serving_default".

    Args:
        serving: a `Serving` with `serving_options`, of one photo of a known size.
        path: the file to make.
        metadata: dict of texts, `METADATA` in a zip archive at the end of the file.
        precision: "float32"; "float16" for weights of half the size; "int8" for convolutions and
            matrix products of whole numbers.
        calibration: for "int8", uint8 photos of the size.

    Raises:
        ValueError: names the operations that LiteRT lacks.
    """
    # Converter and calibration announce that they will move to another package.
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved_model.export(serving, folder, metadata)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            is_int8 = precision == "int8"
            content = _quantized(converter, calibration) if is_int8 else converter.convert()
        # The class of its errors is not public.
        except Exception as error:
            lacking = sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))
            if not lacking:
                raise
            raise ValueError(
                f"LiteRT has nothing for TensorFlow's {', '.join(lacking)}, which this model uses; "
                'the formats "saved_model" and "onnx" have it.'
            ) from None
    with open(path, "wb") as file:
        file.write(content)
    # A reader of the model ignores what follows it; a reader of archives begins at the end.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(metadata))


def _quantized(converter, calibration):
    """Return the model with whole numbers in convolutions, and float in all other operations."""
    schema, flatbuffers = needed("ai_edge_litert.schema_py_generated", "flatbuffers")
    codes = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    converter.representative_dataset = lambda: ([photo] for photo in calibration)
    # It is the only way to choose what is quantized; nothing is debugged.
    quantizer = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=[name for name in codes.values() if name not in _WHOLE_NUMBERS]
        ),
    )
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(quantizer.calibrated_model, 0))
    for graph in model.subgraphs:
        _forget_ranges(graph, model.operatorCodes, codes)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    quantizer.calibrated_model = bytes(builder.Output())
    return quantizer.get_nondebug_quantized_model()


def _forget_ranges(graph, operator_codes, names):
    """Remove the calibrated ranges of all tensors but those around convolutions.

    Even where an operation is to stay in float, the converter quantizes some tensors between two.
    """
    kept = set()
    for operator in graph.operators:
        code = operator_codes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        outputs = [graph.tensors[index].name.decode() for index in operator.outputs]
        is_output = any(f"/{layer}" in name for name in outputs for layer in _OUTPUT_LAYERS)
        if name in _WHOLE_NUMBERS and not is_output:
            kept |= {*operator.inputs, *operator.outputs}
    for index, tensor in enumerate(graph.tensors):
        if index not in kept:
            tensor.quantization = None


def load(path):
    """Return a function from a photo to a dict of NumPy arrays, run by LiteRT."""
    interpreters = needed(_INTERPRETER)
    interpreter = interpreters.Interpreter(model_path=os.fspath(path), num_threads=os.cpu_count())
    run = interpreter.get_signature_runner()

    def detect(image):
        # Copies, as the next photo overwrites what the interpreter returns.
        return {name: np.array(value) for name, value in run(image=image).items()}

    return detect


def read_metadata(path):
    """Return the metadata of a .tflite file, a dict of texts."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(METADATA))
