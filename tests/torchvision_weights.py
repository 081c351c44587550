"""Weights of torchvision's networks that can be rebuilt from their names alone."""

import zlib

import numpy as np


def fill(name, shape):
    """Return the deterministic value of one entry of a torchvision state dict."""
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    shape = tuple(shape)
    leaf, owner = name.rsplit(".", 1)[-1], name.rsplit(".", 2)[-2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_mean":
        return rng.normal(0, 0.1, shape).astype("f4")
    if leaf == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype("f4")
    if leaf == "bias":
        return rng.normal(0, 0.02, shape).astype("f4")
    if len(shape) == 1:
        # The scale of a normalization; a small one where a residual branch ends.
        low, high = (0.1, 0.3) if owner == "bn3" else (0.8, 1.2)
        return rng.uniform(low, high, shape).astype("f4")
    transposed = "conv5_mask" in name or "kps_score_lowres" in name
    std = np.sqrt(2.0 / (shape[0] if transposed else int(np.prod(shape[1:]))))
    if "fpn." in name:
        std *= 0.5
    if "bbox_pred" in name:
        std *= 0.3
    return rng.normal(0, std, shape).astype("f4")
