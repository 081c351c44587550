import itertools

import numpy as np
import pytest

from mrcnn.evaluation.instance_precision import instance_precision, mask_overlaps
from mrcnn.ops.masks import compute_overlaps_masks


def stack(rows, width=12):
    """Masks `[1, width, n]` of intervals (first, last + 1) in a row of pixels."""
    masks = np.zeros((1, width, len(rows)), bool)
    for i, (first, stop) in enumerate(rows):
        masks[0, first:stop, i] = True
    return masks


def test_counts_by_hand():
    objects = stack([(0, 4), (4, 8), (9, 12)])
    # IoU 3/4 with the first object; 2/6 with the second; nothing.
    predictions = stack([(0, 3), (6, 10), (8, 9)])
    assert instance_precision(objects, predictions) == (1, 2, 2)
    assert instance_precision(objects, predictions, 0.75) == (0, 3, 3)
    assert instance_precision(objects, predictions, 0.3) == (2, 1, 1)


def test_a_match_exceeds_the_threshold():
    # 2 of 4 pixels.
    assert instance_precision(stack([(0, 4)]), stack([(0, 2)])) == (0, 1, 1)
    assert instance_precision(stack([(0, 4)]), stack([(0, 3)])) == (1, 0, 0)


def test_one_object_matches_one_of_two_predictions():
    assert instance_precision(stack([(0, 4)]), stack([(0, 4), (0, 3)])) == (1, 1, 0)
    assert instance_precision(stack([(0, 4), (0, 3)]), stack([(0, 4)])) == (1, 0, 1)


def test_as_many_as_possible_match():
    # Below 0.5 one prediction can fit two objects: the first fits both, the second the first only.
    objects, predictions = stack([(0, 6), (4, 10)]), stack([(2, 8), (0, 4)])
    # IoUs 4/8, 4/8; 4/6, 0. Taking the best of each prediction in turn may leave one without.
    assert instance_precision(objects, predictions, 0.4) == (2, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_matching_equals_trying_all(seed):
    rng = np.random.default_rng(seed)
    masks = [rng.random((3, 4, n)) < 0.6 for n in (4, 5)]
    overlaps = mask_overlaps(*masks)
    best = max(
        sum(overlaps[i, j] > 0.4 for i, j in enumerate(order))
        for order in itertools.permutations(range(5), 4)
    )
    assert instance_precision(*masks, 0.4) == (best, 5 - best, 4 - best)
    assert best > 0


def test_images_without_objects_or_predictions():
    nothing, one = stack([]), stack([(0, 4)])
    assert instance_precision(nothing, nothing) == (0, 0, 0)
    assert instance_precision(nothing, one) == (0, 1, 0)
    assert instance_precision(one, nothing) == (0, 0, 1)
    assert instance_precision(one, stack([(3, 3)])) == (0, 1, 1)


@pytest.mark.parametrize("first", [True, False])
def test_overlaps_are_those_of_the_dense_product(first):
    rng = np.random.default_rng(1)
    masks1, masks2 = (rng.random((17, 23, n)) < 0.3 for n in (6, 4))
    if first:
        # The order in memory that `detect` has.
        masks2 = np.ascontiguousarray(masks2.transpose(2, 0, 1)).transpose(1, 2, 0)
    expected = compute_overlaps_masks(masks1, masks2)
    np.testing.assert_allclose(mask_overlaps(masks1, masks2), expected, rtol=1e-6)
    assert expected.min() > 0


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"given: \(1, 12\) and \(1, 8\)"):
        instance_precision(stack([(0, 4)]), stack([(0, 4)], width=8))
