"""The COCO sample as a module, a small data set in COCO's layout, and a stand-in for a model."""

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.io
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn import cli
from tests.conftest import draw_shapes

# COCO's ids have gaps, too.
CATEGORIES = {3: "square", 7: "circle", 20: "triangle"}

SAMPLE = Path(__file__).parents[3] / "samples/coco"


@contextlib.contextmanager
def imported():
    """The sample's script as a module, imported as `python coco.py` and notebooks do it."""
    names = [path.stem for path in SAMPLE.glob("*.py")]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SAMPLE))
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        yield importlib.import_module("coco")
        for name in names:
            sys.modules.pop(name, None)


def write_part(root, subset, year, count, first_id=100, size=64, folder=None):
    """Write images `<folder><year>/*.png` and `annotations/instances_<subset><year>.json`.

    Image number i has the id `first_id - i`, so that neither list nor ids are in rising order of
    anything. Of each image the first object is a crowd if its id is divisible by 4.
    Returns the annotations as they were written.
    """
    images = root / f"{folder or subset}{year}"
    images.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    data = {"images": [], "annotations": [], "categories": []}
    data["categories"] = [{"id": key, "name": name} for key, name in CATEGORIES.items()]
    for image_id in range(first_id, first_id - count, -1):
        image, masks, class_ids = draw_shapes(image_id, size)
        name = f"{image_id:012d}.png"
        skimage.io.imsave(images / name, image, check_contrast=False)
        data["images"].append({"id": image_id, "file_name": name, "height": size, "width": size})
        for index, class_id in enumerate(class_ids):
            data["annotations"].append(
                {
                    "id": image_id * 10 + index,
                    "image_id": image_id,
                    "category_id": list(CATEGORIES)[class_id - 1],
                    **_outline(masks[..., index]),
                    "iscrowd": int(index == 0 and image_id % 4 == 0),
                }
            )
    path = root / "annotations" / f"instances_{subset}{year}.json"
    path.write_text(json.dumps(data))
    return data


def _outline(mask):
    runs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    box, area = coco_mask.toBbox(runs).tolist(), int(coco_mask.area(runs))
    runs["counts"] = runs["counts"].decode()
    return {"segmentation": runs, "bbox": box, "area": area}


@pytest.fixture(scope="module")
def coco():
    """The script as a module."""
    with imported() as module:
        yield module


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with train2017 (6 images), val2017 (5), and of 2014 train, val and its parts."""
    root = tmp_path_factory.mktemp("coco")
    write_part(root, "train", 2017, 6)
    write_part(root, "val", 2017, 5, first_id=208)
    write_part(root, "train", 2014, 3, first_id=300)
    write_part(root, "minival", 2014, 2, first_id=400, folder="val")
    write_part(root, "valminusminival", 2014, 4, first_id=500, folder="val")
    return root


def load(coco, root, subset="val", year="2017", **options):
    dataset = coco.CocoDataset()
    returned = dataset.load_coco(root, subset, year, **options)
    dataset.prepare()
    return dataset, returned


def coco_ids(dataset):
    return [info["id"] for info in dataset.image_info]


class Oracle:
    """A stand-in for MaskRCNN that detects the objects of every image, with some errors."""

    epoch = 0
    config = SimpleNamespace(NUM_CLASSES=1 + len(CATEGORIES))

    def __init__(self, dataset, log_dir):
        rng = np.random.default_rng(3)
        self.log_dir, self.trained, self.answers = str(log_dir), [], {}
        for image_id in dataset.image_ids:
            masks, class_ids = dataset.load_mask(image_id)
            # Some masks lie a few pixels off, and one class in five is wrong.
            moved = [np.roll(mask, rng.integers(6), axis=1) for mask in np.moveaxis(masks, -1, 0)]
            wrong = rng.random(len(class_ids)) < 0.2
            runs = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in moved]
            x1, y1, width, height = np.int32([coco_mask.toBbox(run) for run in runs]).T
            self.answers[dataset.load_image(image_id).tobytes()] = {
                "rois": np.stack([y1, x1, y1 + height, x1 + width], axis=1),
                "class_ids": np.where(wrong, 1 + abs(class_ids) % 3, abs(class_ids)),
                "scores": rng.random(len(class_ids), np.float32),
                "masks": runs,
            }

    def forget(self):
        for answer in self.answers.values():
            answer.update({key: value[:0] for key, value in answer.items()})

    def detect(self, images, mask_format="full"):
        assert mask_format == "rle"
        return [self.answers[image.tobytes()] for image in images]

    def train(self, train, val, **options):
        self.trained.append((coco_ids(train), coco_ids(val), options))
        self.epoch = options["epochs"]
        return SimpleNamespace(history={})


@pytest.fixture
def oracle(coco, root, monkeypatch, tmp_path):
    """An Oracle of val2017 in place of every model; its `made` lists what models were asked for."""
    oracle = Oracle(load(coco, root)[0], tmp_path / "run")
    oracle.made = []

    def make_model(mode, weights, logs, config, from_random=None, seed=0, **settings):
        if from_random and weights == "random":
            config = from_random
        config = config()
        for name, value in settings.items():
            setattr(config, name, value)
        config.validate()
        oracle.config = config
        oracle.made.append(SimpleNamespace(mode=mode, config=config, logs=logs, weights=weights))
        return oracle

    monkeypatch.setattr(cli, "make_model", make_model)
    return oracle


def by_hand(annotations, results, eval_type, image_ids=None):
    """The lines of the summary that pycocotools prints for files."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluator = COCOeval(truth, truth.loadRes(str(results)), eval_type)
        if image_ids:
            evaluator.params.imgIds = image_ids
        evaluator.evaluate()
        evaluator.accumulate()
        with contextlib.redirect_stdout(printed):
            evaluator.summarize()
    return printed.getvalue().splitlines()


def summaries(text):
    """The twelve lines of each summary in a text."""
    lines = [line for line in text.splitlines() if line.startswith(" Average ")]
    return [lines[start : start + 12] for start in range(0, len(lines), 12)]


def values(summary):
    return [float(line.rsplit("=", 1)[1]) for line in summary]


def refusal(coco, capsys, line, status=1):
    """The message with which a command line is refused: one sentence, or argparse's."""
    with pytest.raises(SystemExit) as exit_:
        coco.main(line.split())
    output = capsys.readouterr()
    assert (exit_.value.code, output.out) == (status, "")
    assert status == 2 or output.err.count("\n") == 1
    return output.err
