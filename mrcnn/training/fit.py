"""One call of `train`: data, optimizer, callbacks and the loop, in the folder of a run."""

import functools
import json
from functools import partial

import keras
import tensorflow as tf

from mrcnn.data.augment import draw_seed
from mrcnn.data.checks import describe_image
from mrcnn.data.pipeline import make_dataset
from mrcnn.runs.checkpoints import BestCheckpoint, Checkpoint
from mrcnn.runs.provenance import training_facts
from mrcnn.runs.resume import is_same_call, is_stopped
from mrcnn.runs.settings import as_metadata, describe
from mrcnn.runs.state import remove_leftovers
from mrcnn.training.loop import Plan, run_epochs
from mrcnn.training.optimizer import l2_penalty, make_optimizer
from mrcnn.training.rates import first_rate, rate_callbacks
from mrcnn.training.selection import SELECTIONS, set_trainable, summary
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
from mrcnn.watching.tensorboard import TensorBoard

# Callbacks that write files: only the chief of several processes runs them.
_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


def compile_model(keras_model, config, strategy, learning_rate, momentum, epoch):
    """Compile a training model with the optimizer of `OPTIMIZER`, at the rate of an epoch."""
    rate = first_rate(learning_rate, config, epoch)
    is_half = any(layer.compute_dtype == "float16" for layer in keras_model.layers)
    with strategy.scope():
        optimizer = make_optimizer(config, rate, momentum, "float16" if is_half else "float32")
        if strategy.num_replicas_in_sync > 1:
            share_clips(optimizer, strategy.num_replicas_in_sync)
        # This optimizer scales float16 losses already; Keras would wrap it a second time.
        keras_model.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)


def _locking_its_run(function):
    """Return `train` with its run locked by the process that writes files."""

    @functools.wraps(function)
    def locking(keras_model, config, run, strategy, *args, **options):
        with run.locked(is_chief(strategy)):
            return function(keras_model, config, run, strategy, *args, **options)

    return locking


@_locking_its_run
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
    select=None,
    compile=None,
):
    """Train a model in a run; see `MaskRCNN.train` for the other arguments and the errors.

    Args:
        keras_model: of `build_graph(config, "training")`, made in the scope of `strategy`.
        run: `Run`. Training resumes from the state in its `saved`, and sets that to None.
        make_detector: function that returns a detector with the current weights, for pictures.
        select, compile: `set_trainable` and `compile` of a subclass of `MaskRCNN`, if it has them.

    Returns:
        A `keras.callbacks.History`.
    """
    chief, agreement = is_chief(strategy), Agreement(strategy)
    rates = rate_callbacks(config, learning_rate, run.epoch)
    call = _facts_of_call(config, strategy, learning_rate, layers, epochs)
    if chief and not run.is_new:
        remove_leftovers(run.folder)
    saved = _state_to_resume(run, call, agreement)
    reason = _why_nothing_to_train(run.epoch, epochs, saved, callbacks)
    if reason:
        print(f"Nothing to train: {reason}")
        return keras.callbacks.History()
    # A resumed run keeps its seed, and all processes share one.
    call["seed"] = saved.facts["call"]["seed"] if saved else agreement.of_chief(draw_seed())
    changes = {"augmentation": augmentation, "no_augmentation_sources": no_augmentation_sources}
    train_batches, val_batches = _make_batches(
        config, strategy, train_dataset, val_dataset, call["seed"], saved, **changes
    )
    compile = compile or partial(compile_model, keras_model, config, strategy, epoch=run.epoch)
    select = select or partial(set_trainable, keras_model, verbose=0)
    select(SELECTIONS.get(layers, layers))
    compile(learning_rate=learning_rate, momentum=config.LEARNING_MOMENTUM)
    steps = _make_steps(keras_model, config, strategy, call["seed"])
    training = training_facts(train_dataset, val_dataset)
    facts = describe(config, train_dataset.class_names, training)
    _enter(run, keras_model, facts, agreement, chief)
    plan = Plan(
        keras_model,
        config,
        run,
        epochs,
        steps,
        train_batches,
        val_batches,
        _callbacks(run, config, rates, val_dataset, make_detector, callbacks, chief),
        Progress(call["images of a step"], verbose=int(chief)),
        agreement,
        image_name=partial(describe_image, train_dataset),
        call=call if chief else None,
        saved=saved,
    )
    return _run(plan, strategy, first_rate(learning_rate, config, run.epoch))


def _run(plan, strategy, rate):
    """Run the loop; the chief prints where it starts and what learns."""
    run, chief = plan.run, is_chief(strategy)
    run.saved = None
    if chief:
        print(f"\nStarting at epoch {run.epoch}. LR={rate}\n{summary(plan.keras_model)}")
        if not tf.config.list_logical_devices("GPU"):
            print("TensorFlow sees no GPU, so the CPU computes.")
        print(f"Checkpoints: {run.checkpoint_path}")
    with telling_of_lost_workers(strategy):
        history = run_epochs(plan)
    if chief:
        # A short training ends before the loader has seen, and logged, all images.
        plan.train_batches.data.report_skipped()
    return history


