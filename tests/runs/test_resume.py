"""A run that was interrupted and resumed ends as one that was not; the steps are played."""

import functools
import os

import keras
import numpy as np
import pytest

from mrcnn.data.imgaug_shim import iaa
from mrcnn.model import MaskRCNN
from tests.mini import mini_config
from tests.runs.interrupted import (
    MOMENTS,
    STEPS,
    Interrupt,
    Played,
    equal,
    interrupt,
    leftovers,
    plateau,
    stages,
    table,
    train,
)

# Every second moment is enough for the default run.
EACH = [
    pytest.param(moment, marks=[pytest.mark.slow] if number % 2 else [], id=str(moment))
    for number, moment in enumerate(MOMENTS)
]


@pytest.mark.parametrize("moment", EACH)
def test_interrupted_anywhere(make_model, tmp_path, whole, moment):
    weights, history, epochs, rows = whole
    np.random.seed(7)  # noqa: NPY002
    interrupt(stages, make_model(tmp_path / "logs"), moment)
    # A program that is started again draws other numbers, unless it seeds them. Before the first
    # state there is nothing to take them from.
    is_begun = any(tmp_path.rglob("logs/*/state_*"))
    assert is_begun == (MOMENTS.index(moment) > 2)
    np.random.seed(99 if is_begun else 7)  # noqa: NPY002
    model = make_model(tmp_path / "logs")
    found = stages(model)
    assert equal(model.keras_model.get_weights(), weights)
    assert (found.history, found.epoch) == (history, epochs)
    assert table(model) == rows
    assert leftovers(model.log_dir) == []


AUGMENTATIONS = {
    "imgaug": lambda: iaa.Sequential([iaa.Fliplr(0.5), iaa.Multiply((0.5, 1.5))]),
    "keras": lambda: keras.layers.RandomBrightness(0.3, value_range=(0, 255)),
}


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_augmented_images_are_the_same(make_model, tmp_path, kind):
    ends = []
    for folder, moment in (("whole", None), ("logs", ("train_batch_end", 1, 2))):
        # The first augmenter of a process draws a number from np.random.
        augmentation = AUGMENTATIONS[kind]()
        np.random.seed(7)  # noqa: NPY002
        words = {"augmentation": augmentation, "epochs": 2}
        model = make_model(tmp_path / folder)
        if moment:
            interrupt(functools.partial(train, **words), model, Interrupt(moment))
            np.random.seed(99)  # noqa: NPY002
            words["augmentation"] = AUGMENTATIONS[kind]()
            model = make_model(tmp_path / folder)
        train(model, **words)
        ends.append(model.keras_model.get_weights())
    np.random.seed(7)  # noqa: NPY002
    plain = make_model(tmp_path / "plain")
    train(plain, epochs=2)
    assert equal(*ends)
    assert not equal(ends[0], plain.keras_model.get_weights())


def test_interrupted_between_stages(make_model, tmp_path, whole):
    np.random.seed(7)  # noqa: NPY002
    heads = make_model(tmp_path / "logs")
    train(heads, plateau(), Interrupt(), epochs=2, rate=0.2, layers="heads")
    np.random.seed(99)  # noqa: NPY002
    model = make_model(tmp_path / "logs")
    found = stages(model)
    assert equal(model.keras_model.get_weights(), whole[0])
    assert (found.history, found.epoch) == whole[1:3]


def test_interrupted_again_and_again(make_model, tmp_path, whole):
    for moment in MOMENTS:
        np.random.seed(7)  # noqa: NPY002
        interrupt(stages, make_model(tmp_path / "logs"), moment)
    model = make_model(tmp_path / "logs")
    stages(model)
    assert equal(model.keras_model.get_weights(), whole[0])
    assert table(model) == whole[3]


@pytest.mark.parametrize("moment", [("train_batch_end", 1, 2), ("train_batch_end", 1, 0)])
def test_no_more_than_the_last_steps_are_done_again(make_model, tmp_path, capsys, moment):
    interrupt(train, make_model(tmp_path), Interrupt(moment))
    seen = []
    first = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda b, logs: seen.append(b))
    capsys.readouterr()
    model = make_model(tmp_path)
    train(model, first, epochs=2)
    # Step 2 was over and not saved; of step 0, not even the first state was there.
    done = {2: 2, 0: 0}[moment[2]]
    assert seen == list(range(done, STEPS))
    within = f" and {done} steps" if done else ""
    resuming = f"Resuming {model.log_dir} after epoch 1{within}.\n"
    assert capsys.readouterr().out.startswith(resuming)


