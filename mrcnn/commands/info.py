"""`mrcnn info`: what a weight file, a run or an exported model says of itself."""

SUMMARY = "Show what a weight file, a run or an exported model says of itself."

EXAMPLES = """\
  mrcnn info logs/
  mrcnn info mask_rcnn_coco.h5
  mrcnn info model.onnx --json
"""


def add(parser):
    """Add the arguments."""
    parser.add_argument(
        "path", metavar="PATH", help="weight file, run, folder of runs, or exported model"
    )


def run(args):
    """Print the facts."""
    from mrcnn.commands.outcome import Outcome
    from mrcnn.runs.run import checkpoints_at
    from mrcnn.runs.settings import read_facts

    path = checkpoints_at(args.path)[0]
    facts = {"path": path} | read_facts(path)
    for name, value in facts.items():
        print(f"{name:<16}{value}")
    return Outcome(facts)
