"""Layers with the constructors and inputs of old scripts, against those of the package."""

import numpy as np
from keras import tree

from mrcnn import utils
from mrcnn.config import Config
from mrcnn.layers import detections, proposals, roi_align
from mrcnn.legacy.graph_names import refine_detections_graph
from mrcnn.legacy.layers import DetectionLayer, ProposalLayer, PyramidROIAlign
from mrcnn.ops.meta import compose_image_meta
from tests.layers.test_detections import SHAPE, WINDOW, head_outputs, window_and_image
from tests.layers.test_proposals import rpn_outputs
from tests.layers.test_roi_align import canvas, random_boxes

META = np.float32([compose_image_meta(0, SHAPE, SHAPE, WINDOW, 1, [1] * 5)])


def test_proposals(rng):
    class Other(Config):
        PRE_NMS_LIMIT = 50
        RPN_BBOX_STD_DEV = np.array([0.2, 0.2, 0.4, 0.4])

    inputs = rpn_outputs(rng, 1, 100)
    layer = ProposalLayer(20, 0.6, Other(), name="ROI")
    assert layer.name == "ROI"
    scalars = proposals.ProposalLayer(20, 0.6, pre_nms_limit=50, bbox_std_dev=[0.2, 0.2, 0.4, 0.4])
    np.testing.assert_array_equal(layer(inputs), scalars(inputs))
    assert not np.array_equal(layer(inputs), ProposalLayer(20, 0.6)(inputs))
    # Only numbers and text are stored, no Config.
    values = tree.flatten({k: v for k, v in layer.get_config().items() if k != "dtype"})
    assert all(isinstance(value, (int, float, str, bool)) for value in values)


class Loose(Config):
    DETECTION_MAX_INSTANCES = 7
    DETECTION_MIN_CONFIDENCE = 0.2
    DETECTION_NMS_THRESHOLD = 0.6
    BBOX_STD_DEV = np.array([0.2, 0.2, 0.1, 0.1])


def test_detections(rng):
    inputs = [*head_outputs(rng, 1, 40), META]
    layer = DetectionLayer(Loose(), name="mrcnn_detection")
    scalars = detections.DetectionLayer(
        max_instances=7, min_confidence=0.2, nms_threshold=0.6, bbox_std_dev=[0.2, 0.2, 0.1, 0.1]
    )
    given = [*inputs[:3], *window_and_image()]
    np.testing.assert_array_equal(layer(inputs), scalars(given))
    np.testing.assert_array_equal(layer(given), scalars(given))
    assert layer.get_config()["max_instances"] == 7


def test_detections_of_one_image(rng):
    inputs = [*head_outputs(rng, 1, 40), META]
    window = utils.norm_boxes(WINDOW, SHAPE[:2])
    one = refine_detections_graph(*(x[0] for x in inputs[:3]), window, Loose())
    np.testing.assert_allclose(one, DetectionLayer(Loose())(inputs)[0], atol=1e-6)


def test_roi_align_takes_the_meta_vector(rng):
    features = [rng.normal(size=(1, 32 // s, 64 // s, 3)).astype(np.float32) for s in (1, 2, 4, 8)]
    boxes = random_boxes(rng, 1, 9)
    expected = roi_align.PyramidROIAlign((3, 3))([boxes, canvas(*SHAPE[:2]), *features])
    layer = PyramidROIAlign((3, 3))
    np.testing.assert_array_equal(layer([boxes, META, *features]), expected)
    np.testing.assert_array_equal(layer([boxes, canvas(*SHAPE[:2]), *features]), expected)
