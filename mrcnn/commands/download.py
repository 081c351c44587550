"""`mrcnn download`: trained weights and a small data set."""

from pathlib import Path

from mrcnn.commands.outcome import Outcome

SUMMARY = "Download trained weights, or the balloon photos."

EXAMPLES = """\
  mrcnn download coco
  mrcnn download imagenet --backbone resnet50 --preset paper
  mrcnn download balloon --output photos/

coco: the original's weights for the 80 classes of COCO, mask_rcnn_coco.h5, 246 MB; imagenet: the
weights of a backbone, kept in Keras's cache; balloon: 74 photos with VIA annotations, 39 MB.
"""

BALLOON_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.1/balloon_dataset.zip"
# Of the zip file; it has 39 MB.
_BALLOON_LIMIT = 1 << 27


def add(parser):
    """Add the arguments."""
    parser.add_argument("what", choices=("coco", "imagenet", "balloon"))
    parser.add_argument(
        "--output", default=".", metavar="DIR", help="folder for coco and balloon (here)"
    )
    parser.add_argument("--backbone", help="for imagenet, such as resnet50 (the preset's)")
    parser.add_argument(
        "--preset",
        choices=("default", "paper"),
        default="default",
        help="for imagenet: the network that the weights are for (default)",
    )


def run(args):
    """Download, and return the path."""
    path = {"coco": _coco, "imagenet": _imagenet, "balloon": _balloon}[args.what](args)
    print(f"{args.what}: {path}")
    return Outcome({"what": args.what, "path": path})


def _coco(args):
    from mrcnn.commands.start import COCO_FILE
    from mrcnn.weights.download import COCO_MODEL_SIZE, download_trained_weights

    path = Path(args.output, COCO_FILE)
    if not (path.is_file() and path.stat().st_size == COCO_MODEL_SIZE):
        download_trained_weights(path)
    return path


def _imagenet(args):
    from mrcnn.config import Config, PaperConfig
    from mrcnn.weights.start import imagenet_weights

    kind = PaperConfig if args.preset == "paper" else Config
    style = getattr(kind, "RESNET_STYLE", "matterport")
    return imagenet_weights(args.backbone or kind.BACKBONE, style)


def _balloon(args):
    from mrcnn.download import download, unpack

    folder = Path(args.output, "balloon")
    if folder.exists():
        raise FileExistsError(f'"{folder}" exists; remove it, or give another --output.')
    archive = Path(args.output, "balloon_dataset.zip")
    if not archive.is_file():
        download(BALLOON_URL, archive, limit=_BALLOON_LIMIT)
    unpack(archive, args.output)
    return folder
