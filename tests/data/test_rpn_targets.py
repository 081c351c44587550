import numpy as np
import pytest

from mrcnn.constants import NEGATIVE, NEUTRAL, POSITIVE
from mrcnn.data.rpn_targets import anchor_overlaps
from mrcnn.legacy.formulas import build_rpn_targets, generate_pyramid_anchors
from mrcnn.ops.boxes import compute_overlaps

# An object of 10x10 pixels, and what each anchor shares with it.
OBJECT = [10, 10, 20, 20]
ANCHORS = np.array(
    [
        [10, 10, 20, 20],  # the same: IoU 1
        [10, 10, 20, 17],  # 70 of 100: 0.7, just positive
        [10, 10, 20, 16],  # 60 of 100: 0.6, neutral
        [10, 10, 20, 13],  # 30 of 100: 0.3, just not negative
        [10, 18, 20, 28],  # 20 of 180: 0.11, negative
        [40, 40, 50, 50],  # nothing: negative
    ],
    np.float64,
)


def image_anchors(config, shape):
    return config.recipe().anchors(config).of_image(shape)


def targets(config, anchors, class_ids, boxes, **kwargs):
    class_ids, boxes = np.array(class_ids, np.int32), np.array(boxes, np.int32)
    return build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config, **kwargs)


def test_thresholds(tiny_config):
    match, _ = targets(tiny_config, ANCHORS, [1], [OBJECT])
    assert match.dtype == np.int32
    expected = [POSITIVE, POSITIVE, NEUTRAL, NEUTRAL, NEGATIVE, NEGATIVE]
    assert match.tolist() == expected


def test_deltas_by_hand(tiny_config):
    # Anchor of 10 high and 7 wide, centre (15, 13.5); object of 10x10, centre (15, 15).
    # dx = 1.5 / 7, log dw = log(10 / 7); divided by 0.1 and 0.2.
    _, deltas = targets(tiny_config, ANCHORS[1:], [1], [OBJECT])
    assert deltas.shape == (tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4)
    assert deltas.dtype == np.float64
    expected = [0, 1.5 / 7 / 0.1, 0, np.log(10 / 7) / 0.2]
    np.testing.assert_allclose(deltas[0], expected, rtol=1e-6)
    assert not deltas[1:].any()


def test_deltas_follow_the_order_of_anchors(tiny_config):
    boxes = [[30, 30, 40, 40], OBJECT]
    match, deltas = targets(tiny_config, ANCHORS, [1, 1], boxes)
    # No anchor touches the first box, so nothing is forced for it.
    assert np.flatnonzero(match == POSITIVE).tolist() == [0, 1]
    np.testing.assert_allclose(deltas[0], 0, atol=1e-6)
    assert deltas[1, 1] == pytest.approx(1.5 / 7 / 0.1)


def test_the_best_anchor_of_a_box_is_positive_at_any_iou(tiny_config):
    match, deltas = targets(tiny_config, ANCHORS[3:], [1], [OBJECT])
    assert match.tolist() == [POSITIVE, NEGATIVE, NEGATIVE]
    assert deltas[0, 3] == pytest.approx(np.log(10 / 3) / 0.2)


def test_all_anchors_of_a_tie_are_positive(tiny_config):
    anchors = np.array([[10, 10, 20, 13], [10, 17, 20, 20], [40, 40, 50, 50.0]])
    match, _ = targets(tiny_config, anchors, [1], [OBJECT])
    assert match.tolist() == [POSITIVE, POSITIVE, NEGATIVE]


def test_anchors_in_crowds_are_never_negative(tiny_config):
    crowd = [38, 38, 60, 60]
    match, deltas = targets(tiny_config, ANCHORS, [1, -1], [OBJECT, crowd])
    expected = [POSITIVE, POSITIVE, NEUTRAL, NEUTRAL, NEGATIVE, NEUTRAL]
    assert match.tolist() == expected
    np.testing.assert_allclose(deltas[0], 0, atol=1e-6)


def test_crowds_have_no_positive_anchors(tiny_config):
    match, deltas = targets(tiny_config, ANCHORS, [-1], [OBJECT])
    expected = [NEUTRAL] * 5 + [NEGATIVE]
    assert match.tolist() == expected
    assert not deltas.any()


def test_without_objects_all_anchors_are_negative(tiny_config):
    match, deltas = targets(tiny_config, ANCHORS, [], [])
    assert match.tolist() == [NEGATIVE] * len(ANCHORS)
    assert not deltas.any()


