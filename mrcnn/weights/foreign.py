"""State dicts of torchvision and Detectron2 into our models, and back."""

import numpy as np

from mrcnn.weights import architecture, caffe2, detectron2, torchvision
from mrcnn.weights.hdf5 import WeightFileError
from mrcnn.weights.report import LoadReport
from mrcnn.weights.state_dict import BATCH_COUNT, entries, layout, to_ours, to_theirs
from mrcnn.weights.transfer import Rule, apply

PROGRAMS = {"torchvision": torchvision, "detectron2": detectron2}
TITLES = {"torchvision": "torchvision", "detectron2": "Detectron2"}

# Tensors that no model of ours needs. Starts of names in a detector, and in a trunk, where they are
# of the classifier; the bias of the first convolution is 0 in Microsoft's ResNets.
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")
_CLASSIFIER = ("fc.", "fc1000.", "stem.fc.", "linear.", "pred.", "stem.conv1.bias")

_LOGITS = "mrcnn_class_logits"

# Names in one message.
_MOST = 20

# Settings that names and shapes of weights show, and that a model with other weights lacks.
_VISIBLE = (
    "BACKBONE",
    "BACKBONE_NORM",
    "NECK",
    "FPN_NORM",
    "HEAD_NORM",
    "FPN_EXTRA_LEVEL",
    "RPN_CONVS",
    "BOX_HEAD",
    "TOP_DOWN_PYRAMID_SIZE",
    "FPN_CLASSIF_FC_LAYERS_SIZE",
    "NUM_CLASSES",
)


def _unified(tensors):
    """Return a state dict under the names of torchvision or Detectron2."""
    return caffe2.as_detectron2(tensors) if caffe2.recognises(tensors) else tensors


def describe(path, tensors):
    """Return the settings of a state dict, see `settings_of`, and whether it is a detector's.

    Raises:
        WeightFileError: the names are those of no program that is read.
    """
    tensors = _unified(tensors)
    program, is_detector = architecture.program_of(tensors)
    if program is None:
        raise WeightFileError(
            f'"{path}" has no weights of a Mask R-CNN or ResNet of torchvision or Detectron2; its '
            f"first tensors are {', '.join(list(tensors)[:3])}."
        )
    return architecture.settings_of(tensors), is_detector


def load(model, path, tensors, exclude=None, skip_mismatch=False, verbose=1):
    """Fill a model with a state dict; every tensor of it is used, named as unused, or an error.

    Args:
        model: a Keras model.
        path: of the file, for messages.
        tensors: `{name: array}`, of a detector, or of an ImageNet classifier, which fills the
            backbone alone.
        exclude: names of layers, ours or theirs, to leave as they are.
        skip_mismatch: also leave layers that do not fit as they are.
        verbose: 1 prints the report.

    Returns:
        A `LoadReport`.

    Raises:
        ValueError: before any weight has changed, if the state dict is of another architecture, or
            has missing, surplus or misshapen entries, which the message names; else see
            `transfer.apply`.
    """
    tensors = _unified(tensors)
    settings, is_detector = describe(path, tensors)
    program, _ = architecture.program_of(tensors)
    table = table_of(program, is_detector, model, architecture.are_bgr(tensors))
    found, foreign = entries(model, table)
    exclude = [exclude] if isinstance(exclude, str) else list(exclude or [])
    excluded = _with_theirs(exclude, found)
    fit = _Fit(tensors, found, excluded, is_detector)
    foreign = [name for name in foreign if name not in excluded] if is_detector else []
    if (foreign or fit.problems) and not skip_mismatch:
        raise ValueError(_refusal(path, model, table, program, tensors, fit, foreign, excluded))
    source = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        # Counts of batches are one row of the report; "pixel_mean" has no module.
        module, leaf = (leaf, module) if leaf == BATCH_COUNT or not module else (module, leaf)
        source.setdefault(module, {})[leaf] = tensor
    rules = [_rule(layer, matched, fit) for layer, matched in found.items()]
    report = apply(model, path, source, rules, sorted(excluded), skip_mismatch, verbose=verbose)
    report.settings = settings
    if is_detector:
        report.program, report.names = program, tuple(tensors)
        report.extras = {n: np.asarray(tensors[n]) for n in tensors if _is_needless(n, True)}
    return report


def table_of(program, is_detector, model, is_bgr=True):
    """Return the table of a program for a model."""
    options = {"flips_colours": is_bgr} if program == "detectron2" else {}
    if not is_detector:
        return PROGRAMS[program].trunk_table(**options)
    return PROGRAMS[program].detector_table(_owners(model), **options)


def _owners(model):
    """Return the names of all layers with weights, those in nested models too."""
    return {weight.path.split("/")[-2] for layer in model.layers for weight in layer.weights}


def _with_theirs(exclude, found):
    """Return the names of our layers to exclude, also where their names are given."""
    theirs = {
        layer
        for layer, matched in found.items()
        for entry in matched
        if {name.rpartition(".")[0] for name in entry.names} & set(exclude)
    }
    return theirs | set(exclude)


def _is_needless(name, is_detector):
    starts = _CONSTANTS if is_detector else _CONSTANTS + _CLASSIFIER
    return name.endswith(f".{BATCH_COUNT}") or name.startswith(starts)


