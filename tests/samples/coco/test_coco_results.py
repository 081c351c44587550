"""Results and figures of the COCO sample, which pycocotools confirms."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.samples.coco.conftest import (
    by_hand,
    load,
    refusal,
    summaries,
    values,
    write_part,
)

# pycocotools decodes masks in a way that NumPy 2 asks it to change.


def test_results_by_hand(coco, root):
    dataset, _ = load(coco, root)
    masks = np.zeros((64, 64, 2), bool)
    masks[10:20, 5:9, 0] = True
    masks[0, 0, 1] = True
    rois = np.array([[10, 5, 20, 9], [0, 0, 1, 1]], np.int32)
    found = rois, np.array([3, 1], np.int32), np.array([0.75, 0.5], np.float32)
    results = coco.build_coco_results(dataset, [207], *found, masks)
    assert json.loads(json.dumps(results)) == results
    assert [r.pop("segmentation")["size"] for r in results] == [[64, 64]] * 2
    assert results == [
        {"image_id": 207, "category_id": 20, "score": 0.75, "bbox": [5, 10, 4, 10]},
        {"image_id": 207, "category_id": 3, "score": 0.5, "bbox": [0, 0, 1, 1]},
    ]
    runs = [coco_mask.encode(np.asfortranarray(m, np.uint8)) for m in np.moveaxis(masks, -1, 0)]
    from_runs = coco.build_coco_results(dataset, [207], *found, runs)
    assert from_runs == coco.build_coco_results(dataset, [207], *found, masks.astype(np.uint8))
    for result, mask in zip(from_runs, np.moveaxis(masks, -1, 0), strict=True):
        assert np.array_equal(coco_mask.decode(result["segmentation"]), mask)
    assert coco.build_coco_results(dataset, [207], None, None, None, None) == []


@pytest.mark.parametrize(("limit", "image_ids"), [(0, None), (2, [208, 207])])
def test_evaluate_agrees_with_pycocotools_on_what_it_wrote(
    coco, root, oracle, capsys, tmp_path, limit, image_ids
):
    more = ["--limit", str(limit)] if limit else []
    coco.main(["evaluate", "--dataset", str(root), "--model", "last", *more])
    printed = capsys.readouterr().out
    annotations = root / "annotations/instances_val2017.json"
    expected = [
        by_hand(annotations, tmp_path / "run" / f"{name}_val2017_results.json", name, image_ids)
        for name in ("bbox", "segm")
    ]
    assert summaries(printed) == expected
    # Errors were made, and not only errors.
    assert all(0.1 < values(summary)[0] < 0.9 for summary in expected)
    assert "Boxes, 2 images" in printed if limit else "Masks, 5 images" in printed
    assert oracle.made[0].config.DETECTION_MIN_CONFIDENCE == 0
    assert (oracle.made[0].mode, oracle.made[0].weights) == ("inference", "last")


def test_written_results_have_what_the_type_needs(coco, root, oracle, capsys, tmp_path):
    line = f"evaluate --dataset {root} --model last --eval segm --output {tmp_path}/new/folder"
    coco.main(line.split())
    capsys.readouterr()
    assert [path.name for path in tmp_path.rglob("*.json")] == ["segm_val2017_results.json"]
    results = json.loads((tmp_path / "new/folder/segm_val2017_results.json").read_text())
    assert {tuple(result) for result in results} == {
        ("image_id", "category_id", "score", "segmentation")
    }
    # Boxes beside masks would have pycocotools take the areas of the boxes for those of masks.
    found = [len(answer["scores"]) for answer in oracle.answers.values()]
    assert len(results) == sum(found)


def test_evaluation_without_a_single_detection(coco, root, oracle, capsys, tmp_path):
    oracle.forget()
    coco.main(["evaluate", "--dataset", str(root), "--model", "last"])
    for summary in summaries(capsys.readouterr().out):
        # All objects are small (below 32 x 32 pixels), so there is nothing to say of the others.
        assert values(summary) == [0, 0, 0, 0, -1, -1] * 2
    for path in tmp_path.rglob("*.json"):
        assert path.read_text() == "[]"


def test_table_of_classes(coco, root, oracle, capsys, tmp_path):
    coco.main(["evaluate", "--dataset", str(root), "--model", "last", "--eval", "segm"])
    printed = capsys.readouterr().out
    annotations = root / "annotations/instances_val2017.json"
    for class_id, name in ((3, "square"), (7, "circle"), (20, "triangle")):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(annotations))
            found = truth.loadRes(str(tmp_path / "run/segm_val2017_results.json"))
            evaluator = COCOeval(truth, found, "segm")
            evaluator.params.catIds = [class_id]
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
        row = next(line for line in printed.splitlines() if line.startswith(f"{name} "))
        count = len(truth.getAnnIds(catIds=[class_id], iscrowd=False))
        expected = f"{name} {count} " + " ".join(f"{value:.3f}" for value in evaluator.stats[:3])
        assert " ".join(row.split()).startswith(expected)


@pytest.mark.parametrize("eval_type", ["bbox", "segm"])
def test_results_in_a_file(coco, root, oracle, capsys, tmp_path, eval_type):
    common = ["evaluate", "--dataset", str(root)]
    coco.main([*common, "--model", "last", "--eval", eval_type])
    first = summaries(capsys.readouterr().out)
    path = tmp_path / "run" / f"{eval_type}_val2017_results.json"
    coco.main([*common, "--results", str(path)])
    assert summaries(capsys.readouterr().out) == first
    assert len(oracle.made) == 1


def test_evaluate_coco_as_old_scripts_call_it(coco, root, oracle, capsys):
    dataset, truth = load(coco, root, return_coco=True)
    found = coco.evaluate_coco(oracle, dataset, truth, "bbox", limit=3)
    same = coco.evaluate_coco(oracle, dataset, truth, "bbox", image_ids=dataset.image_ids[:3])
    other = coco.evaluate_coco(oracle, dataset, truth, "segm,bbox", image_ids=[0, 1, 2, 3])
    assert list(found) == list(same) == ["bbox"]
    assert found["bbox"].stats == same["bbox"].stats
    assert list(other) == ["segm", "bbox"]
    printed = summaries(capsys.readouterr().out)
    assert [str(stats) for stats in (*found.values(), *same.values(), *other.values())] == [
        "\n".join(summary) for summary in printed
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "holds no COCO results"),
        ('{"annotations": []}', "holds no COCO results"),
        ('[{"image_id": 1, "bbox": [0, 0, 1, 1]}]', "holds no COCO results"),
        (
            '[{"image_id": 99, "category_id": 3, "score": 1, "bbox": [0, 0, 1, 1]}]',
            "a results file for other images",
        ),
    ],
)
def test_files_without_fitting_results(coco, root, capsys, tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    assert message in refusal(coco, capsys, f"evaluate --dataset {root} --results {path}")


@pytest.mark.slow
def test_small_network_overfits_eight_images(coco, capsys, tmp_path, monkeypatch):
    # Objects of 15 to 23 pixels a side in images of 128; no photo needs so little.
    for name in ("IMAGE_MIN_DIM", "IMAGE_MAX_DIM"):
        monkeypatch.setattr(coco.SmallCocoConfig, name, 128)
    write_part(tmp_path, "train", 2017, 12, size=128)
    write_part(tmp_path, "val", 2017, 1, first_id=300, size=128)
    common = f"--dataset {tmp_path} --small --limit 8 --logs {tmp_path / 'logs'}"
    coco.main(f"train {common} --model random --steps 25 --epochs 8".split())
    coco.main(f"evaluate {common} --model last --subset train --output {tmp_path}".split())
    capsys.readouterr()
    annotations = tmp_path / "annotations/instances_train2017.json"
    results = tmp_path / "segm_train2017_results.json"
    eight = list(range(100, 92, -1))
    assert values(by_hand(annotations, results, "segm", eight))[1] >= 0.9
