"""The model that `predict`, `evaluate`, `export` and `benchmark` take from `--weights`."""

from pathlib import Path

from mrcnn.commands import options
from mrcnn.commands.start import COCO_FILE, coco_file


def add_detector(parser, has_precision=True):
    """Add `--weights`, `--logs`, `--set` and, usually, `--precision`; see `load_detector`."""
    parser.add_argument(
        "--weights",
        default="last",
        help="last for the newest run, coco, a weight file, or the folder of a run (last)",
    )
    options.add_logs(parser)
    if has_precision:
        options.add_precision(parser)
    options.add_settings(parser)


def find_weights(weights, logs):
    """Return the path that `--weights` stands for, without reading it.

    Raises:
        FileNotFoundError: if there is no such file or run.
    """
    from mrcnn.runs.run import checkpoints_at

    if weights == "last":
        if not Path(logs).is_dir():
            raise FileNotFoundError(
                f'There is no folder "{logs}" of runs; give --weights a file, or --logs the folder.'
            )
        return checkpoints_at(logs)[0]
    if weights == "coco":
        if path := coco_file(logs):
            return str(path)
        raise FileNotFoundError(
            f"There is no {COCO_FILE} in {logs}, here, or in Keras's cache; mrcnn download coco "
            "fetches it."
        )
    if not Path(weights).exists():
        raise FileNotFoundError(
            f"There is no file or folder {weights}; --weights takes last, coco, a weight file, or "
            "the folder of a run."
        )
    return checkpoints_at(weights)[0]


def load_detector(args, **settings):
    """Return the `MaskRCNN` in inference mode of a command line, with its class names.

    It takes one image at a time, on one GPU, unless `--set IMAGES_PER_GPU=N` says more.

    Args:
        args: of a parser with `add_detector`.
        settings: of the Config, which those of the command line replace.

    Raises:
        FileNotFoundError, ValueError: if there are no such weights, or they are not those of a
            detector.
    """
    found = find_weights(args.weights, args.logs)
    from mrcnn.mask_rcnn import MaskRCNN

    one = {"GPU_COUNT": 1, "IMAGES_PER_GPU": 1}
    settings = one | settings | options.settings_of(args)
    # The path of a run, not of a checkpoint in it: an earlier one stands by for a damaged one.
    path = args.logs if args.weights == "last" else args.weights
    path = found if args.weights == "coco" else path
    return MaskRCNN.from_weights(path, "inference", **settings)
