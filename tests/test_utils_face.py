"""The historical `mrcnn.utils` and `mrcnn.parallel_model`."""

import copy
import inspect
import subprocess
import sys

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.parallel_model import ParallelModel

# Parameters as scripts written for the original know them; new ones may follow.
SIGNATURES = {
    "Dataset": "class_map",
    "apply_box_deltas": "boxes deltas",
    "batch_slice": "inputs graph_fn batch_size names",
    "box_refinement": "box gt_box",
    "box_refinement_graph": "box gt_box",
    "compute_ap": "gt_boxes gt_class_ids gt_masks pred_boxes pred_class_ids pred_scores pred_masks "
    "iou_threshold",
    "compute_ap_range": "gt_box gt_class_id gt_mask pred_box pred_class_id pred_score pred_mask "
    "iou_thresholds verbose",
    "compute_iou": "box boxes box_area boxes_area",
    "compute_matches": "gt_boxes gt_class_ids gt_masks pred_boxes pred_class_ids pred_scores "
    "pred_masks iou_threshold score_threshold",
    "compute_overlaps": "boxes1 boxes2",
    "compute_overlaps_masks": "masks1 masks2",
    "compute_recall": "pred_boxes gt_boxes iou",
    "denorm_boxes": "boxes shape",
    "download_trained_weights": "coco_model_path verbose",
    "expand_mask": "bbox mini_mask image_shape",
    "extract_bboxes": "mask",
    "generate_anchors": "scales ratios shape feature_stride anchor_stride",
    "generate_pyramid_anchors": "scales ratios feature_shapes feature_strides anchor_stride",
    "minimize_mask": "bbox mask mini_shape",
    "mold_mask": "mask config",
    "non_max_suppression": "boxes scores threshold",
    "norm_boxes": "boxes shape",
    "resize": "image output_shape order mode cval clip preserve_range anti_aliasing "
    "anti_aliasing_sigma",
    "resize_image": "image min_dim max_dim min_scale mode",
    "resize_mask": "mask scale padding crop",
    "trim_zeros": "x",
    "unmold_mask": "mask bbox image_shape",
}


def test_every_name_is_exported():
    assert set(utils.__all__) == {*SIGNATURES, "COCO_MODEL_URL", "compute_coco_metrics"}
    assert utils.COCO_MODEL_URL.endswith("/mask_rcnn_coco.h5")


@pytest.mark.parametrize("name", SIGNATURES)
def test_historical_calls_fit(name):
    expected = SIGNATURES[name].split()
    parameters = list(inspect.signature(getattr(utils, name)).parameters.values())
    assert [parameter.name for parameter in parameters[: len(expected)]] == expected
    assert all(new.default is not new.empty for new in parameters[len(expected) :])


def test_import_leaves_the_heavy_packages_out():
    code = (
        "import sys, mrcnn.utils, mrcnn.parallel_model; "
        "print({'tensorflow', 'keras', 'skimage', 'scipy', 'cv2', 'matplotlib'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_refinement_of_tensors_equals_that_of_arrays():
    boxes, gt_boxes = np.array([[0, 0, 10, 20.0]]), np.array([[-4, 9, 16, 19.0]])
    deltas = utils.box_refinement_graph(boxes, gt_boxes)
    np.testing.assert_allclose(deltas, utils.box_refinement(boxes, gt_boxes), rtol=1e-6)


def test_batch_slice_by_hand():
    x, y = np.arange(6.0).reshape(3, 2), np.array([10.0, 20.0, 30.0])
    sums, products = utils.batch_slice([x, y], lambda a, b: (a + b, a * b), 3)
    np.testing.assert_array_equal(sums, x + y[:, np.newaxis])
    np.testing.assert_array_equal(products, x * y[:, np.newaxis])


class Model:
    """A Keras model as `ParallelModel` sees it: something with attributes that can be called."""

    def __init__(self):
        self.stop_training = False

    def save_weights(self, path):
        return f"saved {path}"

    def __call__(self, x):
        return x + 1


def test_parallel_model_explains_and_forwards():
    model = Model()
    with pytest.warns(DeprecationWarning, match="set GPU_COUNT = 4 in the Config"):
        parallel = ParallelModel(model, 4)
    assert (parallel.inner_model, parallel.gpu_count) == (model, 4)
    assert parallel.save_weights("w.h5") == "saved w.h5"
    assert parallel(1) == 2
    parallel.stop_training = True
    assert model.stop_training
    assert not hasattr(model, "gpu_count")
    assert copy.copy(parallel).inner_model is model
    with pytest.raises(AttributeError, match="no_such_name"):
        parallel.no_such_name  # noqa: B018