class _Fit:
    """What of a state dict fits a model.

    Attributes:
        missing, surplus: names.
        misshapen: `{name: (shape in the state dict, shape for the model)}`.
        layers: of the model, with a problem.
    """

    def __init__(self, tensors, found, excluded, is_detector):
        self.tensors = tensors
        self.missing, self.misshapen, self.layers, used = [], {}, set(), set()
        for layer, matched in found.items():
            for entry in matched:
                name = entry.name_in(tensors)
                used.update(entry.names)
                if layer in excluded:
                    continue
                if name not in tensors:
                    self.missing.append(name)
                elif _shape_differs(layer, tuple(tensors[name].shape), entry.shape):
                    self.misshapen[name] = (tuple(tensors[name].shape), entry.shape)
                else:
                    continue
                self.layers.add(layer)
        rest = (name for name in tensors if name not in used)
        self.surplus = [name for name in rest if not _is_needless(name, is_detector)]

    @property
    def problems(self):
        """Sentences that name all of them, [] if there are none."""
        shapes = [f"{n} {theirs}, not {ours}" for n, (theirs, ours) in self.misshapen.items()]
        kinds = {"Missing": self.missing, "Surplus": self.surplus, "Of another shape": shapes}
        return [f"{kind}: {_some(names)}." for kind, names in kinds.items() if names]


def _shape_differs(layer, theirs, ours):
    if layer == "conv1" and len(theirs) == len(ours) == 4:
        # `apply` adapts it to the image channels.
        return theirs[:1] + theirs[2:] != ours[:1] + ours[2:]
    return theirs != ours


def _some(names):
    rest = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + rest


def _rule(layer, matched, fit):
    theirs = [entry.name_in(fit.tensors).rpartition(".")[::2] for entry in matched]
    if layer in fit.layers:
        return Rule(layer, theirs)
    shapes = [tuple(entry.weight.shape) for entry in matched]

    def transform(arrays):
        parts = zip(arrays, shapes, matched, strict=True)
        return [to_ours(array, shape, entry.line) for array, shape, entry in parts]

    return Rule(layer, theirs, transform)


def _refusal(path, model, table, program, tensors, fit, foreign, excluded):
    """Return the sentences on a state dict that does not fit."""
    title = TITLES[program]
    ways = (
        "set them in your PaperConfig as in the file, or let "
        f'MaskRCNN.from_weights("{path}") make the model.'
    )
    theirs = architecture.settings_of(tensors)
    if "NUM_CLASSES" in theirs and _LOGITS not in _owners(model):
        return (
            f'"{path}" is a whole detector of {title}, and the model is a trunk without heads; '
            "load it into a MaskRCNN, or give the trunk an ImageNet classifier."
        )
    if foreign:
        return (
            f'"{path}" does not fit: the model has layers that {title} lacks, {_some(foreign)}. '
            f'Make it with a PaperConfig, or let MaskRCNN.from_weights("{path}") make it.'
        )
    shapes = layout(model, table)
    ours = architecture.settings_of(shapes) if architecture.program_of(shapes)[0] else {}
    names = [n for n in _VISIBLE if n in theirs and _visible(theirs, n) != _visible(ours, n)]
    if _LOGITS in excluded:
        names = [name for name in names if name != "NUM_CLASSES"]
    if names == ["NUM_CLASSES"] and not fit.missing + fit.surplus:
        report = LoadReport(path, mismatched=dict.fromkeys(sorted(fit.layers)))
        return report.mismatch_message(theirs["NUM_CLASSES"], ours["NUM_CLASSES"])
    if names:
        listed = ", ".join(
            f"{n} is {theirs[n]!r} in the file and {ours.get(n, 'none of its kind')!r} in the model"
            for n in names
        )
        return f'"{path}" is of another architecture than the Config: {listed}; {ways}'
    return f'"{path}" does not fit the model. {" ".join(fit.problems)}'


def _visible(settings, name):
    value = settings.get(name)
    # Their weights are alike.
    return "batch" if name == "BACKBONE_NORM" and value == "frozen" else value


def export(model, program, report=None):
    """Return the state dict of a model for another program, `{name: array}`.

    Batch normalization that trains gets a count of batches, as PyTorch's: 0, or that of the state
    dict that the model was loaded from. Names are those of that state dict, else today's.

    Args:
        model: a Keras model of the paper's recipe.
        program: "torchvision" or "detectron2".
        report: the `LoadReport` of the model's weights.

    Raises:
        ValueError: the model has a layer that the program lacks.
    """
    # Here, because this package can be imported without TensorFlow.
    from mrcnn.layers.norm import FrozenBatchNorm

    is_origin = report is not None and report.program == program
    extras, names = (report.extras, report.names) if is_origin else ({}, ())
    is_bgr = architecture.are_bgr(extras)
    found, foreign = entries(model, table_of(program, True, model, is_bgr))
    if foreign:
        raise ValueError(
            f"{TITLES[program]} has no layers like {_some(foreign)}; only models of the paper's "
            "recipe with a ResNet or ResNeXt can be exported."
        )
    state = {}
    for layer in model.layers:
        for entry in found.get(layer.name, ()):
            name = entry.name_in(names)
            state[name] = to_theirs(entry.weight, entry.line)
            owner, _, leaf = name.rpartition(".")
            if leaf == "running_var" and not isinstance(layer, FrozenBatchNorm):
                state[f"{owner}.{BATCH_COUNT}"] = np.zeros((), np.int64)
    return state | extras
