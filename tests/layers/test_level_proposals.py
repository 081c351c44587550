"""Proposals per level against a NumPy implementation, and by hand."""

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.layers.level_proposals import LevelProposalLayer
from mrcnn.ops import boxes as box_ops
from tests.layer_contract import run_layer_test

IMAGE = np.zeros((2, 96, 128, 3), np.float32)
# The second image has padding below and at the right.
WINDOWS = np.float32([[0, 0, 96, 128], [0, 0, 80, 100]])
# Anchors of three levels.
COUNTS = (60, 30, 7)


def draw(rng, batch=2):
    """Logits and deltas of each level, and all anchors, normalized."""
    levels, anchors = [], []
    for count in COUNTS:
        corners = np.sort(rng.uniform(-0.1, 1.1, (count // 3 + 1, 2, 2)), axis=1)
        level = np.repeat(corners.reshape(-1, 4), 3, axis=0)[:count]
        anchors.append(level + rng.uniform(-0.03, 0.03, level.shape))
        logits = rng.normal(size=(batch, count, 1)).astype(np.float32)
        deltas = (0.2 * rng.normal(size=(batch, count, 4))).astype(np.float32)
        levels.append((logits, deltas))
    anchors = np.tile(np.concatenate(anchors)[None], (batch, 1, 1)).astype(np.float32)
    return levels, anchors


def numpy_proposals(levels, anchors, window, image, pre_nms, threshold, count):
    """Return the proposals of one image, best first, in pixels until the end."""
    size, start, kept = [96, 128, 96, 128], 0, []
    for logits, deltas in levels:
        level = anchors[image][start : start + logits.shape[1]] * size
        start += logits.shape[1]
        best = np.argsort(-logits[image, :, 0])[:pre_nms]
        boxes = box_ops.decode_boxes(level[best], deltas[image, best])
        boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
        scores = logits[image, best, 0]
        real = ((boxes[:, 2:] - boxes[:, :2]) > 1e-3).all(axis=1)
        boxes, scores = boxes[real], scores[real]
        keep = utils.non_max_suppression(boxes, scores, threshold)
        kept += [(scores[i], *boxes[i]) for i in keep]
    kept = sorted(kept, reverse=True)[:count]
    return np.array(kept)[:, 1:] / size


@pytest.mark.parametrize("count", [20, 200])
def test_proposals_equal_numpy(rng, count):
    levels, anchors = draw(rng)
    layer = LevelProposalLayer(count, 25, 0.6)
    proposals = layer(levels, anchors, WINDOWS, IMAGE).numpy()
    for image in range(2):
        expected = numpy_proposals(levels, anchors, WINDOWS[image], image, 25, 0.6, count)
        assert 15 < len(expected) <= count
        np.testing.assert_allclose(proposals[image, : len(expected)], expected, rtol=0, atol=2e-6)
        assert not proposals[image, len(expected) :].any()


def test_levels_do_not_suppress_each_other():
    """The same box on two levels stays twice, twice on one level once."""
    anchors = np.tile(np.float32([[[0.25, 0.25, 0.5, 0.5]]]), (1, 3, 1))
    zeros = np.zeros((1, 3, 4), np.float32)
    levels = [(np.float32([[[1], [3]]]), zeros[:, :2]), (np.float32([[[2]]]), zeros[:, :1])]
    layer = LevelProposalLayer(5, 10, 0.5)
    proposals = layer(levels, anchors, WINDOWS[:1], IMAGE[:1]).numpy()[0]
    assert proposals.any(axis=1).tolist() == [True, True, False, False, False]


def test_boxes_beyond_the_photo_are_cut_or_dropped():
    """In pixels: one box reaches over the photo's border, one lies in the padding."""
    pixels = np.float32([[40, 50, 96, 128], [82, 10, 90, 30]])
    anchors = pixels[None] / np.float32([96, 128, 96, 128])
    levels = [(np.float32([[[1], [2]]]), np.zeros((1, 2, 4), np.float32))]
    layer = LevelProposalLayer(2, 10, 0.5)
    proposals = layer(levels, anchors, WINDOWS[1:], IMAGE[1:]).numpy()[0]
    np.testing.assert_allclose(proposals * [96, 128, 96, 128], [[40, 50, 80, 100], [0, 0, 0, 0]])


def test_growth_has_a_limit():
    """exp(5) would make 16 pixels 2375; the limit is 1000."""
    image = np.zeros((1, 4000, 4000, 3), np.float32)
    anchors = np.float32([[[1992, 1992, 2008, 2008]]]) / 4000
    levels = [(np.ones((1, 1, 1), np.float32), np.float32([[[0, 0, 5, 5]]]))]
    window = np.float32([[0, 0, 4000, 4000]])
    proposals = LevelProposalLayer(1, 10, 0.5)(levels, anchors, window, image).numpy()
    np.testing.assert_allclose(proposals[0, 0] * 4000, [1500, 1500, 2500, 2500], rtol=1e-5)


def test_contract(rng, tmp_path):
    levels, anchors = draw(rng)
    expected = [
        numpy_proposals(levels, anchors, WINDOWS[image], image, 25, 0.6, 10) for image in range(2)
    ]
    inputs = ([list(pair) for pair in levels], anchors, WINDOWS, IMAGE)
    run_layer_test(
        lambda: LevelProposalLayer(10, 25, 0.6, name="ROI"), inputs, np.stack(expected), tmp_path
    )
