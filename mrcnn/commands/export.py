"""`mrcnn export`: the model for another runtime."""

from mrcnn.cli import at_least
from mrcnn.commands.detector import add_detector, load_detector
from mrcnn.commands.outcome import Outcome

SUMMARY = "Write a model as SavedModel, ONNX, OpenVINO or LiteRT."

EXAMPLES = """\
  mrcnn export cells.onnx --weights last
  mrcnn export cells.xml --weights cells.h5 --precision float16
  mrcnn export cells.tflite --weights cells.h5 --image-size 480x640

The file takes a photo and returns boxes, classes, scores and masks in its pixels. The suffix gives
the format: .onnx, .xml (OpenVINO), .tflite, none for the folder of a SavedModel. docs/export.md
says what each can do.
"""


def add(parser):
    """Add the arguments."""
    parser.add_argument("path", metavar="OUT", help="file or folder to write")
    add_detector(parser, has_precision=False)
    parser.add_argument(
        "--format",
        choices=("saved_model", "onnx", "openvino", "litert"),
        help="(by the suffix)",
    )
    parser.add_argument(
        "--image-size",
        type=_size,
        metavar="HxW",
        help="height and width of the photos, where a format needs one size",
    )
    parser.add_argument(
        "--batch", type=_batch, default=1, metavar="N", help="photos at a time, or any (1)"
    )
    parser.add_argument(
        "--precision",
        dest="numbers",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="of the numbers in the file (float32)",
    )
    parser.add_argument(
        "--masks",
        choices=("pasted", "small"),
        default="pasted",
        help="masks of the photo's size, or those of the mask head (pasted)",
    )
    parser.add_argument(
        "--calibration",
        nargs="+",
        metavar="PHOTO",
        help="photos for int8, and for the comparison with Keras",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _size(text):
    height, _, width = text.partition("x")
    return at_least(1)(height), at_least(1)(width or height)


def _batch(text):
    return None if text == "any" else at_least(1)(text)


def run(args):
    """Export, and return what was written."""
    model = load_detector(args)
    report = model.export(
        args.path,
        format=args.format,
        image_size=args.image_size,
        batch=args.batch,
        precision=args.numbers,
        masks=args.masks,
        calibration=args.calibration,
        overwrite=args.overwrite,
    )
    print(f"Wrote {report}")
    return Outcome(_facts(report))


def _facts(report):
    """Return an `ExportReport` as plain values."""
    from dataclasses import asdict, is_dataclass

    facts = dict(vars(report))
    return {name: asdict(part) if is_dataclass(part) else part for name, part in facts.items()}
