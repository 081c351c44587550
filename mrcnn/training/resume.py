"""Where a run goes on."""

from pathlib import Path

from mrcnn.training import run_folder
from mrcnn.training.state import last_state, remove_leftovers


def find_state(model):
    """The newest state of the run of a `MaskRCNN`, or of the newest run in its `model_dir`.

    Returns:
        `Saved`, or None if no run has a state.
    """
    runs = run_folder.run_folders(model.model_dir, model.config.NAME)
    for folder in [Path(model.log_dir), *map(Path, reversed(runs))]:
        if folder.is_dir():
            saved = last_state(folder)
            if saved:
                return saved
    return None


def resume(model):
    """Give a `MaskRCNN` the weights, epoch and folder of the run that goes on.

    Without any state the last checkpoint gives weights and epoch; without that, nothing changes.

    Returns:
        `Saved` or None.
    """
    saved = find_state(model)
    if saved is None:
        try:
            path = model.find_last()
        except FileNotFoundError:
            print(f'"{model.model_dir}" has no run to go on with; training begins.')
        else:
            print(f"{path} has no state of the optimizer beside it; its weights go on alone.")
            model.load_weights(path, by_name=True)
        return None
    saved.restore_model(model.keras_model)
    saved.restore_random()
    model.enter_run(saved.path.parent, saved.facts["epoch"])
    step = saved.facts["step"]
    within = f" and {step} steps" if step else ""
    print(f"Going on with {model.log_dir} after {model.epoch} epochs{within}.")
    return saved


def goes_on(saved, call):
    """Whether a call of `train` is the one that wrote a state, and was not at its end.

    The total of epochs may have changed.
    """
    if saved is None or saved.is_finished:
        return False
    changed = [
        name
        for name, value in call.items()
        if name != "epochs" and saved.facts["call"][name] != value
    ]
    if changed:
        print(
            f"{', '.join(changed)} changed since the state was saved: weights and finished epochs "
            "are taken over, optimizer and order of the images begin anew."
        )
    return not changed


def clean(folder):
    """Remove what a killed process has left of files that it was writing."""
    if Path(folder).is_dir():
        remove_leftovers(folder)
