"""`mrcnn predict`: detect in photos, folders, videos and cameras."""

from argparse import ArgumentTypeError

from mrcnn.cli import at_least
from mrcnn.commands.detector import add_detector, load_detector
from mrcnn.commands.window import Window, check_screen
from mrcnn.inference.outputs import FORMATS

SUMMARY = "Detect in photos, folders, videos or a camera, and write pictures and annotations."

EXAMPLES = """\
  mrcnn predict photos/ --weights last
  mrcnn predict "photos/**/*.jpg" street.mp4 --weights logs/street20260101T1200
  mrcnn predict cells/ --weights cells.h5 --save labels,csv --mm-per-pixel 0.00065
  mrcnn predict 0 --weights mask_rcnn_coco.h5 --show
"""

# Of a folder that is not given.
_OUTPUT = "predictions"


def add(parser):
    """Add the arguments."""
    add_ = parser.add_argument
    add_(
        "photos",
        nargs="+",
        metavar="PHOTOS",
        help="photos, folders, patterns, videos, web addresses, or the number of a camera, 0, ...",
    )
    add_detector(parser)
    add_("--recursive", action="store_true", help="search in the folders of folders as well")
    add_(
        "--output",
        metavar="DIR",
        help=f"folder of the results ({_OUTPUT}, {_OUTPUT}_2, ...); a folder with files is refused",
    )
    add_("--overwrite", action="store_true", help="replace files in the folder of the results")
    add_(
        "--save",
        type=_formats,
        metavar="KINDS",
        help=f"of {','.join(FORMATS)}; several with commas (pictures or video, and coco)",
    )
    add_(
        "--min-score", type=_share, metavar="SCORE", help="lowest score, 0 to 1 (that of training)"
    )
    add_("--classes", type=_names, metavar="A,B,C", help="names of the classes, in their order")
    add_("--limit", type=at_least(1), metavar="N", help="only the first N photos or frames")
    add_("--tile", type=at_least(1), metavar="PIXELS", help="detect in tiles of large photos")
    add_("--overlap", type=_share, default=0.2, help="share of a tile in the next one (0.2)")
    add_("--batch", type=at_least(1), metavar="N", help="photos at a time (1)")
    add_("--workers", type=at_least(1), metavar="N", help="threads that read, and that write")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--mm-per-pixel", type=_length, metavar="MM", help="size of a pixel, for lengths in mm"
    )
    length.add_argument("--scale", type=_length, help="size of a pixel in another unit")
    add_("--color-by", choices=("class", "instance"), help="(class, where there are several)")
    add_(
        "--show",
        action="store_true",
        help="show the pictures in a window; q ends, other keys go on",
    )


def _formats(text):
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in chosen:
        if name not in FORMATS:
            raise ArgumentTypeError(f'"{name}" is unknown; accepted are {", ".join(FORMATS)}')
    return chosen


def _share(text):
    if not 0 <= float(text) <= 1:
        raise ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def _length(text):
    if not 0 < float(text) < float("inf"):
        raise ArgumentTypeError(f"{text} is not a length above 0")
    return float(text)


def _names(text):
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise ArgumentTypeError(f'"{text}" has an empty name, or one name twice')
    return names


def run(args):
    """Detect; the status is 1 if a photo was skipped or a video ended early."""
    from mrcnn.inference.sources import Sources

    if args.show:
        check_screen()
    folder = _output_folder(args.output, args.overwrite)
    sources = Sources(args.photos, args.recursive, folder, None if args.tile is None else _mapped)
    if "video" in (args.save or ()) and not sources.videos:
        raise ValueError("--save video needs a video or a camera; only photos are given.")
    model = open_model(args)
    name_classes(model, args.classes)
    return predict(args, model, sources, folder)


def _mapped(path):
    """Read a photo for detection by tiles."""
    from mrcnn.inference.tiles import read_for_tiles

    return read_for_tiles(path)


def _output_folder(given, overwrite):
    """Return the folder of the results.

    Raises:
        FileExistsError: if one that was asked for has files already.
    """
    from mrcnn.files import check_folder
    from mrcnn.inference.outputs import free_folder, is_used

    folder = free_folder(_OUTPUT) if given is None and not overwrite else given or _OUTPUT
    if not overwrite and is_used(folder):
        raise FileExistsError(
            f'"{folder}" exists and is not empty; name another folder, or add --overwrite to '
            "replace the files in it that have the same names."
        )
    check_folder(folder)
    return folder


