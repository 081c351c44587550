"""What `MaskRCNN.train` does."""

import json

import keras

from mrcnn.data.augment import draw_seed
from mrcnn.data.checks import describe_image
from mrcnn.data.pipeline import make_dataset
from mrcnn.runs.checkpoints import BestCheckpoint, Checkpoint, Remember
from mrcnn.runs.resume import goes_on, is_stopped, resume
from mrcnn.runs.state import StateWriter, remove_leftovers
from mrcnn.training.loop import Run, run_epochs
from mrcnn.training.optimizer import l2_penalty, make_optimizer
from mrcnn.training.rates import first_rate, rate_callbacks
from mrcnn.training.selection import SELECTIONS
from mrcnn.training.step import Steps, share_clips
from mrcnn.training.strategy import (
    Agreement,
    Batches,
    is_chief,
    process_count,
    telling_of_lost_workers,
)
from mrcnn.watching.coco_metrics import CocoMetrics
from mrcnn.watching.log import RunLog
from mrcnn.watching.pictures import DetectionPictures
from mrcnn.watching.progress import Progress

# They write files, which one process of several does for all.
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


def compile_model(model, learning_rate, momentum):
    """Give the graph of a `MaskRCNN` its optimizer, by `OPTIMIZER`."""
    config, strategy = model.config, model.strategy
    rate = first_rate(learning_rate, config, model.epoch)
    is_half = any(layer.compute_dtype == "float16" for layer in model.keras_model.layers)
    with strategy.scope():
        optimizer = make_optimizer(config, rate, momentum, "float16" if is_half else "float32")
        if strategy.num_replicas_in_sync > 1:
            share_clips(optimizer, strategy.num_replicas_in_sync)
        # Else Keras would wrap an optimizer for float16 once more.
        model.keras_model.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)


def train(
    model,
    train_dataset,
    val_dataset,
    learning_rate,
    epochs,
    layers,
    augmentation=None,
    custom_callbacks=None,
    no_augmentation_sources=None,
    resuming=False,
):
    """Train a `MaskRCNN`; arguments as there."""
    config, strategy, custom = model.config, model.strategy, list(custom_callbacks or [])
    chief, agreement = is_chief(strategy), Agreement(strategy)
    rates = rate_callbacks(config, learning_rate, model.epoch)
    saved = resume(model) if resuming else None
    if chief:
        remove_leftovers(model.log_dir)
    _require_one_position(agreement, model.epoch, saved)
    call = _facts_of_call(config, strategy, learning_rate, layers, epochs)
    if model.epoch < epochs and not goes_on(saved, call):
        saved = None
    reason = _why_nothing_to_train(model, epochs, saved, custom)
    if reason:
        print(f"Nothing to train: {reason}")
        return keras.callbacks.History()
    call["seed"] = saved.facts["call"]["seed"] if saved else agreement.of_chief(draw_seed())
    train_batches = _batches(
        model,
        train_dataset,
        augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources,
        seed=call["seed"],
        start=saved.facts["place"] if saved else 0,
    )
    val_batches = None
    if val_dataset is not None and config.VALIDATION_STEPS:
        # The same images every epoch, so that the validation losses can be compared.
        val_batches = _batches(model, val_dataset, shuffle=False, seed=0)
    model.set_trainable(SELECTIONS.get(layers, layers), verbose=0)
    model.compile(learning_rate, config.LEARNING_MOMENTUM)
    progress = Progress(call["images of a step"], verbose=int(chief))
    run = Run(
        model.keras_model,
        _steps(model, call["seed"]),
        train_batches,
        val_batches,
        epochs=epochs,
        initial_epoch=model.epoch,
        steps_per_epoch=config.STEPS_PER_EPOCH,
        validation_steps=config.VALIDATION_STEPS,
        # Progress is the last, to show what the others have added.
        callbacks=[*_callbacks(model, val_dataset, rates, custom, chief), progress],
        progress=progress,
        image_name=lambda image_id: describe_image(train_dataset, image_id),
        writes_state=_state_writer(model, call, saved) if chief else None,
        save_steps=config.SAVE_STEPS,
        saved=saved,
    )
    if chief:
        rate = first_rate(learning_rate, config, model.epoch)
        print(f"\nStarting at epoch {model.epoch}. LR={rate}\n")
        print(f"Checkpoints: {model.checkpoint_path}")
    with telling_of_lost_workers(strategy):
        history = run_epochs(run)
    skipped = train_batches.data.skipped
    if skipped and chief:
        print(
            f"{len(skipped)} images without instances were skipped; "
            "TRAIN_WITH_EMPTY_IMAGES = True trains on them as background."
        )
    return history


