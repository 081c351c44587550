"""Exports of ResNet-50 in full size, both recipes, photos of three sizes, beside `detect`."""

import importlib

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from skimage import data

from mrcnn.config import Config
from mrcnn.export.compare import reference
from mrcnn.inference.molding import unmolder
from mrcnn.model import MaskRCNN
from mrcnn.ops.boxes import compute_overlaps
from mrcnn.weights.tensor_writers import write_safetensors
from tests.golden_state_dicts import state_dict
from tests.golden_weights import set_golden_weights
from tests.mini import silent

PATHS = {
    "saved_model": "folder",
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "litert": "model.tflite",
}


class Resnet50Config(Config):
    NAME = "resnet50"
    BACKBONE = "resnet50"
    NUM_CLASSES = 81
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0


@pytest.fixture(scope="module")
def photos():
    photo = data.astronaut()
    parts = photo[:427], photo[:, :384], photo[100:356, 50:434]
    return [np.ascontiguousarray(part) for part in parts]


@pytest.fixture(scope="module", params=["matterport", "paper"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "matterport":
        model = MaskRCNN("inference", Resnet50Config(), str(folder))
        set_golden_weights(model.get_trainable_layers())
        return model
    path = folder / "weights.safetensors"
    write_safetensors(path, state_dict("torchvision", "r50_v1"))
    settings = {"DETECTION_MIN_CONFIDENCE": 0, "IMAGES_PER_GPU": 1}
    return silent(MaskRCNN.from_weights, path, model_dir=str(folder), **settings)


@pytest.mark.slow
@pytest.mark.parametrize("format", PATHS)
def test_every_detection_is_found(model, photos, format, tmp_path):
    path = tmp_path / PATHS[format]
    # LiteRT has one size per file; its other sizes would be other files.
    sizes = [photo.shape[:2] for photo in photos] if format == "litert" else [None]
    for number, size in enumerate(sizes):
        mine = photos if size is None else photos[number : number + 1]
        silent(model.export, path, format, image_size=size, calibration=mine, overwrite=number > 0)
        run = importlib.import_module(f"mrcnn.export.{format}").load(str(path))
        for photo in mine:
            expected = model.detect([photo])[0]
            small = reference(model._detector, photo, model.config)["masks"]
            check(run(photo), expected, small, unmolder(model.config).keywords["paste"])


def check(found, expected, small, paste):
    rows = found["class_ids"] > 0
    found = {name: np.asarray(value)[rows] for name, value in found.items()}
    overlaps = compute_overlaps(expected["rois"].astype(float), found["boxes"])
    overlaps[expected["class_ids"][:, None] != found["class_ids"]] = 0
    ours, theirs = linear_sum_assignment(-overlaps)
    assert len(ours) == len(expected["scores"]) == len(found["scores"]) == 100
    assert abs(expected["rois"][ours] - found["boxes"][theirs]).max() <= 0.5
    assert abs(expected["scores"][ours] - found["scores"][theirs]).max() < 1e-3
    # At the same boxes, because the paper's way of pasting moves a mask by a whole pixel where a
    # side of its box passes a whole number.
    boxes = found["boxes"][theirs].astype(expected["rois"].dtype)
    masks = np.moveaxis(paste(small[ours], boxes, found["masks"].shape[1:]), -1, 0)
    for mask, other in zip(masks, found["masks"][theirs], strict=True):
        assert (mask & other).sum() >= 0.99 * (mask | other).sum()
