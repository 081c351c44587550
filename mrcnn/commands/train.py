"""`mrcnn train`: train on a folder of annotated photos."""

from mrcnn.cli import at_least
from mrcnn.commands import options
from mrcnn.commands.data import find_data, safe_name
from mrcnn.commands.outcome import Outcome

SUMMARY = "Train on a folder of annotated photos, or with a Python file."

EXAMPLES = """\
  mrcnn train photos/ --preset small --epochs 2
  mrcnn train photos/ --weights coco --val 0.1
  mrcnn train photos/ --resume --epochs 60
  mrcnn train cells.py --weights last

DIR is a folder in any format that mrcnn.datasets reads, such as COCO, VIA, LabelMe, YOLO or masks;
a Python file has one subclass of mrcnn.config.Config, and a function load_data() that returns the
training and the validation Dataset.
"""


def add(parser):
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="folder of annotated photos, or Python file")
    parser.add_argument(
        "--preset",
        choices=("small", "default", "paper"),
        help="settings: a small network for random weights, those of the original, or those of "
        "the paper (default where COCO weights are at hand, else small)",
    )
    parser.add_argument(
        "--weights",
        help="coco, imagenet, last, random, or a file; by default the best at hand, without a "
        "download",
    )
    parser.add_argument("--val", metavar="DIR|SHARE", help="validation data, or their share")
    options.add_classes(parser)
    parser.add_argument("--name", help="name of the run (the name of the folder)")
    parser.add_argument("--epochs", type=at_least(1), help="total number of epochs")
    parser.add_argument("--steps", type=at_least(1), help="steps per epoch")
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--image-size", type=at_least(32), help="longer side, in pixels")
    parser.add_argument(
        "--layers", help="what learns: heads, 3+, 4+, 5+, all, or a regular expression"
    )
    parser.add_argument(
        "--augmentation",
        choices=("default", "strong", "none"),
        default="default",
        help="random changes of the photos (default)",
    )
    parser.add_argument("--gpus", type=at_least(1), help="GPUs of this machine")
    parser.add_argument(
        "--resume", action="store_true", help="continue the newest run, as --weights last"
    )
    options.add_precision(parser)
    options.add_logs(parser)
    options.add_seed(parser)
    options.add_settings(parser)


def run(args):
    """Train, and return the run with its last metrics."""
    if args.resume and args.weights not in (None, "last"):
        args.error("--resume continues with the weights of the run; leave out --weights")
    data = find_data(args.data, args.val, args.seed, args.classes)
    data.name = safe_name(args.name or data.name)
    from mrcnn.commands.training import new_training, resumed_training

    if args.resume or args.weights == "last":
        training = resumed_training(args, data)
    else:
        training = new_training(args, data)
    return Outcome(training.run(args))
