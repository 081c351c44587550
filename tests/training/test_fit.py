"""`train`: input of the steps, files of a run, messages and errors.

The steps themselves are fakes, see `scripted`; everything around them is real.
"""

import logging
import os
import re

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.constants import LOSS_NAMES
from mrcnn.data.imgaug_shim import iaa
from mrcnn.training import fit
from mrcnn.training.loop import NonFiniteLossError, OutOfMemoryError
from tests.mini import MiniShapes, mini_config


def files(folder):
    """Return the names of a run's files without logs, states and TensorBoard's files."""
    others = ("train", "validation", "log.csv", "losses.png", "config.json")
    return sorted(
        name for name in os.listdir(folder) if name not in others and not name.startswith("state_")
    )


# Steps and epochs


def test_steps_and_images_of_an_epoch(model, scripted):
    steps = scripted()
    model.config.STEPS_PER_EPOCH, model.config.VALIDATION_STEPS = 3, 2
    history = model.train(MiniShapes(6), MiniShapes(8), 0.01, 2, "all")
    assert (len(steps.trained), len(steps.evaluated)) == (6, 4)
    # An epoch of 3 steps of 2 images has each of 6 images once, in its own order.
    ids = np.reshape(steps.image_ids(), (2, 6)).tolist()
    assert [sorted(epoch) for epoch in ids] == [list(range(6))] * 2
    assert ids[0] != ids[1]
    # Validation has the same images in the same order every epoch.
    assert steps.image_ids(steps.evaluated) == [[0, 1], [2, 3]] * 2
    assert history.epoch == [0, 1]
    assert model.epoch == 2


def test_history_has_the_means_of_an_epoch(model, scripted):
    scripted(
        train=lambda step: dict(zip(LOSS_NAMES, (step, 2, 3, 4, 5), strict=True)),
        val=lambda step: dict(zip(LOSS_NAMES, (10 * step, 1, 1, 1, 1), strict=True)),
    )
    model.config.STEPS_PER_EPOCH, model.config.VALIDATION_STEPS = 2, 2
    history = model.train(MiniShapes(2), MiniShapes(2), 0.01, 2, "all").history
    first, second = LOSS_NAMES[:2]
    # Steps 1 and 2 make the first epoch, 3 and 4 the second.
    assert history[first] == [1.5, 3.5]
    assert history[f"val_{first}"] == [15, 35]
    assert (history[second], history[f"val_{second}"]) == ([2, 2], [1, 1])
    assert history["loss"] == [1.5 + 14, 3.5 + 14]
    assert history["val_loss"] == [19, 39]
    assert set(history) == {f"{v}{name}" for v in ("", "val_") for name in (*LOSS_NAMES, "loss")}


@pytest.mark.parametrize("val_steps", [0, 1])
def test_no_validation(model, scripted, val_steps):
    steps = scripted()
    model.config.VALIDATION_STEPS = val_steps
    val = MiniShapes(2) if val_steps == 0 else None
    history = model.train(MiniShapes(2), val, 0.01, 1, "all").history
    assert set(history) == {*LOSS_NAMES, "loss"}
    assert steps.evaluated == []


def test_optimizer_and_layers(model, scripted):
    scripted()
    model.config.LEARNING_MOMENTUM, model.config.GRADIENT_CLIP_NORM = 0.8, 3.0
    model.train(MiniShapes(2), None, 0.02, 1, "heads")
    optimizer = model.keras_model.optimizer
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert float(optimizer.learning_rate) == np.float32(0.02)
    assert (optimizer.momentum, optimizer.global_clipnorm) == (0.8, 3.0)
    assert not model.keras_model.get_layer("conv1").trainable
    assert model.keras_model.get_layer("fpn_p2").trainable


def test_training_needs_a_training_model(model, monkeypatch):
    monkeypatch.setattr(model, "mode", "inference")
    with pytest.raises(RuntimeError, match='made with mode="training"; this one has "inference"'):
        model.train(MiniShapes(2), None, 0.01, 1, "all")