def _state_to_resume(run, call, agreement):
    """Return the state of an exact resume, or None; the state's random numbers are restored.

    Raises:
        RuntimeError: if the processes of the training would start at different steps.
    """
    saved = run.saved
    if saved:
        saved.restore_random()
    step = saved.facts["step"] if saved else 0
    differs = [agreement.of_chief(number) != number for number in (run.epoch, step)]
    if agreement.any(any(differs)):
        raise RuntimeError(
            f"This worker would start after epoch {run.epoch}, step {step}, and another "
            "worker elsewhere; model_dir must be a folder that all workers share."
        )
    if run.epoch < call["epochs"] and not is_same_call(saved, call):
        return None
    return saved


def _why_nothing_to_train(epoch, epochs, saved, callbacks):
    """Return a sentence, or None if there is something to train."""
    if epoch >= epochs:
        return f"{epoch} epochs are finished and {epochs} is the total. Ask for more to continue."
    if saved and is_stopped(saved, callbacks):
        return (
            f"EarlyStopping has ended this run after {epoch} epochs. Leave it out, or give it more "
            "patience, to continue."
        )
    return None


def _make_batches(config, strategy, train_dataset, val_dataset, seed, saved, **changes):
    """Return the `Batches` of training and of validation, or None where there is no validation."""
    per_replica = _images_per_replica(config)

    def batches(dataset, **options):
        def make(shard):
            return make_dataset(dataset, config, batch_size=per_replica, shard=shard, **options)

        return Batches(strategy, make, per_replica)

    start = saved.facts["place"] if saved else 0
    train_batches = batches(train_dataset, seed=seed, start=start, **changes)
    if val_dataset is None or not config.VALIDATION_STEPS:
        return train_batches, None
    # The same images every epoch, so that the validation losses can be compared.
    return train_batches, batches(val_dataset, shuffle=False, seed=0)


def _make_steps(keras_model, config, strategy, seed):
    """Return the `Steps` of a compiled model."""
    return Steps(
        keras_model,
        l2_penalty(config),
        strategy,
        accumulate=config.ACCUMULATE_BATCHES,
        seed=seed,
        checkpointing=config.GRADIENT_CHECKPOINTING,
        divide_decay=config.DIVIDE_WEIGHT_DECAY,
        any_size=config.IMAGE_RESIZE_MODE == "pad32",
    )


def _enter(run, keras_model, facts, agreement, chief):
    """Make the folder of the run and write its settings; other processes follow the chief."""
    keras_model.metadata = as_metadata(facts)
    if chief:
        run.claim()
        run.write_config(facts)
    place = [agreement.of_chief(number) for number in run.place]
    if not chief:
        run.follow(*place)


def _images_per_replica(config):
    return config.BATCH_SIZE // config.GPU_COUNT


def _callbacks(run, config, rates, val_dataset, make_detector, custom, chief):
    """Return the callbacks of a run in their order."""
    metrics = [callback for callback in custom if isinstance(callback, CocoMetrics)]
    others = [callback for callback in custom if callback not in metrics]
    # The loop itself swaps in the running means of the weights (`training/averages.py`).
    others = [cb for cb in others if not isinstance(cb, keras.callbacks.SwapEMAWeights)]
    # Checkpoints come first: an interrupted evaluation then costs no epoch. Metrics come before the
    # callbacks that watch or log values, wherever the user lists them.
    callbacks = [Checkpoint(run, config.KEEP_CHECKPOINTS, is_writer=chief), *metrics]
    if not chief:
        others = [callback for callback in others if not isinstance(callback, _WRITERS)]
        return [*callbacks, *rates, *others]
    if config.BEST_METRIC:
        best = run.checkpoint_path.replace("*epoch*", "best")
        callbacks.append(BestCheckpoint(best, config.BEST_METRIC))
    # Before the callbacks that read or change the rate, so that they see the epoch's full rate.
    callbacks += rates
    # The graph would make large files, and histograms are slow.
    callbacks.append(TensorBoard(run.folder, write_graph=False))
    if val_dataset is not None and config.TENSORBOARD_IMAGES:
        count = config.TENSORBOARD_IMAGES
        callbacks.append(DetectionPictures(val_dataset, make_detector, run.folder, count))
    return [*callbacks, *others, RunLog(run.folder)]


def _facts_of_call(config, strategy, learning_rate, layers, epochs):
    """Return arguments and settings that must match for an exact resume, and `epochs`."""
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
