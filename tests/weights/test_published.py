"""Published architectures from state dict to detections, beside those of `test_golden_programs`.

`golden/published_architectures.npz` has what torchvision 0.28 computes, and, for Detectron2, a
program of PyTorch's and torchvision's operators that gives each of the values in
`golden/detectron2_r50_fpn.npz` exactly. Weights, photo and settings are as for the latter.
"""

import keras
import numpy as np
import pytest
import skimage.data

from mrcnn.model import MaskRCNN
from mrcnn.weights.tensor_writers import write_safetensors
from tests.golden_detections import SETTINGS, check_detections
from tests.golden_state_dicts import GOLDEN, fill
from tests.mini import silent
from tests.weights.layouts import R101, detectron2_detector, torchvision_detector

LAYOUTS = {
    "torchvision_v2": torchvision_detector(v2=True),
    "torchvision_resnext101": torchvision_detector(R101, 32, 8, norm="FrozenBN"),
    "detectron2_c4": detectron2_detector(neck="c4"),
    # A photo that becomes 256x376, which Detectron2 does not pad without a pyramid.
    "detectron2_c4_odd": detectron2_detector(neck="c4"),
    "detectron2_dc5": detectron2_detector(neck="dc5"),
    "detectron2_group_norm": detectron2_detector(norm="GN", new="GN", box_convs=4),
    "detectron2_jitter": detectron2_detector(norm="BN", new="BN", rpn_convs=2, box_convs=4),
    "detectron2_resnext101": detectron2_detector(R101, 32, 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_from_weights_to_detections(name, tmp_path):
    program = name.split("_")[0]
    stored = np.load(GOLDEN / "published_architectures.npz")
    golden = {key.split("/")[1]: stored[key] for key in stored if key.startswith(f"{name}/")}
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, {n: fill(program, n, shape) for n, shape in LAYOUTS[name].items()})
    model = silent(MaskRCNN.from_weights, path, **SETTINGS)
    path.unlink()
    photo = skimage.data.astronaut()
    photo = photo[60:400, 5:505] if name.endswith("odd") else photo
    check_box_head(model, photo, golden, program)
    check_detections(model.detect([photo])[0], golden, program)


def check_box_head(model, photo, golden, program):
    network, image = model.network, model.keras_model.inputs[0]
    boxes = keras.Input((None, 4))
    features = network._features(network.operators.box_align, boxes)
    logits, _, deltas = network.parts.box_head(features)
    head = keras.Model([image, boxes], [logits, deltas])
    molded = model.mold_inputs([photo])[0]
    # Theirs are (x1, y1, x2, y2) in pixels.
    proposals = golden["proposals"][None][..., [1, 0, 3, 2]] / np.tile(molded.shape[1:3], 2)
    logits, deltas = (x.numpy()[0] for x in head([molded, np.float32(proposals)]))
    theirs = golden["class_logits"]
    if program == "detectron2":
        theirs = np.roll(theirs, 1, axis=1)
    np.testing.assert_allclose(logits, theirs, rtol=0, atol=2e-3)
    theirs = golden["box_regression"].reshape(len(theirs), -1, 4)[..., [1, 0, 3, 2]]
    np.testing.assert_allclose(deltas[:, -theirs.shape[1] :], theirs, rtol=0, atol=2e-3)
