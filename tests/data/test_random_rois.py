import numpy as np
import pytest

from mrcnn.data.random_rois import generate_random_rois


@pytest.fixture(params=[np.random, np.random.RandomState(0), np.random.default_rng(0)])  # noqa: NPY002
def source(request):
    """Each kind of random numbers that the functions take."""
    return request.param


def test_random_rois_are_boxes_of_the_image(source):
    boxes = np.array([[0, 0, 10, 20], [50, 60, 64, 100]], np.int32)
    rois = generate_random_rois((64, 100, 3), 1000, np.array([1, 1]), boxes, source)
    assert rois.shape == (1000, 4) and rois.dtype == np.int32
    assert (rois[:, :2] >= 0).all() and (rois[:, 2:] <= [64, 100]).all()
    assert (rois[:, 2:] > rois[:, :2]).all()


def test_most_random_rois_are_near_a_box(source):
    boxes = np.array([[40, 40, 60, 50], [100, 10, 110, 30]], np.int32)
    rois = generate_random_rois((256, 256, 3), 200, np.array([1, 1]), boxes, source)
    # 90 of the 200 a box, each within the box and its height and width around it.
    for part, low, high in (
        (rois[:90], [20, 30], [80, 60]),
        (rois[90:180], [90, 0], [120, 50]),
    ):
        assert (part[:, :2] >= low).all() and (part[:, 2:] <= high).all()
        # All of that area is made use of.
        assert (part[:, :2].min(axis=0) < np.add(low, 4)).all()
        assert (part[:, 2:].max(axis=0) > np.subtract(high, 4)).all()
    assert rois[180:, 2].max() > 120


def test_random_rois_of_one_pixel():
    rois = generate_random_rois((1, 1, 3), 5, np.array([1]), np.array([[0, 0, 1, 1]]))
    assert rois.tolist() == [[0, 0, 1, 1]] * 5


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.int32), np.zeros((3, 4), np.int32)])
def test_random_rois_without_objects_are_anywhere(boxes):
    rois = generate_random_rois((64, 64, 3), 300, np.zeros(len(boxes)), boxes)
    assert rois.shape == (300, 4)
    assert rois.min() == 0 and rois.max() == 64
