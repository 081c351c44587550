"""One call of `train`: data, optimizer, callbacks and the loop, in the folder of a run."""

import json

import keras

from mrcnn.data.augment import draw_seed
from mrcnn.data.checks import describe_image
from mrcnn.data.pipeline import make_dataset
from mrcnn.runs.checkpoints import BestCheckpoint, Checkpoint
from mrcnn.runs.resume import is_same_call, is_stopped
from mrcnn.runs.settings import as_metadata, describe
from mrcnn.runs.state import remove_leftovers
from mrcnn.training.loop import Plan, run_epochs
from mrcnn.training.optimizer import l2_penalty, make_optimizer
from mrcnn.training.rates import first_rate, rate_callbacks
from mrcnn.training.selection import SELECTIONS, set_trainable
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

# Callbacks that write files, which one process of several does for all.
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


def compile_model(keras_model, config, strategy, learning_rate, momentum, epoch):
    """Give a training model its optimizer, by `OPTIMIZER`, at the rate of an epoch."""
    rate = first_rate(learning_rate, config, epoch)
    is_half = any(layer.compute_dtype == "float16" for layer in keras_model.layers)
    with strategy.scope():
        optimizer = make_optimizer(config, rate, momentum, "float16" if is_half else "float32")
        if strategy.num_replicas_in_sync > 1:
            share_clips(optimizer, strategy.num_replicas_in_sync)
        # Else Keras would wrap an optimizer for float16 once more.
        keras_model.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)


def train(
    keras_model,
    config,
    run,
    strategy,
    train_dataset,
    val_dataset,
    learning_rate,
    epochs,
    layers,
    augmentation=None,
    callbacks=(),
    no_augmentation_sources=None,
    make_detector=None,
):
    """Train a model in a run; see `MaskRCNN.train` for the other arguments, and for errors.

    Args:
        keras_model: of `build_graph(config, "training")`.
        config: `Config`.
        run: `Run`. It is resumed from the state in its `saved`, which training sets to None.
        strategy: `tf.distribute.Strategy` that the model was made with.
        callbacks: those of the user.
        make_detector: function that returns a detector with the weights in training, for pictures.

    Returns:
        A `keras.callbacks.History`.
    """
    chief, agreement = is_chief(strategy), Agreement(strategy)
    rates, saved = rate_callbacks(config, learning_rate, run.epoch), run.saved
    if saved:
        saved.restore_random()
    if chief:
        remove_leftovers(run.folder)
    _require_one_position(agreement, run.epoch, saved)
    call = _facts_of_call(config, strategy, learning_rate, layers, epochs)
    if run.epoch < epochs and not is_same_call(saved, call):
        saved = None
    reason = _why_nothing_to_train(run.epoch, epochs, saved, callbacks)
    if reason:
        print(f"Nothing to train: {reason}")
        return keras.callbacks.History()
    call["seed"] = saved.facts["call"]["seed"] if saved else agreement.of_chief(draw_seed())
    place = {"seed": call["seed"], "start": saved.facts["place"] if saved else 0}
    changes = {"augmentation": augmentation, "no_augmentation_sources": no_augmentation_sources}
    train_batches = _batches(config, strategy, train_dataset, **place, **changes)
    val_batches = None
    if val_dataset is not None and config.VALIDATION_STEPS:
        # The same images every epoch, so that the validation losses can be compared.
        val_batches = _batches(config, strategy, val_dataset, shuffle=False, seed=0)
    set_trainable(keras_model, SELECTIONS.get(layers, layers), verbose=0)
    momentum = config.LEARNING_MOMENTUM
    compile_model(keras_model, config, strategy, learning_rate, momentum, run.epoch)
    facts = describe(config, train_dataset.class_names)
    keras_model.metadata = as_metadata(facts)
    _enter(run, facts, agreement, chief)
    progress = Progress(call["images of a step"], verbose=int(chief))
    listed = _callbacks(run, config, rates, val_dataset, make_detector, callbacks, chief)
    plan = Plan(
        keras_model,
        config,
        run,
        epochs,
        _steps(keras_model, config, strategy, call["seed"]),
        train_batches,
        val_batches,
        # Progress is the last, to show what the others have added.
        callbacks=[*listed, progress],
        progress=progress,
        agreement=agreement,
        image_name=lambda image_id: describe_image(train_dataset, image_id),
        call=call if chief else None,
        saved=saved,
    )
    run.saved = None
    if chief:
        rate = first_rate(learning_rate, config, run.epoch)
        print(f"\nStarting at epoch {run.epoch}. LR={rate}\n\nCheckpoints: {run.checkpoint_path}")
    with telling_of_lost_workers(strategy):
        history = run_epochs(plan)
    skipped = train_batches.data.skipped
    if skipped and chief:
        print(
            f"{len(skipped)} images without instances were skipped; "
            "TRAIN_WITH_EMPTY_IMAGES = True trains on them as background."
        )
    return history