def _why_nothing_to_train(model, epochs, saved, callbacks):
    """A sentence, or None if there is something."""
    if model.epoch >= epochs:
        return (
            f"{model.epoch} epochs are finished and {epochs} is the total. Ask for more to go on."
        )
    if saved and is_stopped(saved, callbacks):
        return (
            f"EarlyStopping has ended this run after {model.epoch} epochs. Leave it out, or give "
            "it more patience, to go on."
        )
    return None


def _batches(model, dataset, **options):
    """The `Batches` of a data set; options as of `make_dataset`."""
    per_replica = _images_per_replica(model.config)

    def make(shard):
        return make_dataset(dataset, model.config, batch_size=per_replica, shard=shard, **options)

    return Batches(model.strategy, make, per_replica)


def _steps(model, seed):
    config = model.config
    return Steps(
        model.keras_model,
        l2_penalty(config),
        model.strategy,
        accumulate=config.ACCUMULATE_BATCHES,
        seed=seed,
        checkpointing=config.GRADIENT_CHECKPOINTING,
        jit_compile=config.JIT_COMPILE,
    )


def _images_per_replica(config):
    return config.BATCH_SIZE // config.GPU_COUNT


def _callbacks(model, val_dataset, rates, custom, chief):
    """The callbacks of a run in their order."""
    config = model.config
    metrics = [callback for callback in custom if isinstance(callback, CocoMetrics)]
    others = [callback for callback in custom if callback not in metrics]
    # The loop itself has the means of the weights where they are wanted.
    others = [cb for cb in others if not isinstance(cb, keras.callbacks.SwapEMAWeights)]
    if not chief:
        others = [callback for callback in others if not isinstance(callback, _WRITERS)]
        return [Remember(model), *metrics, *rates, *others]
    # Before what takes long, so that an interrupted evaluation costs no epoch.
    callbacks = [Checkpoint(model.checkpoint_path, config.KEEP_CHECKPOINTS), Remember(model)]
    # Before all that watch or log values, wherever they are listed.
    callbacks += metrics
    if config.BEST_METRIC:
        best = model.checkpoint_path.replace("*epoch*", "best")
        callbacks.append(BestCheckpoint(best, config.BEST_METRIC))
    # Before those of users and those that look at the rate, which see the whole one of an epoch.
    callbacks += rates
    # Images of the graph would be large, and histograms slow.
    callbacks.append(keras.callbacks.TensorBoard(model.log_dir, write_graph=False))
    if val_dataset is not None and config.TENSORBOARD_IMAGES:
        count = config.TENSORBOARD_IMAGES
        callbacks.append(DetectionPictures(val_dataset, model, model.log_dir, count))
    return [*callbacks, *others, RunLog(model.log_dir)]


def _state_writer(model, call, saved):
    last = saved.path if saved else None
    return lambda callbacks: StateWriter(model.log_dir, model.keras_model, callbacks, call, last)


def _facts_of_call(config, strategy, learning_rate, layers, epochs):
    """What must not change between the writing of a state and the going on from it."""
    rate = learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = json.dumps(rate.get_config(), sort_keys=True, default=str)
    elif callable(rate):
        rate = getattr(rate, "__qualname__", type(rate).__name__)
    optimizer = config.OPTIMIZER
    return {
        "epochs": int(epochs),
        "layers": layers,
        "learning_rate": rate if isinstance(rate, str) else float(rate),
        "OPTIMIZER": optimizer if isinstance(optimizer, str) else type(optimizer).__name__,
        "STEPS_PER_EPOCH": int(config.STEPS_PER_EPOCH),
        "ACCUMULATE_BATCHES": int(config.ACCUMULATE_BATCHES),
        "images of a step": int(_images_per_replica(config))
        * strategy.num_replicas_in_sync
        * int(config.ACCUMULATE_BATCHES),
        "processes": process_count(strategy),
    }


def _require_one_position(agreement, epoch, saved):
    step = saved.facts["step"] if saved else 0
    differs = [agreement.of_chief(number) != number for number in (epoch, step)]
    if agreement.any(any(differs)):
        raise RuntimeError(
            f"This worker would begin after epoch {epoch}, step {step}, and others elsewhere; "
            "model_dir must be a folder that all workers see."
        )
