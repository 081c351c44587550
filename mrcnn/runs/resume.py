"""Where a run goes on."""

import os
import warnings
from pathlib import Path

import keras

from mrcnn.runs import run as run_folder
from mrcnn.runs.state import Saved, keyed, last_state
from mrcnn.weights import matterport


def find_start(folders):
    """What training goes on from: the state, or without any the checkpoint, that is the newest.

    Files that cannot be read are warned of and passed over, as are runs that have no others.

    Arguments:
        folders: of runs, the one to go on with first.

    Returns:
        `Saved`, the path of a checkpoint, or None.
    """
    for folder in filter(os.path.isdir, dict.fromkeys(folders)):
        found = last_state(folder) or _first_whole(run_folder.checkpoints(folder))
        if found:
            return found
    return None


def runs_of(model):
    """Folders of the runs in the `model_dir` of a `MaskRCNN`, newest first."""
    return run_folder.run_folders(model.model_dir, model.config.NAME)[::-1]


def find_last_whole(model):
    """The path that `find_last` gives, or of the newest checkpoint before it if it is damaged.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if all are damaged.
    """
    last = model.find_last()
    paths = [path for run in runs_of(model) for path in run_folder.checkpoints(run)]
    # With nothing else to take, loading the last one says what is wrong with it.
    return _first_whole(paths) or last


def _first_whole(paths):
    """The first weight file that can be read, or None; warns of each before it."""
    for path in paths:
        try:
            matterport.read(path)
        except ValueError as error:
            warnings.warn(
                f"{error} The checkpoint before it is used, if there is one.", stacklevel=3
            )
        else:
            return path
    return None


def resume(model):
    """Give a `MaskRCNN` the weights, epoch and folder of the run that goes on.

    That is the run it is in, or else the newest one. Without any state the last checkpoint gives
    weights and epoch; without that, nothing changes.

    Returns:
        `Saved` or None.
    """
    found = find_start([model.log_dir, *runs_of(model)])
    if found is None:
        print(f'"{model.model_dir}" has no run to go on with; training begins.')
        return None
    enter(model, found)
    if not isinstance(found, Saved):
        return None
    found.restore_random()
    return found


def enter(model, found):
    """Give a `MaskRCNN` the weights, epoch and folder of what `find_start` has found."""
    if not isinstance(found, Saved):
        print(f"{found} has no state of the optimizer beside it; its weights go on alone.")
        model.load_weights(found, by_name=True)
        return
    found.restore_model(model.keras_model)
    folder, epoch, step = found.path.parent, found.facts["epoch"], found.facts["step"]
    # An earlier stage of the same program ended there, or `start_from` has told it.
    is_there = epoch > 0 and step == 0 and (Path(model.log_dir), model.epoch) == (folder, epoch)
    is_known = is_there or model.state_path == found.path
    model.enter_run(folder, epoch)
    model.state_path = found.path
    if not is_known:
        within = f" and {step} steps" if step else ""
        print(f"Going on with {model.log_dir} after {model.epoch} epochs{within}.")


def goes_on(saved, call):
    """Whether a call of `train` does what the one did that wrote a state.

    The total of epochs may have changed.
    """
    if saved is None:
        return False
    changed = [
        name
        for name, value in call.items()
        if name != "epochs" and saved.facts["call"].get(name) != value
    ]
    # After the end of a call another stage of training may well change them.
    if changed and not saved.is_finished:
        print(
            f"{', '.join(changed)} changed since the state was saved: weights and finished epochs "
            "are taken over, optimizer and order of the images begin anew."
        )
    return not changed


def is_stopped(saved, callbacks):
    """Whether one of the callbacks is an EarlyStopping that had ended the run, and would again."""
    for key, callback in keyed(callbacks):
        values = saved.facts["callbacks"].get(key, {})
        if isinstance(callback, keras.callbacks.EarlyStopping) and values.get("stopped_epoch"):
            return values["wait"] >= callback.patience
    return False
