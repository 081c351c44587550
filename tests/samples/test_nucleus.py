"""The nucleus sample: its files, its submission, its command line."""

import importlib.util
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.io

from mrcnn.runs.run import checkpoint_name

ROOT = Path(__file__).parents[2]


def load_sample(name):
    path = ROOT / "samples" / "nucleus" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nucleus = load_sample("nucleus")


def write_images(folder, count):
    """Images "00", "01", ... of 4 x 6 pixels: nucleus 0 is row 0, nucleus 1 pixel (3, number)."""
    for number in range(count):
        name = f"{number:02d}"
        for kind in ("images", "masks"):
            (folder / name / kind).mkdir(parents=True)
        pixels = np.full((4, 6, 3), number, np.uint8)
        skimage.io.imsave(folder / name / "images" / f"{name}.png", pixels, check_contrast=False)
        masks = np.zeros((2, 4, 6), np.uint8)
        masks[0, 0], masks[1, 3, number % 6] = 255, 255
        for i, mask in enumerate(masks):
            path = folder / name / "masks" / f"{i}.png"
            skimage.io.imsave(path, mask, check_contrast=False)


# Data set


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "stage1_train", 12)
    return tmp_path


def names(root, subset):
    dataset = nucleus.load_dataset(root, subset)
    return [info["id"] for info in dataset.image_info]


def test_subsets(root):
    assert names(root, "val") == ["00", "10"]
    assert names(root, "train") == [f"{i:02d}" for i in range(12) if i not in (0, 10)]
    assert names(root, "stage1_train") == [f"{i:02d}" for i in range(12)]
    # The folder itself does as well.
    assert names(root / "stage1_train", "val") == ["00", "10"]


def test_unknown_subset(root):
    with pytest.raises(FileNotFoundError, match="does not contain, a folder stage2_test"):
        nucleus.load_dataset(root, "stage2_test")


def test_masks_once_more_from_memory(root):
    dataset = nucleus.load_dataset(root, "stage1_train")
    first, class_ids = dataset.load_mask(3)
    assert (first.dtype, class_ids.tolist()) == (bool, [1, 1])
    expected = np.zeros((4, 6, 2), bool)
    expected[0, :, 0] = expected[3, 3, 1] = True
    np.testing.assert_array_equal(first, expected)
    for path in dataset.image_info[3]["mask_paths"]:
        Path(path).unlink()
    np.testing.assert_array_equal(dataset.load_mask(3)[0], expected)


def test_large_images_are_repeated_for_crops(root):
    # The square root of 4 x 6 pixels is 4.9: once for crops of 4, thrice for crops of 1.5.
    for crop, times in ((4, 1), (1.5, 3)):
        dataset = nucleus.load_dataset(root, "val", crop)
        assert sorted(info["id"] for info in dataset.image_info) == sorted(["00", "10"] * times)
        np.testing.assert_array_equal(dataset.load_mask(len(dataset.image_ids) - 1)[1], [1, 1])


def test_reference(root):
    assert nucleus.load_dataset(root, "val").image_reference(1) == "10"


# Submission


def test_run_lengths_go_down_the_columns_from_1():
    mask = np.array([[1, 0, 1], [1, 0, 0]], bool)
    assert nucleus.rle_encode(mask) == "1 2 5 1"
    np.testing.assert_array_equal(nucleus.rle_decode("1 2 5 1", (2, 3)), mask)


def test_run_lengths_of_nothing_and_of_everything():
    assert nucleus.rle_encode(np.zeros((2, 3), bool)) == ""
    assert nucleus.rle_encode(np.ones((2, 3), bool)) == "1 6"
    assert not nucleus.rle_decode("", (2, 3)).any()


def test_the_best_nucleus_keeps_the_pixels():
    masks = np.zeros((1, 4, 3), bool)
    masks[0, 0:3, 0] = masks[0, 2:4, 1] = masks[0, 2, 2] = True
    found = nucleus.remove_overlaps(masks, [0.6, 0.9, 0.5])
    # The second is best; of the first two pixels are left, of the third none.
    np.testing.assert_array_equal(found[0].T, [[0, 0, 1, 1], [1, 1, 0, 0]])


def test_submission_rows():
    masks = np.zeros((2, 2, 2), bool)
    masks[:, 0, 0] = masks[1, :, 1] = True
    assert nucleus.mask_to_rle("a", masks, [0.5, 0.8]) == "a,2 1 4 1\na,1 1"
    assert nucleus.mask_to_rle("a", masks[..., :0], []) == "a,"


# With a stand-in for the model


class Stub:
    """Finds the first nucleus of every image, and a false positive."""

    def detect(self, images):
        masks = np.zeros((*images[0].shape[:2], 2), bool)
        masks[0, :, 0] = masks[1, :, 1] = True
        rois = np.array([[0, 0, 1, 6], [1, 0, 2, 6]])
        ids = np.ones(2, int)
        return [{"rois": rois, "masks": masks, "class_ids": ids, "scores": np.array([0.9, 0.8])}]


