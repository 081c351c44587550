"""A script as users of Matterport's library wrote it runs to its end, and does what it says."""

import contextlib
import io
import random
import re
import runpy
from pathlib import Path

import h5py
import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage.io import imread

from mrcnn.graph import build_graph

SCRIPT = Path(__file__).with_name("legacy_script.py")


def write_coco_file(path, model, classes):
    """The weights of a model in the historical layout, but heads for `classes` classes."""
    own = {"mrcnn_class_logits": 1, "mrcnn_bbox_fc": 4, "mrcnn_mask": 1}
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = np.array([layer.name for layer in layers], "S")
        for layer in layers:
            group, names = file.create_group(layer.name), []
            for weight in layer.weights:
                names.append("/".join(weight.path.split("/")[-2:]) + ":0")
                group[names[-1]] = weight.numpy()
                if layer.name in own:
                    del group[names[-1]]
                    shape = (*weight.shape[:-1], own[layer.name] * classes)
                    group[names[-1]] = np.ones(shape, np.float32)
            group.attrs["weight_names"] = np.array(names, "S")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder in which the script ran, its variables, and what it printed."""
    folder, output = tmp_path_factory.mktemp("legacy"), io.StringIO()
    config = runpy.run_path(str(SCRIPT), run_name="definitions")["CellsConfig"]()
    write_coco_file(folder / "mask_rcnn_coco.h5", build_graph(config, "training"), classes=81)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.chdir(folder)
        plt.switch_backend("Agg")
        random.seed(0)
        keras.utils.set_random_seed(0)
        variables = runpy.run_path(str(SCRIPT), run_name="__main__")
    yield folder, variables, output.getvalue()
    plt.close("all")


def test_checkpoints(run):
    folder, variables, _ = run
    (run_folder,) = (path for path in (folder / "logs").iterdir() if path.is_dir())
    assert re.fullmatch(r"cells\d{8}T\d{4}", run_folder.name)
    checkpoints = sorted(path.name for path in run_folder.glob("*.h5"))
    assert checkpoints == ["mask_rcnn_cells_0001.h5", "mask_rcnn_cells_0002.h5"]
    assert variables["model_path"] == str(run_folder / checkpoints[1])
    # What was saved by hand is the last checkpoint, and what was loaded for inference.
    with h5py.File(folder / "logs" / "mask_rcnn_cells.h5") as saved:
        with h5py.File(run_folder / checkpoints[1]) as last:
            for name in ("res1_conv/res1_conv/kernel:0", "rpn_model/rpn_class_raw/bias:0"):
                np.testing.assert_array_equal(saved[name], last[name])
        kernel = variables["model"].keras_model.get_layer("res1_conv").kernel.numpy()
        np.testing.assert_array_equal(kernel, saved["res1_conv/res1_conv/kernel:0"])


def test_weights_of_the_stages(run):
    folder, variables, output = run
    loaded, heads, everything = (
        variables[f"weights_after_{stage}"] for stage in ("loading", "heads", "all")
    )
    with h5py.File(folder / "mask_rcnn_coco.h5") as file:
        np.testing.assert_array_equal(loaded[0], file["res4b_branch2b/res4b_branch2b/kernel:0"])
    np.testing.assert_array_equal(heads[0], loaded[0])
    assert not np.array_equal(everything[0], loaded[0])
    skipped = re.search(r"skipped, excluded +3 layers  (.*)", output)[1].split(", ")
    assert sorted(skipped) == ["mrcnn_bbox_fc", "mrcnn_class_logits", "mrcnn_mask"]


def test_what_was_printed(run):
    output = run[2]
    assert re.search(r"^NUM_CLASSES +3$", output, re.MULTILINE)
    assert "Starting at epoch 0. LR=0.02" in output
    assert "Starting at epoch 1. LR=0.01" in output
    assert "Processing 1 images" in output
    assert re.search(r"^gt_bbox +shape: \(2, 4\) ", output, re.MULTILINE)
    assert f"mAP:  {np.mean(run[1]['APs'])}" in output
    # Shown while it trains, and at the end with the losses of validation.
    assert re.search(r"^ +loss .* mrcnn_mask .*\ntrain +\d.*\nval_ +\d", output, re.MULTILINE)


def test_ground_truth(run):
    variables = run[1]
    dataset, image_id = variables["dataset_val"], variables["image_id"]
    masks, class_ids = dataset.load_mask(image_id)
    np.testing.assert_array_equal(variables["gt_mask"], masks)
    np.testing.assert_array_equal(variables["gt_class_id"], class_ids)
    np.testing.assert_array_equal(variables["image"], dataset.load_image(image_id))
    np.testing.assert_allclose(
        variables["molded_images"][0],
        dataset.load_image(image_id) - variables["config"].MEAN_PIXEL,
        atol=1e-4,
    )
    for (y1, x1, y2, x2), (cy, cx, radius) in zip(
        variables["gt_bbox"], dataset.image_reference(image_id), strict=True
    ):
        # Pixels nearer than the radius, so the box has 2 * radius - 1 pixels a side.
        assert (y1, y2) == (cy - radius + 1, cy + radius)
        assert (x1, x2) == (cx - radius + 1, cx + radius)


def test_detections(run):
    variables = run[1]
    result = variables["r"]
    count = len(result["rois"])
    assert 0 < count <= 10
    assert result["masks"].shape == (64, 64, count)
    expected = variables["model"].detect([variables["image"]])[0]
    for name, value in result.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    # It has learnt something in 50 steps, and perfection is 1.
    assert len(variables["APs"]) == 3
    assert np.mean(variables["APs"]) > 0.2
    assert all(0 <= ap <= 1 for ap in variables["APs"])
    assert variables["perfect"] == 1
    assert variables["overlaps"].shape == (count, 2)


def test_pictures(run):
    for name in ("ground_truth.png", "detections.png"):
        image = imread(run[0] / name)
        assert image.shape[:2] == (400, 400)
        # More colours than the three of the photo.
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 10
