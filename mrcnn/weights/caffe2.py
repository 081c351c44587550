"""Names of Caffe2, in which Detectron and Detectron2 store most of their ImageNet trunks."""

import re

import numpy as np

# Detectron2's, whose constant normalization divides by the root of the variance and this.
_EPSILON = 1e-5

_PARTS = {
    "branch1": "shortcut",
    "branch2a": "conv1",
    "branch2b": "conv2",
    "branch2c": "conv3",
    "bn": "norm",
    "gn": "norm",
    "w": "weight",
    "b": "bias",
    "s": "weight",
    "gamma": "weight",
    "beta": "bias",
    "rm": "running_mean",
    "riv": "running_var",
}


def recognises(names):
    """Return whether tensors have the names of a Caffe2 ResNet."""
    return "conv1_w" in names and any(name.startswith("res2_0_branch") for name in names)


def as_detectron2(tensors):
    """Return the tensors of a trunk under Detectron2's names.

    Normalization of batches with a scale and shift alone gets the mean 0 and the variance for which
    it is the same.

    Args:
        tensors: `{name: array}`, such as "res2_0_branch2a_bn_s".

    Returns:
        `{name: array}`, such as "res2.0.conv1.norm.weight"; without momenta of the optimizer.
    """
    found = {}
    for name, array in tensors.items():
        if name.endswith("_momentum"):
            continue
        theirs = ".".join(_PARTS.get(part, part) for part in name.split("_"))
        theirs = re.sub(r"\.running\.(mean|var)$", r".running_\1", theirs)
        theirs = re.sub(r"^(res\.)?conv1\.", "stem.conv1.", theirs)
        found[theirs] = array
        if re.search("_bn_(s|gamma)$", name):
            zeros = np.zeros(array.shape, np.float32)
            owner = theirs.removesuffix(".weight")
            found.setdefault(f"{owner}.running_mean", zeros)
            found.setdefault(f"{owner}.running_var", zeros + np.float32(1 - _EPSILON))
    return found
