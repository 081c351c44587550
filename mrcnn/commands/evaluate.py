"""`mrcnn evaluate`: COCO's average precision on annotated photos."""

from mrcnn.cli import at_least
from mrcnn.commands import options
from mrcnn.commands.detector import add_detector, load_detector
from mrcnn.commands.outcome import Outcome

SUMMARY = "Print COCO's average precision (AP) on annotated photos."

EXAMPLES = """\
  mrcnn evaluate photos/ --weights last
  mrcnn evaluate photos/val --weights coco --limit 100 --json
  mrcnn evaluate photos/ --weights last --worst 8 --output worst/
"""


def add(parser):
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="folder of annotated photos, or Python file")
    add_detector(parser)
    parser.add_argument(
        "--part",
        choices=("train", "val", "test"),
        help="part of the data (the validation part)",
    )
    options.add_classes(parser)
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="use N images only")
    parser.add_argument(
        "--worst",
        type=at_least(1),
        metavar="N",
        help="write pictures of the N images with the lowest F1 score",
    )
    parser.add_argument("--output", default="worst", metavar="DIR", help="for pictures (worst)")


def run(args):
    """Evaluate, and return the numbers."""
    from mrcnn.commands.classes import listed, rename, with_classes
    from mrcnn.commands.data import evaluated_part
    from mrcnn.evaluation.dataset_metrics import choose_images, compute_coco_metrics

    dataset = evaluated_part(args.data, args.part)
    rename(dataset, args.classes, args.data)
    # Detections of low scores count: they decide on the precision at high recalls.
    model = load_detector(args, DETECTION_MIN_CONFIDENCE=0.05)
    if model.class_names is None:
        _check_number(model, dataset, args.data)
        print("The weights do not name their classes; they are taken for those of the data.")
    elif set(dataset.class_names) - set(model.class_names):
        ours = [name for name in dataset.class_names if name not in model.class_names]
        raise ValueError(
            f"The weights do not know classes of {args.data}: {listed(ours)}; they know "
            f"{listed(model.class_names[1:])}."
        )
    else:
        dataset = with_classes(dataset, model.class_names, args.data)
    ids = choose_images(dataset, limit=args.limit)
    print(f"Evaluating {len(ids)} images of {args.data}.", flush=True)
    metrics = compute_coco_metrics(dataset, model, ids)
    print(metrics)
    document = {"data": args.data, "images": len(ids), "classes": dataset.class_names[1:]}
    document |= {"weights": model.load_report.path if model.load_report else args.weights}
    for name, stats in (("boxes", metrics.bbox), ("masks", metrics.segm)):
        document[name] = dict(stats.stats) | {"by_class": stats.by_class}
    if args.worst:
        from mrcnn.commands.worst import write_worst

        document["worst"] = write_worst(args.output, args.worst, dataset, metrics, ids)
    return Outcome(document)


def _check_number(model, dataset, where):
    if model.config.NUM_CLASSES != dataset.num_classes:
        raise ValueError(
            f"The weights have {model.config.NUM_CLASSES - 1} classes without names, and {where} "
            f"has {dataset.num_classes - 1}: {', '.join(dataset.class_names[1:])}."
        )
