"""The command line that samples share: options, errors, the choice of settings, stages."""

import types

import h5py
import numpy as np
import pytest

from mrcnn import cli, mask_rcnn
from mrcnn.config import Config, SmallConfig
from mrcnn.runs.run import checkpoint_name
from mrcnn.runs.settings import as_metadata, describe
from mrcnn.weights.matterport import PREFIX


class LargeConfig(Config):
    NAME, NUM_CLASSES, IMAGES_PER_GPU = "cats", 2, 4


class OwnConfig(SmallConfig):
    NAME, NUM_CLASSES, IMAGE_RESIZE_MODE = "cats", 2, "crop"


@pytest.fixture
def program():
    """A program of two commands, which return what they were given in `seen`."""
    main = cli.CommandLine("cats.py", "Finds cats.", color={"help": "of cats"})
    main.seen = []

    @main.command("weights color small epochs seed", color="black")
    def run_train(args):
        """Train."""
        main.seen.append(args)

    @main.command("trained|color steps")
    def run_evaluate(args):
        """Evaluate."""
        raise ValueError("No cats.")

    return main


def test_commands_get_their_options_and_defaults(program):
    program("train --model last --epochs 3".split())
    (args,) = program.seen
    found = args.weights, args.color, args.small, args.EPOCHS, args.seed
    assert found == ("last", "black", False, 3, 0)


def test_help_tells_defaults(program, capsys):
    with pytest.raises(SystemExit):
        program(["train", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "--color COLOR of cats (black)" in printed
    assert "--epochs EPOCHS total number of epochs --seed" in printed


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("", 2, "COMMAND"),
        ("train --epochs 0", 2, "argument --epochs: 0 is less than 1"),
        ("train --small --weights coco", 2, "there are no coco weights for --small"),
        ("evaluate --steps 3", 2, "one of the arguments --weights/--model --color is required"),
        ("evaluate --weights last --color red", 2, "not allowed with argument"),
        ("evaluate --weights last", 1, "cats.py: No cats.\n"),
        (
            "train --weights none.h5",
            1,
            "cats.py: There is no file none.h5; --weights takes coco, imagenet, last, random or a "
            "file.\n",
        ),
    ],
)
def test_mistakes(program, capsys, line, status, message):
    with pytest.raises(SystemExit) as exit_:
        program(line.split())
    told = capsys.readouterr().err
    assert exit_.value.code == status
    assert told == message if status == 1 else message in told


@pytest.fixture
def made(monkeypatch):
    """The models made: each a namespace of its arguments, with the weights it started from."""
    models = []

    def make(mode, config, model_dir):
        model = types.SimpleNamespace(mode=mode, config=config, model_dir=model_dir)
        model.start_from = lambda weights: setattr(model, "weights", weights)
        models.append(model)
        return model

    monkeypatch.setattr(mask_rcnn, "MaskRCNN", make)
    return models