def test_same_object_goes_on(make_model, tmp_path, whole):
    """As in a notebook, where a cell was interrupted and runs again."""
    np.random.seed(7)  # noqa: NPY002
    model = make_model(tmp_path / "logs")
    for moment in (("train_batch_end", 0, 2), ("test_begin", 2)):
        interrupt(stages, model, moment)
    stages(model)
    assert equal(model.keras_model.get_weights(), whole[0])


def test_start_from_last_is_resuming(make_model, tmp_path, whole, capsys):
    np.random.seed(7)  # noqa: NPY002
    interrupt(stages, make_model(tmp_path / "logs"), ("train_batch_end", 2, 2))
    model = make_model(tmp_path / "logs")
    model.start_from("last")
    assert model.epoch == 2
    train(model, plateau(), Interrupt(), resume=False)
    assert equal(model.keras_model.get_weights(), whole[0])
    # It is told once. A further stage is a training like any other.
    assert capsys.readouterr().out.count("Resuming ") == 1
    train(model, epochs=5, resume=False)
    assert "Resuming " not in capsys.readouterr().out


def test_start_from_last_before_the_first_epoch_has_ended(make_model, tmp_path):
    """There is no checkpoint yet, but a state."""
    interrupt(train, make_model(tmp_path), Interrupt(("train_batch_end", 0, 2)))
    model = make_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        model.find_last()
    model.start_from("last")
    seen = []
    first = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda b, logs: seen.append(b))
    train(model, first, epochs=1, resume=False)
    assert seen == [2, 3]


def test_start_from_another_word_does_not_resume(make_model, tmp_path):
    first = make_model(tmp_path)
    train(first, epochs=2)
    model = make_model(tmp_path)
    model.start_from("last")
    model.start_from(os.path.join(first.log_dir, "mask_rcnn_mini_0001.h5"))
    assert train(model, epochs=2, resume=False).epoch == [1]


def test_without_a_run_one_begins(make_model, tmp_path, capsys):
    model = make_model(tmp_path)
    assert train(model, epochs=1).epoch == [0]
    out = capsys.readouterr().out
    assert out.startswith(f'No run to resume in "{tmp_path}"; starting a new one.\n')


def test_finished_run(make_model, tmp_path, capsys):
    np.random.seed(7)  # noqa: NPY002
    first = make_model(tmp_path / "logs")
    train(first, plateau(), epochs=2)
    expected = first.keras_model.get_weights()
    model = make_model(tmp_path / "logs")
    assert train(model, plateau(), epochs=2).history == {}
    assert "Nothing to train: 2 epochs are finished and 2 is the total." in capsys.readouterr().out
    assert equal(model.keras_model.get_weights(), expected)
    # With a greater total it continues like a run that was begun with it.
    model = make_model(tmp_path / "logs")
    found = train(model, plateau(), epochs=3)
    weights = model.keras_model.get_weights()
    np.random.seed(7)  # noqa: NPY002
    whole = make_model(tmp_path / "whole")
    expected = train(whole, plateau(), epochs=3)
    assert (found.history, found.epoch) == (expected.history, [0, 1, 2])
    assert equal(weights, whole.keras_model.get_weights())
    assert len(os.listdir(tmp_path / "logs")) == 1


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ({"layers": "heads"}, "layers"),
        ({"rate": 0.05}, "learning_rate"),
        ({"rate": 0.05, "layers": "5+"}, "layers, learning_rate"),
        ({"IMAGES_PER_GPU": 1}, "images of a step"),
        ({"STEPS_PER_EPOCH": 3}, "STEPS_PER_EPOCH"),
        ({"OPTIMIZER": "Adam"}, "OPTIMIZER"),
    ],
    ids=str,
)
def test_changed_arguments(make_model, tmp_path, capsys, monkeypatch, words, changed):
    interrupt(train, make_model(tmp_path), Interrupt(("train_batch_end", 1, 2)))
    model = make_model(tmp_path)
    for name in [name for name in words if name.isupper()]:
        monkeypatch.setattr(model.config, name, words[name])
    words = {name: value for name, value in words.items() if not name.isupper()}
    monkeypatch.setattr(Played, "train", lambda self, batch, number: self._losses(1.0))
    bias = model.keras_model.get_layer("fpn_p2").bias
    before = bias.numpy()
    # The finished epoch counts, the steps after it do not.
    assert train(model, epochs=2, **words).epoch == [1]
    assert (
        f"{changed} changed since the state was saved: weights and epoch count are kept; "
        "optimizer state and image order are reset."
    ) in capsys.readouterr().out
    assert not np.array_equal(bias.numpy(), before)


