"""Targets of the heads: by hand, and against the NumPy twin where nothing is random."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn import utils
from mrcnn.config import Config
from mrcnn.layers.targets import DetectionTargetLayer
from mrcnn.legacy import layers as legacy
from mrcnn.legacy.detection_targets import build_detection_targets
from mrcnn.legacy.graph_names import detection_targets_graph
from tests.layer_contract import run_layer_test

NAMES = ("rois", "class_ids", "deltas", "masks")


def arrays(results):
    return [np.asarray(result) for result in results]


def stripes(height, width, count):
    """Return masks with rows of 1, 0, 1, ...: `[1, height, width, count]` bool."""
    masks = np.zeros((1, height, width, count), bool)
    masks[:, ::2] = True
    return masks


@pytest.fixture
def scene(rng):
    """Return 9 proposals near three boxes and 18 others, all different, in pixels of 100x100."""
    gt_boxes = np.array([[5, 5, 45, 35], [50, 10, 90, 50], [20, 60, 80, 95]])
    near = np.repeat(gt_boxes, 3, axis=0) + rng.integers(-3, 4, (9, 4))
    corners = np.array([[0, 0], [88, 0], [0, 88]])
    away = np.repeat(np.hstack([corners, corners + 12]), 6, axis=0)
    away[:, 2:] -= np.tile(np.arange(6)[:, None], (3, 1))
    proposals = rng.permutation(np.concatenate([near, away]))
    assert len(np.unique(proposals, axis=0)) == 27
    return proposals, np.array([2, 1, 3]), gt_boxes


class AllUsed(Config):
    """Return a layer with places for exactly 9 positives and 18 negatives."""

    NUM_CLASSES = 4
    TRAIN_ROIS_PER_IMAGE = 27
    ROI_POSITIVE_RATIO = 1 / 3
    MINI_MASK_SHAPE = (28, 28)


def layer_inputs(proposals, class_ids, boxes, masks, padding=3):
    """Return a batch of one image. Division by its size changes no overlaps and no deltas."""
    boxes = np.pad(boxes, ((0, padding), (0, 0)))
    class_ids = np.pad(class_ids, (0, padding))
    masks = np.pad(masks, ((0, 0), (0, 0), (0, padding)))
    scaled = [np.float32(x / 100)[None] for x in (proposals, boxes)]
    return [scaled[0], class_ids.astype(np.int32)[None], scaled[1], masks[None]]


def test_all_used_equals_numpy(scene, rng):
    masks = rng.uniform(size=(28, 28, 3)) > 0.5
    twin = build_detection_targets(*scene, masks, AllUsed())
    rois, class_ids, deltas, _ = arrays(
        legacy.DetectionTargetLayer(AllUsed())(layer_inputs(*scene, masks))
    )
    expected = np.column_stack([twin[0] / 100, twin[1], twin[2][np.arange(27), twin[1]]])
    found = np.column_stack([rois[0], class_ids[0], deltas[0]])
    # Both put positives first; their order is random.
    for rows in (slice(0, 9), slice(9, 27)):
        a, b = (x[rows][np.lexsort(x[rows].T[:4].round(4))] for x in (found, expected))
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)
    assert (class_ids[0, :9] > 0).all()
    assert not class_ids[0, 9:].any()
    assert not deltas[0, 9:].any()


def bilinear_crop(mask, box, shape):
    """Sample a mask from the first to the last edge of a box, which is in units of the mask."""
    y, x = (np.linspace(box[i], box[i + 2], shape[i]) * (mask.shape[i] - 1) for i in (0, 1))
    crop = np.zeros(shape)
    for i, j in np.ndindex(*shape):
        top, left = int(np.floor(y[i])), int(np.floor(x[j]))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= row < len(mask) and 0 <= column < mask.shape[1]:
                weight = (1 - abs(y[i] - row)) * (1 - abs(x[j] - column))
                crop[i, j] += weight * mask[row, column]
        # Samples beyond the mask are 0, even within half a cell.
        if not (0 <= y[i] <= len(mask) - 1 and 0 <= x[j] <= mask.shape[1] - 1):
            crop[i, j] = 0
    return crop


@pytest.mark.parametrize("mini", [True, False])
def test_masks_equal_numpy(scene, rng, mini):
    shape = (28, 28) if mini else (50, 50)
    masks = np.kron(rng.uniform(size=(2, 2, 3)) > 0.5, np.ones((*np.array(shape) // 2, 1))) > 0
    inputs = layer_inputs(*scene, masks)
    config = AllUsed()
    config.USE_MINI_MASK = mini
    layer = legacy.DetectionTargetLayer(config)
    rois, class_ids, _, targets = arrays(layer(inputs))
    different = 0
    for roi, class_id, target in zip(rois[0, :9], class_ids[0], targets[0], strict=False):
        instance = scene[1].tolist().index(class_id)
        box = roi.astype(float)
        if mini:
            # In units of the instance's box, as float32 has it: edges in common are 0 and 1.
            y1, x1, y2, x2 = inputs[2][0, instance].astype(float)
            box = (box - [y1, x1, y1, x1]) / [y2 - y1, x2 - x1, y2 - y1, x2 - x1]
        crop = bilinear_crop(masks[..., instance], box, (28, 28))
        # Where rounding decides, half a grey level of float32 may go either way.
        sure = abs(crop - 0.5) > 1e-3
        np.testing.assert_array_equal(target[sure], crop.round()[sure])
        # The target shows some of the pattern.
        different += (target != target[0, 0]).any()
    assert different >= 4
    assert not targets[0, 9:].any()


# One instance in the left upper quarter; the proposals are the box itself, its upper half, a box
# far away, padding.
BOX = [0.0, 0.0, 0.5, 0.5]
PROPOSALS = np.array([[BOX, [0, 0, 0.25, 0.5], [0.75, 0.75, 1, 1], [0] * 4]], np.float32)


def one_instance(class_id=1, **others):
    inputs = {
        "proposals": PROPOSALS,
        "gt_class_ids": np.array([[class_id, 0]], np.int32),
        "gt_boxes": np.array([[BOX, [0] * 4]], np.float32),
        "gt_masks": stripes(5, 5, 2),
        **others,
    }
    return list(inputs.values())


def small_layer(**arguments):
    return DetectionTargetLayer(
        **{"rois_per_image": 6, "positive_ratio": 0.5, "mask_shape": (5, 5), **arguments}
    )


def by_roi(results):
    """Return `{roi: (class id, deltas, mask)}` of the first image."""
    rois, *rest = arrays(results)
    rows = zip(rois[0], *(x[0] for x in rest), strict=True)
    return {tuple(roi.tolist()): row for roi, *row in rows}


def test_mini_masks_by_hand():
    results = by_roi(small_layer()(one_instance()))
    np.testing.assert_array_equal(results[tuple(BOX)][2], stripes(5, 5, 1)[0, ..., 0])
    # The upper half of the box has samples in rows 0, 0.5, 1, 1.5 and 2 of the mask, whose rows are
    # 1, 0, 1: the values 1, 0.5, 0, 0.5, 1. Halves are rounded to even, that is, to 0.
    half = results[0.0, 0.0, 0.25, 0.5][2]
    assert half[:, 0].tolist() == [1, 0, 0, 0, 1]
    assert (half == half[:, :1]).all()


def test_whole_masks_by_hand():
    # A mask of 9x9 pixels; the box (0, 0, 0.5, 0.5) has samples in its rows and columns 0 to 4.
    mask = np.zeros((1, 9, 9, 2), bool)
    mask[0, 1:4, 2:9, 0] = True
    results = by_roi(small_layer(mini_masks=False)(one_instance(gt_masks=mask)))
    np.testing.assert_array_equal(results[tuple(BOX)][2], mask[0, :5, :5, 0])


def test_deltas_by_hand():
    # From the upper half of the box to all of it: the centre moves by half its height of 0.25, and
    # the height doubles. Divided by 0.1 and 0.2.
    results = by_roi(small_layer()(one_instance()))
    expected = [0.5 / 0.1, 0, np.log(2) / 0.2, 0]
    np.testing.assert_allclose(results[0.0, 0.0, 0.25, 0.5][1], expected, atol=1e-5)
    assert results[tuple(BOX)][0] == 1
    assert not results[tuple(BOX)][1].any()


def test_half_an_overlap_is_positive_and_less_is_not():
    # IoU 0.5 exactly, and 0.2 / 0.5.
    proposals = np.array([[[0, 0, 0.25, 0.5], [0, 0, 0.2, 0.5]]], np.float32)
    steps = small_layer().steps(*one_instance(proposals=proposals))
    np.testing.assert_allclose(steps["overlaps"][0, :, 0], [0.5, 0.4], rtol=1e-6)
    assert steps["positive"].numpy().tolist() == [[True, False]]
    assert steps["negative"].numpy().tolist() == [[False, True]]


def test_padding_is_neither_positive_nor_negative():
    steps = small_layer().steps(*one_instance())
    assert steps["positive"].numpy().tolist() == [[True, True, False, False]]
    assert steps["negative"].numpy().tolist() == [[False, False, True, False]]
    # The padding of the ground truth takes no part either.
    assert (steps["overlaps"].numpy()[..., 1] == -1).all()


def test_negatives_overlap_no_crowd():
    proposals = np.array([[BOX, [0.75, 0.75, 1, 1], [0.75, 0, 1, 0.25], [0] * 4]], np.float32)
    inputs = one_instance(proposals=proposals)
    inputs[1][0, 1], inputs[2][0, 1] = -2, [0.9, 0.9, 1, 1]
    steps = small_layer().steps(*inputs)
    # The crowd has 0.01 of the 0.0625 of the second proposal.
    assert steps["positive"].numpy().tolist() == [[True, False, False, False]]
    assert steps["negative"].numpy().tolist() == [[False, False, True, False]]
    inputs[2][0, 1] = [0.995, 0.995, 1, 1]
    # 0.000025 / 0.0625 = 0.0004, less than 0.001.
    assert small_layer().steps(*inputs)["negative"].numpy().tolist() == [[False, True, True, False]]


def test_crowds_neither_make_nor_remove_positives():
    inputs = one_instance(class_id=-1)
    steps = small_layer().steps(*inputs)
    assert not steps["positive"].numpy().any()
    inputs = one_instance()
    inputs[1][0, 1], inputs[2][0, 1] = -1, BOX
    steps = small_layer().steps(*inputs)
    assert steps["positive"].numpy().tolist() == [[True, True, False, False]]
    assert steps["class_ids"].numpy().tolist() == [[1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("without", ["ground truth", "positives"])
def test_no_rois_without_positives(without):
    inputs = one_instance()
    if without == "ground truth":
        inputs[1], inputs[2] = np.zeros_like(inputs[1]), np.zeros_like(inputs[2])
    else:
        inputs[0] = PROPOSALS[:, 2:]
    # As many negatives as keep the ratio to no positives: none, as in the original.
    results = arrays(small_layer()(inputs))
    assert [result.shape[:2] for result in results] == [(1, 6)] * 4
    assert not any(result.any() for result in results)


def test_ratio_of_positives(rng):
    # 30 positives and 200 negatives for 50 places, 33 % of them positive: 16, and as many negatives
    # as keep the ratio, int(16 / 0.33) - 16 = 32.
    box = np.array([0.2, 0.2, 0.6, 0.6])
    positives = box + rng.uniform(-0.02, 0.02, (30, 4))
    corners = rng.uniform(0.7, 0.8, (200, 2))
    proposals = np.concatenate([positives, np.hstack([corners, corners + 0.1])])
    proposals = np.float32(proposals)[None]
    boxes = np.float32([[box, [0] * 4]])
    layer = small_layer(rois_per_image=50, positive_ratio=0.33)
    rois, class_ids, deltas, masks = arrays(
        layer(one_instance(proposals=proposals, gt_boxes=boxes))
    )
    assert class_ids[0].tolist() == [1] * 16 + [0] * 34
    assert rois[0].any(axis=1).sum() == 48
    chosen = {tuple(row) for row in rois[0, :48].tolist()}
    # No duplicates; positives first, then negatives.
    assert len(chosen) == 48
    assert {tuple(row) for row in rois[0, :16].tolist()} <= {
        tuple(r) for r in proposals[0, :30].tolist()
    }
    assert {tuple(row) for row in rois[0, 16:48].tolist()} <= {
        tuple(r) for r in proposals[0, 30:].tolist()
    }
    assert not any(x[0, 16:].any() for x in (deltas, masks))


def test_choice_is_random_and_follows_the_seed(rng):
    corners = rng.uniform(0.0, 0.02, (40, 2))
    proposals = np.float32(np.hstack([corners, corners + 0.5]))[None]
    inputs = one_instance(proposals=proposals)
    first, second = small_layer(seed=1), small_layer(seed=1)
    draws = [first(inputs)[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(second(inputs)[0], draws[0])
    assert not np.array_equal(*draws)
    assert not np.array_equal(small_layer(seed=2)(inputs)[0], draws[0])


def test_every_candidate_is_drawn_equally_often(rng):
    # 3 of 8 positives: each should be drawn 75 times in 200; the standard deviation is 7.
    shifts = np.float32(np.arange(8) / 100)[:, None]
    proposals = (np.float32(BOX) + shifts)[None]
    layer = small_layer(seed=3)
    compiled = tf.function(lambda: layer.steps(*one_instance(proposals=proposals))["chosen"][0, :3])
    counts = np.bincount(np.concatenate([compiled().numpy() for _ in range(200)]), minlength=8)
    assert counts.sum() == 600
    assert (abs(counts - 75) < 30).all()


def test_batch_has_targets_image_by_image():
    images = [one_instance(class_id=1), one_instance(class_id=3)]
    images[1][0] = PROPOSALS[:, ::-1]
    images[1][3] = ~images[1][3]
    batch = [np.concatenate(pair) for pair in zip(*images, strict=True)]
    together = small_layer()(batch)
    for image, inputs in enumerate(images):
        alone = by_roi(small_layer()(inputs))
        row = by_roi([x[image : image + 1] for x in together])
        assert row.keys() == alone.keys()
        for roi, values in alone.items():
            for a, b in zip(row[roi], values, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)


def test_no_gradient_to_the_proposals():
    inputs = [tf.constant(x) for x in one_instance()]
    with tf.GradientTape() as tape:
        tape.watch([inputs[0], inputs[2]])
        rois, _, deltas, masks = small_layer()(inputs)
        total = tf.reduce_sum(rois) + tf.reduce_sum(deltas) + tf.reduce_sum(masks)
    assert float(total) > 0
    assert tape.gradient(total, [inputs[0], inputs[2]]) == [None, None]


def test_more_places_than_proposals():
    rois, class_ids, _, _ = arrays(small_layer(rois_per_image=30)(one_instance()))
    assert class_ids[0].tolist() == [1, 1] + [0] * 28
    np.testing.assert_array_equal(rois[0, 2], PROPOSALS[0, 2])
    assert not rois[0, 3:].any()


def many_negatives(count, **others):
    """Return one positive and `count` negatives, all different."""
    corners = 0.6 + np.arange(count)[:, None] / (10 * count) * [[1, 1]]
    proposals = np.vstack([[BOX], np.hstack([corners, corners + 0.2])])
    return one_instance(proposals=np.float32(proposals)[None], **others)


def test_negatives_fill_the_places_of_positives():
    # One positive of at most 3 in 6 places; else 1 / 0.5 - 1 = 1 negative.
    for fill, expected in ((False, 1), (True, 5)):
        steps = small_layer(fill_negatives=fill).steps(*many_negatives(9))
        assert steps["num_positive"].numpy().tolist() == [[1]]
        assert steps["num_negative"].numpy().tolist() == [[expected]]
        assert steps["rois"].numpy().any(axis=2).sum() == 1 + expected


def test_an_image_without_instances_has_negatives():
    inputs = many_negatives(9)
    inputs[1], inputs[2] = np.zeros_like(inputs[1]), np.zeros_like(inputs[2])
    layer = small_layer(fill_negatives=True, add_gt=True, padding_class=-1)
    rois, class_ids, deltas, masks = arrays(layer(inputs))
    assert class_ids.tolist() == [[0] * 6]
    assert len(np.unique(rois[0], axis=0)) == 6
    assert not deltas.any()
    assert not masks.any()


def test_class_of_padding():
    layer = small_layer(rois_per_image=7, fill_negatives=True, padding_class=-1)
    rois, class_ids, _, _ = arrays(layer(many_negatives(3)))
    assert class_ids.tolist() == [[1, 0, 0, 0, -1, -1, -1]]
    assert not rois[0, 4:].any()


def test_boxes_of_instances_are_proposals():
    """Crowds and padding are not added; the box itself has deltas of zero."""
    inputs = one_instance(class_id=3, proposals=PROPOSALS[:, 2:])
    inputs[1][0, 1], inputs[2][0, 1] = -1, [0.6, 0, 0.9, 0.3]
    rois, class_ids, deltas, masks = arrays(small_layer(add_gt=True)(inputs))
    assert class_ids.tolist() == [[3, 0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(rois[0, 0], np.float32(BOX))
    np.testing.assert_array_equal(rois[0, 1], PROPOSALS[0, 2])
    assert not rois[0, 2:].any()
    assert not deltas.any()
    np.testing.assert_array_equal(masks[0, 0], stripes(5, 5, 1)[0, ..., 0])
    assert not small_layer()(inputs)[1].numpy().any()


def test_unknown_mask_targets():
    with pytest.raises(ValueError, match='mask_targets is "warp"; accepted are "crop" and "align"'):
        small_layer(mask_targets="warp")


def test_historical_constructor_and_function(scene):
    masks = np.ones((28, 28, 3), bool)
    inputs = layer_inputs(*scene, masks)
    config = legacy.DetectionTargetLayer(AllUsed(), name="proposal_targets").get_config()
    assert config["rois_per_image"] == 27
    assert config["positive_ratio"] == 1 / 3
    batch = by_roi(legacy.DetectionTargetLayer(AllUsed())(inputs))
    one = by_roi(x[None] for x in detection_targets_graph(*(x[0] for x in inputs), AllUsed()))
    assert one.keys() == batch.keys()
    for roi, values in batch.items():
        for a, b in zip(values, one[roi], strict=True):
            np.testing.assert_array_equal(a, b)


def test_overlaps_are_those_of_numpy(scene):
    inputs = layer_inputs(*scene, np.ones((28, 28, 3), bool))
    overlaps = legacy.DetectionTargetLayer(AllUsed()).steps(*inputs)["overlaps"].numpy()[0]
    expected = utils.compute_overlaps(scene[0], scene[2])
    np.testing.assert_allclose(overlaps[:, :3], expected, atol=1e-6)
    assert (overlaps[:, 3:] == -1).all()


def test_keras_contract(tmp_path):
    # One positive, the box itself, and the one negative that the ratio of 1/2 allows.
    proposals = PROPOSALS[:, [0, 2, 3]]
    masks = np.zeros((1, 2, 5, 5), np.float32)
    masks[0, 0, ::2] = 1
    expected = [proposals[:, :2], np.array([[1, 0]]), np.zeros((1, 2, 4)), masks]
    run_layer_test(
        lambda: small_layer(rois_per_image=2, seed=0),
        (one_instance(proposals=proposals),),
        expected,
        tmp_path,
    )
