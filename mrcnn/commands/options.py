"""Arguments that several commands share."""

import ast
import difflib

from mrcnn.cli import PRECISIONS, at_least


def add_settings(parser):
    """Add `--set NAME=VALUE`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        dest="settings",
        help="a setting of the Config, such as DETECTION_MIN_CONFIDENCE=0.5; may be repeated",
    )


def add_classes(parser):
    """Add `--classes`."""
    parser.add_argument(
        "--classes",
        type=_names,
        metavar="A,B,...",
        help="names for the classes of the data, in their order",
    )


def _names(text):
    from argparse import ArgumentTypeError

    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ArgumentTypeError(f'"{text}" has an empty name')
    return names


def add_logs(parser):
    """Add `--logs`."""
    parser.add_argument(
        "--logs", default="logs", metavar="DIR", help="folder of runs and checkpoints (logs)"
    )


def add_precision(parser):
    """Add `--precision`."""
    parser.add_argument("--precision", choices=PRECISIONS, help="number type of the network")


def add_seed(parser):
    """Add `--seed`."""
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of all random numbers, and of the split (0)"
    )


def setting(text):
    """Return `(name, value)` of a text like `IMAGE_MAX_DIM=512`, for argparse.

    Values are numbers, texts, lists and tuples as Python writes them; what is none of them is a
    text.
    """
    from argparse import ArgumentTypeError

    from mrcnn.config import Config, PaperConfig

    name, equals, value = text.partition("=")
    known = sorted({n for kind in (Config, PaperConfig) for n in dir(kind) if n.isupper()})
    if not equals:
        raise ArgumentTypeError(f'"{text}" is not NAME=VALUE')
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else "; docs/tour.md says where they are listed"
        raise ArgumentTypeError(f"{name} is not a setting{hint}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def settings_of(args):
    """Return the settings that a command line gives, by name."""
    precision = getattr(args, "precision", None)
    return dict(args.settings) | ({"PRECISION": precision} if precision else {})