def test_rates_of_a_changed_call(make_model, tmp_path):
    """The decay of epochs that are over is not applied twice."""
    train(make_model(tmp_path), epochs=2)
    rates = []

    def note(batch, logs):
        rates.append(float(model.keras_model.optimizer.learning_rate))

    model = make_model(tmp_path)
    model.config = mini_config(
        STEPS_PER_EPOCH=STEPS, LEARNING_RATE_DECAY_EPOCHS=(1, 3), LEARNING_RATE_DECAY=0.1
    )
    train(model, keras.callbacks.LambdaCallback(on_train_batch_end=note), rate=4.0)
    assert rates == pytest.approx([0.4] * STEPS + [0.04] * STEPS)


def test_another_model_changes_nothing(make_model, tmp_path):
    train(make_model(tmp_path), epochs=1)
    other = MaskRCNN("training", mini_config(NUM_CLASSES=4), str(tmp_path))
    before = other.keras_model.get_weights()
    with pytest.raises(ValueError, match="is the state of another model"):
        train(other)
    assert equal(other.keras_model.get_weights(), before)
    assert other.epoch == 0


# EarlyStopping


def early_stopping(patience=1, **words):
    return keras.callbacks.EarlyStopping(
        "val_loss", patience=patience, restore_best_weights=True, **words
    )


def test_early_stopping_that_ended_a_run(make_growing, tmp_path, capsys):
    first = make_growing(tmp_path)
    assert train(first, early_stopping(), epochs=9).epoch == [0, 1]
    expected = first.keras_model.get_weights()
    model = make_growing(tmp_path)
    capsys.readouterr()
    assert train(model, early_stopping(), epochs=9).history == {}
    assert "EarlyStopping has ended this run after 2 epochs" in capsys.readouterr().out
    # Those of the best epoch.
    assert equal(model.keras_model.get_weights(), expected)


@pytest.mark.parametrize(
    ("callbacks", "epochs"),
    [([], [0, 1, 2, 3]), ([early_stopping(2)], [0, 1, 2])],
    ids=["left out", "more patience"],
)
def test_early_stopping_that_would_not_have_ended_it(make_growing, tmp_path, callbacks, epochs):
    train(make_growing(tmp_path), early_stopping(), epochs=9)
    assert train(make_growing(tmp_path), *callbacks).epoch == epochs


def test_early_stopping_remembers(make_growing, tmp_path):
    """The steps without progress and the best weights are kept."""
    first = make_growing(tmp_path / "whole")
    assert train(first, early_stopping(2)).epoch == [0, 1, 2]
    again = make_growing(tmp_path / "logs")
    interrupt(train, again, early_stopping(2), Interrupt(("train_batch_end", 2, 0)))
    model = make_growing(tmp_path / "logs")
    assert train(model, early_stopping(2)).epoch == [0, 1, 2]
    best = os.path.join(model.log_dir, "mask_rcnn_mini_0001.h5")
    expected = model.keras_model.get_layer("fpn_p2").bias.numpy()
    model.keras_model.load_weights(best)
    np.testing.assert_array_equal(model.keras_model.get_layer("fpn_p2").bias, expected)


def test_best_weights_are_where_the_next_stage_begins(make_growing, tmp_path):
    """EarlyStopping gives them back at the end of a stage, also when it did not stop it."""

    def heads(model, resume):
        train(model, early_stopping(9), epochs=2, layers="heads", resume=resume)

    ends = []
    for folder, is_interrupted in (("whole", False), ("logs", True)):
        np.random.seed(7)  # noqa: NPY002
        model = make_growing(tmp_path / folder)
        heads(model, is_interrupted)
        if is_interrupted:
            model = make_growing(tmp_path / folder)
            heads(model, True)
        train(model, resume=is_interrupted)
        ends.append(model.keras_model.get_weights())
    assert equal(*ends)