def test_evaluate(root, capsys):
    precisions = nucleus.evaluate(Stub(), nucleus.load_dataset(root, "val"))
    # One true positive, one false positive, one missed.
    np.testing.assert_allclose(precisions, [1 / 3, 1 / 3])


def test_detect(root, capsys, tmp_path):
    folder = nucleus.detect(Stub(), root, "val", tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["00.png", "10.png", "submit.csv"]
    assert (folder / "submit.csv").read_text() == (
        "ImageId,EncodedPixels\n"
        "00,1 1 5 1 9 1 13 1 17 1 21 1\n00,2 1 6 1 10 1 14 1 18 1 22 1\n"
        "10,1 1 5 1 9 1 13 1 17 1 21 1\n10,2 1 6 1 10 1 14 1 18 1 22 1\n"
    )


# Command line


@pytest.mark.slow
def test_train_evaluate(tmp_path, capsys, monkeypatch):
    """From the command line, with a network that is too small to learn anything."""
    load_sample("draw_cells").write_cells(tmp_path / "stage1_train", 4)
    for name, value in {
        "IMAGES_PER_GPU": 1,
        "IMAGE_MIN_DIM": 128,
        "IMAGE_MAX_DIM": 128,
        "TOP_DOWN_PYRAMID_SIZE": 8,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 8,
        "PRE_NMS_LIMIT": 50,
        "POST_NMS_ROIS_TRAINING": 20,
        "POST_NMS_ROIS_INFERENCE": 20,
        "TRAIN_ROIS_PER_IMAGE": 8,
        "DETECTION_MAX_INSTANCES": 5,
    }.items():
        monkeypatch.setattr(nucleus.NucleusConfig, name, value)
    where = ["--dataset", str(tmp_path), "--logs", str(tmp_path / "logs")]
    nucleus.main(["train", *where, "--epochs", "1", "--steps", "1"])
    run = re.search(r"Checkpoints and loss curves are in (.*)\.", capsys.readouterr().out)[1]
    nucleus.main(["train", *where, "--weights", "last", "--epochs", "2", "--steps", "1"])
    assert f"Resuming {run} after epoch 1" in capsys.readouterr().out
    assert {checkpoint_name("nucleus", 1), checkpoint_name("nucleus", 2), "losses.png"} <= {
        path.name for path in Path(run).iterdir()
    }
    # The middles of the epochs in half a wave of the cosine over 1 epoch, and over 2.
    lines = (Path(run) / "log.csv").read_text().splitlines()
    rates = [float(line.split(",")[1]) for line in lines[1:]]
    top = nucleus.NucleusConfig.LEARNING_RATE
    # A row has the whole rate, to which the steps rise.
    expected = [top / 2, top * (1 - math.sqrt(0.5)) / 2]
    assert rates == pytest.approx(expected, rel=1e-5)
    nucleus.main(["evaluate", *where])
    score = re.search(r"Precision at IoU 0.5: (\S+) on 1 images", capsys.readouterr().out)[1]
    assert 0 <= float(score) <= 1


@pytest.mark.parametrize(
    ("config", "epoch", "stages"),
    [
        ("NucleusConfig", 3, [("all", 8)]),
        ("NucleusConfig", 8, []),
        ("PretrainedNucleusConfig", 0, [("heads", 4), ("all", 8)]),
        ("PretrainedNucleusConfig", 3, [("heads", 4), ("all", 8)]),
        ("PretrainedNucleusConfig", 4, [("all", 8)]),
    ],
)
def test_finished_epochs_count(root, capsys, config, epoch, stages):
    class Recorder:
        """A stand-in for MaskRCNN that records the stages of training."""

        def train(self, train, val, *, learning_rate, epochs, layers, augmentation):
            self.trained.append((layers, epochs))
            # Half a wave over all epochs, in every stage.
            assert learning_rate(4) + learning_rate(3) == pytest.approx(self.config.LEARNING_RATE)
            self.epoch = epochs
            return SimpleNamespace(history={})

    model = Recorder()
    model.log_dir = "run"
    model.config, model.epoch, model.trained = getattr(nucleus, config)(), epoch, []
    model.config.EPOCHS = 8
    nucleus.train(model, root)
    assert model.trained == stages
    told = "" if stages else "8 epochs are finished; a larger number of --epochs continues.\n"
    assert capsys.readouterr().out == f"{told}Checkpoints and loss curves are in run.\n"


def test_mistakes_are_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        nucleus.main(["evaluate", "--dataset", str(tmp_path), "--weights", "last"])
    found = f"nucleus.py: {tmp_path} is not, and does not contain, a folder stage1_train.\n"
    assert (exit_.value.code, capsys.readouterr().err) == (1, found)
