"""The examples of docs/variants.md, saved as modules of a package `variants`."""

import importlib
import math
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from mrcnn.config import Config
from mrcnn.graph import build_graph
from mrcnn.layers.losses import LossLayer
from mrcnn.model import MaskRCNN
from mrcnn.registry import BACKBONES
from mrcnn.training.selection import trainable_layers
from tests.mini import MiniShapes, mini_config, silent

PAGE = (Path(__file__).parents[1] / "docs" / "variants.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^## A (\w+)$.*?^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NAMED = {"COMPUTE_BACKBONE_SHAPE": None, "BACKBONE": "small"}


@pytest.fixture
def variant(tmp_path, monkeypatch):
    """A function that imports the example of a heading; what it registers goes afterwards."""
    folder = tmp_path / "variants"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, source in PROGRAMS:
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for table in (BACKBONES, LossLayer.LOSSES, LossLayer.COUNTS):
        for name in list(table):
            monkeypatch.setitem(table, name, table[name])
    before = [(table, set(table)) for table in (BACKBONES, LossLayer.LOSSES, LossLayer.COUNTS)]
    yield lambda name: importlib.import_module(f"variants.{name}")
    for table, names in before:
        for name in set(table) - names:
            del table[name]
    for name in [name for name in sys.modules if name.split(".")[0] == "variants"]:
        del sys.modules[name]


def parameters(model):
    """Number of parameters of each layer, by name."""
    return {layer.name: layer.count_params() for layer in trainable_layers(model)}


def test_there_is_one_short_example_of_each():
    assert [name for name, _ in PROGRAMS] == ["backbone", "head", "loss", "reader", "recipe"]
    assert PAGE.count("```python") == len(PROGRAMS)
    for _, source in PROGRAMS:
        lines = [line for line in source.splitlines() if line.strip()]
        assert len(lines) < 30


def test_backbone(variant):
    variant("backbone")
    config = mini_config(**NAMED | {"BACKBONE": "plain"})
    config.validate()
    model = build_graph(config, "inference")
    counts = parameters(model)
    channels = (3, 8, 16, 16, 24, 24)
    for stage, (inputs, outputs) in enumerate(zip(channels, channels[1:], strict=False), start=1):
        # 3 x 3 weights and a bias per channel; gamma, beta, mean and variance.
        assert counts[f"conv{stage}"] == (9 * inputs + 1) * outputs
        assert counts[f"bn{stage}"] == 4 * outputs
    # White is (255 - 127.5) / 127.5 = 1; what molding has subtracted is added again.
    normalized = keras.Model(model.inputs[0], model.get_layer("normalized_image").output)
    white = 255 - np.broadcast_to(config.MEAN_PIXEL, (1, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(normalized(white), 1, atol=1e-5)


def test_head(variant):
    variant("head")
    config = mini_config(RECIPE="variants.head")
    config.validate()
    keras.utils.set_random_seed(0)
    model = build_graph(config, "inference")
    counts = parameters(model)
    # 16 channels of the pyramid; 3 classes, and 4 deltas of each.
    assert counts["mrcnn_class_logits"] == (16 + 1) * 3
    assert counts["mrcnn_bbox_fc"] == (16 + 1) * 12
    assert not any("mrcnn_class_conv" in name for name in counts)
    layers = [model.get_layer(name) for name in ("roi_align_classifier", "mrcnn_class_logits")]
    inside = keras.Model(model.inputs, [layer.output for layer in layers])
    rng = np.random.default_rng(0)
    image = rng.normal(0, 50, (1, 64, 64, 3)).astype(np.float32)
    # One anchor for each of three ratios at 16 x 16 cells down to 1 x 1.
    corners = np.sort(rng.random((1, 3 * 341, 2, 2)), axis=2).astype(np.float32)
    inputs = [image, np.zeros((1, 15), np.float32), corners.reshape(1, -1, 4)]
    features, logits = inside(inputs, training=False)
    kernel, bias = (np.asarray(weight) for weight in layers[1].weights)
    expected = np.asarray(features).mean(axis=(2, 3)) @ kernel + bias
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.asarray(logits).std() > 0


def test_loss(variant, tmp_path):
    module = variant("loss")
    # Two RoIs of class 1 with masks of 2 x 2, and one of the background.
    targets = np.zeros((1, 3, 2, 2), np.float32)
    targets[0, :, 0] = 1
    masks = np.full((1, 3, 2, 2, 2), 0.9, np.float32)
    masks[0, 0, ..., 1] = targets[0, 0]
    masks[0, 1, ..., 1] = 0.5
    ids = np.array([[1, 1, 0]], np.int32)
    # The first mask is right: 0. The second: 1 - 2 * 1 / (2 + 2) = 0.5. The mean is 0.25.
    assert float(module.mask_dice_loss_graph(targets, ids, masks)) == pytest.approx(0.25)
    assert float(module.mask_dice_loss_graph(targets, 0 * ids, masks)) == 0

    # Nearly all anchors become proposals, so that some are positive before the RPN has learnt.
    many = {"POST_NMS_ROIS_TRAINING": 1000, "RPN_NMS_THRESHOLD": 0.99, "WEIGHT_DECAY": 0}
    weights = {**Config.LOSS_WEIGHTS, "mask_dice_loss": 0.5}
    config = mini_config(
        RECIPE="variants.loss", LOSS_WEIGHTS=weights, STEPS_PER_EPOCH=1, VALIDATION_STEPS=0, **many
    )
    keras.utils.set_random_seed(0)
    model = MaskRCNN("training", config, str(tmp_path / "logs"))
    history = silent(model.train, MiniShapes(4), None, 0.01, 1, "all").history
    logged = {name: values[0] for name, values in history.items() if name.endswith("_loss")}
    assert len(logged) == 6
    # Masks begin near 0.5 on every pixel.
    assert 0.2 < logged["mask_dice_loss"] < 0.9 and logged["mrcnn_mask_loss"] > 0
    logged["mask_dice_loss"] *= 0.5
    assert history["loss"][0] == pytest.approx(math.fsum(logged.values()), rel=1e-5)


def test_reader(variant, tmp_path):
    dataset = variant("reader").CsvDataset()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / name)
    rows = ["image,label,y1,x1,y2,x2", "a.png,pear,2,3,10,12", "a.png,apple,0,0,20,1"]
    rows += ["a.png,plum,1,1,5,5", "b.png,pear,4,4,4,9", "c.png,pear,1,1,5,5"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="boxes.csv: 3 entries are left out"):
        dataset.load_csv(tmp_path / "boxes.csv", tmp_path, ["apple", "pear"])
    dataset.prepare()
    assert dataset.class_names == ["BG", "apple", "pear"]
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [2, 1]
    expected = np.zeros((20, 30, 2), bool)
    expected[2:10, 3:12, 0] = True
    expected[:, :1, 1] = True
    np.testing.assert_array_equal(masks, expected)
    # A rectangle without height, a class that nobody asked for and a photo that is missing.
    assert dataset.num_images == 2 and dataset.load_mask(1)[1].size == 0
    assert sorted(note.where for note in dataset.notes) == [
        "c.png",
        "pear of b.png",
        "plum of a.png",
    ]


def test_recipe(variant):
    module = variant("recipe")
    config = mini_config(RECIPE="variants.recipe")
    config.validate()
    boxes = module.anchors(config).of_image((64, 64))
    # 16 x 16 cells at stride 4 down to 1 at stride 64, three ratios of two sizes in each.
    assert len(boxes) == 6 * (256 + 64 + 16 + 4 + 1)
    np.testing.assert_allclose(boxes[:6].reshape(6, 2, 2).mean(axis=1), 2)
    root = math.sqrt(2)
    # The squares of 8 and 8 * sqrt(2) pixels around the middle of the first cell.
    np.testing.assert_allclose(boxes[2:4, 0], [-2, 2 - 4 * root])
    model = build_graph(config, "training")
    counts = parameters(model)
    assert counts["rpn_class_raw"] == (512 + 1) * 2 * 6
    assert counts["rpn_bbox_pred"] == (512 + 1) * 4 * 6
    layer = model.get_layer("anchors")
    image = np.zeros((1, 64, 64, 3), np.float32)
    levels = [np.zeros((1, side, side, 1), np.float32) for side in (16, 8, 4, 2, 1)]
    expected = (boxes - [0, 0, 1, 1]) / 63
    np.testing.assert_allclose(layer(image, levels)[0], expected, atol=1e-6)
    # The targets of the RPN are about these anchors, too.
    match, _ = module.rpn_targets(config)(
        (64, 64), np.array([1]), boxes[2:3] + 20, np.random.default_rng(0)
    )
    assert len(match) == len(boxes)