# Files


def test_checkpoint_of_every_epoch(model, scripted, capsys):
    def add_a_step(step):
        layer = model.keras_model.get_layer("fpn_p2")
        layer.bias.assign(np.full(layer.bias.shape, step))
        return 1.0

    scripted(train=add_a_step)
    model.train(MiniShapes(2), None, 0.01, 2, "all")
    assert files(model.log_dir) == ["mask_rcnn_mini_0001.h5", "mask_rcnn_mini_0002.h5"]
    for epoch in (1, 2):
        with h5py.File(f"{model.log_dir}/mask_rcnn_mini_000{epoch}.h5") as file:
            # Two steps per epoch: the last ones are numbers 2 and 4.
            assert set(file["fpn_p2/fpn_p2/bias:0"][()]) == {2.0 * epoch}
    out = capsys.readouterr().out
    assert "Starting at epoch 0. LR=0.01\n" in out
    assert f"Checkpoints: {model.checkpoint_path}\n" in out
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    assert ("TensorFlow sees no GPU, so the CPU computes.\n" in out) is not has_gpu


def test_second_stage_continues_the_run(model, scripted, capsys):
    scripted()
    model.train(MiniShapes(2), None, 0.01, 1, "heads")
    assert "Training 27 of 37 layers with 54 variables: FPN, RPN, " in capsys.readouterr().out
    history = model.train(MiniShapes(2), None, 0.001, 3, "all")
    assert history.epoch == [1, 2]
    assert files(model.log_dir) == [f"mask_rcnn_mini_000{n}.h5" for n in (1, 2, 3)]
    out = capsys.readouterr().out
    assert "Starting at epoch 1. LR=0.001\nTraining 37 of 37 layers with 74 variables: " in out


def test_another_program_resumes_the_run(model, scripted, capsys):
    steps = scripted()
    model.train(MiniShapes(2), None, 0.01, 2, "all")
    log_dir = model.log_dir
    model.set_log_dir()
    assert model.epoch == 0
    model.load_weights(model.find_last(), by_name=True)
    assert (model.log_dir, model.epoch) == (log_dir, 2)
    assert f"Resuming {log_dir} after epoch 2." in capsys.readouterr().out
    model.train(MiniShapes(2), None, 0.01, 3, "all")
    assert files(log_dir) == [f"mask_rcnn_mini_000{n}.h5" for n in (1, 2, 3)]
    assert len(steps.trained) == 6
    assert "Starting at epoch 2." in capsys.readouterr().out


def test_nothing_to_train(model, scripted, capsys):
    steps = scripted()
    model.epoch = 5
    history = model.train(MiniShapes(2), None, 0.01, 5, "all")
    assert capsys.readouterr().out == (
        "Nothing to train: 5 epochs are finished and 5 is the total. Ask for more to continue.\n"
    )
    assert (history.history, steps.trained) == ({}, [])
    assert not os.path.exists(model.log_dir)


