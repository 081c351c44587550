"""The balloon sample: its command lines, its data, its networks and how they train."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.io import imread, imsave

from mrcnn import cli, mask_rcnn
from mrcnn.model import load_image_gt
from tests.samples.balloon_sample import RED, scene


@pytest.mark.parametrize("command", ["train", "evaluate", "splash"])
def test_every_command_explains_itself(balloon, capsys, command):
    with pytest.raises(SystemExit) as exit_:
        balloon.main([command, "--help"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert f"{command} [-h]" in printed
    assert "--weights" in printed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train", "the following arguments are required: --dataset"),
        ("train --dataset d --epochs 0", "argument --epochs: 0 is less than 1"),
        ("splash", "one of the arguments --image --video is required"),
        ("splash --image a --video b", "--video: not allowed with argument --image"),
    ],
)
def test_wrong_command_lines_are_refused(balloon, capsys, line, message):
    with pytest.raises(SystemExit) as exit_:
        balloon.main(line.split())
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_command_lines_of_the_original(balloon):
    parse = balloon.main.parser.parse_args
    args = parse("train --dataset=/photos --weights=imagenet --logs=/runs".split())
    assert args.run is balloon.run_train
    assert (args.dataset, args.weights, args.logs) == ("/photos", "imagenet", "/runs")
    args = parse("splash --weights=/w/mask_rcnn_balloon.h5 --image=http://a.b/c.jpg".split())
    assert args.run is balloon.run_splash
    assert (args.image, args.video) == ("http://a.b/c.jpg", None)
    args = parse("splash --weights=last --video=v.mp4".split())
    assert (args.weights, args.image, args.video) == ("last", None, "v.mp4")


def write_dataset(folder, project=False):
    """Four photos for training and two for validation, with outlines as VIA 1 or 2 saves them."""
    for subset, count in (("train", 4), ("val", 2)):
        (folder / subset).mkdir(parents=True)
        entries = {}
        for i in range(count):
            name = f"{subset}{i}.png"
            imsave(folder / subset / name, scene(shift=8 * i), check_contrast=False)
            x1, x2 = 8 + 8 * i, 24 + 8 * i
            shape = {"name": "polygon", "all_points_x": [x1, x2, x2, x1]}
            shape["all_points_y"] = [16, 16, 32, 32]
            region = {"shape_attributes": shape, "region_attributes": {}}
            regions = [region] if project else {"0": region}
            entries[f"{name}99"] = {"filename": name, "size": 99, "regions": regions}
        data = {"_via_img_metadata": entries, "_via_attributes": {}} if project else entries
        (folder / subset / "via_region_data.json").write_text(json.dumps(data))


@pytest.mark.parametrize("project", [False, True], ids=["VIA 1", "VIA 2"])
def test_outlines_become_masks(balloon, tmp_path, project):
    write_dataset(tmp_path, project)
    dataset = balloon.BalloonDataset()
    dataset.load_balloon(str(tmp_path), "train")
    dataset.prepare()
    assert dataset.class_names == ["BG", "balloon"]
    assert [info["source"] for info in dataset.image_info] == ["balloon"] * 4
    for image_id in dataset.image_ids:
        masks, class_ids = dataset.load_mask(image_id)
        assert class_ids.tolist() == [1]
        assert np.array_equal(masks[..., 0], (dataset.load_image(image_id) == RED).all(axis=-1))
        assert masks.sum() == 16 * 16


def test_folders_without_a_data_set(balloon, tmp_path, capsys):
    with pytest.raises(ValueError, match='subset is "test"; accepted are "train" and "val"'):
        balloon.BalloonDataset().load_balloon(tmp_path, "test")
    with pytest.raises(SystemExit) as exit_:
        balloon.main(["evaluate", "--dataset", str(tmp_path)])
    told = capsys.readouterr().err
    assert (exit_.value.code, told.count("\n")) == (1, 1)
    assert "there is no annotation file" in told
    assert str(tmp_path / "val" / "via_region_data.json") in told


def test_photos_in_memory_are_what_training_would_load(balloon, tmp_path):
    write_dataset(tmp_path)
    dataset = balloon.load_subset(tmp_path, "train")
    config = balloon.SmallBalloonConfig()
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = 128
    memory = balloon.InMemory(dataset, config)
    assert memory.class_names == dataset.class_names
    for image_id in dataset.image_ids:
        image, _, class_ids, boxes, masks = load_image_gt(dataset, config, image_id)
        found = load_image_gt(memory, config, image_id)
        # Twice the size of a photo of 48 x 64: 96 x 128, with 16 rows of padding above.
        assert boxes.tolist() == [[48, 16 + 16 * image_id, 80, 48 + 16 * image_id]]
        for expected, array in zip(
            (image, class_ids, boxes, masks), (found[0], *found[2:]), strict=True
        ):
            assert np.array_equal(expected, array)


def test_settings_are_those_of_the_original(balloon):
    config = balloon.BalloonConfig()
    config.validate()
    found = (
        config.NAME,
        config.BACKBONE,
        config.BATCH_SIZE,
        config.NUM_CLASSES,
        config.STEPS_PER_EPOCH,
        config.DETECTION_MIN_CONFIDENCE,
        config.LEARNING_RATE,
        config.EPOCHS,
    )
    assert found == ("balloon", "resnet101", 2, 2, 100, 0.9, 0.001, 30)


def test_small_network_is_legal(balloon):
    config = balloon.SmallBalloonConfig()
    config.validate()
    assert (config.BACKBONE, config.NAME, config.NUM_CLASSES) == ("small", "balloon", 2)


class Recorder:
    """A stand-in for MaskRCNN that records the calls."""

    epoch = 0

    def __init__(self, mode=None, config=None, model_dir="logs"):
        self.mode, self.config, self.loaded, self.trained = mode, config, [], []
        self.log_dir = Path(model_dir, "run")

    def start_from(self, weights):
        self.loaded.append(weights)

    def train(self, photos, val, learning_rate, epochs, layers, augmentation=None):
        self.photos, self.augmentation = photos, augmentation
        self.trained.append((layers, pytest.approx(learning_rate), epochs))
        self.epoch = epochs
        return SimpleNamespace(history={"loss": [1.0], "val_loss": [2.0]})


@pytest.fixture
def recorder(monkeypatch):
    """A Recorder in place of the class of all models; `made` lists them."""
    made = []

    def make(**arguments):
        made.append(Recorder(**arguments))
        return made[-1]

    monkeypatch.setattr(mask_rcnn, "MaskRCNN", make)
    return made


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("coco", 'Weights "coco" do not know the classes of "balloon"; give "last" or a file'),
        ("last", 'There is no checkpoint of "balloon"'),
        (
            "none.h5",
            "There is no file none.h5; --weights takes coco, imagenet, last, random or a file.",
        ),
        ("photo.png", '"photo.png" is not a weight file; accepted are'),
    ],
)
def test_unknown_weights(balloon, tmp_path, monkeypatch, capsys, weights, message):
    monkeypatch.chdir(tmp_path)
    imsave("photo.png", scene(), check_contrast=False)
    with pytest.raises(SystemExit) as exit_:
        balloon.main(["splash", "--weights", weights, "--image", "photo.png"])
    told = capsys.readouterr().err
    assert (exit_.value.code, told.count("\n")) == (1, 1)
    assert told.startswith(f"balloon.py: {message}")


def test_coco_weights_train_the_heads(balloon, recorder, tmp_path, capsys):
    write_dataset(tmp_path)
    balloon.main(["train", "--dataset", str(tmp_path), "--logs", str(tmp_path / "logs")])
    assert recorder[0].trained == [("heads", 0.001, 30)]
    assert recorder[0].augmentation is None
    assert capsys.readouterr().out == (
        f"Checkpoints and loss curves are in {tmp_path / 'logs' / 'run'}.\n"
    )


def test_random_weights_train_all_layers(balloon, recorder, tmp_path, capsys):
    write_dataset(tmp_path)
    line = f"train --dataset {tmp_path} --logs {tmp_path} --weights random --epochs 8 --steps 3"
    balloon.main(line.split())
    model, rate = recorder[0], balloon.SmallBalloonConfig.LEARNING_RATE
    assert model.trained == [("all", rate, 6), ("all", rate / 10, 8)]
    assert (model.config.STEPS_PER_EPOCH, model.photos.num_images) == (3, 4)
    assert isinstance(model.photos, balloon.InMemory)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("epoch", "stages"),
    [(0, [6, 8]), (5, [6, 8]), (6, [8]), (7, [8]), (8, [])],
)
def test_finished_epochs_count(balloon, recorder, tmp_path, capsys, epoch, stages):
    write_dataset(tmp_path)
    photos = balloon.load_subset(tmp_path, "train")
    size = {"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64}
    model = cli.make_model("training", "random", tmp_path, balloon.SmallBalloonConfig, **size)
    model.epoch, model.config.EPOCHS = epoch, 8
    balloon.train(model, photos, photos)
    assert [last for _, _, last in model.trained] == stages
    told = "" if stages else "8 epochs are finished; a larger number of --epochs continues.\n"
    told += f"Checkpoints and loss curves are in {tmp_path / 'run'}.\n"
    assert capsys.readouterr().out == told


def test_augmentation_moves_masks_with_balloons(balloon, tmp_path):
    write_dataset(tmp_path)
    config = balloon.SmallBalloonConfig()
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = 192
    photos = balloon.InMemory(balloon.load_subset(tmp_path, "train"), config)
    centers = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        arrays = load_image_gt(photos, config, 1, augmentation=balloon.augmenters(), rng=rng)
        image, boxes, masks = arrays[0].astype(int), arrays[3], arrays[4]
        # Hues change by 20 of 255 at most: what was red is not blue.
        red = image[..., 0] > image[..., 2]
        overlap = (red & masks[..., 0]).sum() / (red | masks[..., 0]).sum()
        assert overlap > 0.9
        centers.add(tuple(boxes[0]))
    assert len(centers) == 12


def test_evaluation(balloon, finder, tmp_path, capsys):
    write_dataset(tmp_path)
    weights = tmp_path / "some.h5"
    weights.touch()
    balloon.main(["evaluate", "--dataset", str(tmp_path), "--weights", str(weights)])
    printed = capsys.readouterr().out
    # Both squares are found to the pixel, so boxes and masks have an AP of 1 at all IoUs.
    lines = re.findall(r"IoU=0.50:0.95 \| area=   all \| maxDets=100 \] = (\S+)", printed)
    assert lines == ["1.000"] * 4
    finder.finds = False
    balloon.main(["evaluate", "--dataset", str(tmp_path), "--weights", str(weights)])
    printed = capsys.readouterr().out
    assert (
        re.findall(r"IoU=0.50:0.95 \| area=   all \| maxDets=100 \] = (\S+)", printed)
        == ["0.000"] * 4
    )
    assert (
        finder.asked
        == [
            ("inference", str(weights), "logs", {"DETECTION_MIN_CONFIDENCE": 0.05}),
        ]
        * 2
    )


@pytest.mark.slow
def test_training_and_splash_from_end_to_end(balloon, tmp_path, capsys):
    write_dataset(tmp_path)
    logs = f"--logs {tmp_path / 'logs'}"
    line = f"train --dataset {tmp_path} --steps 1 {logs}"
    balloon.main(f"{line} --weights random --epochs 1".split())
    balloon.main(f"{line} --weights last --epochs 2".split())
    (run,) = (tmp_path / "logs").iterdir()
    assert f"Resuming {run} after epoch 1" in capsys.readouterr().out
    assert {"state_0002_000000.npz", "log.csv", "losses.png"} <= set(os.listdir(run))
    image, output = tmp_path / "train" / "train0.png", tmp_path / "splash.png"
    balloon.main(f"splash {logs} --image {image} --output {output}".split())
    assert capsys.readouterr().out.endswith(f"Saved to {output}.\n")
    assert imread(output).shape == (48, 64, 3)
