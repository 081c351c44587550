"""The COCO sample with the paper's recipe."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.config import PaperConfig
from tests.samples.coco.conftest import by_hand, load, summaries


def run(coco, line):
    coco.main(line.split())


def test_settings_are_the_papers(coco):
    config = coco.PaperCocoConfig()
    config.validate()
    defaults, found = PaperConfig().to_dict(), config.to_dict()
    differences = {
        name: value
        for name, value in found.items()
        if name not in defaults or not np.array_equal(value, defaults[name])
    }
    assert differences == {
        "NAME": "coco_paper",
        "NUM_CLASSES": 81,
        "EPOCHS": 180,
        # One flag per class.
        "IMAGE_META_SIZE": 12 + 81,
    }
    random = coco.RandomPaperCocoConfig()
    random.validate()
    norms = random.BACKBONE_NORM, random.FPN_NORM, random.HEAD_NORM
    assert norms == ("group", "group", "group")


@pytest.mark.parametrize(
    ("options", "stage", "decays"),
    [
        ("", ("3+", 0.0025, 180), (120, 160)),
        ("--gpus 8", ("3+", 0.02, 180), (120, 160)),
        ("--epochs 12 --rate 0.01", ("3+", 0.01, 12), (8, 10)),
        ("--epochs 1", ("3+", 0.0025, 1), (1, 1)),
        ("--layers heads", ("heads", 0.0025, 180), (120, 160)),
        ("--model random", ("all", 0.0025, 180), (120, 160)),
    ],
)
def test_schedule(coco, root, oracle, capsys, options, stage, decays):
    run(coco, f"train --recipe paper --dataset {root} --model imagenet {options}")
    ((_, _, found),) = oracle.trained
    assert found["layers"] == stage[0]
    assert (found["learning_rate"], found["epochs"]) == (pytest.approx(stage[1]), stage[2])
    config = oracle.made[0].config
    assert config.LEARNING_RATE_DECAY_EPOCHS == decays
    assert (config.RECIPE, config.NUM_CLASSES, config.DIVIDE_WEIGHT_DECAY) == ("paper", 4, False)
    capsys.readouterr()


def test_steps_follow_the_batch(coco, root, oracle, capsys):
    run(coco, f"train --recipe paper --dataset {root} --model imagenet --gpus 4")
    run(coco, f"train --recipe paper --dataset {root} --model imagenet --steps 7 --epochs 181")
    assert [made.config.STEPS_PER_EPOCH for made in oracle.made] == [2000, 7]
    capsys.readouterr()


def test_evaluation_keeps_the_papers_settings(coco, root, oracle, capsys):
    run(coco, f"evaluate --recipe paper --dataset {root} --model last")
    config = oracle.made[0].config
    assert (config.DETECTION_MIN_CONFIDENCE, config.DETECTION_NMS_THRESHOLD) == (0.05, 0.5)
    assert config.NUM_CLASSES == 4
    capsys.readouterr()


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Return a function that makes a file of which `settings_of` returns given settings."""

    def make(is_detector=True, **settings):
        path = tmp_path / "published.pth"
        path.write_bytes(b"")
        monkeypatch.setattr("mrcnn.weights.settings_of", lambda _: (settings, is_detector))
        return path

    return make


def test_published_weights_decide_the_architecture(coco, root, oracle, published, capsys):
    file = published(NUM_CLASSES=91, BACKBONE="resnet101", RPN_CONVS=2)
    run(coco, f"train --recipe paper --dataset {root} --model {file} --epochs 1")
    run(coco, f"evaluate --recipe paper --dataset {root} --model {file}")
    train, evaluate = (made.config for made in oracle.made)
    assert (train.BACKBONE, train.RPN_CONVS, train.NUM_CLASSES) == ("resnet101", 2, 4)
    assert (evaluate.BACKBONE, evaluate.RPN_CONVS, evaluate.NUM_CLASSES) == ("resnet101", 2, 91)
    assert [made.weights for made in oracle.made] == [str(file)] * 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"NUM_CLASSES": 21}, "has 21 classes, the background counted, and the annotations have 4"),
        ({"is_detector": False}, "is an ImageNet classifier, which detects nothing; train it."),
    ],
)
def test_published_weights_of_other_classes(
    coco, root, oracle, published, capsys, settings, message
):
    file = published(**settings)
    with pytest.raises(SystemExit):
        run(coco, f"evaluate --recipe paper --dataset {root} --model {file}")
    assert message in capsys.readouterr().err


def test_classes_that_are_category_ids(coco, root, oracle, published, capsys, tmp_path):
    """Torchvision's classes are COCO's ids: figures are those of the same detections by our ids."""
    dataset, _ = load(coco, root)
    ids = [0, 3, 7, 20]
    for answer in oracle.answers.values():
        answer["class_ids"] = np.array([ids[class_id] for class_id in answer["class_ids"]])
        # An id that COCO does not use, and one that this data set lacks.
        more = {"rois": [[0, 0, 9, 9]] * 2, "scores": [0.9, 0.8], "class_ids": [12, 1]}
        for name, values in more.items():
            answer[name] = np.concatenate([answer[name], np.array(values)])
        answer["masks"] = answer["masks"] + answer["masks"][:1] * 2
    file = published(NUM_CLASSES=91)
    run(coco, f"evaluate --recipe paper --dataset {root} --model {file} --output {tmp_path}")
    results = tmp_path / "segm_val2017_results.json"
    stored = json.loads(results.read_text())
    expected = [i for a in oracle.answers.values() for i in a["class_ids"].tolist() if i in ids]
    assert [result["category_id"] for result in stored] == expected
    printed = summaries(capsys.readouterr().out)
    annotations = root / "annotations/instances_val2017.json"
    assert printed[1] == by_hand(annotations, results, "segm")
    assert dataset.class_names[3] == "triangle"


def test_other_classes_are_those_of_the_data_set(coco, root, oracle):
    """A model of 91 classes of its own keeps its class ids."""
    dataset, _ = load(coco, root)
    own = SimpleNamespace(num_classes=91, image_info=dataset.image_info, image_ids=[0])
    own.load_image = dataset.load_image
    own.get_source_class_id = lambda class_id, source: 1000 + class_id
    oracle.config = SimpleNamespace(NUM_CLASSES=91)
    found = coco.detect_all(oracle, own, [0])
    classes = oracle.answers[dataset.load_image(0).tobytes()]["class_ids"]
    assert [result["category_id"] for result in found] == (1000 + classes).tolist()