def test_interrupted_within_an_epoch(model, scripted):
    def press_ctrl_c(step):
        if step == 3:
            raise KeyboardInterrupt
        return 1.0

    scripted(train=press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        model.train(MiniShapes(2), None, 0.01, 2, "all")
    assert files(model.log_dir) == ["mask_rcnn_mini_0001.h5"]
    assert model.epoch == 1
    report = model.keras_model.load_weights(f"{model.log_dir}/mask_rcnn_mini_0001.h5")
    assert report.untrained == []


def test_interrupted_while_saving(model, scripted, monkeypatch):
    scripted()
    create = h5py.Group.create_dataset

    def press_ctrl_c(group, name, *args, **kwargs):
        if model.epoch == 1 and name.startswith("mrcnn_mask"):
            raise KeyboardInterrupt
        return create(group, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        model.train(MiniShapes(2), None, 0.01, 2, "all")
    assert files(model.log_dir) == ["mask_rcnn_mini_0001.h5"]
    assert model.find_last() == f"{model.log_dir}/mask_rcnn_mini_0001.h5"


# Errors


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loss_that_is_not_finite(model, scripted, value):
    def explode(step):
        losses = dict.fromkeys(LOSS_NAMES, 1.0)
        return losses | ({"mrcnn_bbox_loss": value} if step == 4 else {})

    steps = scripted(train=explode)
    model.config.STEPS_PER_EPOCH = 3
    with pytest.raises(NonFiniteLossError) as error:
        model.train(MiniShapes(6), None, 0.01, 5, "all")
    first, second = steps.image_ids()[3]
    assert str(error.value) == (
        f"mrcnn_bbox_loss became {value} in epoch 2, step 1, with image {first} "
        f"(photo{first}.png), image {second} (photo{second}.png). Training has stopped; "
        f"{model.log_dir}/mask_rcnn_mini_0001.h5 is from before. Check the annotations of these "
        "images, or lower LEARNING_RATE."
    )
    assert isinstance(error.value, FloatingPointError)
    assert files(model.log_dir) == ["mask_rcnn_mini_0001.h5"]
    assert len(steps.trained) == 4


def test_two_losses_that_are_not_finite(model, scripted):
    losses = dict.fromkeys(LOSS_NAMES, 1.0) | {"rpn_bbox_loss": np.nan, "mrcnn_mask_loss": np.nan}
    scripted(train=lambda step: losses)
    match = "rpn_bbox_loss and mrcnn_mask_loss became nan in epoch 1, step 1"
    with pytest.raises(FloatingPointError, match=match) as error:
        model.train(MiniShapes(2), None, 0.01, 1, "all")
    assert model.epoch == 0
    # There is no checkpoint to speak of.
    assert "Training has stopped. Check the annotations" in str(error.value)


def test_weights_that_are_not_finite_before_training(model, scripted):
    steps = scripted()
    bias = model.keras_model.get_layer("fpn_p2").bias
    bias.assign([np.nan, np.inf] + [0.0] * 14)
    with pytest.raises(FloatingPointError) as error:
        model.train(MiniShapes(2), None, 0.01, 1, "all")
    assert str(error.value) == (
        'The weights of the model are not finite before training: "fpn_p2/bias" has 2 values that '
        "are NaN or infinite. Load other weights, or make the model anew."
    )
    assert steps.trained == []


def test_some_unreadable_images_are_tolerated(model, scripted, caplog):
    steps = scripted()
    model.config.STEPS_PER_EPOCH = 4
    with caplog.at_level(logging.WARNING, "mrcnn"):
        model.train(MiniShapes(7, broken=range(2, 7)), None, 0.01, 1, "all")
    assert {image for ids in steps.image_ids() for image in ids} == {0, 1}
    assert sorted(re.findall(r"OSError: photo(\d)\.png is damaged", caplog.text)) == list("23456")


def test_too_many_unreadable_images(model, scripted, caplog):
    scripted()
    model.config.STEPS_PER_EPOCH = 50
    with caplog.at_level(logging.CRITICAL, "mrcnn"), pytest.raises(RuntimeError) as error:
        model.train(MiniShapes(8, broken=range(2, 8)), None, 0.01, 1, "all")
    first, *listed = str(error.value).splitlines()
    assert first == "6 images could not be loaded, and MAX_LOAD_ERRORS allows 5:"
    assert sorted(listed) == [
        f"  image {n} (photo{n}.png): OSError: photo{n}.png is damaged" for n in range(2, 8)
    ]


def test_no_image_may_fail(model, scripted, caplog):
    scripted()
    model.config.MAX_LOAD_ERRORS, model.config.STEPS_PER_EPOCH = 0, 3
    with caplog.at_level(logging.CRITICAL, "mrcnn"):
        with pytest.raises(RuntimeError, match="1 images could not be loaded"):
            model.train(MiniShapes(3, broken=[1]), None, 0.01, 1, "all")


@pytest.mark.parametrize("validation", [False, True])
def test_dataset_without_images(model, validation):
    datasets = [MiniShapes(2), MiniShapes(0)][:: 1 if validation else -1]
    with pytest.raises(ValueError, match="the dataset has no images"):
        model.train(*datasets, 0.01, 1, "all")
    assert not os.path.exists(model.log_dir)


def test_dataset_that_is_not_prepared(model):
    dataset = MiniShapes(0)
    dataset.add_image("shapes", 0, "photo0.png")
    with pytest.raises(ValueError, match="call its prepare"):
        model.train(dataset, None, 0.01, 1, "all")


def test_dataset_of_other_classes(model):
    dataset = MiniShapes(2)
    dataset.add_class("shapes", 3, "triangle")
    dataset.prepare()
    with pytest.raises(ValueError, match="config.NUM_CLASSES is 3, but the dataset has 4"):
        model.train(dataset, None, 0.01, 1, "all")


def test_nothing_but_empty_images(model, scripted):
    scripted()
    with pytest.raises(RuntimeError, match="nothing to train on: 3 of 3 images have no instances"):
        model.train(MiniShapes(3, empty=range(3)), None, 0.01, 1, "all")


def test_empty_images_are_skipped_and_counted(model, scripted, capsys, caplog):
    steps = scripted()
    model.config.STEPS_PER_EPOCH = 6
    with caplog.at_level(logging.WARNING, "mrcnn"):
        model.train(MiniShapes(5, empty=[1, 3]), None, 0.01, 1, "all")
    assert {image for ids in steps.image_ids() for image in ids} == {0, 2, 4}
    assert caplog.text.count("images have no instances") == 1
    assert "2 of 5 images have no instances and are skipped" in caplog.text
    assert "TRAIN_WITH_EMPTY_IMAGES = True trains on them as background." in caplog.text
    assert "without instances" not in capsys.readouterr().out


def test_empty_images_as_background(model, scripted, capsys, caplog):
    steps = scripted()
    model.config.TRAIN_WITH_EMPTY_IMAGES, model.config.STEPS_PER_EPOCH = True, 5
    model.train(MiniShapes(5, empty=[1, 3]), None, 0.01, 1, "all")
    counts = {}
    for batch, ids in zip(steps.trained, steps.image_ids(), strict=True):
        for image, class_ids in zip(ids, batch["input_gt_class_ids"].numpy(), strict=True):
            counts.setdefault(image, []).append(int((class_ids > 0).sum()))
    # Five steps of two images are two epochs.
    assert counts == {0: [1, 1], 1: [0, 0], 2: [1, 1], 3: [0, 0], 4: [1, 1]}
    assert "skipped" not in capsys.readouterr().out + caplog.text


# Augmentation


def images_and_boxes(steps):
    """Return the molded image and the box of its one object by image id."""
    return {
        image: (batch["input_image"][row].numpy(), batch["input_gt_boxes"][row, 0].numpy())
        for batch, ids in zip(steps.trained, steps.image_ids(), strict=True)
        for row, image in enumerate(ids)
    }


@pytest.fixture(scope="module")
def plain():
    """Return the molded images of MiniShapes(2) and their boxes without augmentation."""
    config, dataset = mini_config(), MiniShapes(2)
    found = {}
    for image in (0, 1):
        y, x = np.nonzero(dataset.load_mask(image)[0][..., 0])
        box = [y.min(), x.min(), y.max() + 1, x.max() + 1]
        found[image] = dataset.load_image(image) - config.MEAN_PIXEL, np.array(box)
    return found


def flipped(image, box):
    y1, x1, y2, x2 = box
    return image[:, ::-1], np.array([y1, 64 - x2, y2, 64 - x1])


def assert_equal_samples(sample, expected):
    np.testing.assert_allclose(sample[0], expected[0], atol=1e-4)
    np.testing.assert_array_equal(sample[1], expected[1])


def test_without_augmentation(model, scripted, plain):
    steps = scripted()
    model.train(MiniShapes(2), None, 0.01, 1, "all")
    for image, sample in images_and_boxes(steps).items():
        assert_equal_samples(sample, plain[image])


def test_imgaug_augmenter(model, scripted, plain):
    steps = scripted()
    model.train(MiniShapes(2), MiniShapes(2), 0.01, 1, "all", augmentation=iaa.Fliplr(1.0))
    for image, sample in images_and_boxes(steps).items():
        assert_equal_samples(sample, flipped(*plain[image]))
    # Validation is not augmented.
    steps.trained = steps.evaluated
    for image, sample in images_and_boxes(steps).items():
        assert_equal_samples(sample, plain[image])


def test_sources_that_are_not_augmented(model, scripted, plain):
    steps = scripted()
    changes = {"augmentation": iaa.Fliplr(1.0), "no_augmentation_sources": ["shapes"]}
    model.train(MiniShapes(2), None, 0.01, 1, "all", **changes)
    for image, sample in images_and_boxes(steps).items():
        assert_equal_samples(sample, plain[image])


def test_keras_layers_augment(model, scripted, plain):
    steps = scripted()
    model.config.STEPS_PER_EPOCH = 8
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    model.train(MiniShapes(2), None, 0.01, 1, "all", augmentation=flip)
    flips = 0
    for batch, ids in zip(steps.trained, steps.image_ids(), strict=True):
        for row, image in enumerate(ids):
            sample = batch["input_image"][row].numpy(), batch["input_gt_boxes"][row, 0].numpy()
            is_flipped = not np.allclose(sample[0], plain[image][0], atol=1e-4)
            expected = flipped(*plain[image]) if is_flipped else plain[image]
            assert_equal_samples(sample, expected)
            flips += is_flipped
    # Of 16 images, each flipped with probability one half: all but 1 in 4000 such runs are between.
    assert 2 <= flips <= 14


def test_wrong_type_of_augmentation(model):
    with pytest.raises(TypeError, match="augmentation"):
        model.train(MiniShapes(2), None, 0.01, 1, "all", augmentation=3)


def test_data_set_of_one_image(model, scripted):
    steps = scripted()
    model.train(MiniShapes(1), None, 0.01, 1, "all")
    assert steps.image_ids() == [[0, 0], [0, 0]]


def test_out_of_memory(model, scripted):
    # 2^44 numbers: TensorFlow itself refuses.
    scripted(train=lambda step: tf.zeros([2**22, 2**22]))
    with pytest.raises(OutOfMemoryError) as error:
        model.train(MiniShapes(2), None, 0.01, 1, "all")
    assert isinstance(error.value, MemoryError)
    settings = ("IMAGES_PER_GPU", "ACCUMULATE_BATCHES", "GRADIENT_CHECKPOINTING", "PRECISION")
    settings += ("USE_MINI_MASK", "heads", "IMAGE_MAX_DIM", "BACKBONE", "TRAIN_ROIS_PER_IMAGE")
    places = [str(error.value).find(setting) for setting in settings]
    assert places == sorted(places)
    assert places[0] > 0


def test_gradient_that_is_not_finite(model, scripted):
    """The losses may still be finite when the gradient is not."""
    losses = dict.fromkeys(LOSS_NAMES, 1.0)
    scripted(train=lambda step: losses | {"gradient_norm": np.nan})
    with pytest.raises(NonFiniteLossError, match=r"^gradient_norm became nan in epoch 1, step 1"):
        model.train(MiniShapes(2), None, 0.01, 1, "all")


def test_checkpointing_is_a_setting(model, monkeypatch):
    made = []

    def stop(*args, **options):
        made.append(options)
        raise InterruptedError

    monkeypatch.setattr(fit, "Steps", stop)
    for value in (False, True):
        model.config.GRADIENT_CHECKPOINTING = value
        with pytest.raises(InterruptedError):
            model.train(MiniShapes(2), None, 0.01, 1, "all")
    assert [options["checkpointing"] for options in made] == [False, True]
