"""Weight files for torchvision and Detectron2."""

import os

from mrcnn.weights import foreign
from mrcnn.weights.matterport import PREFIX
from mrcnn.weights.tensor_writers import write_pickle, write_safetensors, write_torch

_WRITERS = {
    # Their state dict is at the top, with no room for more.
    ".pth": lambda path, state, facts: write_torch(path, state),
    ".pt": lambda path, state, facts: write_torch(path, state),
    ".safetensors": write_safetensors,
    # What Detectron2's checkpointer expects of pickles.
    ".pkl": lambda path, state, facts: write_pickle(
        path, {"model": state, "__author__": "mrcnn"} | facts
    ),
}
_SUFFIXES = {
    "torchvision": (".pth", ".pt", ".safetensors"),
    "detectron2": (".pkl", ".pth", ".pt", ".safetensors"),
}


def export(model, config, path, program, report=None, metadata=None):
    """Write the weights of a model as a state dict of another program.

    Args:
        model: a Keras model.
        config: its Config.
        path: of the file, which ends with ".pth" or ".safetensors", or with ".pkl" for Detectron2.
        program: "torchvision" or "detectron2".
        report: the `LoadReport` of the model's weights, see `foreign.export`.
        metadata: `{name: text}` on classes, settings and training, for files with room for it:
            ".safetensors" and ".pkl".

    Raises:
        ValueError: for another program or ending; if the program has no such architecture.
        OSError: if the file cannot be written.
    """
    if program not in _SUFFIXES:
        raise ValueError(f'format is {program!r}; accepted are "torchvision" and "detectron2".')
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1]
    if suffix not in _SUFFIXES[program]:
        raise ValueError(
            f'"{path}" must end with {" or ".join(_SUFFIXES[program])}, with format="{program}".'
        )
    title = foreign.TITLES[program]
    for name, accepted in _accepted(program).items():
        value = getattr(config, name, None)
        if value not in accepted:
            raise ValueError(
                f"{title} has no model with {name} {value!r}; export_weights needs "
                f"{' or '.join(map(repr, accepted))}."
            )
    facts = {PREFIX + name: text for name, text in (metadata or {}).items()}
    _WRITERS[suffix](path, foreign.export(model, program, report), facts)


def _accepted(program):
    """Return `{setting: accepted values}` of what a program can build."""
    if program == "torchvision":
        return {"RECIPE": ["paper"], "NECK": ["fpn"], "RESNET_STYLE": ["torchvision"]}
    styles = ["torchvision", "msra"]
    return {"RECIPE": ["paper"], "NECK": ["fpn", "c4", "dc5"], "RESNET_STYLE": styles}
