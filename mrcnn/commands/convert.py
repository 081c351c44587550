"""`mrcnn convert`: weights from one file format to another."""

from pathlib import Path

from mrcnn.commands import options
from mrcnn.commands.classes import listed
from mrcnn.commands.outcome import Outcome

SUMMARY = "Convert weights between formats of this and other programs."

EXAMPLES = """\
  mrcnn convert maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth coco.h5
  mrcnn convert logs/cells20261122T0900 cells.safetensors
  mrcnn convert cells.h5 cells.pkl --to detectron2

The suffix of the output gives the format: .h5 of this package and the original, .weights.h5 of
Keras, .pth and .safetensors of torchvision or Detectron2, .pkl of Detectron2.
"""

_SUFFIXES = (".weights.h5", ".h5", ".pth", ".pt", ".safetensors", ".pkl")


def add(parser):
    """Add the arguments."""
    parser.add_argument("source", metavar="IN", help="weight file, or folder of a run")
    parser.add_argument("target", metavar="OUT", help=f"file: {', '.join(_SUFFIXES)}")
    parser.add_argument(
        "--to",
        choices=("torchvision", "detectron2"),
        help="names of the tensors in .pth and .safetensors files (by the weights' architecture)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    options.add_settings(parser)


def run(args):
    """Convert, and return what was written."""
    target = str(args.target)
    suffix = next((each for each in _SUFFIXES if target.endswith(each)), None)
    if suffix is None:
        raise ValueError(f'"{target}" has to end with {", ".join(_SUFFIXES)}.')
    if Path(target).exists() and not args.overwrite:
        raise FileExistsError(f'"{target}" exists; --overwrite replaces it.')
    if not Path(args.source).exists():
        raise FileNotFoundError(f'There is no weight file or run "{args.source}".')
    from mrcnn.mask_rcnn import MaskRCNN

    model = MaskRCNN.from_weights(args.source, "inference", **options.settings_of(args))
    program = None
    if suffix.endswith(".h5"):
        model.keras_model.save_weights(target)
    else:
        program = args.to or _program(model.config, suffix)
        model.export_weights(target, program)
    print(f"Wrote {target}{f' for {program}' if program else ''}.")
    names = model.class_names
    if names is not None and suffix in (".weights.h5", ".pth", ".pt"):
        print(f"Files of this format hold no class names; here they are {listed(names[1:])}.")
    return Outcome({"source": args.source, "written": target, "program": program})


def _program(config, suffix):
    """Return the program whose architecture a Config has."""
    is_theirs = getattr(config, "RESNET_STYLE", None) == "torchvision" and config.NECK == "fpn"
    return "torchvision" if is_theirs and suffix != ".pkl" else "detectron2"