def test_agrees_with_loops_over_anchors_and_boxes(tiny_config, rng):
    tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE = 10**6
    anchors = image_anchors(tiny_config, (64, 64, 3))
    corners = rng.integers(0, 40, (5, 2))
    boxes = np.concatenate([corners, corners + rng.integers(4, 24, (5, 2))], axis=1)
    class_ids = [1, 2, -3, 1, 3]
    match, deltas = targets(tiny_config, anchors, class_ids, boxes)

    def iou(a, b):
        height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
        width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
        area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
        return height * width / (area - height * width)

    objects = [box for box, class_id in zip(boxes, class_ids, strict=True) if class_id > 0]
    ious = np.array([[iou(anchor, box) for box in objects] for anchor in anchors])
    best_of_boxes = ious.max(axis=0)
    row = 0
    for index, anchor in enumerate(anchors):
        highest = ious[index].max()
        if highest >= 0.7 or (ious[index] == best_of_boxes).any():
            expected = POSITIVE
        elif highest < 0.3 and iou(anchor, boxes[2]) < 0.001:
            expected = NEGATIVE
        else:
            expected = NEUTRAL
        assert match[index] == expected
        if expected == POSITIVE:
            y1, x1, y2, x2 = objects[ious[index].argmax()]
            height, width = anchor[2] - anchor[0], anchor[3] - anchor[1]
            delta = [
                ((y1 + y2) / 2 - (anchor[0] + anchor[2]) / 2) / height / 0.1,
                ((x1 + x2) / 2 - (anchor[1] + anchor[3]) / 2) / width / 0.1,
                np.log((y2 - y1) / height) / 0.2,
                np.log((x2 - x1) / width) / 0.2,
            ]
            np.testing.assert_allclose(deltas[row], delta, rtol=1e-5, atol=1e-5)
            row += 1
    assert row >= len(objects)
    assert not deltas[row:].any()


def test_sample_is_balanced(tiny_config):
    tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE = 8
    anchors = np.repeat(ANCHORS[[0, 5]], 50, axis=0)
    match, deltas = targets(tiny_config, anchors, [1], [[10, 10, 20, 22]])
    assert (match == POSITIVE).sum() == 4
    assert (match == NEGATIVE).sum() == 4
    assert (match[:50] != NEGATIVE).all() and (match[50:] != POSITIVE).all()
    # Each of the four rows is the delta of a positive anchor: dx = 1 / 10.
    np.testing.assert_allclose(deltas[:4, 1], 1, rtol=1e-6)
    assert not deltas[4:].any()


def test_negatives_fill_the_places_of_missing_positives(tiny_config):
    tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE = 8
    anchors = np.concatenate([ANCHORS[:1], np.repeat(ANCHORS[5:], 50, axis=0)])
    match, _ = targets(tiny_config, anchors, [1], [OBJECT])
    assert (match == POSITIVE).sum() == 1
    assert (match == NEGATIVE).sum() == 7


def test_samples_repeat_with_their_seed(tiny_config):
    tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE = 8
    anchors = np.repeat(ANCHORS, 50, axis=0)
    first, second, other = (
        targets(tiny_config, anchors, [1], [OBJECT], rng=np.random.default_rng(seed))[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_default_randomness_is_that_of_numpy(tiny_config):
    tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE = 8
    anchors = np.repeat(ANCHORS, 50, axis=0)
    matches = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002
        matches.append(targets(tiny_config, anchors, [1], [OBJECT])[0])
    np.testing.assert_array_equal(matches[0], matches[1])
    assert (matches[0] != matches[2]).any()


def test_anchor_overlaps_equal_the_full_computation(tiny_config, rng):
    anchors = image_anchors(tiny_config, (64, 64, 3))
    corners = rng.uniform(-5, 50, (9, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 30, (9, 2))], axis=1)
    overlaps = anchor_overlaps(anchors, boxes)
    np.testing.assert_array_equal(overlaps, compute_overlaps(anchors, boxes))
    assert (overlaps > 0).any()


def test_anchors_are_those_of_the_shape_and_made_once(tiny_config):
    anchors = image_anchors(tiny_config, (64, 128, 3))
    shapes = [[16, 32], [8, 16], [4, 8], [2, 4], [1, 2]]
    expected = generate_pyramid_anchors(
        tiny_config.RPN_ANCHOR_SCALES, [0.5, 1, 2], shapes, [4, 8, 16, 32, 64], 1
    )
    np.testing.assert_array_equal(anchors, expected)
    assert image_anchors(tiny_config, np.array([64, 128, 3])) is anchors
    tiny_config.RPN_ANCHOR_RATIOS = [1]
    assert len(image_anchors(tiny_config, (64, 128, 3))) == len(expected) / 3
    with pytest.raises(ValueError, match="read-only"):
        anchors[0] = 0
