"""Resuming a run: from its newest state, or from its newest checkpoint."""

import os
import warnings

import keras

from mrcnn.runs.callback_state import keyed
from mrcnn.runs.run import Run, checkpoints, names_to_resume, run_folders
from mrcnn.runs.state import saved_states
from mrcnn.weights.matterport import WeightFileError


def resume(run, model_dir, name, keras_model):
    """Restore the newest state of the run, or of the newest run of its name.

    Files that cannot be read are skipped with a warning, and so are runs that have no others. A run
    without a state is resumed from the weights and the epoch of its newest checkpoint.

    Args:
        run: `Run` of the model. A new one has nothing to resume.
        model_dir: folder of the runs.
        name: `NAME` of the Config.
        keras_model: gets the weights.

    Returns:
        The `Run` to train in, with the state in its `saved`, or None if there is nothing to resume.
    """
    if run.saved is not None:
        return run
    own = [] if run.is_new else [run.folder]
    for folder in filter(os.path.isdir, [*own, *reversed(run_folders(model_dir, name))]):
        seen = names_to_resume(folder)
        found = _restore(folder, name, keras_model)
        if found is None:
            continue
        found.seen = seen
        step = found.saved.facts["step"] if found.saved else 0
        # An earlier stage of the same program ended there.
        if run.is_new or step or (run.folder, run.epoch) != (found.folder, found.epoch):
            within = f" and {step} steps" if step else ""
            print(f"Resuming {found.folder} after epoch {found.epoch}{within}.")
        return found
    return None


def _restore(folder, name, keras_model):
    """Load the weights of the run in a folder; return its `Run`, or None if it has no weights."""
    misfit = None
    for saved in saved_states(folder):
        try:
            saved.restore_model(keras_model)
        except ValueError as error:
            # If none fits, it is the model that is another one.
            misfit = misfit or error
            continue
        if misfit:
            warnings.warn(f"{misfit} The state before it is used.", stacklevel=4)
        return Run(folder, name, saved.facts["epoch"], saved)
    if misfit:
        raise misfit
    try:
        path = load_first_whole(checkpoints(folder), keras_model.load_weights)
    except WeightFileError:
        return None
    if path is None:
        return None
    print(
        f"{path} has no state beside it: weights and epoch count are kept; optimizer state and "
        "image order are reset."
    )
    return Run.of_checkpoint(path, name)


def load_first_whole(paths, load):
    """Load the first weight file that can be read and fits, with a warning for each before it.

    Args:
        paths: of weight files.
        load: function of a path, such as `load_weights`.

    Returns:
        The path, or None if `paths` is empty.

    Raises:
        ValueError, OSError: about the first file, if none of them can be loaded; a
            `WeightFileError` if it is damaged.
    """
    errors = []
    for path in paths:
        try:
            load(path)
        except WeightFileError as error:
            errors.append(error)
            warnings.warn(
                f"{error} The checkpoint before it is used, if there is one.", stacklevel=3
            )
        except (ValueError, OSError) as error:
            # If no other fits either, it is the model that is another one.
            errors.append(error)
        else:
            for error in errors:
                if not isinstance(error, WeightFileError):
                    warnings.warn(f"{error} The checkpoint before it was used.", stacklevel=3)
            return path
    if errors:
        raise errors[0]
    return None


def is_same_call(saved, call):
    """Return whether a call of `train` has the settings of the one that wrote a state.

    The total of epochs may differ.
    """
    if saved is None:
        return False
    before = saved.facts["call"] | {"epochs": call["epochs"]}
    changed = [name for name, value in call.items() if before.get(name) != value]
    changed += [] if "seed" in before else ["seed"]
    # After the end of a call, another stage of training may well change them.
    if changed and not saved.is_finished:
        print(
            f"{', '.join(changed)} changed since the state was saved: weights and epoch count are "
            "kept; optimizer state and image order are reset."
        )
    return not changed


def is_stopped(saved, callbacks):
    """Return whether an EarlyStopping among the callbacks had stopped the run, and would again."""
    for key, callback in keyed(callbacks):
        values = saved.facts["callbacks"].get(key, {})
        if isinstance(callback, keras.callbacks.EarlyStopping) and values.get("stopped_epoch"):
            wait = values.get("wait")
            return type(wait) is int and wait >= callback.patience
    return False