def weight_file(path, config=None):
    """An empty file, but for the Config that its weights would have been trained with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        if config:
            for name, text in as_metadata(describe(config())).items():
                file.attrs[PREFIX + name] = np.bytes_(text.encode())
    return str(path)


def test_weights_decide_on_the_settings(made, tmp_path):
    small = weight_file(tmp_path / "small.h5", OwnConfig)
    untold = weight_file(tmp_path / "large.h5")
    last = tmp_path / "logs/cats20260102T0304" / checkpoint_name("cats", 12)
    weight_file(last, OwnConfig)
    for weights, backbone in (
        ("random", "small"),
        ("coco", "resnet101"),
        ("imagenet", "resnet101"),
        (small, "small"),
        (untold, "resnet101"),
        # The name and not the path: with the weights alone, training would not resume.
        ("last", "small"),
    ):
        cli.make_model("training", weights, tmp_path / "logs", LargeConfig, OwnConfig)
        found = made[-1].config.BACKBONE, made[-1].weights, made[-1].model_dir
        assert found == (backbone, weights, str(tmp_path / "logs"))
    cli.make_model("training", small, tmp_path, LargeConfig)
    assert made[-1].config.BACKBONE == "resnet101", "a single Config is not in question"


def test_the_newest_run_of_either_name_counts(made, tmp_path):
    class Random(LargeConfig):
        NAME, TRAIN_BN = "cats_random", None

    class Dogs(LargeConfig):
        NAME = "dogs"

    def last_name():
        cli.make_model("training", "last", tmp_path, LargeConfig, Random)
        return made[-1].config.NAME, made[-1].config.TRAIN_BN

    def add_run(start, config):
        name = config.NAME
        weight_file(tmp_path / f"{name}{start}" / checkpoint_name(name, 1), config)

    assert last_name() == ("cats", False)
    add_run("20251231T2359", Random)
    assert last_name() == ("cats_random", None)
    add_run("20260102T0304", LargeConfig)
    assert last_name() == ("cats", False)
    add_run("20260102T0304-2", Random)
    assert last_name() == ("cats_random", None)
    add_run("20260102T0305", Dogs)
    # Stopped before its first checkpoint.
    (tmp_path / "cats20260102T0306").mkdir()
    assert last_name() == ("cats_random", None)


def test_inference_takes_whole_images_one_at_a_time(made, tmp_path):
    weights = weight_file(tmp_path / "w.h5")
    config = OwnConfig()
    config.DETECTION_MIN_CONFIDENCE = 0.3
    cli.make_model("inference", weights, tmp_path, config, MAX_GT_INSTANCES=7)
    found = made[0].config
    assert (found.BATCH_SIZE, found.IMAGE_RESIZE_MODE) == (1, "pad64")
    assert (found.DETECTION_MIN_CONFIDENCE, found.MAX_GT_INSTANCES) == (0.3, 7)
    assert (config.BATCH_SIZE, config.IMAGE_RESIZE_MODE) == (8, "crop"), "it is a copy"
    cli.make_model("training", "random", tmp_path, OwnConfig)
    assert (made[1].config.BATCH_SIZE, made[1].config.IMAGE_RESIZE_MODE) == (8, "crop")


def test_weights_of_other_classes_cannot_detect(made, tmp_path):
    for weights in ("coco", "imagenet", "random"):
        with pytest.raises(ValueError, match=f'Weights "{weights}" do not know the classes of "ca'):
            cli.make_model("inference", weights, tmp_path, LargeConfig)
    cli.make_model("inference", "coco", tmp_path, LargeConfig, NUM_CLASSES=81)
    assert made[0].weights == "coco"


def test_options_become_settings(made, tmp_path):
    options = {"STEPS_PER_EPOCH": 7, "LEARNING_RATE": 0.5, "PRECISION": "mixed_bfloat16"}
    options |= {"GPU_COUNT": None, "seed": 3, "color": "red"}
    args = types.SimpleNamespace(weights="random", logs=tmp_path, **options)
    cli.model_of(args, "training", LargeConfig, OwnConfig, MAX_GT_INSTANCES=9)
    config = made[0].config
    found = config.STEPS_PER_EPOCH, config.LEARNING_RATE, config.PRECISION, config.MAX_GT_INSTANCES
    assert (*found, config.GPU_COUNT) == (7, 0.5, "mixed_bfloat16", 9, 1)


@pytest.mark.parametrize(("epoch", "trained"), [(0, [6, 8]), (5, [6, 8]), (6, [8]), (8, [])])
def test_stages_behind_a_run_are_left_out(capsys, epoch, trained):
    calls = []

    def train(*sets, learning_rate, epochs, layers, extra):
        calls.append((sets, learning_rate, epochs, layers, extra))
        return types.SimpleNamespace(history={"loss": [float(epochs)]})

    model = types.SimpleNamespace(epoch=epoch, train=train, log_dir="run")
    curves = cli.train(model, "train", "val", cli.settling(0.5, 8), extra=1)
    rates = {6: 0.5, 8: 0.05}
    assert calls == [(("train", "val"), rates[last], last, "all", 1) for last in trained]
    assert curves == ({"loss": [float(last) for last in trained]} if trained else {})
    told = "" if trained else "8 epochs are finished; a larger number of --epochs continues.\n"
    assert capsys.readouterr().out == f"{told}Checkpoints and loss curves are in run.\n"
