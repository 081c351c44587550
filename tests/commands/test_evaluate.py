"""`mrcnn evaluate`, with a detector that knows the truth by the names of the classes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.commands import evaluate, main
from mrcnn.commands.worst import f1_of_image
from mrcnn.evaluation.dataset_metrics import compute_coco_metrics
from tests.commands.drawn import draw_photos
from tests.mini import MiniShapes


class Oracle:
    """Finds the bright rectangle of a drawn photo; a tall box is "bar" if wider than high."""

    def __init__(self, class_names, num_classes=None, wrong=()):
        self.class_names, self.wrong, self.calls = class_names, wrong, 0
        count = num_classes or len(class_names)
        self.config = SimpleNamespace(BATCH_SIZE=1, NUM_CLASSES=count)
        self.load_report = None

    def detect(self, images, mask_format="rle"):
        results = []
        for image in images:
            mask = image[..., 0] == 200
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            name = "bar" if len(columns) > len(rows) else "box"
            names = self.class_names or ["BG", "bar", "box"]
            number = names.index(name)
            if self.calls in self.wrong:
                number = 3 - number
            self.calls += 1
            box = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            results.append(
                {
                    "rois": np.array([box], np.int32),
                    "class_ids": np.array([number], np.int32),
                    "scores": np.array([0.9], np.float32),
                    "masks": [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))],
                }
            )
        return results


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return str(draw_photos(tmp_path_factory.mktemp("evaluate") / "photos", 4))


@pytest.fixture
def evaluated(monkeypatch, capsys, photos):
    """Return a function of a detector and options: exit status, document, standard error."""

    def run(detector, *options):
        monkeypatch.setattr(evaluate, "load_detector", lambda args, **settings: detector)
        status = main(["evaluate", photos, *options, "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return run


@pytest.mark.parametrize(
    "names",
    [["BG", "bar", "box"], ["BG", "box", "bar"], ["BG", "disc", "box", "ring", "bar"], None],
    ids=["same", "other order", "more classes", "no names"],
)
def test_classes_meet_by_name(evaluated, names):
    """All is found, so AP is 1; by numbers, it would be 0 in another order."""
    status, found, err = evaluated(Oracle(names, 3 if names is None else None))
    assert (status, found["images"]) == (0, 4)
    assert found["boxes"]["AP"] == found["masks"]["AP"] == pytest.approx(1)
    counts = {row["name"]: row["count"] for row in found["masks"]["by_class"] if row["count"]}
    assert counts == {"box": 2, "bar": 2}
    assert ("do not name their classes" in err) == (names is None)


@pytest.mark.parametrize(
    ("detector", "sentence"),
    [
        (
            Oracle(["BG", "box", "disc"]),
            "do not know classes of .*: bar; they know box, disc",
        ),
        (Oracle(None, 5), "The weights have 4 classes without names, and .* has 2: bar, box"),
    ],
)
def test_other_classes_are_refused(evaluated, detector, sentence):
    import re

    status, found, err = evaluated(detector)
    assert (status, found, detector.calls) == (1, None, 0)
    assert re.search(sentence, err) and err.count("\n") == 1


def test_worst_images(evaluated, tmp_path):
    """The third photo has its class wrong."""
    folder = tmp_path / "worst"
    detector = Oracle(["BG", "bar", "box"], wrong=(2,))
    _, found, _ = evaluated(detector, "--worst", "1", "--output", str(folder))
    (worst,) = found["worst"]
    assert (worst["f1"], worst["picture"]) == (0, str(folder / "001_2.png"))
    assert "2.png" in worst["image"] and (folder / "001_2.png").stat().st_size > 0
    # Of two boxes one was found: the area under its curve, at 51 of 101 recalls.
    by_name = {row["name"]: row["AP"] for row in found["masks"]["by_class"]}
    assert by_name["box"] == pytest.approx(51 / 101)


def test_f1_by_hand():
    """Two squares, of which one is found, and a false positive: 2 / (2 + 1 + 1)."""
    dataset = MiniShapes(1)
    masks = np.zeros((64, 64, 2), bool)
    masks[:20, :20, 0] = masks[30:60, 30:60, 1] = True
    dataset.load_mask = lambda image_id: (masks, np.array([1, 1], np.int32))
    other = np.zeros((64, 64), bool)
    other[:9, 40:] = True
    found = [masks[..., 0], other]

    def detect(images, mask_format):
        rles = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in found]
        boxes = np.array([[0, 0, 20, 20], [0, 40, 9, 64]])
        return [{"rois": boxes, "class_ids": [1, 1], "scores": [0.9, 0.8], "masks": rles}]

    model = SimpleNamespace(detect=detect, config=SimpleNamespace(BATCH_SIZE=1))
    metrics = compute_coco_metrics(dataset, model, verbose=0)
    assert f1_of_image(metrics, 0) == 0.5
    # Above both scores nothing is found; above one, the false positive is gone: 2 / (2 + 1).
    assert f1_of_image(metrics, 0, 0.95) == 0
    assert f1_of_image(metrics, 0, 0.85) == pytest.approx(2 / 3)


def test_part(evaluated, photos):
    _, found, _ = evaluated(Oracle(["BG", "bar", "box"]), "--part", "val", "--limit", "1")
    assert found["images"] == 1