def _enter(run, facts, agreement, chief):
    """Have the chief make the folder of a run and write its settings; the others take its name."""
    if chief:
        run.claim()
        run.write_config(facts)
    place = [agreement.of_chief(number) for number in run.place]
    if not chief:
        run.follow(*place)


def _why_nothing_to_train(epoch, epochs, saved, callbacks):
    """A sentence, or None if there is something to train."""
    if epoch >= epochs:
        return f"{epoch} epochs are finished and {epochs} is the total. Ask for more to continue."
    if saved and is_stopped(saved, callbacks):
        return (
            f"EarlyStopping has ended this run after {epoch} epochs. Leave it out, or give it more "
            "patience, to continue."
        )
    return None


def _batches(config, strategy, dataset, **options):
    """The `Batches` of a data set; options as of `make_dataset`."""
    per_replica = _images_per_replica(config)

    def make(shard):
        return make_dataset(dataset, config, batch_size=per_replica, shard=shard, **options)

    return Batches(strategy, make, per_replica)


def _steps(keras_model, config, strategy, seed):
    return Steps(
        keras_model,
        l2_penalty(config),
        strategy,
        accumulate=config.ACCUMULATE_BATCHES,
        seed=seed,
        checkpointing=config.GRADIENT_CHECKPOINTING,
    )


def _images_per_replica(config):
    return config.BATCH_SIZE // config.GPU_COUNT


def _callbacks(run, config, rates, val_dataset, make_detector, custom, chief):
    """The callbacks of a run in their order."""
    metrics = [callback for callback in custom if isinstance(callback, CocoMetrics)]
    others = [callback for callback in custom if callback not in metrics]
    # The loop itself has the means of the weights where they are wanted.
    others = [cb for cb in others if not isinstance(cb, keras.callbacks.SwapEMAWeights)]
    # Before what takes long, so that an interrupted evaluation costs no epoch. Metrics come before
    # all that watch or log values, wherever they are listed.
    callbacks = [Checkpoint(run, config.KEEP_CHECKPOINTS, is_writer=chief), *metrics]
    if not chief:
        others = [callback for callback in others if not isinstance(callback, _WRITERS)]
        return [*callbacks, *rates, *others]
    if config.BEST_METRIC:
        best = run.checkpoint_path.replace("*epoch*", "best")
        callbacks.append(BestCheckpoint(best, config.BEST_METRIC))
    # Before those of users and those that look at the rate, which see the whole one of an epoch.
    callbacks += rates
    # Images of the graph would be large, and histograms slow.
    callbacks.append(keras.callbacks.TensorBoard(run.folder, write_graph=False))
    if val_dataset is not None and config.TENSORBOARD_IMAGES:
        count = config.TENSORBOARD_IMAGES
        callbacks.append(DetectionPictures(val_dataset, make_detector, run.folder, count))
    return [*callbacks, *others, RunLog(run.folder)]


def _facts_of_call(config, strategy, learning_rate, layers, epochs):
    """Arguments and settings that must match for an exact resume, and the total of epochs."""
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
            f"This worker would start after epoch {epoch}, step {step}, and others elsewhere; "
            "model_dir must be a folder that all workers see."
        )
