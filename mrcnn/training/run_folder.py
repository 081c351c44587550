"""The folder of a training run, its checkpoints, and where a run goes on."""

import datetime
import os
import re

# Paths such as logs/coco20171029T2315/mask_rcnn_coco_0001.h5.
_CHECKPOINT = re.compile(
    r".*[/\\][\w-]+(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})[/\\]mask\_rcnn\_[\w-]+(\d{4})\.h5"
)


def run_of(model_path):
    """Start time and finished epochs of the run that a checkpoint path tells of, or None."""
    match = _CHECKPOINT.fullmatch(os.path.abspath(model_path))
    if match is None:
        return None
    *start, epoch = (int(group) for group in match.groups())
    return datetime.datetime(*start), epoch


def folder_name(name, start):
    """Folder of a run: the lower-case name and the minute it started."""
    return f"{name.lower()}{start:%Y%m%dT%H%M}"


def checkpoint_name(name, epoch="*epoch*"):
    """File name of the weights after an epoch; "*epoch*" stands for its four digits."""
    number = epoch if isinstance(epoch, str) else f"{epoch:04d}"
    return f"mask_rcnn_{name.lower()}_{number}.h5"


def last_checkpoint(model_dir, name):
    """Path of the newest checkpoint of the newest run that has one.

    Raises:
        FileNotFoundError: if there is none; says where it looked.
    """
    prefix = name.lower()
    folders = sorted(os.listdir(model_dir)) if os.path.isdir(model_dir) else []
    runs = [
        folder for folder in folders if re.fullmatch(rf"{re.escape(prefix)}\d{{8}}T\d{{4}}", folder)
    ]
    for folder in reversed(runs):
        path = os.path.join(model_dir, folder)
        files = sorted(f for f in os.listdir(path) if re.fullmatch(r"mask_rcnn.*\d{4}\.h5", f))
        if files:
            return os.path.join(path, files[-1])
    raise FileNotFoundError(
        f'There is no checkpoint of "{name}" to go on from: "{model_dir}" has '
        f"{len(runs)} run folders named {prefix}<date>, none with a file mask_rcnn_{prefix}_*.h5."
    )
