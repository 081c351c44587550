"""Weights that follow from their names, as the programs had that made `golden/matterport_*.npz`.

Each weight is drawn from a generator seeded with the CRC-32 of its name in the checkpoint. Spreads
keep activations near 1 through the whole network: He et al. (2015) for kernels, with factors where
inputs are large or outputs have to be small.
"""

import json
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def _kernel_spread(layer, shape):
    # A transposed convolution has its inputs on the last axis.
    fan_in = shape[-1] if layer.endswith("deconv") else np.prod(shape[:-1])
    factor = 1.0
    if layer == "conv1":
        factor = 1 / 64  # its inputs are pixels
    elif layer.startswith("fpn_"):
        factor = 0.25
    elif layer in ("rpn_bbox_pred", "mrcnn_bbox_fc"):
        factor = 0.3
    return factor * np.sqrt(2.0 / fan_in)


def golden_weight(layer, name, shape):
    """The weight `name` ("kernel", "bias", "gamma", ...) of a layer: float32 of that shape."""
    draw = np.random.RandomState(zlib.crc32(f"{layer}/{name}:0".encode()) & 0x7FFFFFFF)
    shape = tuple(shape)
    if name == "kernel":
        value = draw.normal(0.0, _kernel_spread(layer, shape), shape)
    elif name == "gamma":
        # The last branch of a block is small, or sums would grow from block to block.
        low, high = (0.1, 0.3) if layer.endswith("branch2c") else (0.8, 1.2)
        value = draw.uniform(low, high, shape)
    elif name == "moving_variance":
        value = draw.uniform(0.5, 1.5, shape)
    else:
        spread = {"bias": 0.01, "beta": 0.05, "moving_mean": 0.1}[name]
        value = draw.normal(0.0, spread, shape)
    return value.astype(np.float32)


def golden_layout(architecture):
    """Weights of the original's model: `{layer: {weight: shape}}`, "resnet50" (81 classes) or
    "resnet101" (21), without the layers that have none."""
    groups = json.loads((GOLDEN / f"matterport_{architecture}_layout.json").read_text())
    layout = {}
    for _, weights in groups:
        for path, shape in weights:
            layer, name = path.removesuffix(":0").split("/")[-2:]
            layout.setdefault(layer, {})[name] = tuple(shape)
    return layout


def set_golden_weights(layers):
    """Give layers their golden weights."""
    for layer in layers:
        layer.set_weights(
            [golden_weight(layer.name, weight.name, weight.shape) for weight in layer.weights]
        )
