"""Where weights come from: the data and the metrics of their training, kept in weight files."""

import json
import math

from mrcnn.weights.hdf5 import WeightFileError

_MOST_TEXT, _MOST_VALUES = 200, 200


def training_facts(train_dataset, val_dataset=None):
    """Return what a weight file says of the data that it was trained on.

    Args:
        train_dataset: its attribute `name`, or else the names of its sources, is the data's name.
        val_dataset: or None.

    Returns:
        A dict of "dataset", a text; "images" and "validation_images", numbers.
    """
    name = getattr(train_dataset, "name", None)
    if not name:
        infos = getattr(train_dataset, "image_info", [])
        sources = dict.fromkeys(str(info.get("source", "")) for info in infos)
        name = ", ".join(filter(None, sources))
    return {
        "dataset": str(name)[:_MOST_TEXT],
        "images": len(train_dataset.image_ids),
        "validation_images": 0 if val_dataset is None else len(val_dataset.image_ids),
    }


def metrics_of(logs):
    """Return the finite numbers in the logs of an epoch, by name."""
    found = {}
    for name, value in (logs or {}).items():
        try:
            number = float(value)
        # Callbacks of users may put anything there.
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            # float32 noise, as in 0.10000000149, tells nothing.
            found[str(name)] = float(f"{number:.6g}")
    return found


def check_provenance(path, facts):
    """Raise `WeightFileError` unless "training" and "metrics" are dicts of texts and numbers.

    Args:
        path: of the file, for the message.
        facts: of a weight file; both may be missing.
    """
    for name, kinds in (("training", (str, int, float)), ("metrics", (int, float))):
        found = facts.get(name, {})
        is_sound = isinstance(found, dict) and len(found) <= _MOST_VALUES
        if not is_sound or not all(
            len(key) <= _MOST_TEXT and _is_value(value, kinds) for key, value in found.items()
        ):
            what = "texts and numbers" if str in kinds else "numbers"
            raise WeightFileError(f'"{name}" in "{path}" is not a short dict of {what}.')


def _is_value(value, kinds):
    if isinstance(value, str):
        return str in kinds and len(value) <= _MOST_TEXT
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    # JSON has numbers of any length, and Python reads NaN.
    return is_number and abs(value) < 1e300


def noted(metadata, epoch, logs):
    """Return the metadata of a weight file with an epoch and its metrics.

    Args:
        metadata: `{name: text}`, with "training" as JSON, or without.
        epoch: number of finished epochs.
        logs: of the last one.
    """
    training = json.loads(metadata.get("training", "{}")) | {"epoch": int(epoch)}
    metrics = metrics_of(logs)
    return metadata | {"training": json.dumps(training), "metrics": json.dumps(metrics)}


def origin(metadata):
    """Return those of a weight file's metadata that say where the weights come from, if sound."""
    found = {}
    for name in ("training", "metrics"):
        try:
            check_provenance("", {name: json.loads(metadata.get(name, "null"))})
        except (ValueError, RecursionError):
            continue
        found[name] = metadata[name]
    return found


def names_in(metadata, count):
    """Return the class names in a weight file's metadata, if they are `count` texts; else None."""
    try:
        names = json.loads(metadata.get("class_names", "null"))
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(names, list) and len(names) == count
    return names if is_list and all(isinstance(name, str) for name in names) else None
