"""ONNX, for ONNX Runtime: any size, any batch."""

import logging
import os
import re
import warnings
from contextlib import contextmanager

from mrcnn.export.extras import needed
from mrcnn.export.onnx_precision import halve_weights, quantized
from mrcnn.export.roi_align_node import roi_align_node
from mrcnn.export.serving import INPUT, OUTPUTS

# RoiAlign counts from the borders of cells from 16 on; tf2onnx writes 18 at most.
_OPSET = 18

# Operations at which tf2onnx stops with an error that does not name them. They join RoIs that need
# different numbers of samples.
_STOPS = {"TensorListConcat", "TensorListConcatV2"}


def export(serving, path, metadata, precision="float32", calibration=()):
    """Write an ONNX file with one input and four outputs, named as those of `Serving`.

    Args:
        serving: a `Serving`.
        path: the file to make.
        metadata: dict of texts, the file's `metadata_props`.
        precision: "float32"; "float16" for weights of half the size; "int8" for convolutions and
            matrix products of whole numbers.
        calibration: for "int8", uint8 photos.

    Raises:
        ImportError: without the packages onnx and tf2onnx.
        ValueError: names the operations that ONNX does not have.
    """
    onnx, convert = needed("onnx", "tf2onnx.convert")
    _refuse(_STOPS & _operations(serving.function))
    with _unsupported() as lacking, _without_copies(), warnings.catch_warnings():
        # tf2onnx and NumPy disagree on names of types.
        warnings.simplefilter("ignore")
        try:
            model, _ = convert.from_function(
                serving.function,
                input_signature=serving.function.input_signature,
                opset=_OPSET,
                custom_op_handlers={"CropAndResize": (roi_align_node, [])},
            )
        except Exception as error:
            if not lacking:
                reason = " ".join(str(error).split())[-300:]
                raise ValueError(
                    f'tf2onnx cannot convert this model ({reason}); use the format "saved_model".'
                ) from error
    _refuse(lacking)
    outputs = {value.name: value for value in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(outputs[name] for name in OUTPUTS)
    model.producer_name = "mrcnn"
    if precision == "float16":
        halve_weights(model)
    if precision == "int8":
        batches = [photo if serving.batch == 1 else photo[None] for photo in calibration]
        model = quantized(model, batches)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


def _operations(function):
    """Return the names of the operations of a `tf.function`, those inside loops too."""
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [graph.node, *(each.node_def for each in graph.library.function)]
    return {node.op for group in nodes for node in group}


def _refuse(lacking):
    if lacking:
        raise ValueError(
            f"ONNX has nothing for TensorFlow's {', '.join(sorted(lacking))}, which this model "
            'uses; the format "saved_model" has it.'
        )


@contextmanager
def _unsupported():
    """Yield the set of operations that tf2onnx cannot convert: it writes them into its log only."""
    found, logger = set(), logging.getLogger("tf2onnx")

    class Handler(logging.Handler):
        def emit(self, record):
            text = record.getMessage()
            found.update(re.findall(r"[Tt]ensorflow op \[.*?: (\w+)\] is not", text))
            if text.startswith("Failed to convert node"):
                found.update(re.findall(r"OP=(\w+)", text))

    handler, level, propagate = Handler(logging.WARNING), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def _without_copies():
    """Keep tf2onnx from copying the graph, weights and all, before each of its optimizations."""
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def load(path):
    """Return a function from a photo to a dict of NumPy arrays, run by ONNX Runtime."""
    runtime = needed("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def detect(image):
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {INPUT: image}), strict=True))

    return detect
