"""`mrcnn info`: what a weight file, a run or an exported model says of itself."""

import os

from mrcnn.commands.facts import facts_of
from mrcnn.commands.outcome import Outcome
from mrcnn.data.checks import shorten, shown

SUMMARY = "Show the facts in a weight file, run or exported model."

EXAMPLES = """\
  mrcnn info last
  mrcnn info mask_rcnn_coco.h5
  mrcnn info model.onnx --json

For a folder of runs, the newest run; "last" is that in logs/. --settings shows
all settings of the Config.
"""

_CLASSES_SHOWN = 12
# Settings that say most about a model.
_SHOWN = (
    *("NAME", "RECIPE", "BACKBONE", "NUM_CLASSES", "IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM"),
    *("IMAGE_MAX_DIM", "RPN_ANCHOR_SCALES", "DETECTION_MIN_CONFIDENCE", "PRECISION"),
)


def add(parser):
    """Add the arguments."""
    parser.add_argument(
        "path", metavar="PATH", help="weight file, run, folder of runs, or exported model"
    )
    parser.add_argument("--settings", action="store_true", help="show all settings")


def run(args):
    """Print the facts."""
    is_last = args.path == "last" and not os.path.exists(args.path)
    facts = facts_of("logs" if is_last else args.path)
    for name, value in _rows(facts, args.settings):
        print(f"{shown(name):<32}{shown(value)}")
    return Outcome(facts)


def _rows(facts, shows_all):
    """Yield names and values for people."""
    yield "path", str(facts["path"])
    yield "kind", facts["kind"]
    if names := facts.get("class_names"):
        yield f"classes ({len(names) - 1})", shorten(names[1:], _CLASSES_SHOWN)
    else:
        yield "classes", "not named"
    config = facts.get("config", {})
    for name in sorted(config) if shows_all else [name for name in _SHOWN if name in config]:
        yield name, config[name]
    for title in ("training", "metrics", "export", "versions"):
        values = facts.get(title)
        for name, value in values.items() if isinstance(values, dict) else ():
            yield f"{title}: {name}", f"{value:g}" if isinstance(value, float) else value
    if checkpoints := facts.get("checkpoints"):
        yield f"checkpoints ({len(checkpoints)})", shorten(checkpoints, 3)
