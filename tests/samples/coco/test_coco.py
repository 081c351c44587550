"""The COCO sample: its data sets and its commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.conftest import draw_shapes
from tests.samples.coco.conftest import SAMPLE, coco_ids, load, refusal

# pycocotools decodes masks in a way that NumPy 2 asks it to change.


def test_settings_are_those_of_the_original(coco):
    config = coco.CocoConfig()
    config.validate()
    found = config.NAME, config.BATCH_SIZE, config.NUM_CLASSES, config.BACKBONE
    assert found == ("coco", 2, 81, "resnet101")
    coco.SmallCocoConfig().validate()
    coco.RandomCocoConfig().validate()


def test_parts_of_coco(coco, root):
    dataset, returned = load(coco, root)
    assert returned is None
    assert coco_ids(dataset) == [208, 207, 206, 205, 204]
    assert dataset.class_names == ["BG", "square", "circle", "triangle"]
    assert dataset.source_class_ids["coco"] == [0, 1, 2, 3]
    assert dataset.map_source_class_id("coco.20") == 3
    assert dataset.image_reference(0).endswith("explore?id=208")
    # Without a year it is 2014, for the original's callers. The image ids are those of "val".
    dataset = coco.CocoDataset()
    dataset.load_coco(root, "minival")
    dataset.load_coco(root, "valminusminival")
    dataset.prepare()
    assert coco_ids(dataset) == [400, 399, 500, 499, 498, 497]
    assert {Path(info["path"]).parent.name for info in dataset.image_info} == {"val2014"}


def test_classes_can_be_chosen(coco, root):
    data = json.loads((root / "annotations/instances_train2017.json").read_text())
    shown = {a["image_id"] for a in data["annotations"] if a["category_id"] == 7}
    assert 0 < len(shown) < 6
    dataset, _ = load(coco, root, "train", class_ids=[7])
    assert set(coco_ids(dataset)) == shown
    assert dataset.class_names == ["BG", "circle"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape[2] == len(class_ids)
    assert set(abs(class_ids)) == {1}


def test_returned_coco_is_that_of_the_annotations(coco, root, capsys):
    _, returned = load(coco, root, return_coco=True)
    assert sorted(returned.getImgIds()) == [204, 205, 206, 207, 208]
    assert returned.cats[20]["name"] == "triangle"
    assert capsys.readouterr().out == ""


def test_masks_of_annotations(coco):
    expected = np.zeros((6, 5), np.uint8)
    expected[2:5, 1:4] = 1
    forms = [
        # Corners (x, y) of columns 1 to 3 and rows 2 to 4; runs down the columns; their string.
        [[1, 2, 4, 2, 4, 5, 1, 5]],
        {"size": [6, 5], "counts": [8, 3, 3, 3, 3, 3, 7]},
        coco_mask.encode(np.asfortranarray(expected)),
    ]
    for form in forms:
        mask = coco.CocoDataset().annToMask({"segmentation": form}, 6, 5)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, expected)
        assert coco_mask.area(coco.CocoDataset().annToRLE({"segmentation": form}, 6, 5)) == 9


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--dataset {root}/none --model last", "There is no {root}/none;"),
        ("--dataset {root}/train2017 --model last", "There is no {root}/train2017/annotations/ins"),
        ("--dataset {root} --model none.h5", "There is no file none.h5;"),
    ],
)
def test_missing_files_are_named(coco, root, capsys, command, options, message):
    found = refusal(coco, capsys, f"{command} {options.format(root=root)}")
    assert message.format(root=root) in found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train --model last", "required: --dataset"),
        ("train --dataset D", "required: --weights/--model"),
        ("evaluate --dataset D", "one of the arguments --weights/--model --results is required"),
        ("evaluate --dataset D --model last --results F", "not allowed with argument --weights"),
        ("train --dataset D --model last --year 2016", "invalid choice: '2016'"),
        ("train --dataset D --model last --limit 0", "argument --limit: 0 is less than 1"),
        (
            "train --dataset D --model last --download maybe",
            "--download: invalid choice",
        ),
        (
            "evaluate --dataset D --model last --eval bbox,keypoints",
            "--eval: invalid choice",
        ),
        ("train --dataset D --model last --precision half", "invalid choice: 'half'"),
        ("train --dataset D --model coco --small", "there are no coco weights for --small"),
        ("train --dataset D --model last --recipe fast", "--recipe: invalid choice: 'fast'"),
        ("train --dataset D --model coco --recipe paper", 'weights "coco" are of the recipe matt'),
        ("evaluate --dataset D --model last --small --recipe paper", "leave out --recipe paper"),
    ],
)
def test_wrong_command_lines_are_refused(coco, capsys, line, message):
    assert message in refusal(coco, capsys, line, status=2)


def test_command_lines_of_the_readme(coco):
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python samples/coco/coco.py (.*)$", text, re.MULTILINE)
    assert len(lines) == 8
    for line in lines:
        args = coco.main.parser.parse_args(line.split())
        assert args.run in (coco.run_train, coco.run_evaluate)


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ("", [("heads", 0.001, 40), ("4+", 0.001, 120), ("all", 0.0001, 160)]),
        ("--epochs 8 --rate 0.01", [("heads", 0.01, 2), ("4+", 0.01, 6), ("all", 0.001, 8)]),
        ("--epochs 3", [("4+", 0.001, 2), ("all", 0.0001, 3)]),
        ("--epochs 1", [("all", 0.0001, 1)]),
        ("--layers 3+ --epochs 5", [("3+", 0.001, 5)]),
        ("--layers fpn_.*", [("fpn_.*", 0.001, 160)]),
        ("--model random --epochs 4", [("all", 0.001, 3), ("all", 0.0001, 4)]),
        ("--model random --epochs 3", [("all", 0.001, 3)]),
    ],
)
def test_stages_of_training(coco, root, oracle, capsys, options, stages):
    line = f"train --dataset {root} --logs L --model imagenet {options}"
    coco.main(line.split())
    found = [(o["layers"], o["learning_rate"], o["epochs"]) for _, _, o in oracle.trained]
    assert found == [(layers, pytest.approx(rate), last) for layers, rate, last in stages]
    assert oracle.made[0].logs == "L"
    assert oracle.made[0].config.NUM_CLASSES == 4
    assert f"Checkpoints and loss curves are in {oracle.log_dir}." in capsys.readouterr().out


def test_finished_stages_are_left_out(coco, root, oracle, capsys):
    oracle.epoch = 120
    line = f"train --dataset {root} --model last"
    coco.main(line.split())
    assert [options["epochs"] for _, _, options in oracle.trained] == [160]
    coco.main(line.split())
    assert len(oracle.trained) == 1
    assert "160 epochs are finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "train", "val"),
    [
        ("", [100, 99, 98, 97, 96, 95], [208, 207, 206, 205, 204]),
        ("--limit 2 --download False", [100, 99], [208, 207]),
        ("--year 2014", [300, 299, 298, 500, 499, 498, 497], [400, 399]),
    ],
)
def test_images_of_training(coco, root, oracle, capsys, options, train, val):
    coco.main(f"train --dataset {root} --model random --epochs 1 {options}".split())
    assert oracle.trained[0][:2] == (train, val)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "subset", "image_ids"),
    [
        ("--year 2014", "minival2014", [400, 399]),
        ("--subset train --limit 3", "train2017", [100, 99, 98]),
        ("--year 2014 --subset valminusminival", "valminusminival2014", [500, 499, 498, 497]),
    ],
)
def test_images_of_evaluation(coco, root, oracle, capsys, monkeypatch, options, subset, image_ids):
    seen = []

    def detect(images, mask_format):
        seen.append(images[0].tobytes())
        return [{"rois": np.zeros((0, 4)), "class_ids": [], "scores": [], "masks": []}]

    monkeypatch.setattr(oracle, "detect", detect)
    coco.main(f"evaluate --dataset {root} --model last {options}".split())
    assert f"/bbox_{subset}_results.json." in capsys.readouterr().out
    assert seen == [draw_shapes(image_id)[0].tobytes() for image_id in image_ids]


def test_options_reach_the_config(coco, root, oracle, capsys):
    line = f"train --dataset {root} --model random --epochs 1 --gpus 3 --steps 7 --rate 0.5"
    coco.main(f"{line} --precision mixed_bfloat16".split())
    config = oracle.made[0].config
    found = config.GPU_COUNT, config.STEPS_PER_EPOCH, config.LEARNING_RATE, config.PRECISION
    assert found == (3, 7, 0.5, "mixed_bfloat16")
    assert (config.NAME, config.TRAIN_BN, config.BATCH_SIZE) == ("coco_random", None, 6)
    coco.main(f"evaluate --dataset {root} --model last --small".split())
    config = oracle.made[1].config
    assert (config.NAME, config.DETECTION_MIN_CONFIDENCE) == ("coco_small", 0)
    assert config.STEPS_PER_EPOCH == coco.SmallCocoConfig.STEPS_PER_EPOCH
    capsys.readouterr()


def test_images_are_mirrored_in_training(coco, root, oracle, capsys):
    coco.main(f"train --dataset {root} --model coco --epochs 1".split())
    oracle.epoch = 0
    coco.main(f"train --dataset {root} --model random --small --epochs 1".split())
    augmentation = oracle.trained[0][2]["augmentation"]
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    seen = {augmentation(image=image).tobytes() for _ in range(40)}
    assert seen == {image.tobytes(), image[:, ::-1].tobytes()}
    assert oracle.trained[-1][2]["augmentation"] is None
    capsys.readouterr()