def open_model(args):
    """Return the `MaskRCNN` of `--weights` with the `--batch` and `--min-score` of a command line.

    Raises:
        FileNotFoundError, ValueError: see `load_detector`.
    """
    settings = {"IMAGES_PER_GPU": args.batch or 1}
    if args.min_score is not None:
        settings["DETECTION_MIN_CONFIDENCE"] = args.min_score
    return load_detector(args, **settings)


def name_classes(model, given):
    """Set the class names of a model: those given, those in its weights, or numbers.

    Raises:
        ValueError: if the number of names given is not that of the classes.
    """
    count = model.config.NUM_CLASSES - 1
    if given is not None and len(given) != count:
        raise ValueError(f"--classes has {len(given)} names; the weights have {count} classes.")
    if given is None and (model.class_names is None or len(model.class_names) != count + 1):
        print(
            'The weights do not name all classes, so these are "class 1", "class 2", ...; name '
            "them, in this order, with --classes a,b,c."
        )
        given = [f"class {number}" for number in range(1, count + 1)]
    if given is not None:
        model.class_names = ["BG", *given]


def predict(args, model, sources, folder):
    """Detect in the photos of `sources`, and write to a folder.

    Returns:
        An `Outcome`.
    """
    from contextlib import closing
    from itertools import islice

    from tqdm import tqdm

    from mrcnn.commands.outcome import Outcome
    from mrcnn.inference.outputs import Outputs

    scale, unit = (args.mm_per_pixel, "mm") if args.mm_per_pixel else (args.scale, None)
    draw = {"color_by": args.color_by}
    options = {"scale": scale, "unit": unit, "draw": draw, "keep_pictures": args.show}
    outputs = Outputs(folder, model.class_names, args.save, **options)
    total = min(len(sources), args.limit or len(sources)) or args.limit
    # With disable=None, tqdm draws on terminals only.
    bar = tqdm(total=total, unit="photo", disable=None, dynamic_ncols=True)

    def skip(photo, sentence):
        bar.update()
        # Most sentences name the file.
        name = "" if photo.name in sentence else f"{photo.name}: "
        tqdm.write(f"Skipped: {name}{sentence}")

    stream = model.detect_stream(
        islice(sources, args.limit),
        batch=args.batch,
        workers=args.workers,
        write=outputs.write,
        on_skip=skip,
        tile=args.tile,
        overlap=args.overlap,
    )
    try:
        with bar, outputs, Window(args.show) as window, closing(stream.pairs()) as pairs:
            for photo, _ in pairs:
                picture = outputs.collect(photo)
                bar.update()
                if not window.show(picture, wait=photo.video is None):
                    break
    except KeyboardInterrupt:
        # What was done until then is kept; `main` says who ended it.
        _report(stream, sources, outputs)
        raise
    report = _report(stream, sources, outputs)
    return Outcome(report, int(bool(stream.skipped or sources.faults)))


def _report(stream, sources, outputs):
    """Print the end of a run; return it as a dict."""
    done, seconds = outputs.photos, stream.seconds
    found = {name: count for name, count in outputs.counts.items() if count}
    most = sorted(found, key=found.get, reverse=True)
    listed = ", ".join(f"{name} {found[name]}" for name in most[:5]) or "none"
    more = f", {len(most) - 5} more classes" if len(most) > 5 else ""
    rate = done / seconds if seconds else 0
    if done:
        print(
            f"{done} photos with {sum(found.values())} instances ({listed}{more}) in "
            f"{seconds:.1f} s, {rate:.3g} photos/s; network busy {stream.busy:.0%} of the time."
        )
        print(f"The results are in {outputs.folder}.")
    for fault in sources.faults:
        print(fault)
    if stream.skipped:
        print(f"{len(stream.skipped)} of {done + len(stream.skipped)} photos skipped.")
    return {
        "output": outputs.folder,
        "photos": done,
        "skipped": [{"photo": name, "reason": reason} for name, reason in stream.skipped],
        "videos_ended_early": sources.faults,
        "instances": sum(found.values()),
        "classes": found,
        "seconds": seconds,
        "photos_per_second": rate,
        "network_busy": stream.busy,
    }
