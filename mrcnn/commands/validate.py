"""`mrcnn validate`: the data report."""

from mrcnn.cli import at_least
from mrcnn.commands.data import find_data
from mrcnn.commands.outcome import Outcome

SUMMARY = "Print statistics and problems of annotated photos."

EXAMPLES = """\
  mrcnn validate photos/
  mrcnn validate cells.py --json

The exit status is 1 if photos cannot be used, entries were left out, instances have no pixel,
photos have another scale in training than in detection, or a part has no instance at all.
"""

# Lists of a report whose entries do harm: they are lost, or teach something wrong.
_SERIOUS = ("unreadable", "empty", "rescaled")
_LISTS = ("without_instances", "tiny", "duplicates", "same_box", *_SERIOUS)


def add(parser):
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="folder of annotated photos, or Python file")
    parser.add_argument(
        "--tiny",
        type=at_least(1),
        default=16,
        metavar="N",
        help="list instances of fewer than N pixels (16)",
    )


def run(args):
    """Report on the parts of the data set."""
    data = find_data(args.data)
    print(f"{data.source}: {data.format}")
    for note in data.notes:
        print(note)
    parts, count = {}, 0
    for name, dataset in (("train", data.train), ("val", data.val)):
        if dataset is not None:
            print(f"\n{name}")
            parts[name] = _facts(dataset.validate(tiny=args.tiny))
            count += parts[name]["serious"]
    print(f"\n{count} serious problems." if count else "\nNo serious problems.")
    document = {"data": data.source, "format": data.format, "notes": data.notes, "parts": parts}
    return Outcome(document | {"serious": count}, status=1 if count else 0)


def _facts(report):
    """Return a `DatasetReport` as plain values."""
    names = report.class_names
    left_out = [note for note in report.notes if note.left_out]
    total = report.instances.total()
    serious = sum(len(getattr(report, name)) for name in _SERIOUS) + len(left_out)
    return {
        "images": len(report.image_sizes),
        "instances": {name: report.instances[i] for i, name in enumerate(names) if i},
        "images_with": {name: report.images[i] for i, name in enumerate(names) if i},
        "crowds": {name: report.crowds[i] for i, name in enumerate(names) if i},
        **{name: getattr(report, name) for name in _LISTS},
        "notes": [note._asdict() for note in report.notes],
        "serious": serious + (total == 0),
    }
