"""ONNX files with weights of half precision, and with convolutions of whole numbers."""

import logging
import os
import tempfile

import numpy as np

from mrcnn.export.extras import needed
from mrcnn.export.serving import INPUT

# Weights with fewer numbers keep their type: they are scales, shifts and constants of formulas.
_FEW = 1024

# Largest number of half precision.
_MOST = np.finfo(np.float16).max

# Layers of these names give scores and deltas, which int8 leaves in float.
OUTPUT_LAYERS = ("rpn_class_raw", "rpn_bbox_pred", "mrcnn_class_logits", "mrcnn_bbox_fc")


def halve_weights(model):
    """Store the weights of a model as float16, followed by a Cast to float32.

    Runtimes fold the Cast when they load the file, so that they compute as before.

    Args:
        model: an `onnx.ModelProto`, changed in place.
    """
    onnx, numpy_helper = needed("onnx", "onnx.numpy_helper")
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _FEW or abs(values).max() > _MOST:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        to = {"to": onnx.TensorProto.FLOAT}
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], f"{name}/cast", **to))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def quantized(model, calibration):
    """Return a model whose convolutions and matrix products work with whole numbers of 8 bits.

    Args:
        model: an `onnx.ModelProto`.
        calibration: list of photos or batches, as the model takes them, which give the ranges.
    """
    onnx, quantization = needed("onnx", "onnxruntime.quantization")
    kinds = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
    outputs = [
        node.name
        for node in model.graph.node
        if node.op_type in kinds and any(f"/{layer}" in node.name for layer in OUTPUT_LAYERS)
    ]

    class Photos(quantization.CalibrationDataReader):
        def __init__(self):
            self.photos = iter(calibration)

        def get_next(self):
            photo = next(self.photos, None)
            return None if photo is None else {INPUT: photo}

    with tempfile.TemporaryDirectory() as folder:
        source, target = (os.path.join(folder, f"{name}.onnx") for name in ("model", "int8"))
        onnx.save(model, source)
        before = logging.root.manager.disable
        # It recommends steps that would change other nodes.
        logging.disable(logging.WARNING)
        try:
            quantization.quantize_static(
                source,
                target,
                Photos(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=kinds,
                per_channel=True,
                nodes_to_exclude=outputs,
            )
        finally:
            logging.disable(before)
        return onnx.load(target)
