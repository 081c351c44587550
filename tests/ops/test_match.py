"""Matching and sampling."""

import numpy as np
import pytest

from mrcnn.constants import NEGATIVE, NEUTRAL, POSITIVE
from mrcnn.ops.match import match_anchors, sample_balanced, subsample


def test_match_by_hand():
    overlaps = np.array(
        [
            [0.8, 0.1],  # over 0.7
            [0.7, 0.0],  # exactly 0.7
            [0.5, 0.4],  # between the thresholds
            [0.3, 0.0],  # exactly 0.3
            [0.2, 0.1],  # below 0.3
            [0.0, 0.6],  # the best of the second object
            [0.65, 0.6],  # ties with it, though it overlaps the first object more
        ]
    )
    match, gt_index = match_anchors(overlaps)
    roles = [POSITIVE, POSITIVE, NEUTRAL, NEUTRAL, NEGATIVE, POSITIVE, POSITIVE]
    assert match.dtype == np.int32
    assert match.tolist() == roles
    assert gt_index[match == POSITIVE].tolist() == [0, 0, 1, 0]


def test_weakly_overlapped_object_still_gets_an_anchor():
    match, gt_index = match_anchors(np.array([[0.9, 0.0], [0.1, 0.05], [0.0, 0.02]]))
    assert match.tolist() == [POSITIVE, POSITIVE, NEGATIVE]
    # As in the original, an anchor learns the object it overlaps most, not the one it ties for.
    assert gt_index[:2].tolist() == [0, 0]


def test_object_without_overlap_makes_no_positive():
    match, _ = match_anchors(np.array([[0.9, 0.0], [0.1, 0.0]]))
    assert match.tolist() == [POSITIVE, NEGATIVE]


def test_anchors_on_crowds_are_not_negative():
    overlaps = np.array([[0.9], [0.1], [0.1]])
    match, _ = match_anchors(overlaps, np.array([True, True, False]))
    assert match.tolist() == [POSITIVE, NEUTRAL, NEGATIVE]


def test_everything_is_negative_without_objects():
    match, gt_index = match_anchors(np.zeros((4, 0)))
    assert match.tolist() == [NEGATIVE] * 4
    assert gt_index.shape == (4,)


def test_no_anchors():
    assert [len(result) for result in match_anchors(np.zeros((0, 2)))] == [0, 0]


def test_match_equals_the_rule_written_with_axes():
    rng = np.random.default_rng(0)
    overlaps = rng.integers(0, 21, (300, 6)) / 20
    expected = np.zeros(300)
    expected[overlaps.max(axis=1) < 0.3] = NEGATIVE
    expected[(overlaps == overlaps.max(axis=0)).any(axis=1)] = POSITIVE
    expected[overlaps.max(axis=1) >= 0.7] = POSITIVE
    match, gt_index = match_anchors(overlaps)
    np.testing.assert_array_equal(match, expected)
    np.testing.assert_array_equal(gt_index, overlaps.argmax(axis=1))


def test_subsample_keeps_what_the_original_kept():
    indices = np.arange(100, 150)
    dropped = np.random.RandomState(3).choice(indices, 50 - 8, replace=False)
    kept = subsample(indices, 8, np.random.RandomState(3))
    assert sorted([*kept, *dropped]) == indices.tolist()


@pytest.mark.parametrize("rng", [np.random.RandomState(0), np.random.default_rng(0)])
def test_subsample_draws_evenly_and_without_repetition(rng):
    indices, counts = np.arange(10, 20), np.zeros(20)
    for _ in range(500):
        kept = subsample(indices, 4, rng)
        assert len(kept) == len(set(kept)) == 4
        counts[kept] += 1
    # Each index is kept in 200 of 500 draws, give or take 11 (one standard deviation).
    assert counts[:10].sum() == 0
    assert abs(counts[10:] - 200).max() < 50


def test_subsample_keeps_all_of_few():
    indices = np.array([3, 1, 2])
    assert subsample(indices, 3) is indices
    assert len(subsample(indices, -1)) == 0


def test_balance_by_hand():
    match = np.repeat([POSITIVE, NEGATIVE, NEUTRAL], [10, 20, 5])
    sampled = sample_balanced(match, 12, rng=np.random.default_rng(0))
    assert [np.sum(sampled == code) for code in (POSITIVE, NEGATIVE)] == [6, 6]
    assert ((sampled == match) | (sampled == NEUTRAL)).all()
    # Negatives take the places that positives leave.
    sampled = sample_balanced(match[8:], 12, rng=np.random.default_rng(0))
    assert [np.sum(sampled == code) for code in (POSITIVE, NEGATIVE)] == [2, 10]
