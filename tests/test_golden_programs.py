"""The paper's recipe against torchvision and Detectron2: each stage on golden weights and inputs.

`golden/torchvision_r50_v1.npz` and `golden/detectron2_r50_fpn.npz` are outputs of these programs
for the astronaut of scikit-image at 256 pixels, with 200 proposals and 50 detections of any score.
Their weights follow from the names of the tensors, see `golden_state_dicts`.
"""

import gc
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import skimage.data

from mrcnn.model import MaskRCNN
from mrcnn.weights.tensor_writers import write_safetensors
from tests.golden_detections import SETTINGS, check_detections
from tests.golden_state_dicts import GOLDEN, state_dict
from tests.mini import silent

LEVELS = {
    "torchvision": [f"fpn_{i}_sample" for i in (0, 1, 2, 3)] + ["fpn_pool_sample"],
    "detectron2": [f"feat_p{i}_sample" for i in (2, 3, 4, 5, 6)],
}


@pytest.fixture(scope="module", params=[("torchvision", "r50_v1"), ("detectron2", "r50_fpn")])
def case(request, tmp_path_factory):
    """A model with golden weights, the golden values, and outputs of the model."""
    program, name = request.param
    golden = np.load(GOLDEN / f"{program}_{name}.npz")
    folder = tmp_path_factory.mktemp(program)
    path = folder / "weights.safetensors"
    write_safetensors(path, state_dict(program, name))
    model = silent(MaskRCNN.from_weights, path, model_dir=folder, **SETTINGS)
    path.unlink()
    photo = skimage.data.astronaut()
    image = model.mold_inputs([photo])[0]
    network = model.network
    boxes = keras.Input((None, 4), name="golden_proposals")
    features = network._features(network.operators.box_align, boxes)
    logits, _, deltas = network.parts.box_head(features)
    symbolic = model.keras_model.inputs[0]
    head = keras.Model([symbolic, boxes], [features, logits, deltas])
    # Theirs are (x1, y1, x2, y2) in pixels.
    proposals = golden["proposals"][None][..., [1, 0, 3, 2]] / 256
    features, logits, deltas = (x.numpy()[0] for x in head([image, np.float32(proposals)]))
    pyramid = keras.Model(symbolic, list(network.pyramid.values()))(image)
    yield SimpleNamespace(
        program=program,
        golden=golden,
        model=model,
        photo=photo,
        image=image[0],
        pyramid=[level.numpy()[0] for level in pyramid],
        features=features,
        logits=logits,
        deltas=deltas,
        found=model.detect([photo])[0],
    )
    del model, network, head
    keras.utils.clear_session()
    gc.collect()


def test_resized_photo(case):
    if case.program == "torchvision":
        ours = case.image[::16, ::16].transpose(2, 0, 1)
        np.testing.assert_allclose(ours, case.golden["batch_sample"], rtol=0, atol=1e-3)
    else:
        mean, std = np.array(case.model.config.MEAN_PIXEL), np.array(case.model.config.STD_PIXEL)
        ours = (case.image * std + mean)[::16, ::16, ::-1]
        np.testing.assert_allclose(ours, case.golden["resized_sample"], rtol=0, atol=1e-3)


def test_pyramid(case):
    for ours, name in zip(case.pyramid, LEVELS[case.program], strict=True):
        height, width = ours.shape[:2]
        ours = ours[:: max(1, height // 8), :: max(1, width // 8), ::32].transpose(2, 0, 1)
        golden = case.golden[name]
        assert abs(ours - golden).max() < 1e-3 * abs(golden).max()


def test_roi_features(case):
    if "roi_align_sample" in case.golden:
        ours = case.features[::20, :, :, ::32].transpose(0, 3, 1, 2)
        np.testing.assert_allclose(ours, case.golden["roi_align_sample"], rtol=0, atol=1e-3)


def test_box_head_on_golden_proposals(case):
    logits = case.golden["class_logits"]
    deltas = case.golden["box_regression"].astype(np.float32).reshape(len(logits), -1, 4)
    if case.program == "detectron2":
        # Their background comes last, and has no deltas.
        logits = np.roll(logits, 1, axis=1)
    ours = case.deltas[:, -deltas.shape[1] :]
    np.testing.assert_allclose(case.logits, logits, rtol=0, atol=2e-3)
    # float16 in the file: half a unit of the last place of numbers up to 8 is 0.002.
    np.testing.assert_allclose(ours, deltas[..., [1, 0, 3, 2]], rtol=5e-4, atol=2e-3)


def test_detections(case):
    check_detections(case.found, case.golden, case.program)
