"""The folder of a training run, its checkpoints, and where a run goes on."""

import datetime
import os
import re

# Such as coco20171029T2315 and mask_rcnn_coco_0001.h5. Names may hold dots and spaces.
_RUN = re.compile(r".*(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})")
_CHECKPOINT = re.compile(r"mask_rcnn_.*?(\d{4,})\.h5")


def run_of(model_path):
    """Start time and finished epochs of the run that a checkpoint path tells of, or None."""
    folder, file = os.path.split(os.path.abspath(model_path))
    run, checkpoint = _RUN.fullmatch(os.path.basename(folder)), _CHECKPOINT.fullmatch(file)
    if run is None or checkpoint is None:
        return None
    try:
        start = datetime.datetime(*map(int, run.groups()))
    except ValueError:
        return None
    return start, int(checkpoint[1])


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
    prefix, runs = name.lower(), run_folders(model_dir, name)
    for folder in reversed(runs):
        paths = checkpoints(folder)
        if paths:
            return paths[0]
    raise FileNotFoundError(
        f'There is no checkpoint of "{name}" to go on from: "{model_dir}" has '
        f"{len(runs)} run folders named {prefix}<date>, none with a file mask_rcnn_{prefix}_*.h5."
    )


def checkpoints(folder):
    """Paths of the checkpoints in the folder of a run, newest first."""
    found = [match for match in map(_CHECKPOINT.fullmatch, os.listdir(folder)) if match]
    found.sort(key=lambda match: int(match[1]), reverse=True)
    return [os.path.join(folder, match[0]) for match in found]


def run_folders(model_dir, name):
    """Paths of the folders of the runs of a name, oldest first."""
    pattern = re.compile(rf"{re.escape(name.lower())}\d{{8}}T\d{{4}}")
    folders = sorted(os.listdir(model_dir)) if os.path.isdir(model_dir) else []
    return [os.path.join(model_dir, folder) for folder in folders if pattern.fullmatch(folder)]
