"""What `MaskRCNN.train` does."""

import warnings

import keras

from mrcnn.data.dataset import describe_image
from mrcnn.data.pipeline import make_dataset
from mrcnn.training.callbacks import Checkpoint, Remember, WarmUp
from mrcnn.training.coco_metrics import CocoMetrics
from mrcnn.training.loop import run_epochs
from mrcnn.training.selection import SELECTIONS
from mrcnn.training.step import Steps


def compile_model(keras_model, config, learning_rate, momentum):
    """Give the model its optimizer: SGD with momentum, gradients clipped by their global norm."""
    optimizer = keras.optimizers.SGD(
        learning_rate=learning_rate,
        momentum=momentum,
        global_clipnorm=config.GRADIENT_CLIP_NORM or None,
    )
    keras_model.compile(optimizer=optimizer, jit_compile=False)


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
):
    """Train a `MaskRCNN`; arguments as there."""
    config = model.config
    if config.WARMUP_STEPS and callable(learning_rate):
        raise ValueError(
            f"WARMUP_STEPS is {config.WARMUP_STEPS} and learning_rate is a schedule; give the "
            "schedule a warm-up of its own (keras.optimizers.schedules.CosineDecay has one), or a "
            "number as learning_rate."
        )
    if config.GPU_COUNT > 1:
        warnings.warn(
            f"GPU_COUNT is {config.GPU_COUNT}; this version trains on one device, with batches of "
            f"{config.BATCH_SIZE} images.",
            stacklevel=3,
        )
    train_data = make_dataset(
        train_dataset,
        config,
        augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources,
    )
    val_data = None
    if val_dataset is not None and config.VALIDATION_STEPS:
        # The same images every epoch, so that the validation losses can be compared.
        val_data = make_dataset(val_dataset, config, shuffle=False, seed=0)
    if model.epoch >= epochs:
        print(
            f"Nothing to train: {model.epoch} epochs are finished and {epochs} is the total. "
            "Ask for more to go on."
        )
        return keras.callbacks.History()
    model.set_trainable(SELECTIONS.get(layers, layers), verbose=0)
    model.compile(learning_rate, config.LEARNING_MOMENTUM)
    custom = list(custom_callbacks or [])
    metrics = [callback for callback in custom if isinstance(callback, CocoMetrics)]
    callbacks = [
        # Before what takes long, so that an interrupted evaluation costs no epoch.
        Checkpoint(model.checkpoint_path),
        Remember(model),
        # Before all that watch or log values, wherever they are listed.
        *metrics,
        # Images of the graph would be large, and histograms slow.
        keras.callbacks.TensorBoard(model.log_dir, write_graph=False),
        *(callback for callback in custom if callback not in metrics),
    ]
    if model.epoch * config.STEPS_PER_EPOCH < config.WARMUP_STEPS:
        # Last, to start from the rate that other callbacks have set.
        callbacks.append(WarmUp(config.WARMUP_STEPS, config.STEPS_PER_EPOCH))
    print(f"\nStarting at epoch {model.epoch}. LR={learning_rate}\n")
    print(f"Checkpoints: {model.checkpoint_path}")
    history = run_epochs(
        model.keras_model,
        Steps(model.keras_model, config.WEIGHT_DECAY),
        train_data,
        val_data,
        epochs=epochs,
        initial_epoch=model.epoch,
        steps_per_epoch=config.STEPS_PER_EPOCH,
        validation_steps=config.VALIDATION_STEPS,
        callbacks=callbacks,
        image_name=lambda image_id: describe_image(train_dataset, image_id),
    )
    if train_data.skipped:
        print(
            f"{len(train_data.skipped)} images without instances were skipped; "
            "TRAIN_WITH_EMPTY_IMAGES = True trains on them as background."
        )
    return history
