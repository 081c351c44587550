"""Weights of other programs that can be rebuilt from their names alone, as state dicts."""

import json
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def fill(program, name, shape):
    """Return a tensor of a state dict of "torchvision" or "detectron2", as for golden values."""
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    leaf, shape = name.rsplit(".", 1)[-1], tuple(shape)
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_mean":
        return rng.normal(0, 0.1, shape).astype(np.float32)
    if leaf == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if leaf == "bias":
        return rng.normal(0, 0.02, shape).astype(np.float32)
    if len(shape) == 1:
        is_last = {"torchvision": "bn3.", "detectron2": "conv3.norm."}[program] in name
        return rng.uniform(*((0.1, 0.3) if is_last else (0.8, 1.2)), shape).astype(np.float32)
    transposed = ("conv5_mask", "deconv", "kps_score_lowres", "score_lowres")
    fan_in = shape[0] if any(part in name for part in transposed) else np.prod(shape[1:])
    std = np.sqrt(2.0 / fan_in)
    if program == "detectron2" and "stem" in name:
        std /= 64.0
    if {"torchvision": "fpn.", "detectron2": "fpn_"}[program] in name:
        std *= 0.5
    if "bbox_pred" in name or (program == "detectron2" and "anchor_deltas" in name):
        std *= 0.3
    return rng.normal(0, std, shape).astype(np.float32)


def state_dict(program, name):
    """Return `{tensor name: array}` of `golden/<program>_<name>_layout.json`."""
    layout = json.loads((GOLDEN / f"{program}_{name}_layout.json").read_text(encoding="utf-8"))
    return {tensor: fill(program, tensor, shape) for tensor, shape in layout}
