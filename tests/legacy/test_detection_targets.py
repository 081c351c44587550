import numpy as np
import pytest

from mrcnn.legacy.detection_targets import build_detection_targets


@pytest.fixture(params=[np.random, np.random.RandomState(0), np.random.default_rng(0)])  # noqa: NPY002
def source(request):
    """Each kind of random numbers that the functions take."""
    return request.param


@pytest.fixture
def scene(tiny_config):
    """Two objects, four RoIs: a perfect one, one of IoU 0.5, one of IoU 0.49, and one far off."""
    tiny_config.USE_MINI_MASK = False
    tiny_config.TRAIN_ROIS_PER_IMAGE = 10
    tiny_config.ROI_POSITIVE_RATIO = 0.33
    tiny_config.MASK_SHAPE = [2, 2]
    boxes = np.array([[0, 0, 10, 20], [30, 30, 50, 40]], np.int32)
    masks = np.zeros((64, 64, 2), bool)
    # The upper half of the first box, all of the second.
    masks[0:5, 0:20, 0] = True
    masks[30:50, 30:40, 1] = True
    rois = np.array([[0, 0, 10, 20], [30, 30, 40, 40], [0, 0, 7, 14], [50, 50, 60, 60]], np.int32)
    return rois, np.array([3, 1], np.int32), boxes, masks, tiny_config


def test_targets_by_hand(scene):
    rois, class_ids, boxes, masks = build_detection_targets(*scene)
    # Positives come first; the two negatives fill the other eight places.
    assert rois[:2].tolist() == [[0, 0, 10, 20], [30, 30, 40, 40]]
    assert {tuple(roi) for roi in rois[2:].tolist()} == {(0, 0, 7, 14), (50, 50, 60, 60)}
    assert class_ids.dtype == np.int32
    assert class_ids.tolist() == [3, 1] + [0] * 8

    assert boxes.shape == (10, 4, 4) and boxes.dtype == np.float32
    expected = np.zeros((10, 4, 4))
    # RoI 1 is the upper half of its box: 5 of its 10 rows too high, half as high.
    expected[1, 1] = [0.5 / 0.1, 0, np.log(2) / 0.2, 0]
    np.testing.assert_allclose(boxes, expected, atol=1e-6)

    assert masks.shape == (10, 2, 2, 4) and masks.dtype == np.float32
    expected = np.zeros((10, 2, 2, 4))
    expected[0, 0, :, 3] = 1
    expected[1, :, :, 1] = 1
    np.testing.assert_allclose(masks, expected, atol=1e-6)


def test_mini_masks_give_the_same_targets(scene):
    rois, class_ids, boxes, _, config = scene
    full = build_detection_targets(*scene)
    config.USE_MINI_MASK = True
    mini = np.zeros((28, 28, 2), bool)
    mini[:14, :, 0] = True
    mini[..., 1] = True
    targets = build_detection_targets(rois, class_ids, boxes, mini, config)
    for index in (1, 2, 3):
        np.testing.assert_allclose(targets[index], full[index], atol=1e-6)


def test_padding_and_crowds_are_left_out(scene):
    rois, _, boxes, masks, config = scene
    boxes, masks = np.append(boxes, [[0, 0, 0, 0]], axis=0), masks[..., [0, 1, 1]]
    class_ids = np.array([-3, 1, 0], np.int32)
    _, targets, _, _ = build_detection_targets(rois, class_ids, boxes, masks, config)
    assert targets.tolist() == [1] + [0] * 9


def test_positives_are_limited_and_drawn_at_random(scene, source):
    rois, class_ids, boxes, masks, config = scene
    # 30 perfect RoIs that can be told from one another by their type of number only.
    rois = np.concatenate([np.tile([0.0, 0.0, 10.0, 20.0], (30, 1)), rois[3:]])
    rois[:30, 0] = np.linspace(0, 0.1, 30)
    kept, targets, _, _ = build_detection_targets(rois, class_ids, boxes, masks, config, source)
    # int(10 * 0.33) = 3
    assert (targets > 0).sum() == 3
    assert len(set(kept[:3, 0])) == 3
    assert (kept[3:] == [50, 50, 60, 60]).all()


def test_without_instances_all_are_background(scene):
    rois, _, _, _, config = scene
    empty = np.zeros(0, np.int32), np.zeros((0, 4), np.int32), np.zeros((64, 64, 0), bool)
    _, class_ids, boxes, masks = build_detection_targets(rois, *empty, config)
    assert not class_ids.any() and not boxes.any() and not masks.any()


def test_what_cannot_be_sampled(scene):
    rois, *rest = scene
    with pytest.raises(ValueError, match="needs at least one RoI"):
        build_detection_targets(rois[:0], *rest)
    with pytest.raises(ValueError, match="none of the 2 RoIs is a negative"):
        build_detection_targets(rois[:2], *rest)
