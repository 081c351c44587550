"""The whole inference graph against the original, stage by stage and from photo to detections.

`golden/matterport_*.npz` hold what Matterport's program (TensorFlow 1.15, Keras 2.1.6) computed
with the weights of `golden_weights.py`; most arrays are samples with a stride.
"""

import gc
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage import data

from mrcnn.config import Config
from mrcnn.legacy.layers import DetectionLayer
from mrcnn.model import MaskRCNN
from mrcnn.ops.boxes import compute_overlaps
from tests.golden_weights import GOLDEN, set_golden_weights


class GoldenConfig(Config):
    NAME = "golden"
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0
    POST_NMS_ROIS_INFERENCE = 200


class Resnet50Config(GoldenConfig):
    BACKBONE = "resnet50"
    NUM_CLASSES = 81
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256


class Resnet101Config(GoldenConfig):
    BACKBONE = "resnet101"
    NUM_CLASSES = 21
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = 192, 320


CASES = {
    "resnet50": (Resnet50Config, "matterport_r50_square256.npz", data.astronaut, "res4f_out"),
    "resnet101": (Resnet101Config, "matterport_r101_pad320.npz", data.coffee, "res4w_out"),
}
# How far scale and shift of rows and of columns were off in the original's resize, in 2**-52.
RESIZE_ERRORS = {"resnet50": ((-3, 0), (-3, 256)), "resnet101": ((-1, 128), (1, -256))}
FPN = [f"fpn_p{level}" for level in range(2, 7)]
OUTPUTS = ("detections", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask", "rpn_rois", "rpn_class")


def resized_as_the_original(photo, shape, errors):
    """The photo in another size, pixel by pixel what the original's scikit-image made of it.

    It mixed four pixels into one, with weights from a transform between the two grids that had been
    estimated by least squares, and cut off the decimals. Where the mix is a whole number, the last
    bits of the transform say whether it becomes that number or the one below: one pixel in ten of
    a photo of half the size. The errors were searched for until all stored pixels were the
    original's, and with them the features behind the others.
    """
    photo, ends, weights = photo.astype(float), [], []
    for size_in, size_out, (scale_error, shift_error) in zip(
        photo.shape, shape, errors, strict=False
    ):
        scale, shift = size_in / size_out, 0.5 * size_in / size_out - 0.5
        places = (scale + scale_error * 2.0**-52) * np.arange(size_out)
        places = places + (shift + shift_error * 2.0**-52)
        ends.append((np.floor(places).astype(int), np.ceil(places).astype(int)))
        weights.append(places - ends[-1][0])
    (top, bottom), (left, right) = ends
    down, across = weights[0][:, None, None], weights[1][:, None]

    def mixed(rows):
        return (1 - across) * photo[rows][:, left] + across * photo[rows][:, right]

    return ((1 - down) * mixed(top) + down * mixed(bottom)).astype(int)


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """The model with golden weights, what went in, and all outputs, computed once."""
    config, file, photo, res4 = CASES[request.param]
    model = MaskRCNN("inference", config(), str(tmp_path_factory.mktemp("logs")))
    set_golden_weights(model.get_trainable_layers())
    photo, golden = photo(), np.load(GOLDEN / file)
    ours, metas, windows = model.mold_inputs([photo])
    y1, x1, y2, x2 = windows[0]
    molded = np.zeros(ours.shape[1:])
    molded[y1:y2, x1:x2] = resized_as_the_original(
        photo, (y2 - y1, x2 - x1), RESIZE_ERRORS[request.param]
    )
    molded = (molded - model.config.MEAN_PIXEL)[None].astype(np.float32)
    graph = model.keras_model
    tensors = dict(zip((*OUTPUTS, "rpn_bbox"), graph.outputs, strict=True))
    for name in (*FPN, "roi_align_classifier", res4):
        tensors[name] = graph.get_layer(name).output
    inputs = [molded, metas.astype(np.float32), model.get_anchors(molded.shape[1:])[None]]
    function = tf.function(keras.Model(graph.inputs, tensors), autograph=False)
    values = function(inputs, training=False)
    yield SimpleNamespace(
        name=request.param,
        model=model,
        golden=golden,
        photo=photo,
        ours=ours,
        molded=molded,
        window=windows[0],
        inputs=inputs,
        res4=res4,
        values={name: value.numpy() for name, value in values.items()},
    )
    del graph, tensors, model
    keras.utils.clear_session()
    gc.collect()


@pytest.fixture(scope="module")
def on_golden_rois(case):
    """Outputs of the box head, and its RoI features, for the original's proposals."""
    graph = case.model.keras_model
    align = graph.get_layer("roi_align_classifier")
    rois, *features = align.input
    names = ("mrcnn_class", "mrcnn_bbox", "roi_align_classifier")
    head = keras.Model([rois, *features], [graph.get_layer(name).output for name in names])
    levels = [case.values[name] for name in FPN[:4]]
    outputs = head([case.golden["rpn_rois"][None], case.inputs[0], *levels], training=False)
    return {name: output.numpy()[0] for name, output in zip(names, outputs, strict=True)}


def strided(feature_map):
    """The part of `[1, h, w, channels]` that the golden files keep."""
    _, height, width, _ = feature_map.shape
    return feature_map[0, :: max(1, height // 8), :: max(1, width // 8), ::32]


def assert_close(values, golden, tolerance=1e-4):
    """Equal within `tolerance`, absolutely, and relative to the largest value if that is above 1.

    The tolerance is room for other processors: here sums of thousands of products in another order
    differ by 3e-5 at most, in values of 15.
    """
    assert np.abs(values - golden).max() <= tolerance * max(1, np.abs(golden).max())


def matches(boxes, class_ids, golden_boxes, golden_class_ids, least_iou=0.99):
    """For each golden box the index of ours with its class and most IoU, or -1 without enough."""
    overlaps = compute_overlaps(golden_boxes, boxes)
    overlaps = np.where(golden_class_ids[:, None] == class_ids[None], overlaps, 0)
    return np.where(overlaps.max(axis=1) > least_iou, overlaps.argmax(axis=1), -1)


def test_molded_image(case):
    golden = case.golden["molded_sample"]
    np.testing.assert_allclose(case.molded[0, ::16, ::16], golden, rtol=0, atol=1e-4)
    # Ours is never darker, and lighter by a grey level where a whole number was cut off.
    above = np.rint(case.ours - case.molded)
    assert above.min() == 0
    assert above.max() == 1
    assert above.mean() < 0.1
    np.testing.assert_array_equal(case.window, case.golden["window"])
    np.testing.assert_allclose(case.inputs[1][0], case.golden["meta"], rtol=1e-6)


def test_anchors(case):
    anchors = case.inputs[2][0, :: case.golden["anchor_step"]]
    np.testing.assert_allclose(anchors, case.golden["anchors_sample"], rtol=0, atol=1e-5)


def test_backbone(case):
    assert_close(case.values[case.res4][0, ::4, ::4, ::64], case.golden["res4_sample"])


@pytest.mark.parametrize("level", FPN)
def test_feature_pyramid(case, level):
    assert_close(strided(case.values[level]), case.golden[f"{level}_sample"])


@pytest.mark.parametrize("output", ["rpn_class", "rpn_bbox"])
def test_rpn(case, output):
    values = case.values[output][0, :: case.golden["anchor_step"]]
    assert_close(values, case.golden[f"{output}_sample"])


def test_proposals(case):
    golden = case.golden["rpn_rois"]
    zeros = np.zeros(len(golden))
    found = matches(case.values["rpn_rois"][0], zeros, golden, zeros) >= 0
    assert found.mean() >= 0.98


def test_roi_features_of_golden_proposals(case, on_golden_rois):
    features = on_golden_rois["roi_align_classifier"][::20, :, :, ::32]
    assert_close(features, case.golden["roi_align_sample"])


@pytest.mark.parametrize(("output", "tolerance"), [("mrcnn_class", 1e-4), ("mrcnn_bbox", 1e-3)])
def test_box_head_on_golden_proposals(case, on_golden_rois, output, tolerance):
    # The deltas are stored as float16, which has steps of 1e-3 from 1 on.
    assert_close(on_golden_rois[output], case.golden[output].astype(np.float32), tolerance)


def test_detection_layer_on_golden_inputs(case):
    golden, config = case.golden, case.model.config
    layer = DetectionLayer(config)
    inputs = [golden[name].astype(np.float32)[None] for name in ("rpn_rois", *OUTPUTS[1:3])]
    detections = layer([*inputs, case.inputs[1]]).numpy()[0]
    expected = golden["detections"]
    # Deltas rounded to float16 move a box by their rounding error, 5e-4 of a delta of 1, times the
    # standard deviation, 0.1 or 0.2, times the box's size.
    np.testing.assert_allclose(detections[:, :4], expected[:, :4], rtol=0, atol=2e-4)
    np.testing.assert_array_equal(detections[:, 4:], expected[:, 4:])


def test_mask_head_on_golden_detections(case):
    graph, golden = case.model.keras_model, case.golden
    align = graph.get_layer("roi_align_mask")
    boxes, *features = align.input
    keep = graph.get_layer("mrcnn_mask_select").input[1]
    head = keras.Model([boxes, keep, *features], graph.get_layer("mrcnn_mask").output)
    detections = golden["detections"]
    levels = [case.values[name] for name in FPN[:4]]
    real = detections[:, 4] > 0
    masks = head([detections[None, :, :4], real[None], case.inputs[0], *levels], training=False)
    chosen = masks.numpy()[0, np.arange(100), :, :, detections[:, 4].astype(int)]
    assert real.sum() == len(golden["masks"])
    # Stored as float16, with steps of 5e-4 below 1.
    assert_close(chosen[real], golden["masks"].astype(np.float32), 1e-3)
    assert not chosen[~real].any()


def assert_same_detections(result, golden, least_iou, share, score_error, area_error):
    """Boxes, classes, scores and mask areas in pixels of the photo, as sets."""
    boxes, class_ids, scores, masks = result
    match = matches(boxes, class_ids, golden["rois"], golden["class_ids"], least_iou)
    found = match >= 0
    assert found.mean() >= share
    assert abs(len(boxes) - len(found)) <= (1 - share) * len(found)
    match = match[found]
    np.testing.assert_allclose(scores[match], golden["scores"][found], atol=score_error, rtol=0)
    areas = masks.sum(axis=(0, 1))[match]
    np.testing.assert_allclose(areas, golden["mask_area"][found], rtol=area_error)


def test_detections(case):
    # On this machine they are the same to the pixel; rounding elsewhere may flip a tie.
    detections, masks = case.values["detections"][0], case.values["mrcnn_mask"][0]
    shapes = case.photo.shape, case.molded.shape[1:]
    result = case.model.unmold_detections(detections, masks, *shapes, case.window)
    assert_same_detections(result, case.golden, 0.99, 0.98, 1e-4, 0.01)


def test_detect_on_the_photo(case):
    # Our own resize: lighter pixels make a few boxes win or lose against their neighbours.
    result = case.model.detect([case.photo])[0]
    result = [result[name] for name in ("rois", "class_ids", "scores", "masks")]
    assert_same_detections(result, case.golden, 0.95, 0.95, 5e-3, 0.1)
